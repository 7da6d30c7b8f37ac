"""A machine for a queue, on which time passes only when somebody waits, and no thread runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from receipt_dynamo import BatchQueue
from receipt_dynamo.utils.host import Host


class AsleepError(Exception):
    """A worker had nothing to do for so many seconds; None is until it is called."""


class SimulatedHost(Host):
    """Whoever takes a worker's turn is told when it would sleep; other waits move the clock.

    Args:
        starts_threads: Whether one that is started is said to run; it never does.

    Attributes:
        started: Names of the threads that were asked for.
    """

    def __init__(self, *, starts_threads: bool = False) -> None:
        self.now = 1_000.0
        self.clock = lambda: self.now
        self.started: list[str] = []
        self._starts_threads = starts_threads
        self._conditions = 0

    def make_condition(self, lock: threading.RLock) -> threading.Condition:
        self._conditions += 1
        # The first is the one on which workers sleep.
        return _Condition(lock, self._sleep if self._conditions % 2 else self._wait)

    def start_thread(self, work: Callable[[], object], name: str) -> None:
        self.started.append(name)
        if not self._starts_threads:
            raise RuntimeError("no threads here")

    def _sleep(self, seconds: float | None) -> None:
        raise AsleepError(seconds)

    def _wait(self, seconds: float | None) -> None:
        assert seconds is not None, "it would wait for ever"
        self.now += seconds


class _Condition(threading.Condition):
    def __init__(self, lock: Any, wait: Callable[[float | None], None]) -> None:
        super().__init__(lock)
        self._wait_instead = wait

    def wait(self, timeout: float | None = None) -> bool:
        # Given away, as a real one does: what happens meanwhile is not inside of the lock.
        state = self._release_save()
        try:
            self._wait_instead(timeout)
        finally:
            self._acquire_restore(state)
        return False


def take_turn(queue: BatchQueue[Any]) -> float | None:
    """Do what workers would do now; return for how long the next one would sleep then."""
    try:
        while queue._work_once():
            pass
    except AsleepError as asleep:
        (seconds,) = asleep.args
        return None if seconds is None else float(seconds)
    raise AssertionError("the work is over")
