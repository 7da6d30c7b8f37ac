"""Watch an SDK client's calls, on a copy of the client that stays the client.

All of an SDK's methods, ``with_options``, ``with_raw_response`` and ``parse`` included,
end in the client's ``request``. It is replaced there, as an attribute of the copy: a
subclass would break the SDKs' own checks of the exact type, and a hook in the HTTP
client would see each retry, on the user's own client as well.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

from receipt_label.calls.call import CallSink
from receipt_label.providers.endpoints import ANTHROPIC, OPENAI, Provider
from receipt_label.watching.methods import observe
from receipt_label.watching.requests import Call, CallWatch
from receipt_label.watching.responses import tap_response

ClientT = TypeVar("ClientT")

_WRAPPING: Final = "_receipt_label_wrapping"


@dataclass(frozen=True, slots=True)
class _Wrapping:
    """How a client is watched, and by whom."""

    provider: Provider
    sink: CallSink
    includes_usage: bool | None

    def is_of(self, client: object) -> bool:
        """Whether the client is watched in just this way."""
        other = getattr(client, _WRAPPING, None)
        return (
            isinstance(other, _Wrapping)
            and other.sink is self.sink
            and other.includes_usage == self.includes_usage
        )


def wrap_openai_client(
    client: ClientT, sink: CallSink, *, include_usage: bool | None = None
) -> ClientT:
    """Return a copy of an OpenAI client whose calls go down in ``sink``.

    Args:
        client: The client.
        sink: Takes its calls.
        include_usage: Whether streams are asked for their usage where the caller did not
            choose. By default only OpenAI's own servers are: others may refuse it.

    Raises:
        TypeError: It is not an ``openai.OpenAI`` or ``openai.AsyncOpenAI``, or
            ``include_usage`` is no bool.
    """
    import openai

    if not isinstance(include_usage, bool | None):
        kind = type(include_usage).__name__
        raise TypeError(f"include_usage is of type {kind}; accepted are bool and None")
    wrapping = _Wrapping(OPENAI, sink, include_usage)
    return _wrap(client, wrapping, (openai.OpenAI, openai.AsyncOpenAI))


def wrap_anthropic_client(client: ClientT, sink: CallSink) -> ClientT:
    """Return a copy of an Anthropic client whose calls go down in ``sink``.

    Raises:
        TypeError: It is not an ``anthropic.Anthropic`` or ``anthropic.AsyncAnthropic``.
    """
    import anthropic

    wrapping = _Wrapping(ANTHROPIC, sink, None)
    return _wrap(client, wrapping, (anthropic.Anthropic, anthropic.AsyncAnthropic))


def _wrap(client: ClientT, wrapping: _Wrapping, accepted: tuple[type, ...]) -> ClientT:
    if not isinstance(client, accepted):
        service = wrapping.provider.service
        names = " and ".join(f"{service}.{kind.__name__}" for kind in accepted)
        raise TypeError(f"client is of type {type(client).__name__}; accepted are {names}")
    if wrapping.is_of(client):
        return client
    # The class's own copy: the instance's would watch for the tracker that wrapped it first,
    # and one call would give two rows.
    kind: Any = type(client)
    return cast("ClientT", _watch(kind.copy(client), wrapping))


def _watch(client: Any, wrapping: _Wrapping) -> Any:
    """Put the hooks on a client that nobody else holds yet."""
    watch = CallWatch(
        wrapping.provider, client.base_url.host, wrapping.sink, wrapping.includes_usage
    )
    setattr(client, _WRAPPING, wrapping)
    client.request = observe(watch, client.request, _invoke(watch, client.request))
    client._process_response = _note_response(watch, client._process_response)  # noqa: SLF001
    client.copy = client.with_options = _copy_watched(client.copy, wrapping)
    return client


def _copy_watched(copy: Callable[..., Any], wrapping: _Wrapping) -> Any:
    @functools.wraps(copy)
    def copy_watched(*args: Any, **kwargs: Any) -> Any:
        return _watch(copy(*args, **kwargs), wrapping)

    return copy_watched


_current: Final[ContextVar[Call | None]] = ContextVar("current", default=None)
"""The call under way in this thread or task; None within one that is not recorded."""


def _note_response(watch: CallWatch, process: Callable[..., Any]) -> Any:
    @functools.wraps(process)
    def process_noted(*args: Any, **kwargs: Any) -> Any:
        call, response = _current.get(), kwargs.get("response")
        if call is not None and response is not None:
            streamed = watch.note_response(call, response, kwargs.get("retries_taken", 0))
            if streamed is not None:
                tap_response(response, streamed)
        return process(*args, **kwargs)

    return process_noted


def _invoke(watch: CallWatch, request: Callable[..., Any]) -> Any:
    """Return what calls ``request`` so that the call under way is known to the other hook."""

    def invoke(call: Call | None, cast_to: Any, options: Any, **kwargs: Any) -> Any:
        outer = _current.get()
        _current.set(call)
        try:
            return request(cast_to, watch.ask_for_usage(call, options), **kwargs)
        finally:
            _current.set(outer)

    async def ainvoke(call: Call | None, cast_to: Any, options: Any, **kwargs: Any) -> Any:
        outer = _current.get()
        _current.set(call)
        try:
            return await request(cast_to, watch.ask_for_usage(call, options), **kwargs)
        finally:
            _current.set(outer)

    return ainvoke if inspect.iscoroutinefunction(request) else invoke
