"""Read the facts of a call from the items that a stream or a generator yields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from receipt_label.calls.reply import ProviderReply, get_field
from receipt_label.providers.provider import Operation, ReadReply, Request, StreamEvents
from receipt_label.watching.stream_document import StreamDocument

# The fields of an event that has more than a piece of text.
_TELLING: Final = ("usage", "response", "message", "error")


class ItemReader(Protocol):
    """Gathers the facts in the items of one stream."""

    @property
    def is_final(self) -> bool:
        """Whether the usage is the last word."""

    def take(self, item: object) -> None:
        """Take the next item."""

    def read(self) -> ProviderReply:
        """Return the facts read so far."""


def make_item_reader(operation: Operation, request: Request) -> ItemReader:
    """Return what reads the items of one stream that answers a request."""
    if operation.events is None:
        return LastItemReader(operation.read, request, operation.known)
    return EventItemReader(operation.read, request, operation.events)


class EventItemReader:
    """Reads events of a provider's stream, as its SDK or its JSON gives them.

    Other items, such as pieces of text, have no facts.

    Args:
        read: Reads a plain reply.
        request: What was asked.
        events: How to read the provider's events.
    """

    def __init__(self, read: ReadReply, request: Request, events: StreamEvents) -> None:
        self._read = read
        self._request = request
        self._document = StreamDocument(events)

    @property
    def is_final(self) -> bool:
        """Whether the usage is the last word."""
        return self._document.is_final

    def take(self, item: object) -> None:
        """Take the next item."""
        if isinstance(item, (str, bytes)):
            return
        # To turn each of an SDK's objects into JSON would take longer than to stream it.
        is_first = not self._document.fields
        if is_first or any(get_field(item, name) is not None for name in _TELLING):
            event = _to_json(item)
            if event is not None:
                self._document.fold(event)

    def read(self) -> ProviderReply:
        """Return the facts read so far."""
        return self._read(self._document.fields, self._request)


class LastItemReader:
    """Keeps the last reply that has a usage or a cost.

    Args:
        read: Reads one item.
        request: What was asked.
        known: What is known before any.
    """

    is_final = False

    def __init__(self, read: ReadReply, request: Request, known: ProviderReply) -> None:
        self._read = read
        self._request = request
        self._known = known

    def take(self, item: object) -> None:
        """Take the next item."""
        reply = self._read(item, self._request)
        if reply.usage is not None or reply.cost_usd is not None:
            self._known = reply

    def read(self) -> ProviderReply:
        """Return the facts read so far."""
        return self._known


def _to_json(item: object) -> Mapping[str, Any] | None:
    if isinstance(item, Mapping):
        return item
    dump = getattr(item, "model_dump", None)
    document = dump(mode="json", warnings=False) if callable(dump) else None
    return document if isinstance(document, Mapping) else None
