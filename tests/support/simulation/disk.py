"""A disk that fails as it is told, by SQLite's and the system's own errors."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path

from receipt_dynamo.data.journal.directory import HeldJournal, JournalDirectory, JournalTarget

READ, INSERT, UPDATE, DELETE = (
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_INSERT,
    sqlite3.SQLITE_UPDATE,
    sqlite3.SQLITE_DELETE,
)
"""What may be denied."""


class FragileDirectory(JournalDirectory):
    """Journals on a disk that fails as it is told, by SQLite's own errors."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._held: list[HeldJournal] = []
        self.denied: frozenset[int] = frozenset()

    def create(self, target: JournalTarget, *, sync: bool) -> HeldJournal:
        if INSERT in self.denied:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._watch(super().create(target, sync=sync))

    def open_abandoned(
        self, path: Path, wants: Callable[[Mapping[str, str]], bool] | None = None
    ) -> HeldJournal | None:
        held = super().open_abandoned(path, wants)
        return None if held is None else self._watch(held)

    def deny(self, *actions: int) -> None:
        self.denied = frozenset(actions)
        for held in self._held:
            self._authorize(held)

    def crash(self) -> None:
        """Let go of what the process holds, as the system does when it dies."""
        for held in self._held:
            held.journal.close()
            held.lease.release(unlink=False)

    def _watch(self, held: HeldJournal) -> HeldJournal:
        held.journal._read("SELECT 1", ())  # the connection for reading is made late
        self._held.append(held)
        self._authorize(held)
        return held

    def _authorize(self, held: HeldJournal) -> None:
        def authorize(action: int, *_: object) -> int:
            return sqlite3.SQLITE_DENY if action in self.denied else sqlite3.SQLITE_OK

        for connection in (held.journal._writer, held.journal._reader):
            if connection is not None:
                try:
                    # Set anew, it has statements that are prepared already ask again.
                    connection.set_authorizer(authorize)
                except sqlite3.ProgrammingError:
                    continue  # closed
