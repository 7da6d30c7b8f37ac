"""The parts of the machine that a queue needs: a clock, waiting, and threads.

A simulation brings its own: time that passes only when somebody waits, and no threads,
so that whoever waits does the work.
"""

from __future__ import annotations

import sys
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
            RuntimeError: None can be started: the interpreter is ending, or this is uWSGI's
                master. That forks its workers whatever its threads do: one that runs at that
                moment would hold the interpreter lock in the worker, for ever.
        """
        if _is_master_of_uwsgi():
            raise RuntimeError("uWSGI's master must not have threads")
        threading.Thread(target=work, name=name, daemon=True).start()


def _is_master_of_uwsgi() -> bool:
    # There is such a module inside of uWSGI only.
    uwsgi = sys.modules.get("uwsgi")
    return uwsgi is not None and uwsgi.worker_id() == 0 and uwsgi.mule_id() == 0


THIS_HOST: Final = Host()
