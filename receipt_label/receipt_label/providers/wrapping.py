"""Watch an SDK client's calls, on a copy of the client that stays the client.

All of an SDK's methods, ``with_options``, ``with_raw_response`` and ``parse`` included,
end in the client's ``request``. It is replaced there, as an attribute of the copy: a
subclass would break the SDKs' own checks of the exact type, and a hook in the HTTP
client would see each retry, on the user's own client as well.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

from receipt_label.providers.anthropic_replies import read_message
from receipt_label.providers.observed_call import CallSink, ObservedCall, Start, describe_error
from receipt_label.providers.openai_replies import read_chat_completion
from receipt_label.providers.recorded_calls import mark_recorded
from receipt_label.providers.reply import Reply, get_field

ClientT = TypeVar("ClientT")


@dataclass(frozen=True, slots=True)
class _Endpoint:
    operation: str
    read: Callable[[object], Reply]


@dataclass(frozen=True, slots=True)
class _Provider:
    service: str
    host: str
    endpoints: Mapping[str, _Endpoint]


_OPENAI: Final = _Provider(
    "openai",
    "api.openai.com",
    {"/chat/completions": _Endpoint("completion", read_chat_completion)},
)
_ANTHROPIC: Final = _Provider(
    "anthropic",
    "api.anthropic.com",
    {"/v1/messages": _Endpoint("completion", read_message)},
)

_SINK: Final = "_receipt_label_sink"


def wrap_openai_client(client: ClientT, sink: CallSink) -> ClientT:
    """Return a copy of an OpenAI client whose calls go down in ``sink``.

    Raises:
        TypeError: It is not an ``openai.OpenAI`` or ``openai.AsyncOpenAI``.
    """
    import openai

    return _wrap(client, _OPENAI, sink, (openai.OpenAI, openai.AsyncOpenAI))


def wrap_anthropic_client(client: ClientT, sink: CallSink) -> ClientT:
    """Return a copy of an Anthropic client whose calls go down in ``sink``.

    Raises:
        TypeError: It is not an ``anthropic.Anthropic`` or ``anthropic.AsyncAnthropic``.
    """
    import anthropic

    return _wrap(client, _ANTHROPIC, sink, (anthropic.Anthropic, anthropic.AsyncAnthropic))


def _wrap(
    client: ClientT, provider: _Provider, sink: CallSink, accepted: tuple[type, ...]
) -> ClientT:
    if not isinstance(client, accepted):
        names = " and ".join(f"{provider.service}.{kind.__name__}" for kind in accepted)
        raise TypeError(f"client is of type {type(client).__name__}; accepted are {names}")
    if getattr(client, _SINK, None) is sink:
        return client
    # The class's own copy: the instance's would watch for the tracker that wrapped it first,
    # and one call would give two rows.
    kind: Any = type(client)
    return cast("ClientT", _watch(kind.copy(client), provider, sink))


def _watch(client: Any, provider: _Provider, sink: CallSink) -> Any:
    """Put the hooks on a client that nobody else holds yet."""
    watch = _ClientWatch(client, provider, sink)
    observe = _observe_async if inspect.iscoroutinefunction(client.request) else _observe
    setattr(client, _SINK, sink)
    client.request = observe(watch, client.request)
    client._process_response = _note_response(client._process_response)  # noqa: SLF001
    client.copy = client.with_options = _copy_watched(client.copy, provider, sink)
    return client


def _copy_watched(copy: Callable[..., Any], provider: _Provider, sink: CallSink) -> Any:
    @functools.wraps(copy)
    def copy_watched(*args: Any, **kwargs: Any) -> Any:
        return _watch(copy(*args, **kwargs), provider, sink)

    return copy_watched


@dataclass(slots=True)
class _Call:
    """A call under way."""

    endpoint: _Endpoint
    start: Start
    requested_model: str | None
    response: Any = None
    retries: int = 0


_current: Final[ContextVar[_Call | None]] = ContextVar("current", default=None)
"""The call under way in this thread or task; None within one that is not recorded."""


def _note_response(process: Callable[..., Any]) -> Any:
    """Keep the HTTP response: parsing it may raise after the provider has billed the call."""

    @functools.wraps(process)
    def process_noted(*args: Any, **kwargs: Any) -> Any:
        call = _current.get()
        if call is not None:
            call.response = kwargs.get("response")
            call.retries = kwargs.get("retries_taken", 0)
        return process(*args, **kwargs)

    return process_noted


def _observe(watch: _ClientWatch, request: Callable[..., Any]) -> Any:
    @functools.wraps(request)
    def observed(*args: Any, **kwargs: Any) -> Any:
        outer, call = _current.get(), watch.begin(args, kwargs)
        _current.set(call)
        try:
            result = request(*args, **kwargs)
        except BaseException as error:
            if (ended := watch.fail(call, error)) is not None:
                watch.sink.take(ended)
            raise
        finally:
            _current.set(outer)
        if (ended := watch.finish(call, result)) is not None:
            watch.sink.take(ended)
        return result

    return observed


def _observe_async(watch: _ClientWatch, request: Callable[..., Any]) -> Any:
    @functools.wraps(request)
    async def observed(*args: Any, **kwargs: Any) -> Any:
        outer, call = _current.get(), watch.begin(args, kwargs)
        _current.set(call)
        try:
            result = await request(*args, **kwargs)
        except BaseException as error:
            if (ended := watch.fail(call, error)) is not None:
                if isinstance(error, GeneratorExit):  # Nothing may be awaited any more.
                    watch.sink.take(ended)
                else:
                    await watch.sink.atake(ended)
            raise
        finally:
            _current.set(outer)
        if (ended := watch.finish(call, result)) is not None:
            await watch.sink.atake(ended)
        return result

    return observed


class _ClientWatch:
    """Makes an :class:`ObservedCall` of each request that is to be recorded.

    No method raises: what goes wrong here is counted and is no concern of the caller.
    """

    def __init__(self, client: Any, provider: _Provider, sink: CallSink) -> None:
        self.sink = sink
        self._client = client
        self._provider = provider

    def begin(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> _Call | None:
        """Return the call that a request begins; None when it is not one to record."""
        try:
            return self._begin(kwargs["options"] if "options" in kwargs else args[1], kwargs)
        except Exception as error:  # noqa: BLE001
            self.sink.count_failure(error)
            return None

    def finish(self, call: _Call | None, result: object) -> ObservedCall | None:
        """Return what there is to record of a call that gave ``result``."""
        if call is None:
            return None
        try:
            reply = _read_reply(call, result)
            if reply is None:
                self.sink.count_untracked()
                return None
            mark_recorded(result, reply.request_id)
            return self._describe(call, reply)
        except Exception as error:  # noqa: BLE001
            self.sink.count_failure(error)
            return None

    def fail(self, call: _Call | None, failure: BaseException) -> ObservedCall | None:
        """Return what there is to record of a call that raised ``failure``."""
        if call is None:
            return None
        try:
            billed = call.response is not None and call.response.is_success
            reply = (_read_reply(call, None) if billed else None) or Reply()
            mark_recorded(None, reply.request_id)
            return self._describe(call, reply, failure)
        except Exception as error:  # noqa: BLE001
            self.sink.count_failure(error)
            return None

    def _begin(self, options: Any, kwargs: Mapping[str, Any]) -> _Call | None:
        if options.method.lower() != "post":
            return None
        path = "/" + options.url.partition("?")[0].strip("/")
        endpoint = self._provider.endpoints.get(path)
        streams = kwargs.get("stream") or get_field(options.json_data, "stream") is True
        if endpoint is None or streams:
            self.sink.count_untracked()
            return None
        return _Call(endpoint, self.sink.start(), get_field(options.json_data, "model"))

    def _describe(
        self, call: _Call, reply: Reply, failure: BaseException | None = None
    ) -> ObservedCall:
        metadata: dict[str, Any] = {}
        host = self._client.base_url.host
        if host != self._provider.host:
            # Priced like the provider's own, but whoever reads the record can tell.
            metadata["server"] = host
        if call.retries:
            metadata["retries"] = call.retries
        if isinstance(request_id := getattr(failure, "request_id", None), str):
            metadata["provider_request_id"] = request_id
        return ObservedCall(
            service=self._provider.service,
            operation=call.endpoint.operation,
            start=call.start,
            reply=reply,
            requested_model=call.requested_model,
            error=None if failure is None else describe_error(failure),
            metadata=metadata,
        )


def _read_reply(call: _Call, result: object) -> Reply | None:
    """Read what the call gave: the SDK's object, else the body; None while it is unread."""
    if get_field(result, "usage") is not None:
        return call.endpoint.read(result)
    response = call.response
    if response is None or not response.is_closed:
        return None
    try:
        return call.endpoint.read(response.json())
    except ValueError:  # A body that is no JSON tells nothing.
        return Reply()
