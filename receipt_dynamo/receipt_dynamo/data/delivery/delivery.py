"""Deliver what was accepted: the queue, the sender, the journal and the accounts, joined.

A record's way: committed to the journal, queued (or, beyond the memory's bound, left on
disk until there is room), sent in a batch, proven by the reply, deleted from the journal.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from receipt_dynamo.data.batch_write import MAX_BATCH_BYTES
from receipt_dynamo.data.delivery.admission import CATCH_UP, CHECKPOINT, PULL, Admission
from receipt_dynamo.data.delivery.adoption import Adoption
from receipt_dynamo.data.delivery.events import DeliveryEventKind, EventHub
from receipt_dynamo.data.delivery.ledger import Ledger
from receipt_dynamo.data.delivery.pending_record import (
    Fate,
    Listener,
    PendingRecord,
    Watch,
    merge_records,
)
from receipt_dynamo.data.delivery.record_store import RecordStore
from receipt_dynamo.data.delivery.reports import Watches
from receipt_dynamo.data.delivery.sender import BatchSender, ConnectionWriter, make_breaker
from receipt_dynamo.data.delivery.stats import CloseReport, DeliveryStats
from receipt_dynamo.data.failures import summarize_failure
from receipt_dynamo.entities.item_key import Key
from receipt_dynamo.entities.stored_item import find_key
from receipt_dynamo.utils.batch_queue import BatchQueue, FlushResult
from receipt_dynamo.utils.fork_safety import reset_in_child
from receipt_dynamo.utils.host import THIS_HOST, Host
from receipt_dynamo.utils.log_limiter import LogLimiter

if TYPE_CHECKING:
    from receipt_dynamo.data.connection import Connection
    from receipt_dynamo.data.delivery.settings import DeliverySettings, Durability
    from receipt_dynamo.data.journal.directory import (
        HeldJournal,
        JournalDirectory,
        JournalTarget,
    )

_logger = logging.getLogger(__name__)

LONGEST_QUEUE_DELAY: Final = 5.0
"""Seconds between two rounds in an outage that has not opened the breaker, at most."""

_ADOPTION_DELAY: Final = 1.0
_LONGEST_ADOPTION_DELAY: Final = 60.0
"""Seconds between two tries to prove which table it is."""

_LOOK: Final = "look"


class Delivery:
    """Accepts records and settles them, in the background.

    Args:
        connection: To the table, for the writes.
        settings: Every knob.
        directory: Where journals are; None keeps records in memory only.
        target: The table, as configured.
        host: Its clock and its threads; a simulation has its own.
    """

    def __init__(
        self,
        connection: Connection,
        settings: DeliverySettings,
        directory: JournalDirectory | None,
        target: JournalTarget,
        *,
        host: Host = THIS_HOST,
    ) -> None:
        self._durability: Durability = settings.find_durability()
        self._clock = clock = host.clock
        self._ledger = Ledger()
        self._log = LogLimiter(_logger, clock=clock)
        self.events = EventHub()
        self._watches = Watches(self.events.call)
        self.table_name = connection.table_name
        name = f"dynamodb:{self.table_name}"
        self._store = RecordStore(
            directory,
            target,
            sync=self._durability == "journal-sync",
            max_bytes=settings.find_journal_max_bytes(),
            on_degraded=lambda why: self.events.tell(DeliveryEventKind.DEGRADED, 1, why),
            on_damaged=self._note_damage,
            on_set_aside=lambda why: self.events.tell(DeliveryEventKind.SET_ASIDE, 0, why),
            clock=clock,
        )
        self.breaker = make_breaker(settings, connection.table_name, clock)
        batches = settings.enable_batch_processing
        self._queue: BatchQueue[PendingRecord] = BatchQueue(
            self._send,
            settings.batch_size if batches else 1,
            settings.batch_flush_interval if batches else 0.0,
            max_items=settings.max_pending_records,
            max_bytes=settings.max_pending_bytes,
            size_of=attrgetter("size"),
            max_batch_bytes=MAX_BATCH_BYTES,
            key_of=attrgetter("key"),
            merge=merge_records,
            source=self._take,
            workers=settings.senders,
            retry_max_delay=LONGEST_QUEUE_DELAY,
            name=name,
            host=host,
        )
        self._chores: BatchQueue[str] = BatchQueue(
            self._do_chores, flush_interval=0.0, key_of=str, name=f"{name}-journal", host=host
        )
        self._looks: BatchQueue[str] = BatchQueue(
            self._look,
            flush_interval=0.0,
            key_of=str,
            retry_base_delay=_ADOPTION_DELAY,
            retry_max_delay=_LONGEST_ADOPTION_DELAY,
            name=f"{name}-adoption",
            host=host,
        )
        self._admission = Admission(
            self._ledger,
            self._store,
            self._queue,
            self._chores,
            overflow=settings.overflow,
            events=self.events,
            watches=self._watches,
        )
        self._sender = BatchSender(
            ConnectionWriter(connection, settings.gsi_shards),
            self.breaker,
            settings,
            wait=self._queue.wait,
            redrive=self._redrive_keys,
            tell=self.events.tell,
            clock=clock,
        )
        self._adoption: Adoption | None = None
        if directory is not None:
            self._adoption = Adoption(
                directory,
                target,
                connection,
                is_held=self._store.holds,
                has_room=lambda: self._store.has_room,
                adopt=self._adopt,
                on_set_aside=self._store.note_set_aside,
                note_arn=self._store.note_arn,
                clock=clock,
            )
        self._report: CloseReport | None = None
        reset_in_child(self)
        if self._has_candidates():
            self._looks.add_item(_LOOK)

    def reset_after_fork(self) -> None:
        """Begin at nothing in a forked child, closed if it was: what is pending is the parent's."""
        self._ledger.reset()
        self._store.reset_after_fork()
        self._admission.reset_after_fork()
        self.events.reset_after_fork()
        self._watches.clear()
        self._report = None

    def accept(self, key: Key, body: bytes, on_settled: Listener | None) -> str | None:
        """Take a record in, at once; return why not, or None. See :meth:`Admission.accept`."""
        refusal = self._admission.accept(key, body, on_settled)
        if refusal is None:
            # From the first record on: a journal whose process is killed unproven is left alone.
            self._look_if_due()
        return refusal

    def _send(self, batch: list[PendingRecord]) -> FlushResult[PendingRecord]:
        """Send a batch, and book what became of its records before the queue forgets them."""
        for record in batch:
            record.attempts += 1
        outcome = self._sender.send(batch)
        unsettled = {*outcome.retry, *(record for record, _ in outcome.dead)}
        delivered: list[PendingRecord] = []
        for record in batch:
            if record not in unsettled:
                delivered += [record] if record.earlier is None else record.chain()
        self._settle_delivered(delivered)
        kept = [letter for letter in outcome.dead if not self._bury(*letter)]
        if self._store.wants_checkpoint:
            self._chores.add_item(CHECKPOINT)
        if delivered:
            self._look_if_due()
        return FlushResult(outcome.retry, kept, outcome.retry_after, outcome.newest_next)

    def _look_if_due(self) -> None:
        if self._adoption is not None and self._adoption.is_due:
            self._looks.add_item(_LOOK)

    def _settle_delivered(self, records: list[PendingRecord]) -> None:
        if not records:
            return
        self._ledger.count(delivered=len(records))
        self._store.forget(records, at_once=not self._ledger.snapshot().pending)
        self.events.tell(DeliveryEventKind.DELIVERED, len(records), None)
        self._watches.report(records, Fate.DELIVERED)

    def _bury(self, record: PendingRecord, reason: str) -> bool:
        """Dead-letter a record and those that it replaced; False when the queue keeps it."""
        chain = list(record.chain())
        buried = [each for each in chain if self._store.bury(each, reason)]
        self._ledger.count(dead=len(chain))
        self.events.tell(DeliveryEventKind.DEAD, len(chain), reason)
        self._watches.report(chain, Fate.DEAD, reason)
        return record in buried

    def _note_damage(self, records: int, reason: str, watches: Iterable[Watch]) -> None:
        """Book pending records whose bytes on disk are damaged."""
        if records:
            self._ledger.count(dead=records)
            self.events.tell(DeliveryEventKind.DEAD, records, reason)
        self._watches.tell(watches, Fate.DEAD, reason)

    def _take(self, room: int) -> list[PendingRecord]:
        """Give the queue records from disk, now that it has room."""
        records = self._store.take(room)
        if not records and self._needs_pull():
            self._chores.add_item(PULL)  # The disk failed: tried again, with a pause.
        return records

    def _do_chores(self, chores: list[str]) -> FlushResult[str]:
        again = []
        for chore in chores:
            if chore == CHECKPOINT:
                self._store.checkpoint()
            elif chore == CATCH_UP:
                self._admission.catch_up()
            elif not self._queue.pull() and self._needs_pull():
                again.append(chore)
        return FlushResult(again)

    def _needs_pull(self) -> bool:
        return self._store.waiting > 0 and not self._queue.get_stats().pending

    def _look(self, looks: list[str]) -> FlushResult[str]:
        """Take over what dead processes left; again later when that is not yet possible."""
        if self._adoption is not None:
            self._store.keep_own()
            try:
                self._adoption.look()
            except Exception as error:  # noqa: BLE001 - tried again; nothing is lost
                # Without any, the sender says what is wrong, and saying it twice helps nobody.
                if self._has_candidates():
                    self._log.warn(
                        "look", f"journals cannot be adopted yet: {summarize_failure(error)}"
                    )
                return FlushResult(looks)
        return FlushResult()

    def _adopt(self, held: HeldJournal) -> bool:
        # Counted first: a record may be delivered before the next line.
        counts = held.counts
        records = counts.pending + counts.dead
        self._ledger.count(adopted=records, dead=counts.dead)
        if not self._store.adopt(held):
            self._ledger.count(adopted=-records, dead=-counts.dead)
            return False
        self.events.tell(DeliveryEventKind.ADOPTED, records, None)
        self._queue.pull()
        return True

    def _redrive_keys(self, match: Callable[[Key], bool]) -> int:
        return self.redrive(match)

    def redrive(self, match: Callable[[Key], bool] | None = None) -> int:
        """Take dead letters back into the queue; return how many records.

        Args:
            match: Tells by PK and SK which ones; by default all.
        """
        rows = [
            (backlog, row)
            for backlog, row in self._store.read_dead()
            if match is None or ((key := find_key(row.item)) is not None and match(key))
        ]
        revived = self._store.revive(rows)
        in_memory = self._queue.redrive(None if match is None else lambda record: match(record.key))
        self._ledger.count(dead=-(revived + in_memory))
        if revived:
            self._queue.pull()
        return revived + in_memory

    def read_dead(self) -> Iterator[tuple[bytes | None, str, int]]:
        """Iterate over the dead letters: the item's JSON, the reason, attempts.

        A damaged one has no item.
        """
        for _, row in self._store.read_dead():
            yield row.item if row.is_whole else None, row.reason, row.attempts
        for letter in self._queue.dead_letters():
            yield letter.item.body, letter.reason, letter.item.attempts

    def flush(self, timeout: float | None) -> bool:
        """Wait until what was accepted and adopted before this call is settled.

        For a listener it does not wait: what it waited for might wait for the listener.
        """
        left = self._count_down(0.0 if self.events.is_telling else timeout)
        if self._admission.is_behind and not self._chores.flush(left()):
            return False
        adopted = -1
        while adopted != self._ledger.snapshot().adopted:
            adopted = self._ledger.snapshot().adopted
            for flush in (self._flush_looks, self._flush_queue, self._flush_looks):
                if not flush(left):
                    return False
        return True

    def _flush_looks(self, left: Callable[[], float]) -> bool:
        return not self._has_candidates() or self._looks.flush(left())

    def _flush_queue(self, left: Callable[[], float]) -> bool:
        while self._store.waiting:
            comes = self._queue.pull() or self._queue.get_stats().pending
            # What the disk does not give now is asked for again by a chore, with pauses.
            if not comes and not self._chores.flush(left()):
                return False
            if not self._queue.flush(left()) or not left():
                return False
        return self._queue.flush(left())

    def _has_candidates(self) -> bool:
        return self._adoption is not None and self._adoption.has_candidates()

    def close(self, timeout: float | None) -> CloseReport:
        """Refuse new records, settle what is pending, and stop."""
        if self._report is not None:
            return self._report
        left = self._count_down(timeout)
        self._admission.close()
        if self._admission.is_behind:
            self._chores.flush(left() / 2)
        self._looks.stop(left() / 2)
        self._queue.pull()
        self._queue.stop(left())
        self._chores.stop(left())
        return self._end()

    def _end(self) -> CloseReport:
        accounts = self._ledger.snapshot()
        on_disk = min(accounts.pending, self._store.close())
        self._watches.tell_all(Fate.PENDING)
        self._report = CloseReport(
            delivered=accounts.delivered,
            pending=accounts.pending,
            on_disk=on_disk,
            lost=accounts.pending - on_disk,
            dead=accounts.dead,
        )
        return self._report

    def _count_down(self, timeout: float | None) -> Callable[[], float]:
        end = math.inf if timeout is None else self._clock() + timeout
        return lambda: max(0.0, end - self._clock())

    def get_stats(self) -> DeliveryStats:
        """Return one snapshot."""
        queued, accounts = self._queue.get_stats(), self._ledger.snapshot()
        return DeliveryStats(
            accepted=accounts.accepted,
            adopted=accounts.adopted,
            delivered=accounts.delivered,
            pending=accounts.pending,
            dead=accounts.dead,
            dropped=accounts.dropped,
            refused=self._ledger.refused,
            in_flight=queued.in_flight,
            spilled=self._store.waiting,
            pending_bytes=queued.pending_bytes,
            journal_bytes=self._store.bytes,
            durability="memory" if self._store.is_degraded else self._durability,
            undurable=self._store.undurable,
            set_aside=self._store.set_aside,
            throttled=self._sender.throttled,
            throttle_reasons=self._sender.throttle_reasons,
            pace=self._sender.pace,
            circuit_breaker_state=self.breaker.state,
            last_error=self._sender.last_error,
        )

    @property
    def last_error(self) -> str | None:
        """The latest failure in one line, or None."""
        return self._sender.last_error
