"""The pace of the batches: pure arithmetic, the time comes in as an argument.

Additive increase and multiplicative decrease, with the decrease in proportion to the
share of records that were throttled, as in "Data Center TCP (DCTCP)", RFC 8257: a
single throttled record in a batch must not halve the pace.
"""

from __future__ import annotations

from typing import Final

FLOOR: Final = 2.0
"""Batches a second that are always allowed. Without it, a constant share of throttled
records would starve the writer."""

STEP: Final = 2.0
"""Batches a second that a batch written in full adds to the pace."""

UNLIMITED: Final = float("inf")


SLOWEST_UPLINK: Final = 16 * 1024
"""Bytes a second with which a request is expected to leave, at least: several senders may share
an uplink of 100 KiB a second."""

FIRST_REQUEST_BYTES: Final = 1024 * 1024
"""Of a request at first, at most: so a first one that is never answered holds a sender for a
minute, not for ten."""

SMALLEST_REQUEST_BYTES: Final = 64 * 1024
"""Of the bound that timeouts lead to; typical batches are below."""


class RequestSize:
    """How large requests may be, in bytes: half as large after a timeout, twice after a success.

    Args:
        most: The largest bound.

    Attributes:
        limit: The bound by now. Not thread-safe.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.limit = min(most, FIRST_REQUEST_BYTES)

    def record_timeout(self, size: int) -> None:
        """Note that a request of ``size`` bytes was not answered in time."""
        self.limit = max(SMALLEST_REQUEST_BYTES, min(self.limit, size // 2))

    def record_reply(self, size: int) -> None:
        """Note that a request of ``size`` bytes was answered."""
        if size > self.limit // 2:
            self.limit = min(self._most, self.limit * 2)


def allow_seconds(size: int, reply_timeout: float) -> float:
    """Return the seconds for a request of ``size`` bytes and its reply."""
    return reply_timeout + size / SLOWEST_UPLINK


class Pacer:
    """The pace of one writer, in batches a second.

    It is unlimited until a record is throttled; then it starts from what was really sent
    of late, and finds what the table can take. Not thread-safe.
    """

    def __init__(self) -> None:
        self.rate = UNLIMITED
        self._last_start = -UNLIMITED
        self._holds_back = False
        self._second = 0
        self._sent_this_second = 0
        self._sent_last_second = 0

    def reserve(self, now: float) -> float:
        """Return the seconds to wait before the next batch, which is now planned for then."""
        # From the last start and today's rate, so that a throttled batch is not sent
        # again at once.
        start = max(now, self._last_start + 1.0 / self.rate)
        self._holds_back = start > now
        self._last_start = start
        self._count(int(start))
        return start - now

    def record_batch(self, throttled_share: float) -> None:
        """Adapt to a batch of which ``throttled_share`` (0 to 1) was throttled."""
        if throttled_share and self.rate == UNLIMITED:
            self.rate = max(self._sent_this_second, self._sent_last_second)
        # A pace that was not waited for proves nothing about a higher one.
        increase = STEP * (1.0 - throttled_share) if self._holds_back else 0.0
        self.rate = max(FLOOR, self.rate * (1.0 - throttled_share / 2) + increase)

    def restart(self) -> None:
        """Begin again at the floor: after an outage the backlog must not leave at once."""
        self.rate = FLOOR

    def _count(self, second: int) -> None:
        if second != self._second:
            follows = second == self._second + 1
            self._sent_last_second = self._sent_this_second if follows else 0
            self._sent_this_second = 0
            self._second = second
        self._sent_this_second += 1
