"""Log problems that last: at most one line a minute of each kind.

No thread wakes up for it: each put and each batch checks.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Final

from receipt_dynamo.data.delivery.events import DeliveryEvent, DeliveryEventKind

_logger = logging.getLogger(__name__)

LONGEST_WAIT: Final = 30.0
"""Seconds that a record may wait before it is worth a line: longer than a round of retries."""

INTERVAL: Final = 60.0
"""Seconds between two lines of the same kind."""

_NEXT_LOOK: Final = 1.0
"""Seconds between two checks by puts."""


class Word(Enum):
    """What to log about records that wait."""

    TOO_LONG = auto()
    OVER = auto()


class LongWait:
    """Decides when to log that records wait too long, and when that is over. Pure.

    Args:
        limit: Seconds that a record may wait.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._next = 0.0
        self._is_said = False

    def look(self, now: float, age: float) -> Word | None:
        """Return what to log at ``now``, when the oldest record has waited for ``age`` seconds."""
        if age > self._limit:
            if now < self._next:
                return None
            self._is_said, self._next = True, now + INTERVAL
            return Word.TOO_LONG
        if self._is_said:
            self._is_said = False
            return Word.OVER
        return None


@dataclass(slots=True)
class _Count:
    """Records that are counted and not logged yet."""

    records: int = 0
    detail: str | None = None
    next_line: float = 0.0


class Counts:
    """Counts records by what happened to them, and decides when to log the numbers. Pure."""

    def __init__(self) -> None:
        self._counts: dict[str, _Count] = {}

    def add(self, line: str, records: int, detail: str | None) -> None:
        """Count records for ``line``, with the latest ``detail``."""
        count = self._counts.setdefault(line, _Count())
        count.records += records
        count.detail = detail

    def take_due(self, now: float, *, is_last: bool = False) -> Iterator[str]:
        """Yield each line that is due.

        Args:
            now: The time.
            is_last: Whether all are due, because this is the last call.
        """
        for line, count in self._counts.items():
            if count.records and (is_last or now >= count.next_line):
                records, count.records = count.records, 0
                count.next_line = now + INTERVAL
                number = f"{records} record{'' if records == 1 else 's'}"
                yield line.format(records=number, detail=count.detail)


@dataclass(frozen=True, slots=True)
class Situation:
    """The state of delivery.

    Attributes:
        pending: Records that wait.
        age: For how many seconds the oldest of them has.
        breaker: The circuit breaker's state.
        last_error: The latest failure in one line, or None.
    """

    pending: int
    age: float
    breaker: str
    last_error: str | None


_ADVICE: Final[Mapping[DeliveryEventKind | None, str]] = {
    DeliveryEventKind.FAILED: "DynamoDB does not answer; look at network, proxy and endpoint",
    DeliveryEventKind.THROTTLED: "DynamoDB is short of capacity; look at the table's limits",
    DeliveryEventKind.MISCONFIGURED: "DynamoDB does not take them; look at table, region and role",
    None: "no request has failed; look whether this process was stopped, and at its disk",
}
"""The advice, by the latest event."""

_DEAD: Final = (
    "dead letters: {records}, the last because of {detail}. They are kept; "
    "'journal dead' and client.dead_letters() list them"
)
_REFUSED: Final[Mapping[str | None, str]] = {
    "full": "{records} refused, because too many wait and there is no room for more: the bound is "
    "journal_max_bytes or, without a journal, max_pending_records",
    "too_large": "{records} refused, because DynamoDB takes no item above 400 KB",
}
_DROPPED: Final = "{records} dropped for newer ones, because there is no room (drop_oldest)"


class Alarms:
    """Checks the state of delivery, and logs what goes wrong. Thread-safe.

    Args:
        table_name: The table, for the lines.
        limit: Seconds that a record may wait; at least :data:`LONGEST_WAIT`.
        observe: Returns the state of delivery.
        clock: Monotonic time in seconds.
        now: The time of day, in seconds since 1970.
    """

    def __init__(
        self,
        table_name: str,
        limit: float,
        observe: Callable[[], Situation],
        *,
        clock: Callable[[], float],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._table_name = table_name
        self._limit = max(LONGEST_WAIT, limit)
        self._observe = observe
        self._clock = clock
        self._now = now
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """Begin anew in a forked child: what waits is its parent's."""
        # Re-entrant: a finalizer may put a record in the thread that is inside.
        self._lock = threading.RLock()
        self._wait = LongWait(self._limit)
        self._counts = Counts()
        self._trouble: DeliveryEventKind | None = None
        self._next_look = 0.0

    def hear(self, event: DeliveryEvent) -> None:
        """Count an event; those that matter to an operator are logged."""
        line = _find_line(event)
        with self._lock:
            if event.kind in _ADVICE:
                self._trouble = event.kind
            elif event.kind is DeliveryEventKind.DELIVERED:
                # Throttling lets some through.
                if self._trouble is not DeliveryEventKind.THROTTLED:
                    self._trouble = None
            elif line is not None:
                self._counts.add(line, event.records, event.detail)
        if line is not None:
            self._say_counts()
            self.look_if_due()

    def look_if_due(self) -> None:
        """Check, unless another thread has just done so; for puts."""
        if self._clock() >= self._next_look:
            self.look()

    def look(self) -> None:
        """Check, and log what is due."""
        self._next_look = self._clock() + _NEXT_LOOK
        situation = self._observe()
        with self._lock:
            word = self._wait.look(self._clock(), situation.age)
            trouble = self._trouble
            if word is Word.OVER:
                self._trouble = None
        if word is Word.TOO_LONG:
            self._say_too_long(situation, trouble)
        elif word is Word.OVER:
            _logger.warning(
                "table %s: no record waits for longer than %.0f s any more; %d pending",
                self._table_name,
                self._limit,
                situation.pending,
            )
        self._say_counts()

    def say_the_rest(self) -> None:
        """Log everything that is counted and not logged yet: this is the last call."""
        self._say_counts(is_last=True)

    def _say_too_long(self, situation: Situation, trouble: DeliveryEventKind | None) -> None:
        since = datetime.fromtimestamp(self._now() - situation.age, UTC)
        _logger.warning(
            "table %s: %d pending, the oldest since %s (%.0f s); circuit breaker: %s; %s. "
            "Last failure: %s. See docs/troubleshooting.md",
            self._table_name,
            situation.pending,
            since.isoformat(timespec="seconds"),
            situation.age,
            situation.breaker,
            _ADVICE[trouble],
            situation.last_error,
        )

    def _say_counts(self, *, is_last: bool = False) -> None:
        with self._lock:
            due = list(self._counts.take_due(self._clock(), is_last=is_last))
        for line in due:
            _logger.warning("table %s: %s", self._table_name, line)


def _find_line(event: DeliveryEvent) -> str | None:
    """Return what the log says of an event that records are lost or dead by, or None."""
    if event.kind is DeliveryEventKind.DEAD:
        return _DEAD
    if event.kind is DeliveryEventKind.DROPPED:
        return _DROPPED
    if event.kind is DeliveryEventKind.REFUSED:
        return _REFUSED.get(event.detail)
    return None
