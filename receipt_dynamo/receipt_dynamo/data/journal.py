"""One journal: a SQLite file that holds records on disk until they are settled.

A record is committed before ``put`` returns, and its row goes when DynamoDB has confirmed
it. The row holds the very bytes that go on the wire.
"""

from __future__ import annotations

import ctypes
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from receipt_dynamo.errors import ReceiptDynamoError

VERSION: Final = 1
"""Of the file's form, in SQLite's ``user_version``."""

UPGRADES: Final[dict[int, str]] = {}
"""SQL that brings a file of an older version to the next one, by the older version."""

ROW_OVERHEAD: Final = 64
"""Bytes that a row takes beside its item, roughly: keys of the tree, headers, free space."""

CHECKPOINT_COMMITS: Final = 2_000
"""Commits after which the write-ahead log is copied into the database: about 8 MiB of log,
because a commit writes one page of 4 KiB, or two."""

_BUSY_TIMEOUT: Final = 0.25
_ERASED_AT_ONCE: Final = 500
_CORRUPT_CODES: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

SCHEMA: Final = f"""
BEGIN;
CREATE TABLE records (
    seq INTEGER PRIMARY KEY,              -- order of acceptance; never used twice
    item BLOB NOT NULL,                   -- DynamoDB's JSON of the item, as on the wire
    reason TEXT,                          -- why it is a dead letter; NULL while pending
    attempts INTEGER NOT NULL DEFAULT 0   -- of a dead letter: how often it was sent
);
CREATE INDEX dead_letters ON records (seq) WHERE reason IS NOT NULL;
CREATE TABLE target (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
PRAGMA user_version = {VERSION};
COMMIT;
"""


class JournalError(ReceiptDynamoError):
    """A journal cannot be used; the message says why."""


class CorruptJournalError(JournalError):
    """The file is damaged, or is no journal."""


class NewerJournalError(JournalError):
    """A newer release of this package made the file."""


class PendingRow(NamedTuple):
    """A record that is to be delivered."""

    seq: int
    item: bytes


class DeadRow(NamedTuple):
    """A record that DynamoDB rejected for good."""

    seq: int
    item: bytes
    reason: str
    attempts: int


@dataclass(frozen=True, slots=True)
class JournalCounts:
    """What a journal holds.

    Attributes:
        pending: Records to be delivered.
        dead: Dead letters.
        bytes: Size of both, with an estimate of what a row takes beside its item.
        last_seq: The highest number so far.
    """

    pending: int
    dead: int
    bytes: int
    last_seq: int


class Journal:
    """An open journal. Thread-safe; each change is one commit.

    Args:
        path: The database file.
        writer: The connection that changes rows.
        sync: Whether a commit also survives a loss of power.
        reader: The connection for reading; by default it is made when it is needed.
    """

    def __init__(
        self,
        path: Path,
        writer: sqlite3.Connection,
        *,
        sync: bool,
        reader: sqlite3.Connection | None = None,
    ) -> None:
        self.path = path
        self._writer = writer
        self._reader = reader
        # Re-entrant: a finalizer may append in the thread that is inside. Commits are one
        # statement each, so that what comes in between is a commit of its own.
        self._lock = threading.RLock()
        self._reading = threading.RLock()
        self._sync = sync
        self._last_seq = 0
        self._commits = 0

    @classmethod
    def create(cls, path: Path, *, sync: bool) -> Journal:
        """Make a new journal; ``path`` names a file that is there, empty and private.

        Raises:
            sqlite3.Error: The disk is full, read-only or broken.
            JournalError: The file system has no write-ahead log.
        """
        journal = cls(path, connect(path), sync=sync)
        try:
            journal._prepare(is_new=True)
        except BaseException:
            journal.close()
            raise
        return journal

    @classmethod
    def open(cls, path: Path) -> Journal:
        """Open the journal that another process left.

        Raises:
            CorruptJournalError: The file is damaged, or is no journal.
            NewerJournalError: A newer release made it.
            sqlite3.Error: The disk is full, read-only or broken.
        """
        journal = cls(path, connect(path), sync=False)
        try:
            journal._check_version()
            journal._prepare(is_new=False)
            journal._last_seq = journal.count().last_seq
        except sqlite3.DatabaseError as error:
            journal.close()
            if is_corruption(error):
                raise CorruptJournalError(f"journal {path.name} is damaged") from error
            raise
        except BaseException:
            journal.close()
            raise
        return journal

    def _prepare(self, *, is_new: bool) -> None:
        (mode,) = self._writer.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise JournalError(f"journal {self.path.name}: its file system has no WAL mode")
        self._writer.execute(f"PRAGMA synchronous = {'FULL' if self._sync else 'NORMAL'}")
        # No checkpoint on the thread that happens to commit: that is a caller's.
        self._writer.execute("PRAGMA wal_autocheckpoint = 0")
        if is_new:
            self._writer.executescript(SCHEMA)

    def _check_version(self) -> None:
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise NewerJournalError(
                f"journal {self.path.name} has version {version}; accepted are up to {VERSION}"
            )
        if version == 0:
            # Made, but never filled: the process died before the tables were committed.
            self._writer.executescript(SCHEMA)
            return
        for older in range(version, VERSION):
            self._writer.executescript(
                f"BEGIN; {UPGRADES[older]}; PRAGMA user_version = {older + 1}; COMMIT;"
            )

    @property
    def wants_checkpoint(self) -> bool:
        """Whether the write-ahead log has grown enough to be copied."""
        return self._commits >= CHECKPOINT_COMMITS

    def append(self, item: bytes) -> int:
        """Commit a record; return its number.

        Raises:
            sqlite3.Error: It could not be written; nothing is.
        """
        with self._lock:
            seq = self._last_seq + 1
            self._writer.execute("INSERT INTO records (seq, item) VALUES (?, ?)", (seq, item))
            self._last_seq = seq
            self._commits += 1
        return seq

    def delete(self, seqs: Sequence[int]) -> None:
        """Forget records, which are settled or given up."""
        marks = ",".join("?" * len(seqs))
        # The values are bound; only the number of marks varies.
        self._change(f"DELETE FROM records WHERE seq IN ({marks})", seqs)  # noqa: S608
        self._commits += len(seqs) // 4  # pages of 4 KiB that the rows were on

    def bury(self, seq: int, reason: str, attempts: int) -> None:
        """Make a record a dead letter."""
        self._change(
            "UPDATE records SET reason = ?, attempts = ? WHERE seq = ?", (reason, attempts, seq)
        )

    def revive(self, seq: int) -> None:
        """Make a dead letter a pending record, the last in order."""
        with self._lock:
            self._last_seq += 1
            self._change(
                "UPDATE records SET seq = ?, reason = NULL WHERE seq = ?", (self._last_seq, seq)
            )

    def _change(self, sql: str, values: Sequence[Any]) -> None:
        with self._lock:
            self._writer.execute(sql, values)
            self._commits += 1

    def read_pending(self, after: int, limit: int) -> list[PendingRow]:
        """Return the first ``limit`` pending records whose number is above ``after``."""
        sql = "SELECT seq, item FROM records WHERE seq > ? AND reason IS NULL ORDER BY seq LIMIT ?"
        return [PendingRow(*row) for row in self._read(sql, (after, limit))]

    def read_dead(self, after: int = 0, limit: int = -1) -> list[DeadRow]:
        """Return the dead letters whose number is above ``after``, oldest first.

        Args:
            after: A number.
            limit: How many at most; below 0 all.
        """
        sql = (
            "SELECT seq, item, reason, attempts FROM records "
            "WHERE seq > ? AND reason IS NOT NULL ORDER BY seq LIMIT ?"
        )
        return [DeadRow(*row) for row in self._read(sql, (after, limit))]

    def count(self) -> JournalCounts:
        """Count what is there, by reading all of it."""
        sql = (
            "SELECT COUNT(*), COUNT(reason), COALESCE(SUM(LENGTH(item)), 0), "
            "COALESCE(MAX(seq), 0) FROM records"
        )
        ((rows, dead, size, last),) = self._read(sql, ())
        return JournalCounts(rows - dead, dead, size + rows * ROW_OVERHEAD, last)

    def read_target(self) -> dict[str, str]:
        """Return what was noted of the table that the records are for."""
        return dict(self._read("SELECT name, value FROM target", ()))

    def note_target(self, values: Iterable[tuple[str, str]]) -> None:
        """Note something of the table that the records are for."""
        for name, value in values:
            self._change("INSERT OR REPLACE INTO target (name, value) VALUES (?, ?)", (name, value))

    def _read(self, sql: str, values: Sequence[Any]) -> list[Any]:
        """Read on a connection of its own: a long read must not stop a caller's commit."""
        with self._reading:
            if self._reader is None:
                self._reader = connect(self.path)
            return self._reader.execute(sql, values).fetchall()

    def checkpoint(self) -> None:
        """Copy the write-ahead log into the database, so that it can begin again.

        Nearly all is copied beside the commits that go on. Only what came in meanwhile is
        copied while they wait: a log that is never copied to its end only grows.
        """
        self._commits = 0
        self._copy_log()
        with self._lock:
            self._copy_log()

    def _copy_log(self) -> None:
        self._read("PRAGMA wal_checkpoint(PASSIVE)", ())

    def erase(self, seqs: Sequence[int]) -> None:
        """Forget records so that no byte of them stays in the file, nor of any forgotten before.

        Raises:
            JournalError: Somebody reads the file: bytes may be left, erase once more.
            sqlite3.Error: It could not be written: likewise.
        """
        with self._lock:
            self._writer.execute("PRAGMA secure_delete = ON")
            for start in range(0, len(seqs), _ERASED_AT_ONCE):
                self.delete(seqs[start : start + _ERASED_AT_ONCE])
            # The free space still holds what was delivered and deleted before.
            self._writer.execute("VACUUM")
            ((is_busy, *_),) = self._read("PRAGMA wal_checkpoint(TRUNCATE)", ())
            if is_busy:
                raise JournalError(f"journal {self.path.name} is being read by somebody else")

    def close(self) -> None:
        """Close the file; what it holds stays."""
        with self._reading, self._lock:
            for connection in (self._reader, self._writer):
                if connection is not None:
                    with suppress(sqlite3.Error):
                        connection.close()

    def abandon(self) -> None:
        """Leave the handles that a forked child inherited as they are, for ever.

        Using or even closing them there would corrupt the parent's file ("How To Corrupt An
        SQLite Database File", section 2.6), and their destructors would close them.
        """
        for connection in (self._reader, self._writer):
            if connection is not None:
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def is_corruption(error: Exception) -> bool:
    """Tell whether the file is damaged, rather than the disk full or read-only."""
    # The primary code is the low byte (sqlite.org, "Result and Error Codes").
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _CORRUPT_CODES


def connect(path: Path, mode: str = "rw") -> sqlite3.Connection:
    """Connect to the file as it is; ``mode`` is that of SQLite's URI file names."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=_BUSY_TIMEOUT,
        isolation_level=None,
        check_same_thread=False,
    )
