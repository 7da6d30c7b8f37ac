"""A journal's two locks, one for changes and one for reads, never wait for each other."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType

from receipt_dynamo.data.journal.journal import Journal


class WatchedLock:
    """A re-entrant lock that notes which others were held when it was taken."""

    def __init__(self, name: str, held: list[str], order: set[tuple[str, str]]) -> None:
        self._name = name
        self._held = held
        self._order = order
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.__enter__()
        self._order.update((other, self._name) for other in self._held if other != self._name)
        self._held.append(self._name)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._held.remove(self._name)
        self._lock.__exit__(kind, error, traceback)


def test_whatever_takes_both_locks_takes_them_in_one_order(tmp_path: Path) -> None:
    """A journal that was closed while its log was copied stopped both threads for ever."""
    path = tmp_path / "journal.db"
    path.touch()
    journal = Journal.create(path, sync=False)
    held: list[str] = []
    order: set[tuple[str, str]] = set()
    for name in ("_lock", "_reading"):
        setattr(journal, name, WatchedLock(name, held, order))
    first, second, third = (journal.append(b"{}") for _ in range(3))
    journal.bury(first, "why", 1)
    journal.redrive(*journal.read_dead(None, 1))
    journal.delete([second])
    journal.count()
    journal.checkpoint()
    journal.erase([third])
    journal.close()
    assert order == {("_lock", "_reading")}
