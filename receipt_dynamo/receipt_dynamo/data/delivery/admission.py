"""The way in: a record is committed, counted and queued before its caller goes on."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from receipt_dynamo.data.delivery.events import DeliveryEventKind, EventHub
from receipt_dynamo.data.delivery.pending_record import Fate, Listener, PendingRecord, Watch
from receipt_dynamo.data.delivery.record_store import Placement, RecordStore
from receipt_dynamo.data.delivery.reports import Watches
from receipt_dynamo.utils.interruption import make_check

if TYPE_CHECKING:
    from receipt_dynamo.data.delivery.ledger import Ledger
    from receipt_dynamo.entities.item_key import Key
    from receipt_dynamo.utils.batch.outcome import Overflow
    from receipt_dynamo.utils.batch_queue import BatchQueue

CATCH_UP: Final = "catch up"
CHECKPOINT: Final = "checkpoint"
PULL: Final = "pull"
"""Chores that a record gives rise to."""


class Admission:
    """Takes records in. Thread-safe.

    Args:
        ledger: Counts them.
        store: Where they are committed.
        queue: Where they wait to be sent.
        chores: Takes the names of chores, to be done in the background.
        overflow: What to do when there is no room.
        events: Told what is refused and dropped.
        watches: Who waits for the fate of which record.
    """

    def __init__(
        self,
        ledger: Ledger,
        store: RecordStore,
        queue: BatchQueue[PendingRecord],
        chores: BatchQueue[str],
        *,
        overflow: Overflow,
        events: EventHub,
        watches: Watches,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._queue = queue
        self._chores = chores
        self._overflow = overflow
        self._events = events
        self._watches = watches
        self._is_closed = False
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """Begin at nothing in a forked child, closed if it was."""
        self._lock = threading.RLock()
        self._is_locked = make_check(self._lock)
        self._late: deque[PendingRecord] = deque()

    def accept(self, key: Key, body: bytes, on_settled: Listener | None) -> str | None:
        """Take a record in, at once; return why not, or None.

        Args:
            key: Its PK and SK.
            body: DynamoDB's JSON of its item.
            on_settled: Told once what became of it.
        """
        watch = None if on_settled is None else Watch(key, on_settled)
        if watch is not None:
            self._watches.add(watch)
        record = PendingRecord(key, body, watch=watch)
        if self._is_interrupted() and not self._is_closed:
            self._late.append(record)
            self._chores.add_item(CATCH_UP)
            return None
        return self._admit(record)

    def _is_interrupted(self) -> bool:
        """Whether it is a finalizer or a signal handler that puts, in the middle of our own work.

        It must not wait for a lock: whoever holds it may wait for one that this thread holds.
        """
        return (
            self._is_locked()
            or self._ledger.is_inside()
            or self._queue.is_inside()
            or self._chores.is_inside()
            or self._store.is_inside()
        )

    @property
    def is_behind(self) -> bool:
        """Whether what was put where nobody could wait still is to be taken in."""
        return bool(self._late)

    def catch_up(self) -> None:
        """Take in what was put where nobody could wait; the chore of one thread at a time."""
        while self._late:
            self._admit(self._late[0], is_late=True)
            self._late.popleft()  # Only now: nothing is behind when nothing is here.

    def close(self) -> None:
        """Refuse what comes from now on."""
        with self._lock:
            self._is_closed = True

    def _admit(self, record: PendingRecord, *, is_late: bool = False) -> str | None:
        while (refusal := self._try_to_admit(record, is_late)) == "full":
            if not self._make_room():
                break
        self._store.report_trouble()
        if refusal is not None:
            if record.watch is not None:
                self._watches.discard(record.watch)
            self._ledger.refuse(refusal)
            self._events.tell(DeliveryEventKind.REFUSED, 1, refusal)
        return refusal

    def _try_to_admit(self, record: PendingRecord, is_late: bool) -> str | None:
        with self._lock:
            if self._is_closed and not is_late:
                return "stopped"
            placement = self._store.append(record)
            if placement is Placement.NOWHERE:
                return "full"
            # Counted first: it may be delivered before the next line.
            self._ledger.count(accepted=1)
            is_journaled = placement is Placement.JOURNAL
            if not (is_journaled and self._store.spills) and self._queue.add_item(record):
                self._store.keep_in_memory(record)
            elif is_journaled:
                self._spill(record)
            else:
                self._ledger.count(accepted=-1)
                return "full"
        if self._store.wants_checkpoint:
            self._chores.add_item(CHECKPOINT)
        return None

    def _spill(self, record: PendingRecord) -> None:
        self._store.spill(record)
        if not self._queue.get_stats().pending:
            self._chores.add_item(PULL)  # Else the next batch pulls.

    def _make_room(self) -> bool:
        if self._store.delete_settled():
            return True
        return self._overflow == "drop_oldest" and self._drop_oldest()

    def _drop_oldest(self) -> bool:
        oldest = self._queue.drop_oldest()
        if oldest is None:
            return False
        dropped = list(oldest.chain())
        has_room = self._store.forget(dropped, at_once=True)
        self._ledger.count(dropped=len(dropped))
        self._events.tell(DeliveryEventKind.DROPPED, len(dropped), None)
        self._watches.report(dropped, Fate.DROPPED)
        return has_room
