"""The parts of the machine that a queue needs: a clock, waiting, and threads.

A simulation brings its own: time that passes only when somebody waits, and no threads,
so that whoever waits does the work.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final


class Host:
    """The real thing."""

    clock: Callable[[], float] = time.monotonic
    """Monotonic time in seconds."""

    def make_condition(self, lock: threading.RLock) -> threading.Condition:
        """Return a condition with ``lock``, on which threads wait."""
        return threading.Condition(lock)

    def start_thread(self, work: Callable[[], object], name: str) -> None:
        """Start a daemon thread that does ``work``.

        Raises:
            RuntimeError: None can be started: the interpreter is ending.
        """
        threading.Thread(target=work, name=name, daemon=True).start()


THIS_HOST: Final = Host()
