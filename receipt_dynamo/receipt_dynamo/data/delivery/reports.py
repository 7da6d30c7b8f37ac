"""Report the outcome of records to listeners: each record once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from receipt_dynamo.data.delivery.events import DeliveryEventKind, EventHub
from receipt_dynamo.entities.item_key import Key


class Fate(Enum):
    """The outcome of an accepted record."""

    DELIVERED = "delivered"
    DEAD = "dead"
    DROPPED = "dropped"
    PENDING = "pending"


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """The outcome of one accepted record, for its listener.

    Attributes:
        key: The record's PK and SK.
        fate: Delivered (DynamoDB confirmed it), dead (rejected for good), dropped (by the
            policy "drop_oldest"), or pending (the client closed before it was settled).
        reason: Of a dead one, DynamoDB's answer.
    """

    key: Key
    fate: Fate
    reason: str | None = None


SettledCallback: TypeAlias = Callable[[DeliveryReport], object]

_KINDS: Final = {
    Fate.DELIVERED: DeliveryEventKind.DELIVERED,
    Fate.DEAD: DeliveryEventKind.DEAD,
    Fate.DROPPED: DeliveryEventKind.DROPPED,
}


class Watch:
    """Somebody who wants to know what becomes of one record.

    Attributes:
        key: The record's PK and SK.
        listener: Called once, when the record is settled.
    """

    __slots__ = ("key", "listener")

    def __init__(self, key: Key, listener: SettledCallback) -> None:
        self.key = key
        self.listener = listener


class Reports:
    """Reports what became of records, to all listeners and to the record's own. Thread-safe.

    It is called with no lock held: what it calls is the user's, and may call anything.

    Args:
        events: Whoever wants to know of all records.
    """

    def __init__(self, events: EventHub) -> None:
        self.events = events
        self._watches: set[Watch] = set()

    def reset_after_fork(self) -> None:
        """Report nothing in a forked child: the records are its parent's."""
        self._watches.clear()

    def watch(self, key: Key, listener: SettledCallback) -> Watch:
        """Have ``listener`` called when the record is settled."""
        watch = Watch(key, listener)
        self._watches.add(watch)
        return watch

    def forget(self, watch: Watch | None) -> None:
        """Drop ``watch``: its record was not accepted."""
        if watch is not None:
            self._watches.discard(watch)

    def report(
        self, fate: Fate, records: int, watches: Iterable[Watch | None], reason: str | None = None
    ) -> None:
        """Report that ``records`` records were settled, also to the watches among them.

        A watch is called once: a dead letter that is redriven has been reported.
        """
        if records:
            self.events.emit(_KINDS[fate], records, reason)
        self._report_to(fate, watches, reason)

    def report_the_rest(self) -> None:
        """Report the records that are left as still pending."""
        self._report_to(Fate.PENDING, list(self._watches), None)

    def _report_to(self, fate: Fate, watches: Iterable[Watch | None], reason: str | None) -> None:
        for watch in watches:
            if watch is not None and watch in self._watches:
                self._watches.discard(watch)
                self.events.call(watch.listener, DeliveryReport(watch.key, fate, reason))
