"""Those who want to know what becomes of a record are told, once."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from receipt_dynamo.data.delivery.pending_record import (
    DeliveryReport,
    Fate,
    Listener,
    PendingRecord,
    Watch,
)


class Watches:
    """Who has not been told yet. Thread-safe: each change is one step.

    Args:
        call: Calls a listener with its report; what it raises must harm nobody.
    """

    def __init__(self, call: Callable[[Listener, DeliveryReport], object]) -> None:
        self._call = call
        self._watches: set[Watch] = set()

    def clear(self) -> None:
        """Tell nobody anything, in a forked child: the records are its parent's."""
        self._watches.clear()

    def add(self, watch: Watch) -> None:
        """Tell ``watch`` one day."""
        self._watches.add(watch)

    def discard(self, watch: Watch) -> None:
        """Tell ``watch`` nothing: its record was not accepted."""
        self._watches.discard(watch)

    def report(
        self, records: Iterable[PendingRecord], fate: Fate, reason: str | None = None
    ) -> None:
        """Tell those who watch the records."""
        self.tell((record.watch for record in records if record.watch is not None), fate, reason)

    def tell(self, watches: Iterable[Watch], fate: Fate, reason: str | None = None) -> None:
        """Tell once: a dead letter that is redriven has been reported."""
        for watch in watches:
            if watch in self._watches:
                self._watches.discard(watch)
                self._call(watch.listener, DeliveryReport(watch.key, fate, reason))

    def tell_all(self, fate: Fate) -> None:
        """Tell everybody who is left."""
        self.tell(list(self._watches), fate)
