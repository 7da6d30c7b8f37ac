"""A store behind the queue: what it pulls, when, and what is merged or dropped on the way."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from receipt_dynamo import BatchQueue, FlushResult


class Store:
    """Gives its items in order, never more than it is asked for."""

    def __init__(self, count: int) -> None:
        self.items = list(range(count))
        self.asked: list[int] = []

    def __call__(self, room: int) -> list[int]:
        self.asked.append(room)
        given, self.items = self.items[:room], self.items[room:]
        return given


def test_a_pull_brings_half_of_the_bound_and_each_batch_brings_more() -> None:
    store, batches = Store(40), []
    with BatchQueue(batches.append, 3, 60.0, max_items=10, source=store, name="source") as queue:
        assert queue.pull() == 5
        assert queue.flush(30)
        while queue.get_stats().pending:
            assert queue.flush(30)
        stats = queue.get_stats()
    assert [item for batch in batches for item in batch] == list(range(40))
    assert max(store.asked) <= 8
    assert (stats.accepted, stats.delivered) == (40, 40)


def test_a_stop_delivers_what_the_source_still_has() -> None:
    store, batches = Store(40), []
    queue = BatchQueue(batches.append, 3, 60.0, max_items=1, source=store)
    queue.pull()
    assert queue.stop(30)
    assert [item for batch in batches for item in batch] == list(range(40))


def test_a_pull_wakes_a_worker_by_itself() -> None:
    seen = threading.Event()
    queue = BatchQueue(lambda batch: seen.set(), 1, 0.0, source=Store(1))
    assert queue.pull() == 1
    assert seen.wait(30)
    assert queue.stop(30)


def test_what_is_pulled_comes_behind_what_was_added() -> None:
    batches: list[list[Any]] = []
    queue = BatchQueue(batches.append, 10, 60.0, source=Store(2), auto_flush=False)
    queue.add_item("first")
    assert queue.pull() == 2
    assert queue.stop(30)
    assert batches == [["first", 0, 1]]


def test_a_full_queue_asks_for_nothing() -> None:
    store = Store(1)
    queue = BatchQueue(lambda batch: None, 10, 60.0, max_items=2, source=store)
    queue.add_item(7)
    assert queue.pull() == 0
    assert store.asked == []
    assert queue.stop(30)
    assert store.items == []


def test_bytes_count_as_room() -> None:
    store = Store(1)
    queue = BatchQueue(
        lambda batch: None, 10, 60.0, max_bytes=10, size_of=lambda _: 5, source=store
    )
    queue.add_item(7)
    assert queue.pull() == 0
    assert queue.stop(30)


def test_a_source_that_raises_stops_nothing(caplog: Any) -> None:
    def fail(room: int) -> list[int]:
        raise OSError("secret")

    batches: list[list[int]] = []
    with BatchQueue(batches.append, 1, 0.0, source=fail, name="broken") as queue:
        assert queue.pull() == 0
        queue.add_item(1)
        assert queue.flush(30)
    assert batches == [[1]]
    assert "queue broken: the source raised OSError" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()])
def test_a_source_that_is_interrupted_leaves_no_batch_in_flight(error: BaseException) -> None:
    asked: list[int] = []

    def interrupt_once(room: int) -> list[int]:
        asked.append(room)
        if len(asked) == 1:
            raise error
        return []

    with BatchQueue(lambda batch: None, 1, 60.0, source=interrupt_once) as queue:
        queue.add_item(1)
        assert queue.flush(30)
        assert queue.get_stats().delivered == 1


def test_a_key_that_cannot_be_one_is_the_callers_error_and_never_a_workers() -> None:
    store = iter([[["not", "hashable"]], []])
    batches: list[list[Any]] = []
    with BatchQueue(
        batches.append, 1, 60.0, key_of=lambda item: item, source=lambda _: next(store, [])
    ) as queue:
        with pytest.raises(TypeError):
            queue.add_item([])
        queue.add_item("a")
        assert queue.flush(30)
        assert queue.get_stats().accepted == 1
    assert batches == [["a"]]


def test_merge_makes_one_item_of_a_waiting_one_and_a_later_one() -> None:
    batches: list[list[str]] = []
    with BatchQueue(
        batches.append, 9, 60.0, key_of=lambda item: item[0], merge=lambda old, new: old + new
    ) as queue:
        for item in ("a1", "b1", "a2", "a3"):
            queue.add_item(item)
        assert queue.flush(30)
    assert batches == [["a1a2a3", "b1"]]


def test_what_is_merged_is_measured_anew() -> None:
    """Else a merge that joins two would let the queue grow beyond its bytes unseen."""
    queue = BatchQueue(
        lambda batch: None,
        9,
        60.0,
        size_of=len,
        key_of=lambda item: item[0],
        merge=lambda old, new: old + new,
    )
    for item in ("a1", "a2", "a3"):
        queue.add_item(item)
    assert queue.get_stats().pending_bytes == 6
    assert queue.stop(30)
    assert queue.get_stats().pending_bytes == 0


def test_a_merge_that_raises_keeps_the_later_item_and_stops_nothing() -> None:
    """In flight, waiting, and dead ones meet a later item with their key."""

    def fail(old: str, new: str) -> str:
        raise LookupError

    outcomes = [
        lambda batch: FlushResult(batch, (), 0.0),
        lambda batch: FlushResult(dead=[(batch[0], "x")]),
    ]
    batches, entered, leave = [], threading.Semaphore(0), threading.Semaphore(0)

    def callback(batch: list[str]) -> FlushResult[str] | None:
        batches.append(batch)
        entered.release()
        assert leave.acquire(timeout=30)
        return outcomes.pop(0)(batch) if outcomes else None

    queue = BatchQueue(callback, 1, 60.0, key_of=lambda item: item[0], merge=fail)
    assert queue.add_item("a1")
    assert entered.acquire(timeout=30)
    assert queue.add_item("a2")  # waits for a1
    assert queue.add_item("a3")  # meets a2
    leave.release()
    assert entered.acquire(timeout=30)  # a3, which met a1
    leave.release()
    assert queue.flush(30)
    assert queue.get_stats().dead == 3
    queue.drop_oldest()
    leave.release()
    assert queue.stop(30)
    stats = queue.get_stats()
    assert batches == [["a1"], ["a3"]]
    assert (stats.callback_errors, stats.last_error) == (2, "LookupError")


def test_drop_oldest_gives_the_first_in_line_and_counts_it() -> None:
    queue = BatchQueue(lambda batch: None, 9, 60.0)
    assert queue.drop_oldest() is None
    queue.add_item("a")
    queue.add_item("b")
    assert queue.drop_oldest() == "a"
    stats = queue.get_stats()
    assert (stats.accepted, stats.dropped, stats.pending) == (2, 1, 1)
    assert queue.stop(30)
