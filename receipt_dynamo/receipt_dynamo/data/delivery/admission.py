"""The way in: a record is committed, counted and queued before its caller goes on."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from receipt_dynamo.data.delivery.backlog import PendingRecord
from receipt_dynamo.data.delivery.chores import Chore, Chores
from receipt_dynamo.data.delivery.events import DeliveryEventKind
from receipt_dynamo.data.delivery.reports import Fate, Reports, SettledCallback
from receipt_dynamo.entities.stored_item import is_too_large
from receipt_dynamo.utils.fork_safety import notice_fork

if TYPE_CHECKING:
    from receipt_dynamo.data.delivery.adoption import Adoption
    from receipt_dynamo.data.delivery.alarms import Alarms
    from receipt_dynamo.data.delivery.record_store import RecordStore
    from receipt_dynamo.entities.item_key import Key
    from receipt_dynamo.utils.batch.outcome import Overflow
    from receipt_dynamo.utils.batch_queue import BatchQueue


class Admission:
    """Takes records in. Thread-safe.

    Args:
        store: Where they are committed and counted.
        queue: Where they wait to be sent.
        chores: Work in the background.
        adoption: Finds the journals of dead processes; None without a journal.
        overflow: What to do when the journal, or without one the memory, is full.
        reports: Gets the refused and the dropped records.
        alarms: Log what has waited too long.
    """

    def __init__(
        self,
        store: RecordStore,
        queue: BatchQueue[PendingRecord],
        chores: Chores,
        adoption: Adoption | None,
        *,
        overflow: Overflow,
        reports: Reports,
        alarms: Alarms,
    ) -> None:
        self._store = store
        self._queue = queue
        self._chores = chores
        self._adoption = adoption
        self._overflow = overflow
        self._reports = reports
        self._alarms = alarms
        self._is_closed = False
        self._late: deque[PendingRecord] = deque()

    def reset_after_fork(self) -> None:
        """Begin at nothing in a forked child, closed if it was."""
        self._late.clear()

    def accept(self, key: Key, body: bytes, on_settled: SettledCallback | None) -> str | None:
        """Accept a record, at once; return None, or why it is refused.

        Args:
            key: Its PK and SK.
            body: DynamoDB's JSON of its item.
            on_settled: Called once, with the outcome.
        """
        notice_fork()
        watch = None if on_settled is None else self._reports.watch(key, on_settled)
        record = PendingRecord(key, body, watch)
        if self.is_interrupted() and not self._is_closed:
            self._late.append(record)
            self._chores.ask(Chore.CATCH_UP)
            return None
        return self._admit(record)

    def is_interrupted(self) -> bool:
        """Whether a finalizer or a signal handler asks, in the middle of our own work.

        It must not wait for a lock: whoever holds it may wait for one that this thread holds.
        """
        return self._store.is_inside() or self._queue.is_inside() or self._chores.is_inside()

    @property
    def is_behind(self) -> bool:
        """Whether records that were put in the middle of our own work are still to be accepted."""
        return bool(self._late)

    def catch_up(self) -> None:
        """Accept records that were put in the middle of our own work; one thread at a time."""
        while self._late:
            self._admit(self._late[0], is_late=True)
            self._late.popleft()  # Only now: nothing is behind when nothing is here.

    def close(self) -> None:
        """Refuse what comes from now on."""
        self._store.refuse_new()
        self._is_closed = True

    def _admit(self, record: PendingRecord, *, is_late: bool = False) -> str | None:
        refusal = self._place(record, is_late=is_late)
        if refusal is not None:
            self._reports.forget(record.watch)
            self._store.count_refusal(refusal)
            self._reports.events.emit(DeliveryEventKind.REFUSED, 1, refusal)
        elif self._adoption is not None and self._adoption.is_due:
            # From the first record on: a journal whose process is killed unproven is left alone.
            self._chores.ask(Chore.LOOK)
        self._alarms.look_if_due()
        return refusal

    def _place(self, record: PendingRecord, *, is_late: bool) -> str | None:
        if is_too_large(record.body):  # With a shard's keys and an expiry, which it came without.
            return "too_large"
        offer = self._queue.add_item
        while (refusal := self._store.accept(record, offer, is_late=is_late)) == "full":
            if not self._make_room():
                break
        return refusal

    def _make_room(self) -> bool:
        if self._store.delete_settled():
            return True
        return self._overflow == "drop_oldest" and self._drop_oldest()

    def _drop_oldest(self) -> bool:
        oldest = self._queue.drop_oldest()
        return oldest is not None and self._store.settle(list(oldest.chain()), Fate.DROPPED)
