"""Look into a journal without changing it, whoever owns it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, TypeVar

from receipt_dynamo.data.journal import (
    SCHEMA,
    VERSION,
    CorruptJournalError,
    DeadRow,
    Journal,
    JournalError,
    NewerJournalError,
    PendingRow,
    connect,
    is_corruption,
    mark_of,
)

_PAGE: Final = 100

_OLDER_FORMS: Final[dict[int, str]] = {
    1: "CREATE TEMP VIEW records AS SELECT *, mark_of(seq, item) AS mark FROM main.records"
}
"""SQL that shows a file of an older version as if it were of this one, by the version."""

_Row = TypeVar("_Row", PendingRow, DeadRow)


@contextmanager
def peek(path: Path) -> Iterator[Journal]:
    """Open a journal for reading only, beside its owner if it has one.

    SQLite may put its (empty) side files beside the file; nothing else is written.

    Raises:
        CorruptJournalError: The file is damaged, or is no journal.
        NewerJournalError: A newer release made it.
        JournalError: It cannot be read now, or is gone.
    """
    try:
        with closing(connect(path, mode="ro")) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > VERSION:
                raise NewerJournalError(
                    f"journal {path.name} has version {version}; accepted are up to {VERSION}"
                )
            if version in _OLDER_FORMS:
                connection.create_function("mark_of", 2, mark_of, deterministic=True)
                connection.execute(_OLDER_FORMS[version])
            if version > 0:
                yield Journal(path, connection, sync=False, reader=connection)
                return
        # Its process is about to fill it, or died before it could.
        with closing(_connect_to_nothing()) as connection:
            yield Journal(path, connection, sync=False, reader=connection)
    except sqlite3.DatabaseError as error:
        if is_corruption(error):
            raise CorruptJournalError(f"journal {path.name} is damaged") from error
        raise JournalError(f"journal {path.name} cannot be read now: {error}") from error


def _connect_to_nothing() -> sqlite3.Connection:
    """Return a connection to an empty journal in memory."""
    connection = sqlite3.connect(":memory:")
    connection.executescript(SCHEMA)
    return connection


def iterate(read: Callable[[int | None, int], list[_Row]]) -> Iterator[_Row]:
    """Iterate over the rows that ``read(after, limit)`` returns, page by page.

    No transaction spans the pages: one that stays open would keep its owner's write-ahead
    log from beginning again. What the owner settles meanwhile may be there or not.
    """
    after: int | None = None
    while rows := read(after, _PAGE):
        yield from rows
        after = rows[-1].seq
