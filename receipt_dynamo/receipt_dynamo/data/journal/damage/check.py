"""Find damage in a dead process's journal before a byte of it is changed.

Opened for writing, SQLite would copy what it still understands of the log into the database,
and delete the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from receipt_dynamo.data.journal.file import CorruptJournalError, list_files
from receipt_dynamo.data.journal.journal import Journal, JournalCounts
from receipt_dynamo.data.journal.peek import peek
from receipt_dynamo.data.journal.write_ahead_log import misses_commits, read_index


def check_journal(
    path: Path, wants: Callable[[Mapping[str, str]], bool] | None = None
) -> JournalCounts | None:
    """Return what a journal holds that no process has open; None when it is not wanted.

    Args:
        path: The database file.
        wants: Called with what the journal stores about its table, unless it is empty. A
            journal that is not wanted is not read as a whole. By default all are wanted.

    Raises:
        CorruptJournalError: It is damaged, or is no journal.
        NewerJournalError: A newer release made it.
        JournalError: It cannot be read now, or is gone.
        OSError: It cannot be read.
    """
    _, log, index = list_files(path)
    before = read_index(index)
    counts = None
    with peek(path) as journal:
        if wants is None or journal.is_empty() or wants(journal.read_target()):
            counts = _count_undamaged(journal)
    after = read_index(index)
    if after is not None and misses_commits(log, after.frames, before):
        raise CorruptJournalError(
            f"journal {path.name} is damaged: commits are missing from its log"
        )
    return counts


def _count_undamaged(journal: Journal) -> JournalCounts:
    damage = journal.find_damage()
    if damage is not None:
        raise CorruptJournalError(f"journal {journal.path.name} is damaged: {damage}")
    return journal.count()
