"""Reading pages ahead: how far, in how many threads, and how it ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from decimal import Decimal

import pytest

from receipt_dynamo import ReadTally
from receipt_dynamo.data.pages_ahead import MOST_THREADS, Page, PagesAhead

PAGE: Page = {"Items": [], "ConsumedCapacity": {"CapacityUnits": 0.5}}


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
    def fail() -> Iterator[Page]:
        raise ConnectionError("gone")
        yield PAGE

    tally = ReadTally()
    with PagesAhead(3, tally) as ahead:
        ahead.read(iter([PAGE, PAGE]))
        ahead.read(iter([]))
        ahead.read(fail())
    assert tally.pages == 1


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
