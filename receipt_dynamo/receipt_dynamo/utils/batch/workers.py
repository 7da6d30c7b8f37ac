"""The threads of a batch queue: started when there is work, asleep without work."""

from __future__ import annotations

import threading
from collections.abc import Callable

from receipt_dynamo.utils.host import Host


def wait_for(condition: threading.Condition, seconds: float | None) -> None:
    """Wait on ``condition`` for so long; None, or more than a thread can, is until notified."""
    condition.wait(seconds if seconds is not None and seconds < threading.TIMEOUT_MAX else None)


class Workers:
    """At most ``limit`` threads that do ``work`` again and again until it says False.

    Args:
        host: Starts them.
        limit: Threads, at most.
        name: Of the threads.
        condition: Where idle ones sleep; its lock guards the counts here.
        work: Waits for something to do and does it; False when the work is over.

    Attributes:
        idle: Threads asleep.
        free: Threads that may still be started.
    """

    def __init__(
        self,
        host: Host,
        limit: int,
        name: str,
        condition: threading.Condition,
        work: Callable[[], bool],
    ) -> None:
        self._host = host
        self._limit = limit
        self._name = name
        self._condition = condition
        self._work = work
        self._idents: set[int] = set()
        self.idle = 0
        self.free = limit

    def call(self) -> bool:
        """Wake an idle one; True when :meth:`start` is to be called, without the lock."""
        if self.idle:
            self._condition.notify()
            return False
        if self.free <= 0:
            return False
        self.free -= 1
        return True

    def start(self, is_reserved: bool) -> bool:
        """Start the one that was reserved, if so; False when the interpreter is ending."""
        if not is_reserved:
            return True
        try:
            self._host.start_thread(self._run, f"{self._name}-worker")
        except RuntimeError:
            with self._condition:
                self.free += 1
            return False
        return True

    def start_first(self, is_needed: bool) -> bool:
        """Make sure that one lives, if it is needed; False when none can be started."""
        with self._condition:
            if self.free < self._limit or not is_needed:
                return True
            self.free -= 1
        return self.start(is_reserved=True)

    def sleep(self, seconds: float | None) -> None:
        """Wait, with the lock held, to be called; None is for as long as it takes."""
        self.idle += 1
        try:
            wait_for(self._condition, seconds)
        finally:
            self.idle -= 1

    def is_one(self) -> bool:
        """Whether the calling thread is one of these."""
        return threading.get_ident() in self._idents

    def survive(self, error: BaseException) -> bool:
        """Whether to go on after ``error``; an interrupt is for who flushes or stops, no worker."""
        return isinstance(error, Exception) or self.is_one()

    def _run(self) -> None:
        me = threading.get_ident()
        with self._condition:
            self._idents.add(me)
        try:
            while self._work():
                pass
        finally:
            with self._condition:
                self._idents.discard(me)
                self.free += 1
