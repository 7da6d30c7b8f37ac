"""Change the journals of dead processes, one after the other, each under its lease."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from receipt_dynamo.cli.commands.survey import JournalView, list_troubles
from receipt_dynamo.data.journal.directory import HeldJournal, JournalDirectory
from receipt_dynamo.data.journal.file import JournalError


@dataclass(slots=True)
class Visit:
    """What came of it.

    Attributes:
        results: By the journal's name, what the work returned.
        living: Journals that were not touched, because their process lives.
        troubles: Of the others, why they were not touched.
    """

    results: dict[str, int] = field(default_factory=dict)
    living: list[JournalView] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)


def visit_abandoned(
    directory: JournalDirectory,
    find_views: Callable[[], Iterable[JournalView]],
    work: Callable[[HeldJournal], int],
) -> Visit:
    """Do ``work`` on each journal whose process is dead; one that is empty then is deleted.

    Args:
        directory: Where they are.
        find_views: Returns which ones. It is asked again: what is whole in a damaged journal
            is in another one when that has been visited.
        work: Returns how many records it has changed.

    Raises:
        OSError: The directory is another user's, or cannot be used.
    """
    visit = Visit()
    seen: set[Path] = set()
    while views := [view for view in find_views() if view.path not in seen]:
        for view in views:
            seen.add(view.path)
            if view.trouble is not None:
                visit.troubles += list_troubles([view])
            else:
                _visit_one(directory, view, work, visit)
    return visit


def _visit_one(
    directory: JournalDirectory,
    view: JournalView,
    work: Callable[[HeldJournal], int],
    visit: Visit,
) -> None:
    try:
        held = directory.open_abandoned(view.path)
        if held is None:
            if view.path.exists():  # Else it was delivered in between.
                visit.living.append(view)
            return
        try:
            visit.results[view.path.name] = work(held)
        finally:
            held.close()
    except (JournalError, sqlite3.Error) as error:
        visit.troubles.append(f"{view.path.name}: {error}")
