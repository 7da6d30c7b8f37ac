"""Find out whether a thread was interrupted in the middle of our own work.

The garbage collector runs finalizers, and Python signal handlers, between any two steps of
whatever thread comes along: inside of a lock as well. What they call is already inside.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


def make_check(lock: threading.RLock) -> Callable[[], bool]:
    """Return a function that returns whether the calling thread holds ``lock``.

    To wait for another lock there may be to wait for a thread that waits for this one. The
    lock's own function, because it is asked with each record: 50 ns.
    """
    is_owned: Callable[[], bool] = lock._is_owned  # type: ignore[attr-defined]  # noqa: SLF001
    return is_owned
