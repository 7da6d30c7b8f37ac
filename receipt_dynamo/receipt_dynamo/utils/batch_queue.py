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
    check_callable,
    check_choice,
    check_flag,
    check_not_negative,
    check_timeout,
    check_whole,
    given,
)
from receipt_dynamo.utils.batch.buffer import BatchBuffer, Entry, Lane, Lanes
from receipt_dynamo.utils.batch.items import ItemRules
from receipt_dynamo.utils.batch.outcome import (
    BatchQueueStats,
    DeadLetter,
    FlushResult,
    Outcome,
    OutcomeError,
    Overflow,
    QueueFullError,
    check_callback,
    read_hint,
    read_outcome,
)
from receipt_dynamo.utils.batch.pause import Pause
from receipt_dynamo.utils.batch.workers import Workers, wait_for
from receipt_dynamo.utils.fork_safety import notice_fork, reset_in_child
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
            There is no retry limit. Another value, such as what a driver's call
            returned, is ignored, with one warning. For False, a coroutine or a generator,
            which the queue does not run, the batch becomes dead letters.
        batch_size: Items in one batch, at most.
        flush_interval: Seconds that an item waits for others to fill a batch.
        auto_flush: False sends on :meth:`flush` and :meth:`stop` only.
        max_items: Bound of the items held, dead letters included.
        max_bytes: Bound of the bytes held, dead letters included.
        size_of: An item's size in whole bytes; by default items have none.
        max_batch_bytes: Bytes in one batch, at most; by default no bound.
        overflow: At a bound, "refuse" the new item, "drop_oldest", or "raise".
        key_of: An item's key. No key is twice in a batch, nor in two batches in flight;
            an item replaces one in line with its key, and both count as delivered when
            the later one is.
        merge: Gets an earlier item and a later one with its key, and returns what is sent
            for both; by default, and when it raises, the later one. It is called once
            for each two, by one thread at a time for each key: the one that adds the
            later item, as a rule.
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
        is_inside: Returns whether the calling thread was interrupted in the middle of this queue.

    Raises:
        ValueError: An argument is out of bounds.
        TypeError: An argument is of a wrong type, or ``flush_callback`` is async or a
            generator.

    The functions above, the items and their keys may do anything, take locks for example, and
    may use the queue: none is called while the queue's lock is held.
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
        check_callable(random=random)
        check_choice(get_args(Overflow), overflow=overflow)
        self._callback = flush_callback
        self._flush_interval = flush_interval if auto_flush else None
        self._overflow = overflow
        self._largest = min(max_bytes, max_batch_bytes or max_bytes)
        self._name = name
        self._host, self._clock = host, host.clock
        self._rules = ItemRules(
            size_of, key_of, merge, source, host.clock, report=self._count_error
        )
        self._make_entry = self._rules.make_entry
        self._make_workers = partial(Workers, host, workers if auto_flush else 0, name)
        self._pause = Pause(retry_base_delay, retry_max_delay)
        self._random = random
        self._buffer: BatchBuffer[T] = BatchBuffer(
            *(batch_size, max_batch_bytes or math.inf, max_items, max_bytes),
            is_replacing=merge is None,
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
        self._late: deque[Entry[T]] = deque()
        self._merging_threads: list[int] = []
        self._sleeps_over_merge = False
        self._workers = self._make_workers(self._work, self._work_once)
        self._pause.clear()
        self._refused: Counter[str] = Counter()
        self._flushers = self._flushes = self._callback_errors = 0
        self._last_error: str | None = None
        self._has_remarked = False
        self._log = LogLimiter(_logger, clock=self._clock)

    def add_item(self, item: T) -> bool:
        """Accept ``item`` without waiting for any callback.

        Returns:
            True when accepted; False when refused, see ``get_stats().refused``.

        Raises:
            QueueFullError: A bound is reached, with ``overflow="raise"`` only.
        """
        notice_fork()
        entry = self._make_entry(item)
        if self._is_editing and self.is_inside():
            self._late.append(entry)
            return True
        refusal = self._take_in(entry)
        if refusal is None and not self._late:
            return True
        if refusal is not None:
            refusal = self._insist(entry, refusal)
        self._catch_up()
        if refusal is None:
            return True
        if self._overflow == "raise" and refusal != "stopped":
            raise QueueFullError(
                f"queue {self._name} refuses an item of {entry.size} bytes ({refusal}): it holds "
                f"{self._buffer.bytes} bytes and {self._buffer.pending} items"
            )
        return False

    def flush(self, timeout: float | None = None) -> bool:
        """Send what is there, and wait until all accepted before this call are settled.

        A pause after a failure is not cut short: flushing in an outage must not storm.
        From inside the callback and ``merge`` it does not wait.

        Args:
            timeout: Seconds to wait, at most; None waits as long as it takes.

        Returns:
            True when all are delivered, dead or dropped; False when the time was up.
        """
        check_timeout(timeout)
        notice_fork()
        with self._lock:
            number = self._buffer.accepted
            self._flushers += 1
            self._work.notify_all()
        try:
            return self._wait_until(lambda: not self._buffer.has_unsettled(number), timeout)
        finally:
            with self._lock:
                self._flushers -= 1

    def stop(self, timeout: float | None = 10.0) -> bool:
        """Refuse new items, send what is there, and end the workers. May be called again.

        A pause after a failure ends here, for one last attempt, also of what waits apart.

        Args:
            timeout: Seconds to wait, at most; None waits as long as it takes.

        Returns:
            True when nothing is pending; else the items stay, and are counted so.
        """
        check_timeout(timeout)
        notice_fork()
        with self._lock:
            self._stop_at = self._clock() + (math.inf if timeout is None else timeout)
            self._largest = -1  # None is taken in any more.
            self._pause.end()
            self._edit(self._buffer.recall)
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
        notice_fork()
        end = self._clock() + seconds
        with self._lock:
            while (now := self._clock()) < end:
                if self._stop_at is not None and end > self._stop_at:
                    return True
                wait_for(self._progress, end - now)
        return False

    def count_seconds_left(self) -> float:
        """Return the seconds until a stop gives up; infinite while none is under way."""
        stop_at = self._stop_at
        return math.inf if stop_at is None else max(0.0, stop_at - self._clock())

    def get_stats(self) -> BatchQueueStats:
        """Return one consistent snapshot."""
        notice_fork()
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
        """Return the dead letters, oldest first."""
        notice_fork()
        with self._lock:
            return [DeadLetter(e.item, e.reason, e.attempts) for e in self._buffer.dead_entries]

    def redrive(self, match: Callable[[T], bool] | None = None) -> int:
        """Take dead letters back to the end of the queue.

        Args:
            match: Which ones; by default all.

        Returns:
            How many items are pending again.
        """
        notice_fork()
        with self._lock:
            dead = self._buffer.dead_entries
        chosen = [entry for entry in dead if match is None or match(entry.item)]
        with self._lock:
            items = self._edit(self._buffer.redrive, chosen, self._clock())
            needs_thread = items > 0 and self._workers.call()
        self._workers.start(needs_thread)
        self._catch_up()
        return items

    def drop_oldest(self) -> T | None:
        """Drop the first item in line, and return it; None if no item is in line.

        One that is being merged at this moment is passed over.
        """
        notice_fork()
        entry = self._drop()
        self._catch_up()
        return None if entry is None else entry.item

    def pull(self) -> int:
        """Ask the source for items now, as after each batch; return how many came."""
        notice_fork()
        entries = self._ask_source(self._buffer.room)
        for entry in entries:
            self._take_in(entry, is_stored=True)
        with self._lock:
            needs_thread = len(entries) > 0 and self._workers.call()
        self._workers.start(needs_thread)
        self._catch_up()
        return len(entries)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    # The way in

    def _edit(self, change: Callable[[*Ts], R], *args: *Ts) -> R:
        """Change the buffer, with the lock held; :meth:`_catch_up` is to follow, without it.

        A finalizer or signal handler that adds an item in the middle of the change finds
        ``_is_editing``, and leaves the item in ``_late``.
        """
        self._is_editing = True
        try:
            return change(*args)
        finally:
            self._is_editing = False

    def _take_in(self, entry: Entry[T], is_stored: bool = False) -> str | None:
        """Take a new entry in, or return why not; what came from the source, in any case.

        What is pending with its key is found without the lock, and again when that has
        changed meanwhile.
        """
        buffer = self._buffer
        lanes: Lanes[T] | None = None
        lane: Lane[T] | None = None
        while True:
            if entry.key is not None:
                lanes, lane = buffer.find_lane(entry)
            with self._lock:
                if entry.size > self._largest and not is_stored:
                    return "too_large" if self._stop_at is None else "stopped"
                self._is_editing = True
                try:
                    verdict = buffer.admit(entry, lanes, lane, is_stored)
                finally:
                    self._is_editing = False
                if verdict is None:
                    return None
                begins = verdict == "begins_batch" and not is_stored
                needs_thread = begins and self._workers.call()
            self._workers.start(needs_thread)
            if verdict == "merge":
                self._merge_all()
            if verdict != "changed":
                return "full" if verdict == "full" else None

    def _insist(self, entry: Entry[T], refusal: str) -> str | None:
        """Take in what was refused if the oldest ones may go for it; else count the refusal."""
        while refusal == "full" and self._overflow == "drop_oldest" and self._drop() is not None:
            again = self._take_in(entry)
            if again is None:
                return None
            refusal = again
        with self._lock:
            self._refused[refusal] += 1
        return refusal

    def _drop(self) -> Entry[T] | None:
        with self._lock:
            entry = self._edit(self._buffer.drop_oldest)
            self._progress.notify_all()
        return entry

    def _catch_up(self) -> None:
        """Do what came up under the lock and must not be done there: merge, and take in.

        A finalizer in the middle of the queue leaves it to whoever leaves the lock, or to
        a worker.
        """
        self._merge_all()
        while self._late and not self.is_inside():
            try:
                entry = self._late.popleft()
            except IndexError:  # Another thread was quicker.
                return
            refusal = self._take_in(entry)
            if refusal is not None:
                self._insist(entry, refusal)

    def _merge_all(self) -> None:
        merges = self._buffer.merges
        while merges:
            if self.is_inside():
                self._work.notify()
                return
            try:
                older, newer = merges.popleft()
            except IndexError:  # Another thread was quicker.
                return
            self._merge(older, newer)

    def _merge(self, older: Entry[T], newer: Entry[T]) -> None:
        # Kept until the lock is free: the items may have finalizers.
        older_item, newer_item = older.item, newer.item
        this_thread = threading.get_ident()
        self._merging_threads.append(this_thread)
        try:
            item, size = self._rules.merge(older_item, newer_item, newer.size)
        except BaseException:  # An interrupt: neither is lost.
            with self._lock:
                self._edit(self._buffer.cancel_merge, older, newer)
                self._wake_sleepers()
            raise
        finally:
            self._merging_threads.remove(this_thread)
        with self._lock:
            self._is_editing = True
            try:
                is_full = self._buffer.finish_merge(older, newer, item, size)
            finally:
                self._is_editing = False
            if self._sleeps_over_merge:
                self._wake_sleepers()
            needs_thread = is_full and self._workers.call()
        self._workers.start(needs_thread)

    def _wake_sleepers(self) -> None:
        """Have those look again who did not count what was being merged."""
        self._sleeps_over_merge = False
        self._work.notify_all()
        self._progress.notify_all()

    # The way out

    def _work_once(self) -> bool:
        batch = self._await_batch()
        if batch is None:
            return False
        self._catch_up_and_deliver(batch)
        return True

    def _await_batch(self) -> list[Entry[T]] | None:
        """Sleep until a batch is due and take it; None when the work is over.

        It is empty when something is to be merged first.
        """
        with self._lock:
            while (delay := self._seconds_until_due()) is None or delay > 0:
                if self._is_over():
                    return None
                self._workers.sleep(delay)
            if self._is_over():
                return None
            batch = (
                [] if self._buffer.merges else self._edit(self._buffer.take_batch, self._clock())
            )
            needs_thread = self._buffer.holds_full_batch and self._workers.call()
        self._workers.start(needs_thread)
        return batch

    def _is_over(self) -> bool:
        return self._stop_at is not None and (
            not self._buffer.pending or self._clock() >= self._stop_at
        )

    def _has_nothing_to_try(self) -> bool:
        """Whether a stop need not wait: all is settled, or the pause outlasts its deadline."""
        if self._stop_at is None or not self._buffer.pending:
            return not self._buffer.pending
        apart_until = self._buffer.apart_until
        if apart_until is not None and self._buffer.is_all_apart and apart_until >= self._stop_at:
            return True
        return self._pause.until >= self._stop_at and not self._buffer.in_flight

    def _seconds_until_due(self) -> float | None:
        """Return when there is something to do; None when nothing makes it due yet."""
        if self._buffer.merges:
            return 0.0
        now, apart_until = self._clock(), self._buffer.apart_until
        is_wanted = self._stop_at is not None or self._flushers > 0
        due = self._buffer.due_at(self._flush_interval, is_wanted)
        if due is not None and max(due, self._pause.until) <= now and not self._buffer.is_ready:
            self._sleeps_over_merge = True
            due = None
        times = [when for when in (due, apart_until) if when is not None]
        return max(min(times), self._pause.until) - now if times else None

    def _catch_up_and_deliver(self, batch: list[Entry[T]]) -> None:
        try:
            self._catch_up()
        finally:  # An interrupt must not leave the batch in flight.
            if batch:
                self._deliver(batch)

    def _deliver(self, batch: list[Entry[T]]) -> None:
        """Hand the batch to the callback and book the outcome, whatever that is."""
        try:
            outcome = self._judge(self._callback([entry.item for entry in batch]), batch)
        except BaseException as error:
            self._settle_failure(batch, error)
            if not self._workers.survive(error):
                raise
            return
        try:
            # Before the batch is booked: nothing pending must mean that the source is empty too.
            kept = len(outcome.retry) + len(outcome.apart)
            more = self._ask_source(self._buffer.room + len(batch) - kept)
            for entry in more:
                self._take_in(entry, is_stored=True)
        finally:
            self._settle(batch, outcome)
        if not self._buffer.pending:
            self.pull()  # No other thread would fetch what came since then.

    def _judge(self, answer: object, batch: list[Entry[T]]) -> Outcome[T]:
        try:
            outcome = read_outcome(answer, batch)
        except OutcomeError as error:
            self._count_error(error)
            told = f"the callback's answer is no use ({error}); its {len(batch)} items are dead"
            self._log.warn("answer", f"queue {self._name}: {told} letters")
            for entry in batch:
                entry.reason = f"the callback's answer was no use: {error}"
            return Outcome(dead=batch)
        if outcome.remark is not None and not self._has_remarked:
            self._has_remarked = True
            _logger.warning("queue %s: the callback's answer: %s", self._name, outcome.remark)
        return outcome

    def _settle_failure(self, batch: list[Entry[T]], error: BaseException) -> None:
        self._count_error(error)
        self._settle(batch, Outcome(retry=batch), read_hint(error))
        # By type only: the message may hold what the item holds.
        told = f"the callback failed (it raised {type(error).__name__})"
        kept = f"its {len(batch)} items are kept and sent again"
        self._log.warn("callback", f"queue {self._name}: {told}; {kept}")

    def _settle(self, batch: list[Entry[T]], outcome: Outcome[T], hint: float = 0.0) -> None:
        has_failed = bool(outcome.retry) and outcome.pause is None
        luck = self._random() if has_failed else 0.0
        with self._lock:
            now = self._clock()
            apart = [(entry, now + seconds) for entry, seconds in outcome.apart]
            if has_failed:
                self._pause.begin_after_failure(now, luck, hint)
            else:
                self._pause.begin_as_asked(now, outcome.pause or 0.0)
            self._flushes += 1
            self._edit(
                self._buffer.settle_batch,
                *(batch, outcome.retry, outcome.dead, outcome.newest_next, apart),
            )
            self._progress.notify_all()
        self._catch_up()

    def _ask_source(self, room: int) -> list[Entry[T]]:
        """Return what the source gives, measured."""
        try:
            return self._rules.fetch(room)
        except BaseException as error:
            kind = type(error).__name__
            self._log.warn("source", f"queue {self._name}: the source raised {kind}")
            if not self._workers.survive(error):
                raise
            return []

    def _count_error(self, error: BaseException) -> None:
        with self._lock:
            self._callback_errors += 1
            self._last_error = type(error).__name__

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
                if left <= 0 or self._is_awaited():
                    return False
                delay = self._seconds_until_due() if works_here else None
                if delay is not None and delay <= 0:
                    batch = self._edit(self._buffer.take_batch, self._clock())
                else:
                    wait_for(self._progress, left if delay is None else min(left, delay))
            if batch is not None:
                self._catch_up_and_deliver(batch)

    def _is_awaited(self) -> bool:
        """Whether the calling thread is in the callback or a merge, and would wait for itself."""
        return self._workers.is_one() or threading.get_ident() in self._merging_threads
