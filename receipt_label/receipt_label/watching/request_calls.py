"""From one request of an SDK's client to what there is to record of it; nothing here raises."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from receipt_label.calls.call import CallSink, ObservedCall, Start
from receipt_label.calls.error_words import describe_error
from receipt_label.calls.recorded import mark_recorded
from receipt_label.calls.reply import ProviderReply, get_field
from receipt_label.providers.provider import Operation, RequestClients, StreamEvents
from receipt_label.watching.bodies import BodyReader, DocumentReader, EventsReader

PARTIAL: Final = "partial"
"""``usage_status`` in the metadata of a call that may have used more than is known."""


@dataclass(slots=True)
class RequestCall:
    """A request under way.

    Attributes:
        operation: What was asked for.
        name: How records name that.
        request: The JSON that was sent.
        start: When it began.
        is_known: Whether it is billed in any case; else if its reply has a usage.
        hides_usage: Whether the usage in its stream was asked for by us alone.
        response: Once it came, and was read already.
        streamed: Once it came, and is still to be read.
        retries: How often the SDK tried again.
    """

    operation: Operation
    name: str
    request: Mapping[str, Any]
    start: Start
    is_known: bool = True
    hides_usage: bool = False
    response: Any = None
    streamed: StreamedCall | None = None
    retries: int = 0


@dataclass(frozen=True, slots=True)
class RequestObserver:
    """Makes an :class:`ObservedCall` of each request that is to be recorded.

    Args:
        service: The provider, as records name it.
        api: What can be asked of it.
        host: The server that the client talks to.
        sink: Records the calls.
        includes_usage: Whether streams are asked for their usage where the caller did not
            choose; None to ask the provider's own servers, as others may refuse it.
    """

    service: str
    api: RequestClients
    host: str
    sink: CallSink
    includes_usage: bool | None = None

    def begin(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> RequestCall | None:
        """Return the call that a request begins; None when it is not one to record."""
        try:
            options = kwargs["options"] if "options" in kwargs else args[1]
            if options.method.lower() != "post":
                return None
            body = options.json_data
            request = body if isinstance(body, Mapping) else {}
            path = options.url.partition("?")[0].strip("/").removeprefix(self.api.prefix)
            known = self.api.operations.get(path)
            if known is not None:
                return RequestCall(known, known.name, request, self.sink.start())
            name = path.replace("/", ".")
            return RequestCall(self.api.other, name, request, self.sink.start(), is_known=False)
        except Exception as error:  # noqa: BLE001
            self.sink.count_failure(error)
            return None

    def ask_for_usage(self, call: RequestCall | None, options: Any) -> Any:
        """Return options that ask for a stream's usage; the given ones are not changed."""
        try:
            if call is None or not self._may_ask(call, options):
                return options
            asked = {**(call.request.get("stream_options") or {}), "include_usage": True}
            changed = {**call.request, "stream_options": asked}
            call.hides_usage = True
            return options.model_copy(update={"json_data": changed})
        except Exception as error:  # noqa: BLE001
            self.sink.count_failure(error)
            return options

    def _may_ask(self, call: RequestCall, options: Any) -> bool:
        has_options = call.is_known and call.operation.has_stream_options
        if not has_options or call.request.get("stream") is not True:
            return False
        if self.includes_usage is False or (self.includes_usage is None and not self._is_own):
            return False
        # What `extra_body` says comes over what the SDK's own arguments say.
        extra = options.extra_json if isinstance(options.extra_json, Mapping) else {}
        chosen = {**call.request, **extra}.get("stream_options")
        return chosen is None or (isinstance(chosen, Mapping) and "include_usage" not in chosen)

    @property
    def _is_own(self) -> bool:
        return self.host == self.api.host

    def accept_response(
        self, call: RequestCall, response: Any, retries: int
    ) -> StreamedCall | None:
        """Take the response in; return who reads its body along if that is still to be read."""
        call.retries = retries
        try:
            if response.is_closed:
                # Parsing it may raise after the provider has billed the call.
                call.response = response
                return None
            call.streamed = StreamedCall(self, call, _make_body_reader(self, call, response))
        except Exception as error:  # noqa: BLE001
            self.sink.count_failure(error)
        return call.streamed

    def finish(self, call: RequestCall | None, result: object) -> ObservedCall | None:
        """Return what there is to record of a call that gave ``result``."""
        if call is None:
            return None
        try:
            if call.streamed is not None:
                mark_recorded(result, None)  # It will be, once it is read.
                return None
            if call.response is None and get_field(result, "usage") is None:
                # A middleware's own answer: the provider was never asked.
                self.sink.count_untracked()
                return None
            return self.describe(call, _read_reply(call, result), result=result)
        except Exception as error:  # noqa: BLE001
            self.sink.count_failure(error)
            return None

    def fail(self, call: RequestCall | None, failure: BaseException) -> ObservedCall | None:
        """Return what there is to record of a call that raised ``failure``."""
        if call is None:
            return None
        try:
            if call.streamed is not None:
                return call.streamed.take(failure)
            billed = call.response is not None and call.response.is_success
            reply = _read_reply(call, None) if billed else ProviderReply()
            return self.describe(call, reply, error=describe_error(failure), failure=failure)
        except Exception as error:  # noqa: BLE001
            self.sink.count_failure(error)
            return None

    def describe(
        self,
        call: RequestCall,
        reply: ProviderReply,
        *,
        result: object = None,
        error: str | None = None,
        failure: BaseException | None = None,
        metadata: Mapping[str, Any] | None = None,
        first_token: float | None = None,
    ) -> ObservedCall | None:
        """Return what there is to record; None for a request that is no call."""
        if not call.is_known and reply.usage is None:
            self.sink.count_untracked()
            return None
        mark_recorded(result, reply.request_id)
        more = {**call.operation.metadata, **(metadata or {})}
        if not self._is_own:
            # Priced like the provider's own, but the record shows the server.
            more["server"] = self.host
        if call.retries:
            more["retries"] = call.retries
        if isinstance(request_id := getattr(failure, "request_id", None), str):
            more["provider_request_id"] = request_id
        if call.operation.model not in {None, reply.model}:
            reply = replace(reply, model=call.operation.model)
        model = call.request.get(call.operation.model_argument)
        return ObservedCall(
            service=self.service,
            operation=call.name,
            start=call.start,
            reply=reply,
            requested_model=model if isinstance(model, str) else None,
            first_token=first_token,
            error=error,
            metadata=more,
        )


@dataclass(slots=True)
class StreamedCall:
    """A call whose body is being read; recorded once, however that ends.

    Args:
        observer: Describes it.
        call: The call.
        body: Sees what is read.
    """

    observer: RequestObserver
    call: RequestCall
    body: BodyReader
    first_token: float | None = None
    # A forked child has the stream too; it is its parent's to record.
    process: int = field(default_factory=os.getpid)
    # Taken by whoever comes first: the reader, whoever closes it in another thread, or the
    # garbage collector in the middle of either. A lock could be held by the same thread.
    turns: list[None] = field(default_factory=lambda: [None])

    @property
    def is_over(self) -> bool:
        """Whether nothing that counts is to come, though the body may go on."""
        return self.body.is_over

    def feed(self, chunk: bytes) -> bytes:
        """Take a chunk, and return what the reader shall see of it."""
        had_content = self.body.has_content
        shown = self.body.feed(chunk)
        if self.body.has_content and not had_content:
            self.first_token = self.observer.sink.read_clock()
        return shown

    def take_rest(self) -> bytes:
        """Take the body's end, and return what was kept back of it."""
        return self.body.take_rest()

    def end(self, error: BaseException | None = None) -> None:
        """Record the call, unless it is."""
        if (ended := self.take(error)) is not None:
            self.observer.sink.take(ended)

    def abandon(self) -> None:
        """Like :meth:`end`, when the response was dropped."""
        if (ended := self.take(None)) is not None:
            self.observer.sink.take_abandoned(ended)

    async def aend(self, error: BaseException | None = None) -> None:
        """Like :meth:`end`, without blocking the event loop."""
        if (ended := self.take(error)) is not None:
            await self.observer.sink.atake(ended)

    def take(self, failure: BaseException | None) -> ObservedCall | None:
        """Return what there is to record, the first time."""
        try:
            self.turns.pop()
        except IndexError:
            return None
        if self.process != os.getpid():
            return None
        try:
            return self._describe(failure)
        except Exception as error:  # noqa: BLE001
            self.observer.sink.count_failure(error)
            return None

    def _describe(self, failure: BaseException | None) -> ObservedCall | None:
        body = self.body
        reply = self.call.operation.read(body.read(), self.call.request)
        is_partial = not body.is_final
        if is_partial and reply.usage is not None:
            reply = replace(reply, usage=replace(reply.usage, is_interrupted=True))
        error = None if failure is None else describe_error(failure)
        return self.observer.describe(
            self.call,
            reply,
            error=error or body.error_code,
            failure=failure,
            metadata={"usage_status": PARTIAL} if is_partial else None,
            first_token=self.first_token,
        )


def _make_body_reader(observer: RequestObserver, call: RequestCall, response: Any) -> BodyReader:
    kind = response.headers.get("content-type", "")
    if kind.startswith("text/event-stream"):
        return EventsReader(
            call.operation.events or StreamEvents(),
            hides_usage=call.hides_usage,
            count_failure=observer.sink.count_failure,
        )
    return DocumentReader(is_json="json" in kind)


def _read_reply(call: RequestCall, result: object) -> ProviderReply:
    """Read what the call gave: the SDK's object, else the body."""
    if get_field(result, "usage") is not None:
        return call.operation.read(result, call.request)
    return call.operation.read(_read_document(call.response), call.request)


def _read_document(response: Any) -> object:
    if response is None or "json" not in response.headers.get("content-type", ""):
        return {}
    try:
        return response.json()
    except ValueError:  # A body that is no JSON has no facts.
        return {}
