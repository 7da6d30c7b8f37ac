"""Reading pages ahead: how far, in how many threads, and how it ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from decimal import Decimal

import pytest

from receipt_dynamo import ReadTally
from receipt_dynamo.data.queries.pages_ahead import MOST_THREADS, Page, PagesAhead

PAGE: Page = {"Items": [{}], "ConsumedCapacity": {"CapacityUnits": 0.5}}
EMPTY: Page = {"Items": [], "ConsumedCapacity": {"CapacityUnits": 0.5}}


def list_threads() -> list[str]:
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("dynamodb-query")]


def test_many_shards_share_a_few_threads_and_each_comes_to_its_end() -> None:
    tally = ReadTally()
    with PagesAhead(100, tally) as ahead:
        shards = [ahead.read(iter([PAGE] * (number % 3))) for number in range(100)]
        assert len(list_threads()) <= MOST_THREADS
        for number, shard in enumerate(shards):
            pages = 0
            while shard.take() is not None:
                pages += 1
            assert pages == number % 3
    assert list_threads() == []
    assert (tally.pages, tally.read_units) == (99, Decimal("49.5"))


def test_a_shards_error_is_told_when_its_page_is_taken() -> None:
    def fail() -> Iterator[Page]:
        yield PAGE
        raise ConnectionError("gone")

    tally = ReadTally()
    with PagesAhead(2, tally) as ahead:
        shard = ahead.read(fail())
        assert shard.take() is PAGE
        shard.look_ahead()
        with pytest.raises(ConnectionError, match="gone"):
            shard.take()
    assert tally.pages == 1


def test_what_was_read_ahead_in_vain_is_counted_and_an_error_of_it_is_nobodys() -> None:
    begun = threading.Barrier(3)

    def read(page: Page | None) -> Iterator[Page]:
        begun.wait(30)
        if page is None:
            raise ConnectionError("gone")
        yield page

    tally = ReadTally()
    with PagesAhead(2, tally) as ahead:
        ahead.read(read(PAGE))
        ahead.read(read(None))
        begun.wait(30)
    assert tally.pages == 1


def test_what_waits_for_a_thread_is_not_read_any_more_once_the_query_ends() -> None:
    begun = threading.Barrier(MOST_THREADS + 1)
    ends = threading.Event()
    read: list[int] = []

    def read_slowly(number: int) -> Iterator[Page]:
        read.append(number)
        begun.wait(30)
        ends.wait(30)
        yield PAGE

    ahead = PagesAhead(50, ReadTally())
    shards = [ahead.read(read_slowly(number)) for number in range(50)]
    begun.wait(30)
    ender = threading.Thread(target=ahead.__exit__, args=(None, None, None))
    ender.start()
    last = shards[-1]._ahead
    assert last is not None
    cancelled = threading.Event()
    last.add_done_callback(lambda _: cancelled.set())
    was_cancelled = cancelled.wait(10)  # While the others are still being read.
    ends.set()
    ender.join(30)
    assert was_cancelled
    assert len(read) == MOST_THREADS


def test_pages_that_a_filter_left_empty_are_passed_over_by_all_shards_at_once() -> None:
    """Each shard waited for the one before it, page by page, when no page had a match."""
    tally = ReadTally()
    others = threading.Barrier(3)

    def read() -> Iterator[Page]:
        yield EMPTY
        yield EMPTY
        others.wait(30)  # All three are past their empty pages before one is taken.
        yield PAGE
        yield EMPTY

    with PagesAhead(3, tally) as ahead:
        for shard in [ahead.read(read()) for _ in range(3)]:
            assert shard.take() is PAGE
            assert shard.take() is EMPTY
            assert shard.take() is None
    assert (tally.pages, tally.read_units) == (12, 6)


def test_a_query_that_is_closed_reads_no_more_empty_pages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, stopped = threading.Event(), threading.Event()
    read: list[int] = []

    def read_pages() -> Iterator[Page]:
        for number in range(5):
            read.append(number)
            begun.set()
            stopped.wait(10)
            yield EMPTY

    with PagesAhead(2, ReadTally()) as ahead:
        shard = ahead.read(read_pages())
        stop = shard.stop
        monkeypatch.setattr(shard, "stop", lambda: (stop(), stopped.set()))
        assert begun.wait(30)
    assert read == [0]
    assert list_threads() == []


def test_a_damaged_page_is_not_passed_over() -> None:
    damaged: Page = {}
    with PagesAhead(2, ReadTally()) as ahead:
        shard = ahead.read(iter([EMPTY, damaged, PAGE]))
        assert shard.take() is damaged
        assert shard.take() is PAGE


def test_a_query_that_ends_in_one_of_its_own_threads_does_not_wait_for_itself() -> None:
    """The garbage collector ends a dropped query in whatever thread it runs."""
    ended = threading.Event()
    errors: list[RuntimeError] = []
    ahead = PagesAhead(2, ReadTally())

    def end_the_query() -> Iterator[Page]:
        try:
            ahead.__exit__(None, None, None)
        except RuntimeError as error:  # "cannot join current thread"
            errors.append(error)
        ended.set()
        yield PAGE

    ahead.read(end_the_query())
    assert ended.wait(30)
    assert errors == []


@pytest.mark.parametrize("startable", [0, 1])
def test_where_no_thread_can_be_started_each_page_is_read_once_all_the_same(
    monkeypatch: pytest.MonkeyPatch, startable: int
) -> None:
    """The pool queues what it is given, and then fails to start a thread for it."""
    left = iter(range(startable))
    start = threading.Thread.start

    def start_or_fail(thread: threading.Thread) -> None:
        if next(left, None) is None:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_or_fail)
    tally = ReadTally()
    with PagesAhead(4, tally) as ahead:
        shards = [ahead.read(iter([PAGE] * 30)) for _ in range(4)]
        for shard in shards:
            for _ in range(30):
                assert shard.take() is PAGE
            assert shard.take() is None
    assert tally.pages == 120
    assert list_threads() == []
