"""Where accepted records are kept on disk: this process's journal and those that it adopted."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path
from typing import Final

from receipt_dynamo.data.delivery.backlog import Backlog
from receipt_dynamo.data.delivery.backlog_reader import BacklogReader
from receipt_dynamo.data.delivery.journal_health import JournalHealth
from receipt_dynamo.data.delivery.pending_record import PendingRecord, Watch
from receipt_dynamo.data.journal.directory import (
    HeldJournal,
    JournalDirectory,
    JournalTarget,
)
from receipt_dynamo.data.journal.file import JournalError, is_corruption
from receipt_dynamo.data.journal.journal import ROW_OVERHEAD, DeadRow
from receipt_dynamo.data.journal.peek import iterate
from receipt_dynamo.data.table.identity import TABLE_ARN
from receipt_dynamo.utils.fork_safety import no_fork
from receipt_dynamo.utils.interruption import make_check
from receipt_dynamo.utils.log_limiter import LogLimiter

_logger = logging.getLogger(__name__)

DELETES_AT_ONCE: Final = 250
"""Settled rows that are deleted in one commit, at most."""

MAX_ADOPTED: Final = 32
"""Journals of dead processes that one process delivers at a time; six open files each."""


class Placement(Enum):
    """Where a record was put."""

    JOURNAL = auto()
    MEMORY = auto()
    NOWHERE = auto()


class RecordStore:
    """This process's journal, made with the first record, and adopted ones. Thread-safe.

    When the journal cannot be written, records go to memory only: loudly, counted, and
    until it can be written again.

    Args:
        directory: Where journals are; None keeps everything in memory, by choice.
        target: The table that they are for.
        sync: Whether a commit also survives a loss of power.
        max_bytes: Bound of this process's journal.
        on_degraded: Told why a record is in memory only.
        on_damaged: Told how many pending records are damaged, why they are called so, and who
            watches them.
        on_set_aside: Told of each damaged journal that was set aside.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self,
        directory: JournalDirectory | None,
        target: JournalTarget,
        *,
        sync: bool,
        max_bytes: int,
        on_degraded: Callable[[str], object],
        on_damaged: Callable[[int, str, Iterable[Watch]], object],
        on_set_aside: Callable[[str], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._target = target
        self._sync = sync
        self._max_bytes = max_bytes
        self._on_degraded = on_degraded
        self._on_damaged = on_damaged
        self._on_set_aside = on_set_aside
        self._clock = clock
        self._log = LogLimiter(_logger, clock=clock)
        self._arn: str | None = None
        self._is_closed = False
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._is_locked, self._is_opening = make_check(self._lock), make_check(no_fork())
        self._reader = BacklogReader(
            self._lock, on_failure=self._handle, on_damaged=self._on_damaged, clock=self._clock
        )
        self._own: Backlog | None = None
        self._adopted: list[Backlog] = []
        self._lost: list[Backlog] = []
        self._is_taking = False
        self._health = JournalHealth(self._clock)
        self._settled: list[PendingRecord] = []
        self.set_aside = 0

    def reset_after_fork(self) -> None:
        """Begin anew in a forked child: the parent's journals are the parent's.

        What was proven of the table holds here too, and what was closed stays closed.
        """
        self._begin()

    def _backlogs(self) -> list[Backlog]:
        own = self._own
        return [*self._adopted, *([] if own is None else [own])]

    def holds(self, path: Path) -> bool:
        """Tell whether the journal at ``path`` is held here."""
        return any(backlog.journal.path == path for backlog in self._backlogs())

    def is_inside(self) -> bool:
        """Tell whether the calling thread was interrupted in here, or while it opens a journal."""
        own = self._own
        return (
            self._is_locked()
            or self._is_opening()
            or (own is not None and own.journal.is_inside())
            or (bool(self._adopted) and any(each.journal.is_inside() for each in self._adopted))
        )

    @property
    def waiting(self) -> int:
        """Pending records that are on disk only."""
        return sum(backlog.waiting for backlog in (*self._backlogs(), *self._lost))

    @property
    def bytes(self) -> int:
        """What all held records take on disk, roughly."""
        return sum(backlog.bytes for backlog in self._backlogs())

    @property
    def is_degraded(self) -> bool:
        """Whether new records are in memory only although a journal is wanted."""
        return self._health.is_degraded

    @property
    def undurable(self) -> int:
        """Records that were accepted into memory only although a journal is wanted."""
        return self._health.undurable

    @property
    def spills(self) -> bool:
        """Whether new records wait on disk only, behind others that do."""
        own = self._own
        return own is not None and own.waiting > 0

    @property
    def wants_checkpoint(self) -> bool:
        """Whether :meth:`checkpoint` is due."""
        own = self._own
        return own is not None and own.journal.wants_checkpoint

    def append(self, record: PendingRecord) -> Placement:
        """Commit ``record`` to this process's journal, if that can be."""
        if self._directory is None:
            return Placement.MEMORY
        with self._lock:
            try:
                own = self._find_own(self._directory)
                if own is not None:
                    if own.bytes + record.size + ROW_OVERHEAD > self._max_bytes:
                        return Placement.NOWHERE
                    own.append(record)
                    if self._health.is_degraded:
                        self._health.note_recovery()
                    return Placement.JOURNAL
            except (OSError, sqlite3.Error, JournalError) as error:
                self._health.note_failure(error)
                if self._own is not None:
                    self._own.journal.want_checkpoint()
            self._health.undurable += 1
        return Placement.MEMORY

    def report_trouble(self) -> None:
        """Say why records are in memory only, or no more; for after the locks are free."""
        news, own = self._health.news, self._own
        if news is None:
            return
        self._health.news = None
        if isinstance(news, str):
            self._log.warn("recovery", news)
            return
        if own is None:
            self._warn("make", news)
        else:
            self._handle("write", news, own)
        self._on_degraded(f"{type(news).__name__}: {news}")

    def keep_in_memory(self, record: PendingRecord) -> None:
        """Note that the record just appended is with the queue."""
        if record.backlog is not None:
            record.backlog.keep_in_memory(record)

    def spill(self, record: PendingRecord) -> None:
        """Note that the record just appended is on disk only."""
        if record.backlog is not None:
            with self._lock:
                record.backlog.spill(record)

    def take(self, limit: int) -> list[PendingRecord]:
        """Hand out waiting records, those of dead processes first."""
        with self._lock:
            if self._is_taking or self._is_closed:
                return []
            self._is_taking = True
        try:
            return self._reader.read_first(self._backlogs(), limit)
        finally:
            self._is_taking = False

    def forget(self, records: Iterable[PendingRecord], *, at_once: bool) -> bool:
        """Delete the rows of records that are settled, or given up.

        Args:
            records: Which ones.
            at_once: False lets them wait for others: one commit for many rows costs half.
                After a crash in between they are sent once more, under their keys.

        Returns:
            False when rows are still to be deleted.
        """
        with self._lock:
            self._settled += [
                record
                for record in records
                if record.backlog is not None and not record.backlog.is_lost
            ]
            waits = not at_once and len(self._settled) < DELETES_AT_ONCE
        if not waits:
            self.delete_settled()
        return not self._settled

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
            # Delivered all the same: after a crash they are sent once more, under their keys.
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
        return True

    def bury(self, record: PendingRecord, reason: str) -> bool:
        """Make the record's row a dead letter; False when it has none, or cannot be written."""
        if record.backlog is None or record.backlog.is_lost:
            return False
        try:
            record.backlog.journal.bury(record.seq, reason, record.attempts)
        except sqlite3.Error as error:
            self._handle("mark a dead letter in", error, record.backlog)
            return False
        return True

    def read_dead(self) -> list[tuple[Backlog, DeadRow]]:
        """Return the dead letters of all held journals."""
        with self._lock:
            backlogs = self._backlogs()
        found: list[tuple[Backlog, DeadRow]] = []
        for backlog in backlogs:
            with suppress(sqlite3.Error):
                found += [(backlog, row) for row in iterate(backlog.journal.read_dead)]
        return found

    def revive(self, letters: Iterable[tuple[Backlog, DeadRow]]) -> int:
        """Make dead letters pending again, except damaged ones; return how many."""
        revived = 0
        for backlog, row in letters:
            try:
                with self._lock:
                    revived += backlog.revive(row)
            except sqlite3.Error as error:
                self._handle("redrive dead letters of", error, backlog)
        return revived

    def adopt(self, held: HeldJournal) -> bool:
        """Deliver a dead process's records as one's own; False when this store is closed."""
        with self._lock:
            if self._is_closed:
                return False
            self._adopted.append(Backlog(held, is_adopted=True))
        return True

    def note_arn(self, arn: str) -> None:
        """Note which table this process's records are for, by proof."""
        with self._lock:
            self._arn = arn
            own = self._own
        if own is not None:
            self._stamp(own)

    @property
    def has_room(self) -> bool:
        """Whether another journal may be adopted: each keeps some files open."""
        return len(self._adopted) < MAX_ADOPTED

    def keep_own(self) -> None:
        """Begin a new journal when somebody moved or deleted this one; for now and then."""
        own = self._own
        try:
            if own is None or own.held.keep():
                return
        except OSError as error:
            self._warn("look after", error)
            return
        with self._lock:
            if own is not self._own:
                return
            self._own = None
            self._adopted.append(own)  # What of it waits on disk can still be read.
            self._health.undurable += own.rows
        what = f"journal {own.journal.path.name} was moved or deleted by somebody"
        self._log.warn("place", f"{what}: its {own.rows} records end with this process")
        self._on_degraded(what)

    def checkpoint(self) -> None:
        """Copy the journal's write-ahead log into its database."""
        own = self._own
        if own is not None:
            try:
                own.journal.checkpoint()
            except sqlite3.Error as error:
                self._handle("checkpoint", error, own)

    def close(self) -> int:
        """Leave what is not settled to the next process, and delete what is empty.

        Returns:
            How many pending records the journals hold.
        """
        self.delete_settled()
        with self._lock:
            self._is_closed = True
            backlogs = self._backlogs()
            self._own, self._adopted = None, []
        pending = 0
        for backlog in backlogs:
            with suppress(sqlite3.Error, OSError):
                if backlog.rows and backlog.held.keep():  # Else nobody will find it.
                    pending += backlog.journal.count().pending
            backlog.held.close()
        return pending

    def _find_own(self, directory: JournalDirectory) -> Backlog | None:
        """Return this process's journal, making it if need be; with the lock held.

        None while it is not yet time to try again.
        """
        if self._health.is_degraded and not self._health.is_time_to_try:
            return None
        if self._own is None:
            held = directory.create(self._target, sync=self._sync)
            self._own = Backlog(held)
            self._stamp(self._own)
        return self._own

    def _stamp(self, own: Backlog) -> None:
        if self._arn is not None:
            with suppress(sqlite3.Error):  # Unproven, it is left alone until it is proven.
                own.journal.note_target([(TABLE_ARN, self._arn)])

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
                self._health.begin_anew()
            elif backlog in self._adopted:
                self._adopted.remove(backlog)
        # Not closed: SQLite would copy the log into a damaged database, and delete it.
        backlog.journal.abandon()
        rescued = self._rescue(self._directory, backlog)
        backlog.held.lease.release(unlink=True)
        with self._lock:
            missing = backlog.waiting
            if rescued is not None:
                missing = max(0, missing - rescued.counts.pending)
                self._adopted.append(backlog.continue_in(rescued))
            _, watches = backlog.give_up_waiting()
            self._lost.remove(backlog)
            if rescued is not None and self._is_closed:
                rescued.close()  # For the next process.
        what = f"journal {backlog.journal.path.name} is damaged"
        self.note_set_aside(what)
        self._on_damaged(missing, what, watches)

    def _rescue(self, directory: JournalDirectory, backlog: Backlog) -> HeldJournal | None:
        try:
            return directory.rescue(backlog.journal.path, backlog.handed_out)
        except (OSError, sqlite3.Error, JournalError) as error:
            self._warn("rescue what is whole in", error)
        with suppress(OSError):
            directory.set_aside(backlog.journal.path)
        return None

    def note_set_aside(self, why: str) -> None:
        """Say and count that a damaged journal was set aside."""
        with self._lock:
            self.set_aside += 1
        _logger.warning("%s; it is set aside, see docs/journal.md", why)
        self._on_set_aside(why)

    def _handle(self, what: str, error: Exception, backlog: Backlog) -> None:
        """Say what went wrong with a journal, and set it aside if it is damaged."""
        self._warn(what, error)
        if is_corruption(error):
            self._set_aside(backlog)

    def _warn(self, what: str, error: Exception) -> None:
        # Of SQLite's and the system's errors: they name files and codes, never a record.
        self._log.warn(what, f"cannot {what} the journal: {type(error).__name__}: {error}")
