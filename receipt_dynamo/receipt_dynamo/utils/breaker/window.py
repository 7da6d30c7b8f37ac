"""Sliding windows over the results of calls: each record costs the same, however many there are.

Pure: no lock, no clock; the time comes in as an argument.
"""

from __future__ import annotations

import math
from typing import Final, TypeAlias

BUCKETS: Final = 10
"""Parts of a window by time. A result leaves with its bucket, so it counts for the length
of the window less up to a tenth of it."""


class CountWindow:
    """The last ``size`` results.

    Args:
        size: How many.

    Attributes:
        calls: Results in the window.
        failures: Failures among them.
        slow_calls: Slow calls among them.
    """

    __slots__ = ("_failed", "_next", "_size", "_slow", "calls", "failures", "slow_calls")

    def __init__(self, size: int) -> None:
        self._size = size
        self._failed = bytearray(size)
        self._slow = bytearray(size)
        self._next = 0
        self.calls = self.failures = self.slow_calls = 0

    def add(self, failed: bool, slow: bool, now: float) -> None:  # noqa: ARG002 - one interface
        """Take one result in; the oldest leaves when the window is full."""
        place = self._next
        self.failures += failed - self._failed[place]
        self.slow_calls += slow - self._slow[place]
        self._failed[place] = failed
        self._slow[place] = slow
        self._next = (place + 1) % self._size
        self.calls = min(self.calls + 1, self._size)

    def expire(self, now: float) -> None:
        """Do nothing: a count does not age."""


class TimeWindow:
    """The results of the last ``seconds``, in :data:`BUCKETS` buckets.

    Args:
        seconds: Length of the window.

    Attributes:
        calls: Results in the window.
        failures: Failures among them.
        slow_calls: Slow calls among them.
    """

    __slots__ = ("_buckets", "_latest", "_width", "calls", "failures", "slow_calls")

    def __init__(self, seconds: float) -> None:
        self._width = seconds / BUCKETS
        self._latest: float = -math.inf
        self._buckets = [[0, 0, 0] for _ in range(BUCKETS)]
        self.calls = self.failures = self.slow_calls = 0

    def add(self, failed: bool, slow: bool, now: float) -> None:
        """Take one result in; what is too old leaves."""
        self.expire(now)
        bucket = self._buckets[int(self._latest) % BUCKETS]
        bucket[0] += 1
        bucket[1] += failed
        bucket[2] += slow
        self.calls += 1
        self.failures += failed
        self.slow_calls += slow

    def expire(self, now: float) -> None:
        """Let what is too old leave: at most all buckets, however long nothing happened."""
        current = now // self._width
        # Threads read the clock before they wait for the lock: time may step back a little.
        passed = int(min(max(current - self._latest, 0), BUCKETS))
        for step in range(passed):
            bucket = self._buckets[int(current - step) % BUCKETS]
            self.calls -= bucket[0]
            self.failures -= bucket[1]
            self.slow_calls -= bucket[2]
            bucket[:] = (0, 0, 0)
        self._latest = max(current, self._latest)


Window: TypeAlias = CountWindow | TimeWindow
