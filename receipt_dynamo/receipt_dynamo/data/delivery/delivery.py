"""Deliver accepted records: join the queue, the sender, the journal and the accounts.

A record's way: committed to the journal, queued (or, beyond the memory's bound, left on
disk until there is room), sent in a batch, proven by the reply, deleted from the journal.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from receipt_dynamo.data.batch_write import MAX_BATCH_BYTES
from receipt_dynamo.data.delivery.admission import Admission
from receipt_dynamo.data.delivery.adoption import Adoption
from receipt_dynamo.data.delivery.alarms import Alarms, Situation
from receipt_dynamo.data.delivery.backlog import PendingRecord, merge_records
from receipt_dynamo.data.delivery.chores import Chore, Chores
from receipt_dynamo.data.delivery.events import EventHub
from receipt_dynamo.data.delivery.record_store import RecordStore
from receipt_dynamo.data.delivery.reports import Fate, Reports
from receipt_dynamo.data.delivery.sender import BatchSender, ConnectionWriter, make_breaker
from receipt_dynamo.data.delivery.stats import CloseReport, DeliveryStats
from receipt_dynamo.data.failures import summarize_failure
from receipt_dynamo.entities.item_key import Key
from receipt_dynamo.utils.arguments import check_timeout
from receipt_dynamo.utils.batch_queue import BatchQueue, DeadLetter, FlushResult
from receipt_dynamo.utils.fork_safety import notice_fork, reset_in_child
from receipt_dynamo.utils.host import THIS_HOST, Host
from receipt_dynamo.utils.log_limiter import LogLimiter

if TYPE_CHECKING:
    from receipt_dynamo.data.connection import Connection
    from receipt_dynamo.data.delivery.settings import DeliverySettings, Durability
    from receipt_dynamo.data.journal.directory import JournalDirectory, JournalTarget

_logger = logging.getLogger(__name__)

LONGEST_QUEUE_DELAY: Final = 5.0
"""Seconds between two rounds in an outage that has not opened the breaker, at most."""


class Delivery:
    """Accepts records and settles them, in the background.

    Args:
        connection: To the table, for the writes.
        settings: Every knob.
        directory: Where journals are; None keeps records in memory only.
        target: The table, as configured.
        host: Its clock and its threads; a simulation has its own.

    Attributes:
        table_name: Name or ARN of the table.
        events: Calls listeners.
        breaker: Sees each wire attempt.
        accept: Takes a record in, at once; see :meth:`Admission.accept`.
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
        self.table_name = connection.table_name
        self._name = f"dynamodb:{self.table_name}"
        self._host, self._clock = host, host.clock
        self._durability: Durability = settings.find_durability()
        self._log = LogLimiter(_logger, clock=self._clock)
        self.events = EventHub()
        self._reports = Reports(self.events)
        self._chores = self._make_chores()
        self._store = self._make_store(settings, directory, target)
        self._queue = self._make_queue(settings)
        self._adoption = self._make_adoption(settings, connection, directory, target)
        self._alarms = self._make_alarms(settings)
        self._admission = Admission(
            self._store,
            self._queue,
            self._chores,
            self._adoption,
            overflow=settings.overflow,
            reports=self._reports,
            alarms=self._alarms,
        )
        self.accept = self._admission.accept
        self.breaker = make_breaker(settings, self.table_name, self._clock)
        self._sender = BatchSender(
            ConnectionWriter(connection, settings.gsi_shards),
            self.breaker,
            settings,
            wait=self._queue.wait,
            count_seconds_left=self._queue.count_seconds_left,
            redrive=self.redrive,
            emit=self.events.emit,
            clock=self._clock,
        )
        self._report: CloseReport | None = None
        reset_in_child(self)
        # Whose they are, is found out in the background.
        if self._adoption is not None and self._adoption.has_others():
            self._chores.ask(Chore.LOOK)

    def _make_chores(self) -> Chores:
        work = {
            Chore.CATCH_UP: self._catch_up,
            Chore.CHECKPOINT: self._checkpoint,
            Chore.PULL: self._pull,
            Chore.REGAIN: self._regain,
            Chore.LOOK: self._look,
        }
        return Chores(work, name=self._name, host=self._host)

    def _make_store(
        self, settings: DeliverySettings, directory: JournalDirectory | None, target: JournalTarget
    ) -> RecordStore:
        return RecordStore(
            directory,
            target,
            sync=self._durability == "journal-sync",
            max_bytes=settings.find_journal_max_bytes(),
            reports=self._reports,
            ask=self._chores.ask,
            clock=self._clock,
        )

    def _make_queue(self, settings: DeliverySettings) -> BatchQueue[PendingRecord]:
        batches = settings.enable_batch_processing
        return BatchQueue(
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
            name=self._name,
            host=self._host,
        )

    def _make_adoption(
        self,
        settings: DeliverySettings,
        connection: Connection,
        directory: JournalDirectory | None,
        target: JournalTarget,
    ) -> Adoption | None:
        if directory is None:
            return None
        return Adoption(
            directory,
            target,
            connection,
            self._store,
            on_adopted=self._queue.pull,
            trusts_unproven=settings.trusts_unproven(),
            clock=self._clock,
        )

    def _make_alarms(self, settings: DeliverySettings) -> Alarms:
        # A batch may leave late by right.
        limit = 2 * settings.batch_flush_interval
        alarms = Alarms(self.table_name, limit, self._observe, clock=self._clock)
        self.events.add(alarms.hear)
        return alarms

    def _observe(self) -> Situation:
        return Situation(
            pending=self._store.ledger.accounts.pending,
            age=self._store.oldest_pending_seconds,
            breaker=self.breaker.state.value,
            last_error=self._sender.last_error,
        )

    def reset_after_fork(self) -> None:
        """Begin at nothing in a forked child, closed if it was: what is pending is the parent's."""
        self._store.reset_after_fork()
        self._admission.reset_after_fork()
        self.events.reset_after_fork()
        self._reports.reset_after_fork()
        self._alarms.reset_after_fork()
        self._report = None

    def _send(self, batch: list[PendingRecord]) -> FlushResult[PendingRecord]:
        """Send a batch, and settle its records before the queue drops them."""
        self._store.resume_ages(batch)
        for record in batch:
            record.attempts += 1
        outcome = self._sender.send(batch)
        unsettled = {*outcome.retry, *(record for record, _ in (*outcome.dead, *outcome.apart))}
        delivered: list[PendingRecord] = []
        for record in batch:
            if record not in unsettled:
                delivered += [record] if record.earlier is None else record.chain()
        if delivered:
            self._store.settle(delivered, Fate.DELIVERED)
            if self._adoption is not None and self._adoption.is_due:
                self._chores.ask(Chore.LOOK)
        else:
            self._store.delete_late()
        kept = [letter for letter in outcome.dead if not self._store.bury(*letter)]
        self._alarms.look()
        return replace(outcome, dead=kept)

    def _take(self, room: int) -> list[PendingRecord]:
        """Give the queue records from disk, now that it has room."""
        records = self._store.take(room)
        if not records and self._needs_pull():
            self._chores.ask(Chore.PULL)  # The disk failed: tried again, with a pause.
        return records

    def _catch_up(self) -> bool:
        self._admission.catch_up()
        return True

    def _checkpoint(self) -> bool:
        self._store.checkpoint()
        return True

    def _regain(self) -> bool:
        return self._store.regain()

    def _pull(self) -> bool:
        return self._queue.pull() > 0 or not self._needs_pull()

    def _needs_pull(self) -> bool:
        return self._store.on_disk > 0 and not self._queue.get_stats().pending

    def _look(self) -> bool:
        """Adopt the journals of dead processes; False when that is not possible yet."""
        if self._adoption is None:
            return True
        self._store.check_own()
        try:
            self._adoption.look()
        except Exception as error:  # noqa: BLE001 - tried again; nothing is lost
            # Without any, the sender logs what is wrong: once is enough.
            if self._has_candidates():
                self._log.warn(
                    "look", f"journals cannot be adopted yet: {summarize_failure(error)}"
                )
            return False
        return True

    def redrive(self, match: Callable[[Key], bool] | None = None) -> int:
        """Take dead letters back into the queue; return how many records.

        Args:
            match: Returns True for the PK and SK of one to redrive; by default all.
        """
        notice_fork()
        matches = None if match is None else (lambda record: match(record.key))
        redriven = self._store.redrive(match, lambda: self._queue.redrive(matches))
        if redriven:
            self._queue.pull()
        return redriven

    def read_dead(self) -> Iterator[DeadLetter[bytes | None]]:
        """Iterate over the dead letters, as JSON of their items; a damaged one has none."""
        notice_fork()
        for _, row in self._store.read_dead():
            yield DeadLetter(row.item if row.is_whole else None, row.reason or "", row.attempts)
        for letter in self._queue.dead_letters():
            yield DeadLetter(letter.item.body, letter.reason, letter.item.attempts)

    def flush(self, timeout: float | None) -> bool:
        """Wait until what was accepted and adopted before this call is settled.

        For a listener it does not wait, nor for what interrupted our own work: what it waited
        for might wait for that.
        """
        check_timeout(timeout)
        notice_fork()
        if self._admission.is_interrupted():
            return not (self._admission.is_behind or self._store.ledger.accounts.pending)
        left = self._count_down(0.0 if self.events.is_calling else timeout)
        if self._admission.is_behind and not self._chores.disk.flush(left()):
            return False
        adopted = -1
        while adopted != self._store.ledger.accounts.adopted:
            adopted = self._store.ledger.accounts.adopted
            for flush in (self._flush_looks, self._flush_queue, self._flush_looks):
                if not flush(left):
                    return False
        return True

    def _flush_looks(self, left: Callable[[], float]) -> bool:
        return not self._has_candidates() or self._chores.looks.flush(left())

    def _flush_queue(self, left: Callable[[], float]) -> bool:
        while self._store.on_disk:
            comes = self._queue.pull() or self._queue.get_stats().pending
            # Records that the disk does not return now are read again by a chore, with pauses.
            if not comes and not self._chores.disk.flush(left()):
                return False
            if not self._queue.flush(left()) or not left():
                return False
        return self._queue.flush(left())

    def _has_candidates(self) -> bool:
        return self._adoption is not None and self._adoption.has_candidates()

    def close(self, timeout: float | None) -> CloseReport:
        """Refuse new records, settle what is pending, and stop."""
        notice_fork()
        if self._report is not None:
            return self._report
        left = self._count_down(timeout)
        self._admission.close()
        if self._admission.is_behind:
            self._chores.disk.flush(left() / 2)
        self._chores.looks.stop(left() / 2)
        self._queue.pull()
        self._queue.stop(left())
        self._chores.disk.stop(left())
        self._chores.recovery.stop(0.0)  # The store tries it once more.
        return self._end()

    def _end(self) -> CloseReport:
        accounts = self._store.ledger.accounts
        left = self._store.close()
        on_disk = min(accounts.pending, left.pending)
        self._reports.report_the_rest()
        self._alarms.say_the_rest()
        self._report = CloseReport(
            delivered=accounts.delivered,
            pending=accounts.pending,
            on_disk=on_disk,
            lost=accounts.pending - on_disk,
            dead=accounts.dead,
            unproven=min(on_disk, left.unproven),
        )
        return self._report

    def _count_down(self, timeout: float | None) -> Callable[[], float]:
        end = math.inf if timeout is None else self._clock() + timeout
        return lambda: max(0.0, end - self._clock())

    def get_stats(self) -> DeliveryStats:
        """Return one snapshot."""
        notice_fork()
        queued, ledger = self._queue.get_stats(), self._store.ledger
        accounts = ledger.accounts
        return DeliveryStats(
            accepted=accounts.accepted,
            adopted=accounts.adopted,
            delivered=accounts.delivered,
            pending=accounts.pending,
            oldest_pending_seconds=self._store.oldest_pending_seconds,
            dead=accounts.dead,
            dropped=accounts.dropped,
            refused=dict(ledger.refused),
            in_flight=queued.in_flight,
            spilled=self._store.on_disk,
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
