"""One journal: a SQLite file that holds records on disk until they are settled.

A record is committed before ``put`` returns, and its row goes when DynamoDB has confirmed
it. The row holds the very bytes that go on the wire, and a mark that proves them: SQLite
checks the structure of its pages, not what they hold.
"""

from __future__ import annotations

import ctypes
import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from receipt_dynamo.data.journal.file import (
    BUSY_TIMEOUT,
    UNFINISHED,
    CorruptJournalError,
    JournalError,
    check_version,
    connect,
    is_corruption,
    list_files,
    list_unfinished,
    make_file,
    mark_of,
    run,
    upgrade,
    use_log,
)
from receipt_dynamo.utils.fork_safety import make_awaited_lock, no_fork, reset_in_child
from receipt_dynamo.utils.interruption import make_check

ROW_OVERHEAD: Final = 64
"""Bytes that a row takes beside its item, roughly: keys of the tree, headers, free space."""

CHECKPOINT_COMMITS: Final = 2_000
"""Commits after which the write-ahead log is copied into the database: about 8 MiB of log,
because a commit writes one page of 4 KiB, or two."""

LONGEST_LOG: Final = 32 * CHECKPOINT_COMMITS
"""Commits in the log beyond which callers wait until it is copied: about 256 MiB."""

_COPIES: Final = 10
"""How often in a row it is tried to copy the log while no commit comes in."""

_ERASED_AT_ONCE: Final = 500
_READ_AT_ONCE: Final = 8 * 1024 * 1024
_BEFORE_ALL: Final = -(2**63)
_HIGHEST_SEQ: Final = 2**62
_inherited: Final[set[str]] = set()


class JournalRow(NamedTuple):
    """A record on disk.

    Attributes:
        seq: Its number.
        item: DynamoDB's JSON of its item.
        is_whole: Whether it matches its mark; else it is damaged.
        reason: Why it is a dead letter; None while it is pending.
        attempts: How often it was sent when it became a dead letter; 0 if it never was one.
    """

    seq: int
    item: bytes
    is_whole: bool
    reason: str | None = None
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class JournalCounts:
    """The numbers of a journal's rows.

    Attributes:
        pending: Records to be delivered.
        dead: Dead letters.
        bytes: Size of both, with an estimate of what a row takes beside its item.
    """

    pending: int
    dead: int
    bytes: int


NOTHING: Final = JournalCounts(0, 0, 0)


class Journal:
    """An open journal. Thread-safe; each change is one commit.

    Args:
        path: The database file.
        writer: The connection that changes rows.
        reader: The connection for reading; by default it is made when it is needed.
    """

    def __init__(
        self,
        path: Path,
        writer: sqlite3.Connection,
        reader: sqlite3.Connection | None = None,
    ) -> None:
        self.path = path
        self._writer = writer
        self._reader = reader
        # A fork waits for both: SQLite's own locks would stay held in the child.
        self._lock = make_awaited_lock()
        self._reading = make_awaited_lock()
        self._is_writing, self._is_reading = make_check(self._lock), make_check(self._reading)
        self._last_seq = 0
        self._commits = 0
        self._changes = self._changes_at_cut = 0
        self._may_relax = False
        self._snapshot: sqlite3.Cursor | None = None
        reset_in_child(self)

    @classmethod
    def create(cls, path: Path, *, notes: Iterable[tuple[str, str]] = (), sync: bool) -> Journal:
        """Make a new journal, private to the user. It is there as a whole or not at all.

        Args:
            path: A file that is not there yet.
            notes: What to store about the table.
            sync: Whether a commit also survives a loss of power.

        Raises:
            OSError: The directory cannot be written.
            sqlite3.Error: The disk is full, read-only or broken.
            JournalError: The file system has no write-ahead log.
        """
        unfinished = path.with_suffix(UNFINISHED)
        try:
            with no_fork():
                make_file(unfinished, notes, sync=sync)
            unfinished.rename(path)
            return cls._open(path, sync=sync, may_relax=not sync)
        except BaseException:
            for name in (*list_unfinished(path), *list_files(path)):
                with suppress(OSError):
                    name.unlink()
            raise

    @classmethod
    def open(cls, path: Path) -> Journal:
        """Open the journal that another process left; see journal_check for its damage.

        Raises:
            CorruptJournalError: The file is damaged, or is no journal.
            NewerJournalError: A newer release made it.
            sqlite3.Error: The disk is full, read-only or broken.
        """
        try:
            return cls._open(path, sync=False, may_relax=False)
        except sqlite3.DatabaseError as error:
            if is_corruption(error):
                raise CorruptJournalError(f"journal {path.name} is damaged: {error}") from error
            raise

    @classmethod
    def _open(cls, path: Path, *, sync: bool, may_relax: bool) -> Journal:
        with no_fork():
            journal = cls(path, connect(path))
            try:
                upgrade(journal._writer, check_version(journal._writer, path))
                use_log(journal._writer, path, synchronous="FULL" if sync else "NORMAL")
                journal._may_relax = may_relax
                journal._relax(is_cut=True)
                journal._last_seq = journal._find_last_seq()
            except BaseException:
                journal.close()
                raise
            return journal

    def _find_last_seq(self) -> int:
        ((last,),) = self._read("SELECT MAX(seq) FROM records", ())
        # A damaged number may be any; those that follow must not collide, nor overflow.
        return min(max(last or 0, 0), _HIGHEST_SEQ)

    def is_inside(self) -> bool:
        """Return whether the calling thread was interrupted in here."""
        return self._is_writing() or self._is_reading()

    @property
    def wants_checkpoint(self) -> bool:
        """Whether the write-ahead log has grown enough to be copied."""
        return self._commits >= CHECKPOINT_COMMITS

    def want_checkpoint(self) -> None:
        """Have the log copied soon: on a full disk, it has room where it begins again."""
        self._commits = CHECKPOINT_COMMITS

    def append(self, item: bytes) -> int:
        """Commit a record; return its number.

        Raises:
            sqlite3.Error: It could not be written; nothing is.
        """
        with self._lock:
            seq = self._last_seq + 1
            self._change(
                "INSERT INTO records (seq, item, mark) VALUES (?, ?, ?)",
                (seq, item, mark_of(seq, item)),
            )
            self._last_seq = seq
        return seq

    def append_all(self, items: Sequence[bytes]) -> range:
        """Commit records together; return their numbers.

        Raises:
            sqlite3.Error: They could not be written; none is.
        """
        with self._lock:
            seqs = range(self._last_seq + 1, self._last_seq + 1 + len(items))
            self.restore(
                [JournalRow(seq, item, True) for seq, item in zip(seqs, items, strict=True)]
            )
        return seqs

    def restore(self, rows: Sequence[JournalRow]) -> None:
        """Take over whole rows of another journal as they are, under their numbers.

        Raises:
            sqlite3.Error: They could not be written; none is.
        """
        sql = "INSERT INTO records (seq, item, reason, attempts, mark) VALUES (?, ?, ?, ?, ?)"
        with self._lock, self._writer:
            self._begin_snapshot()
            run(self._writer, "BEGIN")
            self._writer.executemany(sql, map(_to_columns, rows))
            self._last_seq = max([self._last_seq, *(row.seq for row in rows)])
            self._commits += len(rows)
            self._changes += len(rows)

    def delete(self, seqs: Sequence[int]) -> None:
        """Delete the rows of records that are settled."""
        marks = ",".join("?" * len(seqs))
        # The values are bound; only the number of marks varies.
        self._change(f"DELETE FROM records WHERE seq IN ({marks})", seqs)  # noqa: S608
        self._commits += len(seqs) // 4  # pages of 4 KiB that the rows were on

    def bury(self, seq: int, reason: str, attempts: int) -> None:
        """Make a record a dead letter."""
        self._change(
            "UPDATE records SET reason = ?, attempts = ? WHERE seq = ?", (reason, attempts, seq)
        )

    def redrive(self, row: JournalRow) -> int | None:
        """Make a dead letter a pending record, the last in order.

        Returns:
            Its new number; None when it is damaged.
        """
        if not row.is_whole:
            return None
        with self._lock:
            seq = self._last_seq = self._last_seq + 1
            self._change(
                "UPDATE records SET seq = ?, mark = ?, reason = NULL WHERE seq = ?",
                (seq, mark_of(seq, row.item), row.seq),
            )
        return seq

    def _change(self, sql: str, values: Sequence[Any]) -> None:
        with self._lock:
            self._begin_snapshot()
            try:
                run(self._writer, sql, values)
            except sqlite3.Error as error:
                self._end_snapshot()
                if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY_SNAPSHOT:
                    raise
                run(self._writer, sql, values)  # Somebody else has written meanwhile.
            self._commits += 1
            self._changes += 1

    def _begin_snapshot(self) -> None:
        """Have SQLite keep its read lock from commit to commit: half of a commit's system calls.

        It does so while a statement of the same connection is not read to its end.
        """
        if self._snapshot is None:
            with suppress(sqlite3.Error):  # Dispensable: the commit says what is wrong.
                self._snapshot = run(self._writer, "SELECT 1 FROM sqlite_master")

    def _end_snapshot(self) -> None:
        if self._snapshot is not None:
            with suppress(sqlite3.Error):
                self._snapshot.close()
            self._snapshot = None

    def read_pending(self, after: int | None, limit: int) -> list[JournalRow]:
        """Return the next pending records, in order; few when they are large.

        Args:
            after: Their numbers are above it; None begins with the first.
            limit: How many at most.
        """
        return self._read_page("reason IS NULL", after, limit)

    def read_dead(self, after: int | None, limit: int) -> list[JournalRow]:
        """Return the next dead letters, in order; the arguments are those of ``read_pending``."""
        return self._read_page("reason IS NOT NULL", after, limit)

    def _read_page(self, which: str, after: int | None, limit: int) -> list[JournalRow]:
        # ``which`` is one of ours. The cast: damage may have made a text of the bytes.
        sql = (
            "SELECT seq, CAST(item AS BLOB), reason, attempts, mark FROM records "  # noqa: S608
            f"WHERE seq > ? AND {which} ORDER BY seq LIMIT ?"
        )
        page: list[JournalRow] = []
        left = _READ_AT_ONCE
        values = (_BEFORE_ALL if after is None else after, limit)
        with self._reading, closing(run(self._connect_reader(), sql, values)) as rows:
            while left > 0 and (row := rows.fetchone()) is not None:
                page.append(_read_row(*row))
                left -= len(page[-1].item)
        return page

    def count(self) -> JournalCounts:
        """Count what is there, by reading all of it."""
        sql = "SELECT COUNT(*), COUNT(reason), COALESCE(SUM(LENGTH(item)), 0) FROM records"
        ((rows, dead, size),) = self._read(sql, ())
        return JournalCounts(rows - dead, dead, int(size) + rows * ROW_OVERHEAD)

    def is_empty(self) -> bool:
        """Return whether there is neither a pending record nor a dead letter."""
        return not self._read("SELECT 1 FROM records LIMIT 1", ())

    def find_damage(self) -> str | None:
        """Return what SQLite finds wrong with the file's structure, by reading all of it."""
        ((verdict,),) = self._read("PRAGMA quick_check(1)", ())
        return None if verdict == "ok" else " ".join(verdict.split())

    def read_target(self) -> dict[str, str]:
        """Return what is stored about the table that the records are for."""
        return dict(self._read("SELECT name, value FROM target", ()))

    def write_notes(self, values: Iterable[tuple[str, str]]) -> None:
        """Add notes about the table that the records are for; earlier notes stay as they are."""
        for name, value in values:
            self._change("INSERT OR IGNORE INTO target (name, value) VALUES (?, ?)", (name, value))

    def replace_notes(self, values: Mapping[str, str]) -> None:
        """Replace all notes about the table by these, as an operator confirms.

        Raises:
            sqlite3.Error: It could not be written; the earlier notes are still there.
        """
        sql = "INSERT INTO target (name, value) VALUES (?, ?)"
        with self._lock, self._writer:
            run(self._writer, "BEGIN")
            run(self._writer, "DELETE FROM target")
            self._writer.executemany(sql, values.items())

    def prove_writable(self) -> None:
        """Commit something that changes nothing.

        Raises:
            sqlite3.Error: It cannot be written.
        """
        sql = "INSERT OR REPLACE INTO target (name, value) VALUES ('process', ?)"
        self._change(sql, (str(os.getpid()),))

    def _read(self, sql: str, values: Sequence[Any]) -> list[Any]:
        """Read on a separate connection: a long read must not stop a caller's commit."""
        with self._reading:
            return run(self._connect_reader(), sql, values).fetchall()

    def _connect_reader(self) -> sqlite3.Connection:
        if self._reader is None:
            self._reader = connect(self.path)
        return self._reader

    def checkpoint(self) -> None:
        """Copy the write-ahead log into the database, and cut it, so that it begins again.

        Callers go on committing meanwhile, and wait for no sync to disk. The log is cut when no
        commit came in while it was copied; where there is no such moment, it grows to
        :data:`LONGEST_LOG`, and only then they wait.
        """
        self._commits = 0
        for _ in range(_COPIES):
            if self._copy_and_cut():
                return
        if self._changes - self._changes_at_cut >= LONGEST_LOG:
            with self._lock:
                self._copy_and_cut()

    def _copy_and_cut(self) -> bool:
        with self._lock:
            seen = self._changes
            # At the log's end, so that all of it can be copied. While there is a snapshot, no
            # commit begins the log again: SQLite would sync its header, in a caller's thread.
            self._end_snapshot()
            self._begin_snapshot()
        is_whole = self._copy_log()
        with self._lock:
            if not is_whole or self._changes != seen:
                return False
            self._end_snapshot()
            is_cut = self._cut_log()
            # Uncut, it begins again over frames of its former life, which needs the sync.
            self._relax(is_cut=is_cut)
            if is_cut:
                self._changes_at_cut = self._changes
            return True

    def _copy_log(self) -> bool:
        """Copy the log beside the commits that go on; return whether all of it is copied."""
        ((_, frames, copied),) = self._read("PRAGMA wal_checkpoint(PASSIVE)", ())
        return bool(frames == copied)

    def _cut_log(self) -> bool:
        """Cut the log, all of which is copied, to no length; False while somebody reads it."""
        with self._reading:
            reader = self._connect_reader()
            run(reader, "PRAGMA busy_timeout = 0")  # Callers wait here.
            ((is_busy, *_),) = run(reader, "PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            run(reader, f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT * 1000)}")
            return not is_busy

    def _relax(self, is_cut: bool) -> None:
        """Have commits sync nothing, where the log begins in an empty file.

        Else SQLite syncs the header of each log before its first commit ends, so that a loss of
        power cannot leave a new header before old frames. In an empty file there are none.
        """
        if self._may_relax:
            run(self._writer, f"PRAGMA synchronous = {'OFF' if is_cut else 'NORMAL'}")

    def erase(self, seqs: Sequence[int]) -> None:
        """Delete records so that no byte of them stays in the file, nor of any deleted before.

        Raises:
            JournalError: A process reads the file: bytes may be left, erase once more.
            sqlite3.Error: It could not be written: bytes may be left, erase once more.
        """
        with self._lock:
            run(self._writer, "PRAGMA secure_delete = ON")
            for start in range(0, len(seqs), _ERASED_AT_ONCE):
                self.delete(seqs[start : start + _ERASED_AT_ONCE])
            self._end_snapshot()
            # The free space still holds what was delivered and deleted before.
            run(self._writer, "VACUUM")
            ((is_busy, *_),) = self._read("PRAGMA wal_checkpoint(TRUNCATE)", ())
            if is_busy:
                raise JournalError(f"journal {self.path.name} is being read by another process")

    def close(self) -> None:
        """Close the file; what it holds stays."""
        # In the order of every other method: a checkpoint may be going on.
        with self._lock, self._reading:
            self._end_snapshot()  # Else SQLite keeps the file open, and its lock.
            with suppress(sqlite3.Error):
                self._relax(is_cut=False)  # The last one to be closed copies the log.
            for connection in (self._reader, self._writer):
                if connection is not None:
                    with suppress(sqlite3.Error):
                        connection.close()

    def abandon(self) -> None:
        """Leave the handles as they are, for ever: neither used nor closed by a destructor."""
        for handle in (self._reader, self._writer, self._snapshot):
            if handle is not None:
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(handle))
        self._snapshot = None
        # These were never opened: whoever still has this journal is refused, not obeyed.
        self._reader = self._writer = sqlite3.Connection.__new__(sqlite3.Connection)

    def reset_after_fork(self) -> None:
        """Abandon in a forked child what it inherited.

        Using or even closing it there would corrupt the parent's file ("How To Corrupt An
        SQLite Database File", section 2.6).
        """
        self.abandon()
        _inherited.add(self.path.name)


def _read_row(seq: int, item: bytes | None, reason: Any, attempts: Any, mark: Any) -> JournalRow:
    """Make a row of what a file holds, which may be damaged: of any type."""
    is_whole = item is not None and mark == mark_of(seq, item)
    return JournalRow(
        seq,
        item or b"",
        is_whole,
        None if reason is None else str(reason),
        attempts if isinstance(attempts, int) else 0,
    )


def _to_columns(row: JournalRow) -> tuple[int, bytes, str | None, int, int]:
    return row.seq, row.item, row.reason, row.attempts, mark_of(row.seq, row.item)


def was_inherited(path: Path) -> bool:
    """Return whether this process was forked while its parent had the journal open.

    SQLite here takes the parent's locks on it for its own, for as long as this process lives.
    """
    return path.name in _inherited
