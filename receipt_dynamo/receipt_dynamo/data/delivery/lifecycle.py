"""The end of the process: pending records are delivered, or stay on disk."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from receipt_dynamo.data.table.evidence import DELIVER_UNPROVEN
from receipt_dynamo.utils.arguments import check_timeout

if TYPE_CHECKING:
    from receipt_dynamo.data.delivery.delivery import Delivery
    from receipt_dynamo.data.delivery.stats import CloseReport

_logger = logging.getLogger(__name__)

EXIT_TIMEOUT: Final = 10.0
"""Seconds that the end of the process waits for what is pending."""

FLUSH_TIMEOUT: Final = 30.0
"""Seconds that ``flush`` waits for what is pending, by default: as long as a platform waits for
its process to end (Kubernetes: 30 s), and as the circuit breaker stays open at first."""

_RAISE_AGAIN_AFTER: Final = 0.1
"""Seconds until a signal that the main thread has not heard is raised again."""

_FIRST_PROCESS: Final = 1
"""The id of a container's first process, which a signal without a handler does not end."""

_AFTER_CHILDREN: Final = -1
"""Priority in a worker of multiprocessing: below 0 is after it has joined its own children."""

# Weakly: one that has accepted a record is kept alive by its threads.
_open: Final[WeakValueDictionary[int, Delivery]] = WeakValueDictionary()


def close_at_exit(delivery: Delivery) -> None:
    """Close ``delivery`` when the process ends, unless it is closed before."""
    _open[id(delivery)] = delivery


def is_open(delivery: Delivery) -> bool:
    """Whether ``delivery`` has not been closed."""
    return id(delivery) in _open


def close(delivery: Delivery, timeout: float | None) -> CloseReport:
    """Close ``delivery``, and say once what it could not deliver.

    Args:
        delivery: Which one.
        timeout: Seconds to wait, at most; None waits for as long as it takes.

    Raises:
        TypeError: ``timeout`` is no number; it stays open, and is closed when the process ends.
        ValueError: Likewise, of one that no float can hold.
    """
    check_timeout(timeout)
    is_first = _open.pop(id(delivery), None) is not None
    report = delivery.close(timeout)
    if report.pending and is_first:
        _logger.error(
            "table %s: %d records were not delivered within %s s; %s. Last failure: %s",
            delivery.table_name,
            report.pending,
            None if timeout is None else round(timeout, 1),
            _describe_fate(report),
            delivery.last_error,
        )
    return report


def _describe_fate(report: CloseReport) -> str:
    """Say what becomes of the records that were not delivered."""
    fates = {
        "are in the journal, for the next process with the same account or credentials": (
            report.on_disk - report.unproven
        ),
        f"are in the journal, unproven for want of credentials: {DELIVER_UNPROVEN}": (
            report.unproven
        ),
        "are lost": report.lost,
    }
    return ", ".join(f"{count} {fate}" for fate, count in fates.items() if count)


def close_all(timeout: float = EXIT_TIMEOUT) -> None:
    """Close everything that is open.

    Args:
        timeout: Seconds to wait for all of them together, at most.
    """
    _do_for_all(close, timeout)


def flush_all(timeout: float = EXIT_TIMEOUT) -> None:
    """Flush everything that is open.

    Args:
        timeout: Seconds to wait for all of them together, at most.
    """
    _do_for_all(lambda delivery, timeout: delivery.flush(timeout), timeout)


def flush_on_sigterm(timeout: float = EXIT_TIMEOUT) -> None:
    """Have SIGTERM flush every open client before it does what it did until now.

    Call it in the main thread. The handler that was there before runs afterwards, in the
    main thread; without one the process ends by the signal, as it would have. A second
    SIGTERM while the flush lasts does so at once.

    Args:
        timeout: Seconds to wait for pending records, at most; keep it below what your
            platform waits before it kills (Kubernetes: 30 s).

    Raises:
        ValueError: This is not the main thread.
    """
    signal.signal(signal.SIGTERM, _FlushFirst(timeout, signal.getsignal(signal.SIGTERM)))


class _FlushFirst:
    """The handler: a thread flushes and raises the signal again, and then ``before`` runs."""

    def __init__(self, timeout: float, before: Any) -> None:
        self._timeout = timeout
        self._before = before
        self._flushes_in = 0  # A process id: a forked child does not have the thread.
        self._is_raised = False
        self._is_passed_on = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._flushes_in != os.getpid():
            self._flushes_in = os.getpid()
            self._is_raised = self._is_passed_on = False
            # Not in this thread: what it was interrupted in may hold any lock. When the
            # interpreter is ending no thread can be started, and all is flushed anyway.
            with suppress(RuntimeError):
                threading.Thread(target=self._flush, args=(number,), daemon=True).start()
        elif not (self._is_raised and self._is_passed_on):
            self._is_passed_on = True
            self._pass_on(number, frame)

    def _flush(self, number: int) -> None:
        flush_all(self._timeout)
        self._is_raised = True
        # Until it is heard: one that comes in just before the main thread begins to wait
        # (``signal.pause``, ``select``) does not wake it, and the process would never end.
        while not self._is_passed_on:
            os.kill(os.getpid(), number)
            time.sleep(_RAISE_AGAIN_AFTER)
        self._flushes_in = 0

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        if callable(self._before):
            self._before(number, frame)
        elif self._before is not signal.SIG_IGN and os.getpid() == _FIRST_PROCESS:
            sys.exit(128 + number)  # As a shell calls it: the signal itself does nothing there.
        elif self._before is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


def _do_for_all(work: Callable[[Delivery, float], object], timeout: float) -> None:
    """Do ``work`` for all that are open, at a time: what cannot deliver costs the others nothing.

    No thread can be started any more when the interpreter ends (Python 3.12 and later): what is
    left is done by the calling thread, each with its share of the time.
    """
    end = time.monotonic() + timeout
    deliveries, threads = _list_open(), []
    while len(deliveries) > 1:
        thread = threading.Thread(target=work, args=(deliveries[-1], timeout), daemon=True)
        try:
            thread.start()
        except RuntimeError:
            break
        threads.append(thread)
        deliveries.pop()
    while deliveries:
        share = max(0.0, end - time.monotonic()) / len(deliveries)
        work(deliveries.pop(), share)
    for thread in threads:
        thread.join()


def _list_open() -> list[Delivery]:
    # In one step: another thread may open one, or close one, meanwhile.
    return [found for known in _open.valuerefs() if (found := known()) is not None]


def _close_in_worker() -> None:
    """Have this process close all in time, if it is or becomes a worker of multiprocessing.

    A worker ends by ``os._exit``, which skips atexit. It clears its finalizers when it
    begins, and then calls the functions that are registered for after a fork.
    """
    if "multiprocessing.util" in sys.modules:
        from multiprocessing import parent_process, util

        util.register_after_fork(close_all, _close_before_exit)
        if parent_process() is not None:
            _close_before_exit(close_all)


def _close_before_exit(closer: Callable[[], None]) -> None:
    from multiprocessing.util import Finalize

    Finalize(None, closer, exitpriority=_AFTER_CHILDREN)


atexit.register(close_all)
_close_in_worker()
if hasattr(os, "register_at_fork"):  # Windows has no fork.
    os.register_at_fork(after_in_child=_close_in_worker)
