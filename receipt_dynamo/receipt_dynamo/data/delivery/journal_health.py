"""Whether this process's journal can be written now, and when to try again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

RETRY_DELAY: Final = 30.0
"""Seconds before a journal that could not be made or written is tried again."""


class JournalHealth:
    """What the last try to write the journal told. Not thread-safe.

    Args:
        clock: Monotonic time in seconds.

    Attributes:
        is_degraded: Whether it failed: records go to memory only, although a journal is wanted.
        undurable: How many did so far.
        news: What is still to be said: why it failed, or that it succeeds again.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._try_again_at = 0.0
        self.is_degraded = False
        self.undurable = 0
        self.news: Exception | str | None = None

    @property
    def is_time_to_try(self) -> bool:
        """Whether enough time has passed since a failure."""
        return self._clock() >= self._try_again_at

    def note_failure(self, error: Exception) -> None:
        """Note that the journal could not be made or written."""
        self.is_degraded, self.news = True, error
        self._try_again_at = self._clock() + RETRY_DELAY

    def note_recovery(self) -> None:
        """Note that it could be written after a failure."""
        self.is_degraded = False
        self.news = (
            f"the journal is written again; so far {self.undurable} records were in memory only"
        )

    def begin_anew(self) -> None:
        """Note that another journal takes its place, and may be made at once."""
        self.is_degraded = False
