"""Look into a journal without changing it, whoever owns it."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

from receipt_dynamo.data.journal.file import (
    SCHEMA,
    CorruptJournalError,
    JournalError,
    check_version,
    connect,
    is_corruption,
    list_files,
    mark_of,
    run,
)
from receipt_dynamo.data.journal.journal import Journal, JournalRow
from receipt_dynamo.data.journal.write_ahead_log import is_unreadable
from receipt_dynamo.utils.fork_safety import no_fork

_PAGE: Final = 100

_OLDER_FORMS: Final[dict[int, str]] = {
    1: "CREATE TEMP VIEW records AS SELECT *, mark_of(seq, item) AS mark FROM main.records"
}
"""SQL that shows a file of an older version as if it were of this one, by the version."""


@contextmanager
def peek(path: Path, *, keeps_index: bool = False) -> Iterator[Journal]:
    """Open a journal for reading only, beside its owner if it has one.

    SQLite may put its (empty) side files beside the file; nothing else is written.

    Args:
        path: The database file.
        keeps_index: Whether SQLite's index in shared memory stays as it is, too: it proves
            how long a dead process's log was. Beside a living owner it cannot.

    Raises:
        CorruptJournalError: The file is damaged, or is no journal.
        NewerJournalError: A newer release made it.
        JournalError: It cannot be read now, or is gone.
    """
    check_files(path)
    _, log, index = list_files(path)
    if keeps_index:
        # Without its index to write, SQLite tries for 10 s to make sense of such a log.
        if is_unreadable(log):
            raise CorruptJournalError(f"journal {path.name} is damaged: its log is")
        keeps_index = index.exists()
    try:
        with closing(open_reader(path, keeps_index=keeps_index)) as journal:
            yield journal
    except sqlite3.DatabaseError as error:
        if is_corruption(error):
            raise CorruptJournalError(f"journal {path.name} is damaged: {error}") from error
        raise JournalError(f"journal {path.name} cannot be read now: {error}") from error


def open_reader(path: Path, *, keeps_index: bool = False, is_damaged: bool = False) -> Journal:
    """Like :func:`peek`, of what :func:`check_files` accepts.

    Args:
        path: The database file.
        keeps_index: As there.
        is_damaged: Whether SQLite is to read even a file that is shorter than it should be.

    Raises:
        JournalError: Its tables are others than ours.
        sqlite3.Error: It cannot be read.
    """
    with no_fork():
        connection = connect(path, "ro&readonly_shm=1" if keeps_index else "ro")
        journal = Journal(path, connection, reader=connection)
        try:
            if is_damaged:
                run(connection, "PRAGMA writable_schema = ON")
            _check_form(connection, path)
        except BaseException:
            journal.close()
            raise
        return journal


def check_files(path: Path) -> None:
    """Refuse what SQLite must not even open.

    Raises:
        CorruptJournalError: A file is none, or the database is empty.
    """
    for name in list_files(path):
        with suppress(FileNotFoundError):
            found = name.lstat()
            if not stat.S_ISREG(found.st_mode):
                raise CorruptJournalError(f"journal {path.name} is damaged: a file is none")
            # SQLite deletes the log of an empty database without a word.
            if name == path and not found.st_size:
                raise CorruptJournalError(f"journal {path.name} is damaged: it is empty")


def _check_form(connection: sqlite3.Connection, path: Path) -> None:
    version = check_version(connection, path)
    if version in _OLDER_FORMS:
        connection.create_function("mark_of", 2, mark_of, deterministic=True)
        run(connection, _OLDER_FORMS[version])
    elif _describe_form(connection) != _find_form():
        raise CorruptJournalError(f"journal {path.name} is damaged: its tables are others")


@cache
def _find_form() -> list[Any]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(SCHEMA)
        return _describe_form(connection)


def _describe_form(connection: sqlite3.Connection) -> list[Any]:
    sql = (
        "SELECT m.type, m.name, c.name, c.type, c.pk "
        "FROM sqlite_master AS m LEFT JOIN pragma_table_info(m.name) AS c ORDER BY 2, 3"
    )
    return run(connection, sql).fetchall()


def iterate(read: Callable[[int | None, int], list[JournalRow]]) -> Iterator[JournalRow]:
    """Iterate over the rows that ``read(after, limit)`` returns, page by page.

    No transaction spans the pages: one that stays open would keep its owner's write-ahead
    log from beginning again. What the owner settles meanwhile may be there or not.
    """
    after: int | None = None
    while rows := read(after, _PAGE):
        yield from rows
        after = rows[-1].seq
