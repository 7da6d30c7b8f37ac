"""How long records have waited to be delivered. Pure, apart from the clock that is given."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

FINEST: Final = 0.1
"""Seconds within which records count as equally old."""

SHARE: Final = 0.01
"""The same as a share of the oldest one's age: a backlog of a day has about a thousand groups."""


class PendingAges:
    """Since when each record waits, in groups of about the same time. Not thread-safe.

    Args:
        clock: Monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._records: dict[float, int] = {}
        self._latest = 0.0

    def enter(self, records: int = 1, *, since: float | None = None) -> float:
        """Count records that wait; return the time that :meth:`leave` wants to have again.

        Args:
            records: How many.
            since: Since when; by default from now on.
        """
        if since is None:
            since = self._find_group(self._clock())
        self._records[since] = self._records.get(since, 0) + records
        return since

    def _find_group(self, now: float) -> float:
        if self._latest in self._records:
            width = max(FINEST, SHARE * (now - next(iter(self._records))))
            if now - self._latest < width:
                return self._latest
        self._latest = now
        return now

    def leave(self, since: float, records: int = 1) -> None:
        """Count records that wait no more."""
        left = self._records.get(since, 0) - records
        if left > 0:
            self._records[since] = left
        else:
            self._records.pop(since, None)

    def find_oldest(self) -> float:
        """Return for how many seconds the oldest record has waited; 0.0 without records."""
        return max(0.0, self._clock() - min(self._records)) if self._records else 0.0


@dataclass(slots=True)
class _Rows:
    """Rows of about the same time: from ``first`` on, up to the next group's."""

    first: int
    since: float
    count: int


class RowAges:
    """Since when the rows of one journal wait that are on disk only, by their numbers.

    Args:
        ages: Those of all records; the rows are counted there too.
    """

    def __init__(self, ages: PendingAges) -> None:
        self.ages = ages
        self._groups: list[_Rows] = []

    def enter(self, rows: int, *, first: int = 0, since: float | None = None) -> None:
        """Count ``rows`` rows, from number ``first`` on, as records that wait."""
        if rows:
            self.add(first, self.ages.enter(rows, since=since), rows)

    def add(self, first: int, since: float, rows: int = 1) -> None:
        """Remember rows whose records are counted already."""
        last = self._groups[-1] if self._groups else None
        if last is not None and last.since == since:
            last.count += rows
        else:
            self._groups.append(_Rows(first, since, rows))

    def take(self, seq: int) -> float:
        """Return since when the row has waited, which is not on disk only any more."""
        if not self._groups:
            return self.ages.enter()
        place = max(0, bisect_right(self._groups, seq, key=attrgetter("first")) - 1)
        group = self._groups[place]
        group.count -= 1
        if not group.count:
            del self._groups[place]
        return group.since

    def find_oldest(self) -> float | None:
        """Return since when the oldest row waits; None without rows."""
        return min((group.since for group in self._groups), default=None)

    def give_up(self) -> None:
        """Count all rows that are left here as records that wait no more."""
        for group in self._groups:
            self.ages.leave(group.since, group.count)
        self._groups.clear()
