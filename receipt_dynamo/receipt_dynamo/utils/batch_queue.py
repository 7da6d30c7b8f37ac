"""Collect items and hand them to a callback in batches, from background threads.

Items leave only when the callback has settled them. The queue is bounded, ``add_item``
never waits for a callback, and no callback error stops the workers.
"""

from __future__ import annotations

import logging
import math
import random as _random
import threading
from collections import Counter, deque
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Generic, Self, TypeVar, TypeVarTuple, get_args

from receipt_dynamo.utils.arguments import (
    check_choice,
    check_flag,
    check_not_negative,
    check_whole,
    given,
)
from receipt_dynamo.utils.batch.buffer import Arrival, BatchBuffer, Entry
from receipt_dynamo.utils.batch.items import ItemRules
from receipt_dynamo.utils.batch.outcome import (
    BatchQueueStats,
    DeadLetter,
    FlushResult,
    OutcomeError,
    Overflow,
    QueueFullError,
    check_callback,
    read_hint,
    read_outcome,
)
from receipt_dynamo.utils.batch.pause import Pause
from receipt_dynamo.utils.batch.workers import Workers, wait_for
from receipt_dynamo.utils.fork_safety import reset_in_child
from receipt_dynamo.utils.host import THIS_HOST, Host
from receipt_dynamo.utils.interruption import make_check
from receipt_dynamo.utils.log_limiter import LogLimiter

__all__ = ["BatchQueue", "BatchQueueStats", "DeadLetter", "FlushResult", "QueueFullError"]

T = TypeVar("T")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")

_logger = logging.getLogger(__name__)


class BatchQueue(Generic[T]):
    """A bounded queue in front of a callback that takes batches. Thread-safe.

    Args:
        flush_callback: Gets 1 to ``batch_size`` items, in a background thread. It
            returns None when all are delivered, or a :class:`FlushResult`. When it
            raises, the whole batch goes back to the front; an attribute ``retry_after``
            of the exception (seconds) lengthens the pause, up to ``retry_max_delay``.
            There is no retry limit.
        batch_size: Items in one batch, at most.
        flush_interval: Seconds that an item waits for others to fill a batch.
        auto_flush: False sends on :meth:`flush` and :meth:`stop` only.
        max_items: Bound of the items held, dead letters included.
        max_bytes: Bound of the bytes held, dead letters included.
        size_of: An item's size in bytes; by default items have none.
        max_batch_bytes: Bytes in one batch, at most; by default no bound.
        overflow: At a bound, "refuse" the new item, "drop_oldest", or "raise".
        key_of: An item's key. No key is twice in a batch, nor in two batches in flight;
            an item replaces a waiting one with its key, and both count as delivered
            when the one is.
        merge: Gets a waiting item and a later one with its key, and returns what is sent
            for both; by default, and when it raises, the later one. It must not call
            the queue.
        source: A store behind the queue, for what is beyond its bounds: after each batch,
            in a background thread, while the queue is less than half full, it is asked
            for so many items at most. They are taken even while the queue stops.
        workers: Threads that call the callback, at most.
        retry_base_delay: Seconds of the first pause after a failure, at most.
        retry_max_delay: Seconds of the longest pause.
        name: For threads and log lines.
        host: Its clock and its threads; a simulation has its own.
        random: Uniform random numbers from 0 to 1, for the jitter of the pauses.

    Attributes:
        is_inside: Tells whether the calling thread was interrupted in the middle of this queue.

    Raises:
        ValueError: An argument is out of bounds.
        TypeError: An argument is of a wrong type, or ``flush_callback`` is async.
    """

    def __init__(
        self,
        flush_callback: Callable[[list[T]], FlushResult[T] | None],
        batch_size: int = 25,
        flush_interval: float = 5.0,
        auto_flush: bool = True,
        *,
        max_items: int = 10_000,
        max_bytes: int = 64 * 1024 * 1024,
        size_of: Callable[[T], int] | None = None,
        max_batch_bytes: int | None = None,
        overflow: Overflow = "refuse",
        key_of: Callable[[T], Hashable] | None = None,
        merge: Callable[[T, T], T] | None = None,
        source: Callable[[int], Sequence[T]] | None = None,
        workers: int = 1,
        retry_base_delay: float = 0.1,
        retry_max_delay: float = 30.0,
        name: str = "batch-queue",
        host: Host = THIS_HOST,
        random: Callable[[], float] = _random.random,
    ) -> None:
        check_whole(batch_size=batch_size, max_items=max_items, max_bytes=max_bytes)
        check_whole(workers=workers, **given(max_batch_bytes=max_batch_bytes))
        check_flag(auto_flush=auto_flush)
        check_not_negative(flush_interval=flush_interval, retry_base_delay=retry_base_delay)
        check_not_negative(retry_max_delay=retry_max_delay)
        check_callback(flush_callback)
        check_choice(get_args(Overflow), overflow=overflow)
        self._callback = flush_callback
        self._flush_interval = flush_interval if auto_flush else None
        self._overflow = overflow
        self._largest = min(max_bytes, max_batch_bytes or max_bytes)
        self._name = name
        self._host, self._clock = host, host.clock
        self._rules = ItemRules(size_of, key_of, merge, source, host.clock, report=self._note_error)
        self._make_workers = partial(Workers, host, workers if auto_flush else 0, name)
        self._pause = Pause(retry_base_delay, retry_max_delay, random)
        self._buffer: BatchBuffer[T] = BatchBuffer(
            batch_size, max_batch_bytes or math.inf, max_items, max_bytes, self._rules.merge
        )
        self._stop_at: float | None = None
        self.reset_after_fork()
        reset_in_child(self)

    def reset_after_fork(self) -> None:
        """Start empty, and stopped if it was: what is pending at a fork stays the parent's."""
        # Re-entrant: a finalizer or signal handler may call add_item in the thread that
        # is inside the lock; a plain lock would stop that thread for ever.
        self._lock = threading.RLock()
        self.is_inside = make_check(self._lock)
        self._work = self._host.make_condition(self._lock)
        self._progress = self._host.make_condition(self._lock)
        self._buffer.clear()
        self._is_editing = False
        self._plain_limit = self._find_plain_limit()
        self._late: deque[Arrival[T]] = deque()
        self._workers = self._make_workers(self._work, self._work_once)
        self._pause.clear()
        self._refused: Counter[str] = Counter()
        self._flushers = self._flushes = self._callback_errors = 0
        self._last_error: str | None = None
        self._log = LogLimiter(_logger, clock=self._clock)

    def add_item(self, item: T) -> bool:
        """Accept ``item`` without waiting for any callback.

        Returns:
            True when accepted; False when refused, see ``get_stats().refused``.

        Raises:
            QueueFullError: A bound is reached, with ``overflow="raise"`` only.
        """
        arrival = self._rules.measure(item)
        size = arrival[1]
        with self._lock:
            is_in = size <= self._plain_limit and self._buffer.append(arrival)
            if is_in and not (self._workers.idle or self._workers.free):
                return True
            if self._is_editing:
                self._late.append(arrival)
                return True
            refusal = None if is_in else self._edit(self._admit, *arrival)
            needs_thread = self._buffer.begins_batch and self._workers.call()
        self._workers.start(needs_thread)
        return refusal is None or self._refuse(refusal, size)

    def flush(self, timeout: float | None = None) -> bool:
        """Send what is there, and wait until all accepted before this call are settled.

        A pause after a failure is not cut short: flushing in an outage must not storm.
        From inside the callback it does not wait.

        Args:
            timeout: Seconds to wait, at most; None waits as long as it takes.

        Returns:
            True when all are delivered, dead or dropped; False when the time was up.
        """
        with self._lock:
            number = self._buffer.accepted
            self._flushers += 1
            self._work.notify_all()
        try:
            return self._wait_until(
                lambda: not self._edit(self._buffer.has_unsettled, number), timeout
            )
        finally:
            with self._lock:
                self._flushers -= 1

    def stop(self, timeout: float | None = 10.0) -> bool:
        """Refuse new items, send what is there, and end the workers. May be called again.

        A pause after a failure ends here, for one last attempt.

        Args:
            timeout: Seconds to wait, at most; None waits as long as it takes.

        Returns:
            True when nothing is pending; else the items stay, and are counted so.
        """
        with self._lock:
            self._stop_at = self._clock() + (math.inf if timeout is None else timeout)
            self._plain_limit = self._find_plain_limit()
            self._pause.end()
            self._work.notify_all()
            self._progress.notify_all()
        self._wait_until(self._has_nothing_to_try, timeout)
        with self._lock:
            done = not self._buffer.pending
            self._stop_at = -math.inf
            self._work.notify_all()
            self._progress.notify_all()
        return done

    def wait(self, seconds: float) -> bool:
        """Sleep inside the callback; True when a stop leaves no time for it."""
        end = self._clock() + seconds
        with self._lock:
            while (now := self._clock()) < end:
                if self._stop_at is not None and end > self._stop_at:
                    return True
                wait_for(self._progress, end - now)
        return False

    def get_stats(self) -> BatchQueueStats:
        """Return one consistent snapshot."""
        with self._lock:
            return BatchQueueStats(
                *self._buffer.accounts,
                refused=dict(self._refused),
                pending_bytes=self._buffer.bytes,
                flushes=self._flushes,
                callback_errors=self._callback_errors,
                last_error=self._last_error,
            )

    def dead_letters(self) -> list[DeadLetter[T]]:
        """Return the items that were given up, oldest first."""
        with self._lock:
            return [DeadLetter(e.item, e.reason, e.attempts) for e in self._buffer.dead_entries]

    def redrive(self, match: Callable[[T], bool] | None = None) -> int:
        """Take dead letters back to the end of the queue.

        Args:
            match: Which ones; by default all.

        Returns:
            How many items are pending again.
        """
        with self._lock:
            dead = list(self._buffer.dead_entries)
        chosen = [entry for entry in dead if match is None or match(entry.item)]
        with self._lock:
            items = self._edit(self._buffer.revive, chosen, self._clock())
            needs_thread = items > 0 and self._workers.call()
        self._workers.start(needs_thread)
        return items

    def drop_oldest(self) -> T | None:
        """Give up the first item in line, and return it; None when nobody waits."""
        with self._lock:
            entry = self._edit(self._buffer.drop_oldest)
            self._progress.notify_all()
            return None if entry is None else entry.item

    def pull(self) -> int:
        """Ask the source for items now, as after each batch; return how many came."""
        items = self._ask_source(self._buffer.room)
        with self._lock:
            self._take_in(items)
            needs_thread = len(items) > 0 and self._workers.call()
        self._workers.start(needs_thread)
        return len(items)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _find_plain_limit(self) -> int:
        """Return the size up to which an item may go the short way; below 0, none may."""
        return self._largest if not self._rules.has_keys and self._stop_at is None else -1

    def _edit(self, change: Callable[[*Ts], R], *args: *Ts) -> R:
        """Change the buffer, then admit what came in from inside of it; with the lock held."""
        self._is_editing, self._plain_limit = True, -1
        try:
            result = change(*args)
        finally:
            self._is_editing = False
            self._plain_limit = self._find_plain_limit()
        while self._late:
            refusal = self._edit(self._admit, *self._late.popleft())
            if refusal is not None:
                self._refused[refusal] += 1
        return result

    def _admit(self, item: T, size: int, key: Hashable | None, now: float) -> str | None:
        """Take the item in, or return why not; with the lock held."""
        if self._stop_at is not None:
            return "stopped"
        if size > self._largest:
            return "too_large"
        while not self._buffer.offer(item, size, key, now):
            if self._overflow != "drop_oldest" or self._buffer.drop_oldest() is None:
                return "full"
        return None

    def _refuse(self, reason: str, size: int) -> bool:
        with self._lock:
            self._refused[reason] += 1
        if self._overflow == "raise" and reason != "stopped":
            raise QueueFullError(
                f"queue {self._name} refuses an item of {size} bytes ({reason}): it holds "
                f"{self._buffer.bytes} bytes and {self._buffer.pending} items"
            )
        return False

    def _work_once(self) -> bool:
        batch = self._await_batch()
        if batch is None:
            return False
        self._deliver(batch)
        return True

    def _await_batch(self) -> list[Entry[T]] | None:
        """Sleep until a batch is due and take it; None when the work is over."""
        with self._lock:
            while (delay := self._seconds_until_due()) is None or delay > 0:
                if self._is_over():
                    return None
                self._workers.sleep(delay)
            if self._is_over():
                return None
            batch = self._edit(self._buffer.take_batch)
            needs_thread = self._buffer.holds_full_batch and self._workers.call()
        self._workers.start(needs_thread)
        return batch

    def _is_over(self) -> bool:
        return self._stop_at is not None and (
            not self._buffer.pending or self._clock() >= self._stop_at
        )

    def _has_nothing_to_try(self) -> bool:
        """Whether a stop need not wait: all is settled, or the pause outlasts its deadline."""
        is_paused = self._stop_at is not None and self._pause.until >= self._stop_at
        return not self._buffer.pending or (is_paused and not self._buffer.in_flight)

    def _seconds_until_due(self) -> float | None:
        """Return when the next batch may leave; None when nothing makes it due yet."""
        is_wanted = self._stop_at is not None or self._flushers > 0
        due = self._buffer.due_at(self._flush_interval, is_wanted)
        return None if due is None else max(due, self._pause.until) - self._clock()

    def _deliver(self, batch: list[Entry[T]]) -> None:
        """Hand the batch to the callback and book the outcome, whatever that is."""
        try:
            outcome = self._callback([entry.item for entry in batch])
            retry, dead, pause = read_outcome(outcome, batch)
        except BaseException as error:
            self._settle_failure(batch, error)
            if not self._workers.survive(error):
                raise
            return
        more: list[Arrival[T]] = []
        try:
            # Before the batch is booked: nothing pending must mean that the source is empty too.
            more = self._ask_source(self._buffer.room + len(batch) - len(retry))
        finally:
            with self._lock:
                if retry and pause is None:
                    self._pause.begin_after_failure(self._clock())
                else:
                    self._pause.begin_as_asked(self._clock(), pause or 0.0)
                self._take_in(more)
                self._settle(batch, retry, dead, outcome is not None and outcome.newest_next)
        if not self._buffer.pending:
            self.pull()  # What came since then nobody else would fetch.

    def _settle(
        self, batch: list[Entry[T]], retry: list[Entry[T]], dead: list[Entry[T]], newest: bool
    ) -> None:
        self._flushes += 1
        self._edit(self._buffer.settle_batch, batch, retry, dead, newest)
        self._progress.notify_all()

    def _ask_source(self, room: int) -> list[Arrival[T]]:
        """Return what the source gives, measured; without the lock."""
        try:
            return self._rules.fetch(room)
        except BaseException as error:
            kind = type(error).__name__
            self._log.warn("source", f"queue {self._name}: the source raised {kind}")
            if not self._workers.survive(error):
                raise
            return []

    def _take_in(self, arrivals: list[Arrival[T]]) -> None:
        """Admit what came from the source; with the lock held."""
        for arrival in arrivals:
            self._edit(self._buffer.admit, *arrival)

    def _note_error(self, error: BaseException) -> None:
        self._callback_errors += 1
        self._last_error = type(error).__name__

    def _settle_failure(self, batch: list[Entry[T]], error: BaseException) -> None:
        hint = read_hint(error)
        with self._lock:
            self._note_error(error)
            self._pause.begin_after_failure(self._clock(), hint)
            self._settle(batch, batch, [], newest=False)
        # By type only: the message may hold what the item holds.
        what = error if isinstance(error, OutcomeError) else f"it raised {type(error).__name__}"
        told = f"the callback failed ({what}); its {len(batch)} items are kept and sent again"
        self._log.warn("callback", f"queue {self._name}: {told}")

    def _wait_until(self, is_done: Callable[[], bool], timeout: float | None) -> bool:
        """Wait for ``is_done``; do the work in this thread if no worker can."""
        deadline = self._clock() + (math.inf if timeout is None else timeout)
        works_here = not self._workers.start_first(self._buffer.pending > 0)
        while True:
            batch: list[Entry[T]] | None = None
            with self._lock:
                left = deadline - self._clock()
                if is_done():
                    return True
                if left <= 0 or self._workers.is_one():
                    return False
                delay = self._seconds_until_due() if works_here else None
                if delay is not None and delay <= 0:
                    batch = self._edit(self._buffer.take_batch)
                else:
                    wait_for(self._progress, left if delay is None else min(left, delay))
            if batch:
                self._deliver(batch)
