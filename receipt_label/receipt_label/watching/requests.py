"""Watch a client whose methods all end in its ``request``, as the SDKs that Stainless makes.

All methods, ``with_options``, ``with_raw_response`` and ``parse`` included, are seen there, on a
copy of the client that stays the client. ``request`` is replaced as an attribute of the copy: a
subclass would break the SDKs' own checks of the exact type, and a hook in the HTTP client would
see each retry, on the user's own client as well.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, Final, TypeVar, cast

from receipt_label.calls.call import CallSink
from receipt_label.providers.provider import RequestClients
from receipt_label.watching.request_calls import RequestCall, RequestObserver
from receipt_label.watching.responses import tap_response

ClientT = TypeVar("ClientT")

_OBSERVER: Final = "_receipt_label_observer"

_current: Final[ContextVar[RequestCall | None]] = ContextVar("current", default=None)
"""The call under way in this thread or task; None within one that is not recorded."""


def watch_requests(
    client: ClientT,
    service: str,
    api: RequestClients,
    sink: CallSink,
    includes_usage: bool | None,
) -> ClientT:
    """Return a copy of a client whose requests are recorded by ``sink``.

    One that is watched in just this way already is returned itself.

    Args:
        client: One that ``api`` accepts.
        service: The provider, as records name it.
        api: What can be asked of it.
        sink: Records the calls.
        includes_usage: See :class:`RequestObserver`.
    """
    other = getattr(client, _OBSERVER, None)
    if other is not None and (other.sink, other.includes_usage) == (sink, includes_usage):
        return client
    # The class's own copy: the instance's would watch for the tracker that wrapped it first,
    # and one call would give two rows.
    kind: Any = type(client)
    copied = kind.copy(client)
    observer = RequestObserver(service, api, copied.base_url.host, sink, includes_usage)
    return cast("ClientT", _hook(copied, observer))


def _hook(client: Any, observer: RequestObserver) -> Any:
    """Put the hooks on a client that no other code has yet."""
    setattr(client, _OBSERVER, observer)
    client.request = _hook_request(observer, client.request)
    client._process_response = _hook_response(observer, client._process_response)  # noqa: SLF001
    client.copy = client.with_options = _hook_copy(observer, client.copy)
    return client


def _hook_copy(observer: RequestObserver, copy: Callable[..., Any]) -> Any:
    @functools.wraps(copy)
    def copy_watched(*args: Any, **kwargs: Any) -> Any:
        copied = copy(*args, **kwargs)
        return _hook(copied, replace(observer, host=copied.base_url.host))

    return copy_watched


def _hook_response(observer: RequestObserver, process: Callable[..., Any]) -> Any:
    @functools.wraps(process)
    def process_observed(*args: Any, **kwargs: Any) -> Any:
        call, response = _current.get(), kwargs.get("response")
        if call is not None and response is not None:
            streamed = observer.accept_response(call, response, kwargs.get("retries_taken", 0))
            if streamed is not None:
                tap_response(response, streamed)
        return process(*args, **kwargs)

    return process_observed


def _hook_request(observer: RequestObserver, request: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``request``, sync or async, with its calls recorded by the observer's sink.

    While it runs, its call is known to the hook of the response.
    """
    if inspect.iscoroutinefunction(request):
        return _hook_async_request(observer, request)
    return _hook_sync_request(observer, request)


def _hook_sync_request(
    observer: RequestObserver, request: Callable[..., Any]
) -> Callable[..., Any]:
    def send(call: RequestCall | None, cast_to: Any, options: Any, **kwargs: Any) -> Any:
        outer = _current.get()
        _current.set(call)
        try:
            return request(cast_to, observer.ask_for_usage(call, options), **kwargs)
        finally:
            _current.set(outer)

    @functools.wraps(request)
    def observed(*args: Any, **kwargs: Any) -> Any:
        call = observer.begin(args, kwargs)
        try:
            result = send(call, *args, **kwargs)
        except BaseException as error:
            if (ended := observer.fail(call, error)) is not None:
                observer.sink.take(ended)
            raise
        if (ended := observer.finish(call, result)) is not None:
            observer.sink.take(ended)
        return result

    return observed


def _hook_async_request(
    observer: RequestObserver, request: Callable[..., Any]
) -> Callable[..., Any]:
    async def send(call: RequestCall | None, cast_to: Any, options: Any, **kwargs: Any) -> Any:
        outer = _current.get()
        _current.set(call)
        try:
            return await request(cast_to, observer.ask_for_usage(call, options), **kwargs)
        finally:
            _current.set(outer)

    @functools.wraps(request)
    async def observed(*args: Any, **kwargs: Any) -> Any:
        call = observer.begin(args, kwargs)
        try:
            result = await send(call, *args, **kwargs)
        except BaseException as error:
            if (ended := observer.fail(call, error)) is not None:
                if isinstance(error, GeneratorExit):  # Nothing may be awaited any more.
                    observer.sink.take(ended)
                else:
                    await observer.sink.atake(ended)
            raise
        if (ended := observer.finish(call, result)) is not None:
            await observer.sink.atake(ended)
        return result

    return observed
