"""From one call of a decorated function to what there is to record of it; nothing here raises."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from receipt_label.calls.call import CallSink, ObservedCall
from receipt_label.calls.error_words import describe_error
from receipt_label.calls.recorded import RecordedInside, is_recorded, mark_recorded
from receipt_label.calls.reply import Reply
from receipt_label.tracking.batch_results import mark_as_batch
from receipt_label.watching.requests import PARTIAL
from receipt_label.watching.returned_streams import watch_returned_stream

_PARTIAL: Final = {"usage_status": PARTIAL}


class ItemReading(Protocol):
    """Gathers what the items of one stream tell."""

    @property
    def is_final(self) -> bool:
        """Whether the usage is the last word."""

    def take(self, item: object) -> None:
        """Take the next item."""

    def read(self) -> Reply:
        """Return what they tell so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedFunction:
    """What a decorated function calls.

    Args:
        service: Provider, such as "openai".
        operation: Kind of call, such as "completion".
        read: Reads what the function returns.
        read_items: Makes a reading of what one call of a generator yields.
        model: Of every call; by default what the reply says, else the function's argument
            ``model``.
        is_batch: Whether the provider's Batch API serves the calls.
        may_return_stream: Whether what can be iterated or entered, and tells no usage, is a
            stream that is yet to be read.
    """

    service: str
    operation: str
    read: Callable[[object], Reply]
    read_items: Callable[[], ItemReading]
    model: str | None = None
    is_batch: bool = False
    may_return_stream: bool = False


class FunctionWatch:
    """Watches the calls of one function.

    Args:
        kind: What it calls.
        sink: Takes the calls.
    """

    def __init__(self, kind: TrackedFunction, sink: CallSink) -> None:
        self._kind = kind
        self._sink = sink

    def begin(self, kwargs: Mapping[str, Any]) -> CallOfFunction:
        """Return the call that begins with these arguments."""
        return CallOfFunction(self._kind, self._sink, kwargs.get("model"))


class CallOfFunction:
    """One call of a decorated function, under way; recorded once, however it ends.

    Each way to end has a form for asyncio, which does not block the event loop.
    """

    def __init__(self, kind: TrackedFunction, sink: CallSink, model: Any) -> None:
        self.inside = RecordedInside()
        self._kind = kind
        self._sink = sink
        self._start = sink.start()
        self._requested_model = model if isinstance(model, str) else None
        self._items = kind.read_items()
        self._first_item: float | None = None
        # A forked child has the generator too; it is its parent's to record.
        self._process = os.getpid()

    def note(self, item: object) -> None:
        """Take what a generator yields."""
        if self._first_item is None:
            self._first_item = self._sink.read_clock()
        try:
            self._items.take(item)
        except Exception as error:  # noqa: BLE001
            self._sink.count_failure(error)

    def finish(self, result: object) -> None:
        """Record that a function returned ``result``."""
        if (ended := self._end(self._describe_result, result)) is not None:
            self._sink.take(ended)

    async def afinish(self, result: object) -> None:
        """As :meth:`finish`."""
        if (ended := self._end(self._describe_result, result)) is not None:
            await self._sink.atake(ended)

    def exhaust(self, returned: object) -> None:
        """Record that a generator came to its end, and returned ``returned``."""
        if (ended := self._end(self._describe_items, returned)) is not None:
            self._sink.take(ended)

    async def aexhaust(self) -> None:
        """As :meth:`exhaust`."""
        if (ended := self._end(self._describe_items, None)) is not None:
            await self._sink.atake(ended)

    def fail(self, error: BaseException) -> None:
        """Record that the function raised ``error``."""
        if (ended := self._end(self._describe_failure, error)) is not None:
            self._sink.take(ended)

    async def afail(self, error: BaseException) -> None:
        """As :meth:`fail`."""
        if (ended := self._end(self._describe_failure, error)) is not None:
            await self._sink.atake(ended)

    def leave(self) -> None:
        """Record that the caller wants no more of a generator."""
        if (ended := self._end(self._describe_failure, None)) is not None:
            self._sink.take(ended)

    async def aleave(self) -> None:
        """As :meth:`leave`."""
        if (ended := self._end(self._describe_failure, None)) is not None:
            await self._sink.atake(ended)

    def _end(self, describe: Callable[[Any], ObservedCall | None], how: Any) -> ObservedCall | None:
        if self._process != os.getpid():
            return None
        try:
            return describe(how)
        except Exception as failure:  # noqa: BLE001
            self._sink.count_failure(failure)
            return None

    def _describe_result(self, result: object) -> ObservedCall | None:
        if is_recorded(result):
            return None
        reply = self._read(self._kind.read, result)
        # What tells its usage is a whole reply, even if it can be iterated.
        if reply.usage is None and self._kind.may_return_stream and _is_stream(result):
            if not self.inside and not self._watch(result):
                self._sink.count_untracked()
            return None
        if _is_among(reply, self.inside):
            return None
        mark_recorded(result, reply.request_id)
        return self._describe(reply)

    def _describe_items(self, returned: object) -> ObservedCall | None:
        if self.inside or is_recorded(returned):
            return None
        reply = Reply() if returned is None else self._read(self._kind.read, returned)
        if reply.usage is None and reply.cost_usd is None:
            reply = self._items.read()
        mark_recorded(returned, reply.request_id)
        return self._describe(reply)

    def _describe_failure(self, error: BaseException | None) -> ObservedCall | None:
        if self.inside:
            # What went wrong is recorded, or came after a call that went well and is.
            return None
        mark_recorded(None, None)
        told = None if error is None else describe_error(error)
        if self._first_item is None:
            return self._describe(Reply(), told)
        reply = self._items.read()
        if self._items.is_final:
            return self._describe(reply, told)
        if reply.usage is not None:
            reply = replace(reply, usage=replace(reply.usage, is_interrupted=True))
        return self._describe(reply, told, _PARTIAL)

    def _watch(self, stream: object) -> bool:
        return watch_returned_stream(
            stream,
            self._sink,
            self._start,
            service=self._kind.service,
            operation=self._kind.operation,
            model=self._requested_model,
            read=self._kind.read,
        )

    def _read(self, read: Callable[[object], Reply], result: object) -> Reply:
        """Read a result; the call is worth a record even if that fails."""
        try:
            return read(result)
        except Exception as error:  # noqa: BLE001
            self._sink.count_failure(error)
            return Reply()

    def _describe(
        self, reply: Reply, error: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> ObservedCall:
        kind = self._kind
        if kind.is_batch:
            reply = mark_as_batch(reply)
        return ObservedCall(
            service=kind.service,
            operation=kind.operation,
            start=self._start,
            reply=reply if kind.model is None else replace(reply, model=kind.model),
            requested_model=self._requested_model,
            first_token=self._first_item,
            error=error or reply.error,
            metadata=metadata or {},
        )


def _is_among(reply: Reply, inside: RecordedInside) -> bool:
    """Tell whether what a function returned comes from a call that is recorded already.

    It does when the id is the same; and when it has none, or nothing of a reply is left in
    it, if there is one at all: then it was made of that reply, as the text alone.
    """
    if reply.usage is None or reply.request_id is None:
        return bool(inside)
    return reply.request_id in inside


def _is_stream(result: object) -> bool:
    """Tell whether a result is a stream, or a manager of one; of an SDK's or anybody's."""
    return any(
        hasattr(result, name) for name in ("__next__", "__anext__", "__enter__", "__aenter__")
    )
