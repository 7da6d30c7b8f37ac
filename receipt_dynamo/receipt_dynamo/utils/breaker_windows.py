"""Sliding windows over the outcomes of calls: pure, and O(1) for each record."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, Protocol

_BUCKETS: Final = 10
"""Parts of a time window: an outcome leaves with its part, up to a tenth late."""


@dataclass(slots=True)
class Tally:
    """Numbers of calls, of those that failed, and of those that were slow."""

    calls: int = 0
    failures: int = 0
    slow: int = 0

    def add(self, calls: int, failures: int, slow: int) -> None:
        """Add so many; negative numbers take away."""
        self.calls += calls
        self.failures += failures
        self.slow += slow


class Window(Protocol):
    """What the state machine asks of a window."""

    def record(self, now: float, failed: bool, slow: bool) -> Tally:
        """Note one outcome; return the totals of the window."""

    def clear(self) -> None:
        """Forget every outcome."""


class CountWindow:
    """The last ``size`` calls."""

    def __init__(self, size: int) -> None:
        self._outcomes: deque[tuple[bool, bool]] = deque()
        self._size = size
        self._total = Tally()

    def record(self, now: float, failed: bool, slow: bool) -> Tally:  # noqa: ARG002
        """Note one outcome; return the totals of the window."""
        if len(self._outcomes) == self._size:
            old_failed, old_slow = self._outcomes.popleft()
            self._total.add(-1, -old_failed, -old_slow)
        self._outcomes.append((failed, slow))
        self._total.add(1, failed, slow)
        return self._total

    def clear(self) -> None:
        """Forget every outcome."""
        self._outcomes.clear()
        self._total = Tally()


class TimeWindow:
    """The calls of the last ``seconds``, in tenths."""

    def __init__(self, seconds: float) -> None:
        self._width = seconds / _BUCKETS
        self._buckets: deque[tuple[int, Tally]] = deque()
        self._total = Tally()

    def record(self, now: float, failed: bool, slow: bool) -> Tally:
        """Note one outcome; return the totals of the window."""
        current = int(now // self._width)
        # At most ten parts are ever kept, so this is O(1), after any idle time too.
        while self._buckets and self._buckets[0][0] <= current - _BUCKETS:
            _, old = self._buckets.popleft()
            self._total.add(-old.calls, -old.failures, -old.slow)
        if not self._buckets or self._buckets[-1][0] != current:
            self._buckets.append((current, Tally()))
        self._buckets[-1][1].add(1, failed, slow)
        self._total.add(1, failed, slow)
        return self._total

    def clear(self) -> None:
        """Forget every outcome."""
        self._buckets.clear()
        self._total = Tally()
