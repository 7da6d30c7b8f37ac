"""Read what is whole in a damaged journal; not a byte of it is changed.

Each record proves itself by its mark: what is read is what was accepted, whatever became of
the pages around it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Final

from receipt_dynamo.data.journal.file import JournalError
from receipt_dynamo.data.journal.journal import Journal, JournalRow
from receipt_dynamo.data.journal.peek import check_files, open_reader

_PAGE: Final = 100

_PATIENCE: Final = 10_000
"""The count of successive numbers to try on damaged pages: one of the tree's inner pages leads
to some hundreds of pages of records."""


def open_remains(path: Path) -> Journal | None:
    """Open a damaged journal for reading; None where not even its tables can be read."""
    with suppress(sqlite3.DatabaseError, JournalError):
        check_files(path)
        return open_reader(path, is_damaged=True)
    return None


def read_notes(remains: Journal) -> dict[str, str]:
    """Return what is stored about the table, or nothing if that cannot be read."""
    with suppress(sqlite3.DatabaseError):
        return remains.read_target()
    return {}


def iterate_whole(
    read: Callable[[int | None, int], list[JournalRow]], after: int | None = None
) -> Iterator[list[JournalRow]]:
    """Iterate, page by page, over the whole rows that ``read(after, limit)`` still returns.

    Args:
        read: Of a damaged journal.
        after: Only rows whose number is above it; by default all.
    """
    limit, failures = _PAGE, 0
    while failures < _PATIENCE:
        try:
            rows = read(after, limit)
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CORRUPT:
                return
            rows = None
        if rows == []:
            return
        # A damaged tree may also lead in a circle.
        if rows is not None and _is_ascending(after, rows):
            yield [row for row in rows if row.is_whole]
            after, limit, failures = rows[-1].seq, _PAGE, 0
        elif limit > 1:
            limit = 1
        else:
            after, failures = max(after or 0, 0) + 1, failures + 1


def _is_ascending(after: int | None, rows: list[JournalRow]) -> bool:
    numbers = [*([] if after is None else [after]), *(row.seq for row in rows)]
    return all(earlier < later for earlier, later in pairwise(numbers))
