"""Log lines about a failure that may occur with every call, a few a minute at most."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

INTERVAL: Final = 60.0
"""Seconds between two lines of the same kind."""


class LogLimiter:
    """Logs one line of each kind in an interval, with the number of those left out.

    It takes no lock: a handler may come back here. Two threads at once may log a line each.

    Args:
        logger: Where to.
        clock: Monotonic clock in seconds.
    """

    def __init__(
        self, logger: logging.Logger, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._logger = logger
        self._clock = clock
        self._last: dict[str, float] = {}
        self._left_out: Counter[str] = Counter()

    def warn(self, kind: str, message: str) -> None:
        """Log ``message``, unless one of its kind was logged within the last minute."""
        now = self._clock()
        if now - self._last.get(kind, -INTERVAL) < INTERVAL:
            self._left_out[kind] += 1
            return
        self._last[kind] = now
        left_out = self._left_out.pop(kind, 0)
        suffix = f" ({left_out} more since the last such line)" if left_out else ""
        self._logger.warning("%s%s", message, suffix)
