"""Keep and count accepted records until they are settled.

On disk, where that can be: in this process's journal, or in one that it adopted.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from receipt_dynamo.data.delivery.ages import PendingAges
from receipt_dynamo.data.delivery.backlog import Backlog, PendingRecord
from receipt_dynamo.data.delivery.chores import Chore
from receipt_dynamo.data.delivery.events import DeliveryEventKind
from receipt_dynamo.data.delivery.ledger import Ledger
from receipt_dynamo.data.delivery.reports import Fate, Reports, Watch
from receipt_dynamo.data.journal.directory import (
    HeldJournal,
    JournalDirectory,
    JournalTarget,
)
from receipt_dynamo.data.journal.file import JournalError, is_corruption
from receipt_dynamo.data.journal.journal import ROW_OVERHEAD, JournalRow
from receipt_dynamo.data.journal.peek import iterate
from receipt_dynamo.data.table.evidence import Evidence, Standing
from receipt_dynamo.entities.item_key import Key
from receipt_dynamo.entities.stored_item import find_key
from receipt_dynamo.utils.fork_safety import no_fork
from receipt_dynamo.utils.interruption import make_check
from receipt_dynamo.utils.log_limiter import LogLimiter

_logger = logging.getLogger(__name__)

DELETES_AT_ONCE: Final = 250
"""Settled rows that are deleted in one commit, at most."""

LATEST_DELETE: Final = 1.0
"""Seconds after which the next batch deletes settled rows, few as they may be: who looks from
outside takes them for pending."""

MAX_ADOPTED: Final = 32
"""Journals of dead processes that one process delivers at a time; six open files each."""

WRITTEN_AT_ONCE: Final = 1024 * 1024
"""Bytes of records in memory that go into the journal in one commit, while callers wait."""

DAMAGED: Final = "damaged on disk: its bytes are not those that were accepted"
"""The reason of a dead letter that DynamoDB has never seen."""


@dataclass(slots=True)
class Left:
    """What a store leaves on disk.

    Attributes:
        pending: Records to be delivered.
        unproven: Those of them whose journal has no evidence of its table.
    """

    pending: int = 0
    unproven: int = 0


class RecordStore:
    """This process's journal, made with the first record, adopted ones, and the accounts.

    Thread-safe. When the journal cannot be written, records go to memory only: loudly,
    counted, and until it can be written again; then it takes what is in memory, too.

    Args:
        directory: Where journals are; None keeps everything in memory, by choice.
        target: The table that they are for.
        sync: Whether a commit also survives a loss of power.
        max_bytes: Bound of this process's journal.
        reports: Gets the outcome of records and journals; never with a lock held.
        ask: Asks for a chore in the background.
        clock: Monotonic time in seconds.

    Attributes:
        ledger: The accounts; they are changed in here only.
        is_degraded: Whether new records are in memory only although a journal is wanted.
        undurable: Records that were in memory only although a journal was wanted, without those
            that the journal has taken since.
        set_aside: Damaged journals that were moved out of the way.
    """

    def __init__(
        self,
        directory: JournalDirectory | None,
        target: JournalTarget,
        *,
        sync: bool,
        max_bytes: int,
        reports: Reports,
        ask: Callable[[Chore], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._target = target
        self._sync = sync
        self._max_bytes = max_bytes
        self._reports = reports
        self._ask = ask
        self._clock = clock
        self._log = LogLimiter(_logger, clock=clock)
        self._learned: dict[str, str] = {}
        self._refuses = self._is_closed = False
        self._begin()

    def _begin(self) -> None:
        # Re-entrant: a finalizer may come back here in the thread that is inside.
        self._lock = threading.RLock()
        self._is_locked, self._is_opening = make_check(self._lock), make_check(no_fork())
        self.ledger = Ledger()
        self._ages = PendingAges(self._clock)
        self._own: Backlog | None = None
        self._adopted: list[Backlog] = []
        self._lost: list[Backlog] = []
        self._is_taking = False
        self._settled: list[PendingRecord] = []
        self._next_delete = 0.0
        self.is_degraded = False
        self._in_memory: dict[PendingRecord, None] = {}  # Undurable, in order of acceptance.
        self._news: Exception | str | None = None
        self.undurable = self.set_aside = 0

    def reset_after_fork(self) -> None:
        """Begin anew in a forked child: the parent's journals and accounts are the parent's.

        What was proven of the table holds here too, and what was closed stays closed.
        """
        self._begin()

    def _backlogs(self) -> list[Backlog]:
        own = self._own
        return [*self._adopted, *([] if own is None else [own])]

    def holds(self, path: Path) -> bool:
        """Return whether the journal at ``path`` is held here."""
        return any(backlog.journal.path == path for backlog in self._backlogs())

    def is_inside(self) -> bool:
        """Return whether this thread was interrupted in here, or while it opens a journal."""
        own = self._own
        return (
            self._is_locked()
            or self._is_opening()
            or (own is not None and own.journal.is_inside())
            or (bool(self._adopted) and any(each.journal.is_inside() for each in self._adopted))
        )

    @property
    def on_disk(self) -> int:
        """Pending records that are on disk only."""
        return sum(backlog.on_disk for backlog in (*self._backlogs(), *self._lost))

    @property
    def bytes(self) -> int:
        """The size of all held records on disk, roughly."""
        return sum(backlog.bytes for backlog in self._backlogs())

    def accept(
        self,
        record: PendingRecord,
        offer: Callable[[PendingRecord], bool],
        *,
        is_late: bool = False,
    ) -> str | None:
        """Commit a record to the journal and hand it to the queue; return why not, or None.

        What the queue has no room for, or what follows others that are on disk only, is on
        disk only. All of it is one step: no other thread sees a record that is committed and has
        no place, nor one that is counted and then refused.

        Args:
            record: The record.
            offer: Takes it into the queue; False when that has no room.
            is_late: Whether it was promised to its caller before this store refused new ones.
        """
        with self._lock:
            refusal = self._take_in(record, offer, is_late)
            own = self._own
        if self._news is not None:
            self._report_trouble()
            self._ask(Chore.REGAIN)
        if own is not None:
            self._ask_for_chores(own)
        return refusal

    def _take_in(
        self, record: PendingRecord, offer: Callable[[PendingRecord], bool], is_late: bool
    ) -> str | None:
        if self._refuses and not is_late:
            return "stopped"
        own = None if self._directory is None else self._find_own(self._directory)
        if own is not None:
            if own.bytes + record.size + ROW_OVERHEAD > self._max_bytes:
                return "full"
            if self._commit(own, record):
                self.ledger.count(accepted=1)
                record.since = self._ages.enter()
                if own.on_disk or not offer(record):
                    own.leave_on_disk(record)
                else:
                    own.handed_out = record.seq
                return None
        record.since = self._ages.enter()
        if not offer(record):
            self._stop_ages([record])
            return "full"
        self.ledger.count(accepted=1)
        if self._directory is not None:
            self.undurable += 1
            self._in_memory[record] = None
        return None

    def _find_own(self, directory: JournalDirectory) -> Backlog | None:
        """Return this process's journal, making it if need be; None while it cannot be."""
        if self.is_degraded:
            return None  # It is tried in the background: a disk that hangs must not stop a caller.
        if self._own is None:
            try:
                self._own = Backlog(directory.create(self._target, sync=self._sync), self._ages)
            except (OSError, sqlite3.Error, JournalError) as error:
                self._degrade(error)
                return None
            self._stamp(self._own)
        return self._own

    def _commit(self, own: Backlog, record: PendingRecord) -> bool:
        try:
            own.append(record)
        except (OSError, sqlite3.Error, JournalError) as error:
            self._degrade(error)
            return False
        return True

    def _degrade(self, error: Exception) -> None:
        """Have records go to memory only, until :meth:`regain` succeeds."""
        self.is_degraded, self._news = True, error
        if self._own is not None:
            self._own.journal.want_checkpoint()

    def regain(self) -> bool:
        """Write into the journal what is in memory only, in the order in which it was accepted.

        Until all of it is there, new records go to memory too, so as not to overtake it. The
        records stay in the queue as well. When the process is killed meanwhile, the journal
        has a part of them, each once.

        Returns:
            False when the disk still fails.
        """
        if self._directory is None or not (self.is_degraded or self._in_memory):
            return True
        try:
            own = self._own or self._begin_own(self._directory)
            own.journal.prove_writable()
            is_done = self._write_down(own)
        except (OSError, sqlite3.Error, JournalError) as error:
            with self._lock:
                self._degrade(error)
            is_done = False
        self._report_trouble()
        if self._own is not None:
            self._ask_for_chores(self._own)
        return is_done

    def _begin_own(self, directory: JournalDirectory) -> Backlog:
        held = directory.create(
            self._target, sync=self._sync
        )  # Without the lock: it may take long.
        with self._lock:
            if self._own is None and not self._is_closed:
                self._own = Backlog(held, self._ages)
                self._stamp(self._own)
                return self._own
        held.close()
        raise JournalError("another one was begun meanwhile")

    def _write_down(self, own: Backlog) -> bool:
        written = 0
        while True:
            with self._lock:
                if own is not self._own:
                    return False  # Somebody moved or damaged it.
                records = self._next_in_memory()
                if not records:
                    if self.is_degraded:
                        self._news = (
                            f"the journal is written again; {written} records that were in "
                            "memory only are in it now"
                        )
                    self.is_degraded = False
                    return True
                own.append_all(records)
                for record in records:
                    del self._in_memory[record]
                written += len(records)
                self.undurable -= len(records)

    def _next_in_memory(self) -> list[PendingRecord]:
        chosen: list[PendingRecord] = []
        room = WRITTEN_AT_ONCE
        for record in self._in_memory:
            if room < 0:
                break
            room -= record.size + ROW_OVERHEAD
            chosen.append(record)
        return chosen

    def _report_trouble(self) -> None:
        """Log why records are in memory only, or that they no longer are."""
        with self._lock:
            news, self._news, own = self._news, None, self._own
        if isinstance(news, str):
            self._log.warn("recovery", news)
        elif news is not None:
            if own is None:
                self._warn("make", news)
            else:
                self._handle("write", news, own)
            self._emit_degraded(f"{type(news).__name__}: {news}")

    def _emit_degraded(self, why: str) -> None:
        self._reports.events.emit(DeliveryEventKind.DEGRADED, 1, why)

    def _ask_for_chores(self, own: Backlog) -> None:
        if own.journal.wants_checkpoint:
            self._ask(Chore.CHECKPOINT)
        # Else the next batch pulls.
        if own.on_disk and self.on_disk >= self.ledger.accounts.pending:
            self._ask(Chore.PULL)

    def count_refusal(self, reason: str) -> None:
        """Count a record that was not accepted."""
        with self._lock:
            self.ledger.refuse(reason)

    def refuse_new(self) -> None:
        """Accept only what is late from now on."""
        with self._lock:
            self._refuses = True

    def take(self, limit: int) -> list[PendingRecord]:
        """Load records that are on disk only into memory, those of dead processes first.

        To one thread at a time; and to none that was interrupted in here.
        """
        if self._is_locked():
            return []
        with self._lock:
            if self._is_taking or self._is_closed:
                return []
            self._is_taking = True
        try:
            return self._take_first(limit)
        finally:
            self._is_taking = False

    def _take_first(self, limit: int) -> list[PendingRecord]:
        for backlog in self._backlogs():
            if backlog.on_disk:
                try:
                    records = self._take_from(backlog, limit)
                except sqlite3.Error as error:
                    self._handle("read", error, backlog)
                    continue
                if records:
                    return records
        return []

    def _take_from(self, backlog: Backlog, limit: int) -> list[PendingRecord]:
        while True:
            rows = backlog.read(limit)  # Without the lock: a long read must not stop a caller.
            with self._lock:
                records, damaged = backlog.hand_out(rows)
                lost_watches = [] if damaged else backlog.take_lost_watches()
            self._reports.report(Fate.DEAD, 0, lost_watches, DAMAGED)
            for row in damaged:
                self._bury_damaged(backlog, row)
            if records:
                return records
            if not rows:
                self._give_up_missing(backlog)
                return []

    def _bury_damaged(self, backlog: Backlog, row: JournalRow) -> None:
        """Keep a damaged row as a dead letter: it is not the record that was put."""
        try:
            backlog.journal.bury(row.seq, DAMAGED, 0)
        except sqlite3.Error as error:
            self._handle("mark a damaged record in", error, backlog)
        name = backlog.journal.path.name
        self._log.warn(
            "damaged", f"record {row.seq} in journal {name} is damaged: kept as a dead letter"
        )
        self._count_dead(1, [backlog.watches.pop(row.seq, None)], DAMAGED)

    def _give_up_missing(self, backlog: Backlog) -> None:
        """Count what was there and is not: gone with a damaged page, or deleted by hand."""
        with self._lock:
            # Nothing is appended meanwhile: what is on disk and is not found never will be.
            if backlog.read(1):
                return
            missing, watches = backlog.give_up()
        if missing:
            self._count_dead(missing, watches, f"not found in journal {backlog.journal.path.name}")

    def _count_dead(self, records: int, watches: Iterable[Watch | None], reason: str) -> None:
        """Count records that are dead letters from now on, and report it."""
        with self._lock:
            self.ledger.count(dead=records)
        self._reports.report(Fate.DEAD, records, watches, reason)

    def settle(self, records: list[PendingRecord], fate: Fate) -> bool:
        """Count records as delivered or dropped, delete their rows, and report it.

        Rows of delivered ones may wait for others, as long as some are pending: one commit for
        many rows costs half. After a crash in between they are sent once more, under their keys.

        Returns:
            False when rows are still to be deleted.
        """
        count = len(records)
        is_delivered = fate is Fate.DELIVERED
        with self._lock:
            if is_delivered:
                self.ledger.count(delivered=count)
            else:
                self.ledger.count(dropped=count)
            self._stop_ages(records)
            if not self._settled:
                self._next_delete = self._clock() + LATEST_DELETE
            for record in records if self._in_memory else ():
                self._in_memory.pop(record, None)
            self._settled += [
                record
                for record in records
                if record.backlog is not None and not record.backlog.is_lost
            ]
            waits = is_delivered and self.ledger.accounts.pending > 0
        if not waits or self._must_delete():
            self.delete_settled()
        self._reports.report(fate, count, (record.watch for record in records))
        return not self._settled

    def _stop_ages(self, records: list[PendingRecord]) -> None:
        """Count, with the lock held, that these wait no more."""
        for record in records:
            if record.since is not None:
                self._ages.leave(record.since)
                record.since = None

    def resume_ages(self, records: list[PendingRecord]) -> None:
        """Have those wait that are about to be sent and were dead letters of the queue."""
        resumed = [record for record in records if record.since is None]
        if resumed:
            with self._lock:
                for record in resumed:
                    record.since = self._ages.enter()

    @property
    def oldest_pending_seconds(self) -> float:
        """For how long the oldest record has waited that is not settled; 0.0 without any."""
        with self._lock:
            return self._ages.find_oldest()

    def _must_delete(self) -> bool:
        count = len(self._settled)
        return count >= DELETES_AT_ONCE or (count > 0 and self._clock() >= self._next_delete)

    def delete_late(self) -> None:
        """Delete settled rows that have waited long enough for others."""
        if self._must_delete():
            self.delete_settled()

    def delete_settled(self) -> bool:
        """Delete the rows that wait for it; False when none could be."""
        with self._lock:
            settled, self._settled = self._settled, []
        by_backlog: dict[Backlog, list[PendingRecord]] = {}
        for record in settled:
            if record.backlog is not None:
                by_backlog.setdefault(record.backlog, []).append(record)
        done = [
            self._delete(backlog, rows[start : start + DELETES_AT_ONCE])
            for backlog, rows in by_backlog.items()
            for start in range(0, len(rows), DELETES_AT_ONCE)
        ]
        return any(done)

    def _delete(self, backlog: Backlog, records: list[PendingRecord]) -> bool:
        try:
            backlog.journal.delete([record.seq for record in records])
        except sqlite3.Error as error:
            # They are delivered: after a crash they are sent once more, under their keys.
            with self._lock:
                if self._is_closed:
                    return False
                self._settled += records
            self._handle("delete settled records from", error, backlog)
            return False
        with self._lock:
            backlog.forget(records)
            is_done = backlog in self._adopted and not backlog.rows
            if is_done:
                self._adopted.remove(backlog)
        if is_done:
            backlog.held.close()
        elif backlog is self._own and backlog.journal.wants_checkpoint:
            self._ask(Chore.CHECKPOINT)
        return True

    def bury(self, record: PendingRecord, reason: str) -> bool:
        """Make a record and those that it replaced dead letters, and report it.

        Returns:
            False when not all of them have a row that can be written: then the queue is to keep
            the record, which stands for all. Some here and some there would come back twice.
        """
        chain = list(record.chain())
        has_rows = all(each.backlog is not None and not each.backlog.is_lost for each in chain)
        is_buried = has_rows and all(self._bury_row(each, reason) for each in chain)
        with self._lock:
            self._stop_ages(chain)
        self._count_dead(len(chain), [each.watch for each in chain], reason)
        return is_buried

    def _bury_row(self, record: PendingRecord, reason: str) -> bool:
        if record.backlog is None:
            return False
        try:
            record.backlog.journal.bury(record.seq, reason, record.attempts)
        except sqlite3.Error as error:
            self._handle("mark a dead letter in", error, record.backlog)
            return False
        return True

    def read_dead(self) -> list[tuple[Backlog, JournalRow]]:
        """Return the dead letters of all held journals."""
        with self._lock:
            backlogs = self._backlogs()
        found: list[tuple[Backlog, JournalRow]] = []
        for backlog in backlogs:
            try:
                found += [(backlog, row) for row in iterate(backlog.journal.read_dead)]
            except sqlite3.Error as error:
                self._handle("read dead letters of", error, backlog)
        return found

    def redrive(self, match: Callable[[Key], bool] | None, redrive_queue: Callable[[], int]) -> int:
        """Make dead letters pending again, except damaged ones; return how many.

        Args:
            match: Returns True for the PK and SK of one to redrive; None is all.
            redrive_queue: Does the same for those that the queue keeps.
        """
        redriven = 0
        for backlog, row in self.read_dead():
            if match is None or ((key := find_key(row.item)) is not None and match(key)):
                redriven += self._redrive_row(backlog, row)
        with self._lock:
            in_memory = redrive_queue()
            self.ledger.count(dead=-in_memory)
        return redriven + in_memory

    def _redrive_row(self, backlog: Backlog, row: JournalRow) -> bool:
        try:
            with self._lock:
                is_redriven = backlog.redrive(row)
                self.ledger.count(dead=-is_redriven)
                return is_redriven
        except sqlite3.Error as error:
            self._handle("redrive dead letters of", error, backlog)
            return False

    def adopt(self, held: HeldJournal) -> bool:
        """Deliver a dead process's records as one's own; False when this store is closed."""
        records = held.counts.pending + held.counts.dead
        with self._lock:
            if self._is_closed:
                return False
            self.ledger.count(adopted=records, dead=held.counts.dead)
            self._adopted.append(Backlog(held, self._ages, is_adopted=True))
        self._reports.events.emit(DeliveryEventKind.ADOPTED, records)
        return True

    def remember(self, notes: Mapping[str, str]) -> None:
        """Note, here and in the journal, what was learned of the table of these records."""
        with self._lock:
            self._learned |= notes
            own = self._own
        if own is not None:
            self._stamp(own)

    @property
    def has_room(self) -> bool:
        """Whether another journal may be adopted: each keeps some files open."""
        return len(self._adopted) < MAX_ADOPTED

    def check_own(self) -> None:
        """Begin a new journal if this one was moved or deleted. Called now and then."""
        own = self._own
        try:
            if own is None or own.held.is_still_ours():
                return
        except OSError as error:
            self._warn("look after", error)
            return
        with self._lock:
            if own is not self._own:
                return
            self._own = None
            self._adopted.append(own)  # What of it is on disk only can still be read.
            self.undurable += own.rows
        what = f"journal {own.journal.path.name} was moved or deleted"
        self._log.warn("place", f"{what}: its {own.rows} records end with this process")
        self._emit_degraded(what)

    def checkpoint(self) -> None:
        """Copy the journal's write-ahead log into its database."""
        own = self._own
        if own is not None:
            try:
                own.journal.checkpoint()
            except sqlite3.Error as error:
                self._handle("checkpoint", error, own)

    @property
    def has_journal(self) -> bool:
        """Whether this process has a journal of its own by now."""
        return self._own is not None

    def close(self) -> Left:
        """Leave what is not settled to the next process, and delete what is empty."""
        self.delete_settled()
        self.regain()  # The disk may work again by now.
        with self._lock:
            self._is_closed = True
            backlogs = self._backlogs()
            self._own, self._adopted = None, []
        left = Left()
        for backlog in backlogs:
            with suppress(sqlite3.Error, OSError):
                if backlog.rows and backlog.held.is_still_ours():  # Else no process will find it.
                    pending = backlog.journal.count().pending
                    left.pending += pending
                    noted = Evidence.read(backlog.journal.read_target())
                    left.unproven += pending if noted.standing is Standing.UNPROVEN else 0
            backlog.held.close()
        return left

    def _stamp(self, own: Backlog) -> None:
        if self._learned:
            with suppress(sqlite3.Error):  # Tried again with the next look.
                own.journal.write_notes(self._learned.items())

    def _set_aside(self, backlog: Backlog) -> None:
        """Move a damaged journal out of the way; what is whole in it, or in memory, goes on."""
        with self._lock:
            if backlog.is_lost or self._directory is None:
                return
            backlog.is_lost = True
            self._lost.append(backlog)
            self._settled = [each for each in self._settled if each.backlog is not backlog]
            if backlog is self._own:
                self._own = None  # The next record begins a new one.
                self.is_degraded = False
            elif backlog in self._adopted:
                self._adopted.remove(backlog)
        # Not closed: SQLite would copy the log into a damaged database, and delete it.
        backlog.journal.abandon()
        rescued = self._rescue(self._directory, backlog)
        backlog.held.lease.release(unlink=True)
        with self._lock:
            missing = backlog.on_disk
            if rescued is not None:
                missing = max(0, missing - rescued.counts.pending)
                self._adopted.append(backlog.continue_in(rescued))
            _, watches = backlog.give_up()
            self._lost.remove(backlog)
            if rescued is not None and self._is_closed:
                rescued.close()  # For the next process.
        what = f"journal {backlog.journal.path.name} is damaged"
        self.report_set_aside(what)
        self._count_dead(missing, watches, what)

    def _rescue(self, directory: JournalDirectory, backlog: Backlog) -> HeldJournal | None:
        try:
            return directory.rescue(backlog.journal.path, backlog.handed_out, backlog.kept)
        except (OSError, sqlite3.Error, JournalError) as error:
            self._warn("rescue what is whole in", error)
        with suppress(OSError):
            directory.set_aside(backlog.journal.path)
        return None

    def report_set_aside(self, why: str) -> None:
        """Count and say that a damaged journal was set aside."""
        with self._lock:
            self.set_aside += 1
        _logger.warning("%s; it is set aside, see docs/journal.md", why)
        self._reports.events.emit(DeliveryEventKind.SET_ASIDE, 0, why)

    def _handle(self, what: str, error: Exception, backlog: Backlog) -> None:
        """Log what went wrong with a journal, and set it aside if it is damaged."""
        self._warn(what, error)
        if is_corruption(error):
            self._set_aside(backlog)

    def _warn(self, what: str, error: Exception) -> None:
        # Of SQLite's and the system's errors: they name files and codes, never a record.
        self._log.warn(what, f"cannot {what} the journal: {type(error).__name__}: {error}")
