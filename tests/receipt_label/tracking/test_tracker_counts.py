"""Counts, distinct times and limited log lines."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from receipt_label.tracking.stats import DistinctTimes, OutcomeCounter, utc_now

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


class WallClock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


def test_counts_of_many_threads_add_up() -> None:
    counter = OutcomeCounter()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: counter.add("recorded"), range(4_000)))
    assert counter.snapshot(None).recorded == 4_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_begins_at_zero_with_locks_of_its_own() -> None:
    """A child inherits a lock that another thread of the parent holds for ever."""
    counter, times = OutcomeCounter(), DistinctTimes()
    counter.add("recorded")
    locks = (counter._lock, times._lock)
    with locks[0], locks[1]:
        pid = os.fork()
        if pid == 0:
            fresh = counter._lock is not locks[0] and times._lock is not locks[1]
            empty = counter.snapshot(None).recorded == 0
            os._exit(0 if fresh and empty and times.take() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert counter.snapshot(None).recorded == 1


def test_times_are_distinct_while_the_clock_stands_still() -> None:
    times = DistinctTimes(WallClock())
    taken = [times.take() for _ in range(1_000)]
    assert len(set(taken)) == 1_000
    assert taken[0] == NOON
    assert taken[-1] - NOON == timedelta(microseconds=999)


def test_times_of_many_threads_are_distinct() -> None:
    times = DistinctTimes()
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: times.take(), range(4_000)))
    assert len(set(taken)) == 4_000


def test_a_clock_that_is_set_back_is_followed() -> None:
    clock = WallClock()
    times = DistinctTimes(clock)
    times.take()
    clock.now = NOON - timedelta(hours=1)
    assert times.take() == clock.now


def test_times_are_in_utc() -> None:
    assert utc_now().utcoffset() == timedelta(0)
