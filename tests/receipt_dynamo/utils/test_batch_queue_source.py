"""A store behind the queue: what it pulls, when, and what is merged or dropped on the way."""

from __future__ import annotations

import threading
from typing import Any

from receipt_dynamo import BatchQueue


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


def test_merge_makes_one_item_of_a_waiting_one_and_a_later_one() -> None:
    batches: list[list[str]] = []
    with BatchQueue(
        batches.append, 9, 60.0, key_of=lambda item: item[0], merge=lambda old, new: old + new
    ) as queue:
        for item in ("a1", "b1", "a2", "a3"):
            queue.add_item(item)
        assert queue.flush(30)
    assert batches == [["a1a2a3", "b1"]]


def test_drop_oldest_gives_the_first_in_line_and_counts_it() -> None:
    queue = BatchQueue(lambda batch: None, 9, 60.0)
    assert queue.drop_oldest() is None
    queue.add_item("a")
    queue.add_item("b")
    assert queue.drop_oldest() == "a"
    stats = queue.get_stats()
    assert (stats.accepted, stats.dropped, stats.pending) == (2, 1, 1)
    assert queue.stop(30)
