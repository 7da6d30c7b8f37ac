"""The figures of tracking: calls by their outcome."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from receipt_dynamo.support import notice_fork, reset_in_child

if TYPE_CHECKING:
    from collections.abc import Callable

    from receipt_dynamo import DeliveryStats

Outcome: TypeAlias = Literal["recorded", "refused", "failed", "untracked", "unpriced"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerStats:
    """One snapshot of a tracker.

    Attributes:
        recorded: Records that the DynamoDB client took.
        refused: Records that it refused, because its queue is full or it is closed.
        failed: Failures of tracking itself; none of them reached a caller. A record may
            be lost with it (a failed write straight through) or not (an unwritable log file).
        untracked: Calls that passed through unrecorded: of other endpoints, and iterators that
            a decorated function returned and that cannot be watched.
        unpriced: Records of calls that succeeded and have no cost, because it is not known.
        delivery: Of a ``ResilientDynamoClient``; None for another client.
    """

    recorded: int
    refused: int
    failed: int
    untracked: int
    unpriced: int
    delivery: DeliveryStats | None


class OutcomeCounter:
    """Counts outcomes, from any thread; a forked child begins at 0."""

    def __init__(self) -> None:
        self.reset_after_fork()
        reset_in_child(self)

    def reset_after_fork(self) -> None:
        """Begin at 0 with a new lock; a thread of the parent may hold the old one for ever."""
        self._lock = threading.RLock()
        self._counts: Counter[Outcome] = Counter()

    def add(self, outcome: Outcome) -> None:
        """Count one more."""
        notice_fork()
        with self._lock:
            self._counts[outcome] += 1

    def snapshot(self, delivery: DeliveryStats | None) -> TrackerStats:
        """Return all counts of one moment."""
        notice_fork()
        with self._lock:
            counts = self._counts.copy()
        return TrackerStats(
            recorded=counts["recorded"],
            refused=counts["refused"],
            failed=counts["failed"],
            untracked=counts["untracked"],
            unpriced=counts["unpriced"],
            delivery=delivery,
        )


_TICK: Final = timedelta(microseconds=1)
_WINDOW: Final = timedelta(seconds=1)


def utc_now() -> datetime:
    """Return the UTC time."""
    return datetime.now(UTC)


class DistinctTimes:
    """Gives each call a different start time.

    A server that gives the same id to every response leaves the time to keep two records
    apart; two threads often begin in the same microsecond.

    Args:
        now: The UTC clock.
    """

    def __init__(self, now: Callable[[], datetime] = utc_now) -> None:
        self._now = now
        self._last = datetime.min.replace(tzinfo=UTC)
        self.reset_after_fork()
        reset_in_child(self)

    def reset_after_fork(self) -> None:
        """Take a new lock; a thread of the parent may hold the old one for ever."""
        self._lock = threading.RLock()

    def take(self) -> datetime:
        """Return the time, moved by microseconds if need be."""
        notice_fork()
        now = self._now()
        with self._lock:
            # A clock that was set back by more than that is followed, not held up.
            if timedelta(0) <= self._last - now < _WINDOW:
                now = self._last + _TICK
            self._last = now
        return now
