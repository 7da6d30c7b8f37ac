"""The journal of a killed process, and every way to damage it.

Run as a program, with the directory, the table, the endpoint and the table's ARN, it writes the
journal as a client does, and is killed: records in the database, in the write-ahead log, deleted
ones, dead ones, and some that take several pages.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from receipt_dynamo import AIUsageMetric, DynamoClient
from receipt_dynamo.data.journal.directory import JournalDirectory, JournalTarget
from receipt_dynamo.data.journal.file import list_files
from receipt_dynamo.data.table.evidence import TABLE_ARN
from receipt_dynamo.data.table.identity import prove_table

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
RECORDS = 60
DELETED = range(1, 6)
DEAD = (6, 30)
PENDING = tuple(
    number for number in range(1, RECORDS + 1) if number not in DELETED and number not in DEAD
)
_IN_THE_DATABASE = 15
_EACH_LARGE_ONE = 12


def make_metric(number: int) -> AIUsageMetric:
    return AIUsageMetric(
        "openai",
        "gpt-4o",
        "completion",
        START + timedelta(seconds=number),
        request_id=f"id-{number}",
        error="ü" * (3_000 if number % _EACH_LARGE_ONE == 0 else number),
    )


@dataclass(frozen=True)
class KilledJournal:
    """Files that a killed process left, to be copied into many directories."""

    path: Path

    def copy_to(self, directory: Path, name: str = "whole") -> Path:
        """Copy the files under a name that begins as the table's journals do."""
        directory.mkdir(mode=0o700, exist_ok=True)
        path = directory / f"{self.path.name.partition('-')[0]}-1-{name}.db"
        for source, copy in zip(list_files(self.path), list_files(path), strict=True):
            shutil.copy(source, copy)
        return path


def kill_a_process(directory: Path, table: DynamoClient) -> KilledJournal:
    """Have a process killed that leaves a journal for ``table``, whose identity it had proven."""
    arn = prove_table(table._connection)
    arguments = [str(directory), table.table_name, str(table.target.endpoint_url), arn]
    killed = subprocess.run([sys.executable, __file__, *arguments], timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    (path,) = directory.glob("*.db")
    assert all(each.exists() for each in list_files(path))
    return KilledJournal(path)


def flip(path: Path, offset: int, size: int = 3) -> None:
    """Change every bit of some bytes."""
    with path.open("r+b") as file:
        file.seek(offset)
        content = file.read(size)
        file.seek(offset)
        file.write(bytes(byte ^ 0xFF for byte in content))


def _replace(path: Path, content: bytes) -> None:
    for each in list_files(path):
        each.unlink()
    path.write_bytes(content)


def _copy_log(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint")
    return path


def _become_another_database(path: Path, sql: str) -> None:
    _replace(path, b"")
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(sql)


def _become_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _become_a_link(path: Path) -> None:
    path.rename(path.with_suffix(".elsewhere"))
    path.symlink_to(path.with_suffix(".elsewhere"))


def _become_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _cut(path: Path, share: float) -> None:
    os.truncate(path, int(path.stat().st_size * share))


_PAGE = 4096
_FRAME = 24 + _PAGE

DAMAGES: dict[str, Callable[[Path, Path], object]] = {
    "garbage": lambda db, log: _replace(db, b"no database at all " * 1_000),
    "random": lambda db, log: _replace(db, bytes(range(256)) * 64),
    "short": lambda db, log: _replace(db, b"SQLite format 3\x00"),
    "empty": lambda db, log: _cut(db, 0),
    "empty-and-alone": lambda db, log: _replace(db, b""),
    # What the log holds of a page counts, not the page: here the log is copied first.
    "magic": lambda db, log: flip(_copy_log(db), 0),
    "header": lambda db, log: flip(_copy_log(db), 16, 8),
    "free-pages": lambda db, log: flip(_copy_log(db), 33),
    "schema": lambda db, log: flip(_copy_log(db), db.read_bytes().index(b"CREATE TABLE rec"), 9),
    "schema-name": lambda db, log: flip(_copy_log(db), db.read_bytes().index(b"recordsrec") + 3, 1),
    "root-page": lambda db, log: flip(_copy_log(db), _PAGE, 16),
    "inner-page": lambda db, log: flip(_copy_log(db), 4 * _PAGE, _PAGE),
    "cut": lambda db, log: _cut(_copy_log(db), 0.6),
    "below-the-log": lambda db, log: _cut(db, 0.6),
    "other-tables": lambda db, log: _become_another_database(
        db, "CREATE TABLE records (id TEXT); PRAGMA user_version = 2"
    ),
    "other-columns": lambda db, log: _become_another_database(
        db,
        "CREATE TABLE records (seq INTEGER PRIMARY KEY, item BLOB, reason TEXT, mark INTEGER);"
        "CREATE TABLE target (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;"
        "PRAGMA user_version = 2",
    ),
    "no-version": lambda db, log: _become_another_database(db, "CREATE TABLE records (id TEXT)"),
    "older-and-other": lambda db, log: _become_another_database(
        db, "CREATE TABLE other (id TEXT); PRAGMA user_version = 1"
    ),
    "log-header": lambda db, log: flip(log, 17),
    "log-frame": lambda db, log: flip(log, 32 + 5 * _FRAME + 999),
    "log-frame-sum": lambda db, log: flip(log, 32 + 5 * _FRAME + 16),
    "log-last-frame": lambda db, log: flip(log, log.stat().st_size - 9),
    "log-cut": lambda db, log: _cut(log, 0.5),
    "log-cut-by-a-frame": lambda db, log: os.truncate(log, log.stat().st_size - _FRAME),
    "log-empty": lambda db, log: _cut(log, 0),
    "log-gone": lambda db, log: log.unlink(),
    "log-folder": lambda db, log: _become_a_folder(log),
    "folder": lambda db, log: _become_a_folder(db),
    "link": lambda db, log: _become_a_link(db),
    "pipe": lambda db, log: _become_a_pipe(db),
}
"""Each is done to the database and its write-ahead log."""


def _write_and_die(path: str, table: str, endpoint: str, arn: str) -> None:
    target = JournalTarget(table, "us-east-1", endpoint)
    journal = JournalDirectory(Path(path)).create(target, sync=False).journal
    journal.write_notes([(TABLE_ARN, arn)])
    for number in range(1, RECORDS + 1):
        assert journal.append(make_metric(number).to_dynamodb_json()) == number
        if number == _IN_THE_DATABASE:
            journal.delete(DELETED)
            journal.bury(DEAD[0], "why", 1)
            journal.checkpoint()
    journal.bury(DEAD[1], "why", 2)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    _write_and_die(*sys.argv[1:])
