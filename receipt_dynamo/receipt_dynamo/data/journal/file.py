"""The form of a journal's file: its tables, its version, how it is made and opened."""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from receipt_dynamo.errors import ReceiptDynamoError
from receipt_dynamo.utils.fork_safety import was_forked_inside
from receipt_dynamo.utils.private_files import open_private

VERSION: Final = 2
"""Of the file's form, in SQLite's ``user_version``."""

UPGRADES: Final[dict[int, str]] = {
    1: """
    ALTER TABLE records ADD COLUMN mark INTEGER;
    UPDATE records SET mark = mark_of(seq, item);
    DROP INDEX dead_letters;
    """
}
"""SQL that brings a file of an older version to the next one, by the older version."""

MADE_AT: Final = "made_at"
"""Name of the note that says when the journal was made, in seconds since 1970."""

UNFINISHED: Final = ".new"
"""Ending of the name while a journal is being made."""

BUSY_TIMEOUT: Final = 0.25
"""Seconds that SQLite waits for somebody else's lock."""

_CORRUPT_CODES: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)

SCHEMA: Final = f"""
BEGIN;
CREATE TABLE records (
    seq INTEGER PRIMARY KEY,      -- order of acceptance; never used twice
    item BLOB,                    -- DynamoDB's JSON of the item, as on the wire
    reason TEXT,                  -- why it is a dead letter; NULL while pending
    attempts INTEGER DEFAULT 0,   -- of a dead letter: how often it was sent
    mark INTEGER                  -- CRC-32 of item and seq
    -- No constraints: one damaged row would make SQLite call the whole file damaged.
);
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


def mark_of(seq: int, item: bytes) -> int:
    """Return what proves that the bytes are those which were accepted under this number.

    CRC-32 finds every burst of up to 32 damaged bits, and all but one in 4 billion of others
    (Koopman, "32-Bit Cyclic Redundancy Codes for Internet Applications", 2002). It begins
    with the number: an item that turns up under another one is damaged too.
    """
    return zlib.crc32(item, seq & 0xFFFFFFFF)


def make_file(path: Path, notes: Iterable[tuple[str, str]], *, sync: bool) -> None:
    """Make a file of this version without records; see :meth:`Journal.create`."""
    # Made here, and not by SQLite, so that it is private; the side files follow it.
    os.close(open_private(path, os.O_WRONLY | os.O_EXCL))
    with closing(connect(path)) as connection:
        use_log(connection, path, synchronous="FULL" if sync else "OFF")
        connection.executescript(SCHEMA)
        # By the file system's clock, as are the times that it is compared with.
        noted = {MADE_AT: f"{path.stat().st_mtime:.0f}", **dict(notes)}
        connection.executemany("INSERT INTO target (name, value) VALUES (?, ?)", noted.items())


def use_log(connection: sqlite3.Connection, path: Path, *, synchronous: str) -> None:
    """Have commits go to a write-ahead log.

    Args:
        connection: For writing.
        path: Its file.
        synchronous: What is synced to disk: "OFF", "NORMAL" or "FULL", as SQLite has it.

    Raises:
        JournalError: The file system has no write-ahead log.
    """
    run(connection, f"PRAGMA synchronous = {synchronous}")
    (mode,) = run(connection, "PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise JournalError(f"journal {path.name}: its file system has no WAL mode")
    # No checkpoint on the thread that happens to commit: that is a caller's.
    run(connection, "PRAGMA wal_autocheckpoint = 0")


def check_version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of the file's form.

    Raises:
        CorruptJournalError: It is no journal.
        NewerJournalError: A newer release made it.
    """
    (version,) = run(connection, "PRAGMA user_version").fetchone()
    if version > VERSION:
        raise NewerJournalError(
            f"journal {path.name} has version {version}; accepted are up to {VERSION}"
        )
    if version < 1:
        raise CorruptJournalError(f"journal {path.name} is damaged: it has no version")
    return int(version)


def upgrade(connection: sqlite3.Connection, version: int) -> None:
    """Bring a file of an older version to this one, each step in one commit."""
    connection.create_function("mark_of", 2, mark_of, deterministic=True)
    for older in range(version, VERSION):
        connection.executescript(
            f"BEGIN; {UPGRADES[older]}; PRAGMA user_version = {older + 1}; COMMIT;"
        )


def list_files(path: Path) -> list[Path]:
    """Return the database file and those that SQLite puts beside it, there or not."""
    return [path.with_name(path.name + end) for end in ("", "-wal", "-shm")]


def list_unfinished(path: Path) -> list[Path]:
    """Return the files of a journal that is still being made, there or not."""
    unfinished = path.with_suffix(UNFINISHED)
    # Before it has a write-ahead log, SQLite keeps what it may have to roll back beside it.
    return [*list_files(unfinished), unfinished.with_name(f"{unfinished.name}-journal")]


def is_corruption(error: Exception) -> bool:
    """Return whether the file is damaged, rather than the disk full or read-only."""
    # The primary code is the low byte (sqlite.org, "Result and Error Codes"). SQLITE_ERROR
    # stands for SQL that is wrong: ours is not, so that the tables are others than ours.
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _CORRUPT_CODES


def connect(path: Path, mode: str = "rw") -> sqlite3.Connection:
    """Connect to the file as it is; ``mode`` is that of SQLite's URI file names.

    Raises:
        JournalError: SQLite cannot be used in this process.
        sqlite3.Error: The file cannot be opened.
    """
    if was_forked_inside():
        raise JournalError(
            "this process was forked while another thread used SQLite, by a program that does "
            "not tell Python of it: SQLite would wait for ever (see docs/operations.md, Workers)"
        )
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_TIMEOUT,
        isolation_level=None,
        check_same_thread=False,
    )
    # Damaged text that is no UTF-8 would make a whole page of rows unreadable.
    connection.text_factory = _decode
    return connection


def run(connection: sqlite3.Connection, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
    """Execute a statement.

    Raises:
        sqlite3.Error: What SQLite says; also where it quotes what is no UTF-8, and Python fails.
    """
    try:
        return connection.execute(sql, values)
    except UnicodeDecodeError as error:
        damage = sqlite3.DatabaseError("malformed database schema")
        damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise damage from error


def _decode(text: bytes) -> str:
    return text.decode(errors="replace")
