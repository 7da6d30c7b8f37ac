"""From one call of a function or a method to what there is to record of it; nothing here raises."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from receipt_label.calls.call import CallSink, ObservedCall
from receipt_label.calls.error_words import describe_error
from receipt_label.calls.recorded import RecordedInside, is_recorded, mark_recorded
from receipt_label.calls.reply import ProviderReply, mark_as_batch
from receipt_label.providers.provider import Operation, Request
from receipt_label.watching.request_calls import PARTIAL
from receipt_label.watching.returned_streams import watch_returned_stream
from receipt_label.watching.stream_items import ItemReader, make_item_reader

_PARTIAL: Final = {"usage_status": PARTIAL}


@dataclass(frozen=True, slots=True)
class FunctionObserver:
    """Observes the calls of one function.

    Args:
        service: The provider, as records name it.
        operation: What the function asks for.
        sink: Records the calls.
        is_batch: Whether the provider's Batch API serves the calls.
    """

    service: str
    operation: Operation
    sink: CallSink
    is_batch: bool = False

    def begin(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> FunctionCall:  # noqa: ARG002
        """Return the call that begins with these arguments."""
        return FunctionCall(self.service, self.operation, self.sink, kwargs, is_batch=self.is_batch)


class FunctionCall:
    """One call of a function, under way; recorded once, however it ends.

    Each way to end has a form for asyncio, which does not block the event loop.

    Args:
        service: The provider, as records name it.
        operation: What is asked for.
        sink: Records the call.
        request: The arguments by their names.
        is_batch: Whether the provider's Batch API serves it.
        is_own: Whether what it returns is made for it alone, so that the same object twice
            is two calls.
    """

    def __init__(
        self,
        service: str,
        operation: Operation,
        sink: CallSink,
        request: Request,
        *,
        is_batch: bool = False,
        is_own: bool = False,
    ) -> None:
        self.inside = RecordedInside()
        self.operation = operation
        self._service = service
        self._sink = sink
        self._request = request
        self._is_batch = is_batch
        self._is_own = is_own
        self._start = sink.start()
        self._items: ItemReader | None = None
        self._first_item: float | None = None
        # A forked child has the generator too; it is its parent's to record.
        self._process: int | None = os.getpid()

    def follows(self, result: object) -> bool:
        """Return whether the call goes on until a stream is read that the method returned."""
        return self._is_own and self.operation.streams and _can_be_followed(result)

    def abandon(self) -> None:
        """Record the call of a stream that was dropped; runs inside of a finalizer."""
        if (ended := self._end(self._describe_failure, None)) is not None:
            self._sink.take_abandoned(ended)

    def take_item(self, item: object) -> None:
        """Take what a generator or a stream yields."""
        if self._first_item is None:
            self._first_item = self._sink.read_clock()
        try:
            if self._items is None:
                self._items = make_item_reader(self.operation, self._request)
            self._items.take(item)
        except Exception as error:  # noqa: BLE001
            self._sink.count_failure(error)

    def finish(self, result: object) -> None:
        """Record that a function returned ``result``."""
        if (ended := self._end(self._describe_result, result)) is not None:
            self._sink.take(ended)

    async def afinish(self, result: object) -> None:
        """Like :meth:`finish`."""
        if (ended := self._end(self._describe_result, result)) is not None:
            await self._sink.atake(ended)

    def exhaust(self, returned: object) -> None:
        """Record that a generator came to its end, and returned ``returned``."""
        if (ended := self._end(self._describe_items, returned)) is not None:
            self._sink.take(ended)

    async def aexhaust(self) -> None:
        """Like :meth:`exhaust`."""
        if (ended := self._end(self._describe_items, None)) is not None:
            await self._sink.atake(ended)

    def fail(self, error: BaseException) -> None:
        """Record that the function raised ``error``."""
        if (ended := self._end(self._describe_failure, error)) is not None:
            self._sink.take(ended)

    async def afail(self, error: BaseException) -> None:
        """Like :meth:`fail`."""
        if (ended := self._end(self._describe_failure, error)) is not None:
            await self._sink.atake(ended)

    def leave(self) -> None:
        """Record that the caller wants no more of a generator."""
        if (ended := self._end(self._describe_failure, None)) is not None:
            self._sink.take(ended)

    async def aleave(self) -> None:
        """Like :meth:`leave`."""
        if (ended := self._end(self._describe_failure, None)) is not None:
            await self._sink.atake(ended)

    def _end(self, describe: Callable[[Any], ObservedCall | None], how: Any) -> ObservedCall | None:
        if self._process != os.getpid():
            return None
        self._process = None
        try:
            return describe(how)
        except Exception as failure:  # noqa: BLE001
            self._sink.count_failure(failure)
            return None

    def _describe_result(self, result: object) -> ObservedCall | None:
        if not self._is_own and is_recorded(result):
            return None
        reply = self._read(result)
        # A reply with a usage is a whole reply, even if it can be iterated.
        if reply.usage is None and self.operation.streams and is_stream(result):
            if not self.inside and not self._watch(result):
                self._sink.count_untracked()
            return None
        if _is_among(reply, self.inside):
            return None
        mark_recorded(result, reply.request_id)
        return self._describe(reply)

    def _describe_items(self, returned: object) -> ObservedCall | None:
        if self.inside or (returned is not None and is_recorded(returned)):
            return None
        reply = ProviderReply() if returned is None else self._read(returned)
        if reply.usage is None and reply.cost_usd is None:
            reply = self.operation.known if self._items is None else self._items.read()
        mark_recorded(returned, reply.request_id)
        return self._describe(reply)

    def _describe_failure(self, error: BaseException | None) -> ObservedCall | None:
        if self.inside:
            # What went wrong is recorded, or came after a call that went well and is.
            return None
        mark_recorded(None, None)
        words = None if error is None else describe_error(error)
        if self._items is None:
            return self._describe(ProviderReply(), words)
        reply = self._items.read()
        if self._items.is_final:
            return self._describe(reply, words)
        if reply.usage is not None:
            reply = replace(reply, usage=replace(reply.usage, is_interrupted=True))
        return self._describe(reply, words, _PARTIAL)

    def _watch(self, stream: object) -> bool:
        return watch_returned_stream(
            stream,
            self._sink,
            self._start,
            service=self._service,
            operation=self.operation,
            request=self._request,
        )

    def _read(self, result: object) -> ProviderReply:
        """Read a result; the call is worth a record even if that fails."""
        try:
            return self.operation.read(result, self._request)
        except Exception as error:  # noqa: BLE001
            self._sink.count_failure(error)
            return ProviderReply()

    def _describe(
        self,
        reply: ProviderReply,
        error: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> ObservedCall:
        operation = self.operation
        if self._is_batch:
            reply = mark_as_batch(reply)
        if operation.model not in {None, reply.model}:
            reply = replace(reply, model=operation.model)
        model = self._request.get(operation.model_argument)
        return ObservedCall(
            service=self._service,
            operation=operation.name,
            start=self._start,
            reply=reply,
            requested_model=model if isinstance(model, str) else None,
            first_token=self._first_item,
            error=error or reply.error,
            metadata={**operation.metadata, **(metadata or {})},
        )


def _is_among(reply: ProviderReply, inside: RecordedInside) -> bool:
    """Return whether what a function returned comes from a call that is recorded already.

    It does when the id is the same; and when it has none, or nothing of a reply is left in
    it, if there is one at all: then it was made of that reply, as the text alone.
    """
    if reply.usage is None or reply.request_id is None:
        return bool(inside)
    return reply.request_id in inside


def is_stream(result: object) -> bool:
    """Return whether a result is a stream, or a manager of one, of an SDK or any other code."""
    return any(
        hasattr(result, name) for name in ("__next__", "__anext__", "__enter__", "__aenter__")
    )


def _can_be_followed(result: object) -> bool:
    """Return whether what a method returned is a stream, and no reply that can be iterated."""
    if is_stream(result) or hasattr(result, "__aiter__"):
        return True
    is_reply = any(hasattr(result, name) for name in ("__len__", "keys", "model_dump"))
    return hasattr(result, "__iter__") and not is_reply
