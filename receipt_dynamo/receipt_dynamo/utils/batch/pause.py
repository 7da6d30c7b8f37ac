"""How long a batch queue pauses after a failure. Pure: the time comes in as an argument."""

from __future__ import annotations

import math

from receipt_dynamo.utils.backoff import backoff_delay


class Pause:
    """One pause for all workers, growing from failure to failure.

    Args:
        base_delay: Seconds of the first pause, at most.
        max_delay: Seconds of the longest one.
    """

    def __init__(self, base_delay: float, max_delay: float) -> None:
        self._base_delay = base_delay
        self._max_delay = max_delay
        self.clear()

    def clear(self) -> None:
        """Reset: the next failure counts as the first."""
        self._failures = 0
        self.until = -math.inf

    def begin_after_failure(self, now: float, luck: float, hint: float = 0.0) -> None:
        """Pause longer than the last time, or for ``hint`` seconds; the longest at most.

        Args:
            now: The time.
            luck: A random number from 0 to 1, for the jitter.
            hint: Seconds for which the other side asked.
        """
        self._failures += 1
        delay = backoff_delay(
            self._failures,
            base_delay=self._base_delay,
            max_delay=self._max_delay,
            random=lambda: luck,
        )
        # Clamped: one wrong header must not stop the queue for years.
        self.until = max(self.until, now + min(max(delay, hint), self._max_delay))

    def begin_as_asked(self, now: float, seconds: float) -> None:
        """Pause for so long; what went before was no failure."""
        self._failures = 0
        self.until = max(self.until, now + seconds)

    def end(self) -> None:
        """End the pause now."""
        self.until = -math.inf
