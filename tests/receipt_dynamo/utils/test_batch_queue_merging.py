"""Two items with one key, while other threads are at it: no lock is held, nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from receipt_dynamo import BatchQueue, FlushResult
from support.simulation.host import SimulatedHost, take_turn


class Gate:
    """A merge, or a comparison, that can be held back; it says when it has begun."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()
        self.calls: list[Any] = []

    def pass_through(self, *call: Any) -> None:
        self.calls.append(call)
        self.entered.set()
        assert self.opened.wait(30)


def open_queue(callback: Callable[[list[Any]], Any], **settings: Any) -> BatchQueue[Any]:
    return BatchQueue(
        callback,
        **{"flush_interval": 60.0, "key_of": lambda item: item[0], "merge": join, **settings},
    )


def join(older: str, newer: str) -> str:
    return f"{older}+{newer}"


def in_thread(action: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    return thread


def held_back(gate: Gate) -> Callable[[str, str], str]:
    def merge(older: str, newer: str) -> str:
        gate.pass_through(older, newer)
        return join(older, newer)

    return merge


def test_a_merge_may_take_a_lock_that_others_hold_while_they_use_the_queue() -> None:
    mine, has_mine = threading.Lock(), threading.Event()
    in_merge = threading.Event()

    def merge(older: str, newer: str) -> str:
        in_merge.set()
        with mine:
            return join(older, newer)

    def read_the_figures() -> None:
        with mine:
            has_mine.set()
            assert in_merge.wait(30)
            seen.append(queue.get_stats().accepted)

    seen: list[int] = []
    queue = open_queue(lambda batch: None, merge=merge, auto_flush=False)
    queue.add_item("k1")
    reader = in_thread(read_the_figures)
    assert has_mine.wait(30)
    writer = in_thread(lambda: queue.add_item("k2"))
    for thread in (reader, writer):
        thread.join(30)
        assert not thread.is_alive()
    assert seen == [2]
    assert queue.stop(30)


class Key:
    """Equal to others of its number, which it finds out under a lock of the user's."""

    def __init__(self, number: int, lock: Any) -> None:
        self.number = number
        self.lock = lock

    def __hash__(self) -> int:
        with self.lock:
            return self.number

    def __eq__(self, other: object) -> bool:
        with self.lock:
            return isinstance(other, Key) and self.number == other.number


def test_a_key_may_take_a_lock_that_others_hold_while_they_use_the_queue() -> None:
    entered, mine = threading.Event(), threading.Lock()

    class Lock:
        def __enter__(self) -> None:
            entered.set()
            mine.__enter__()

        def __exit__(self, *exc_info: object) -> None:
            mine.__exit__(None, None, None)

    lock, batches = Lock(), []
    queue = open_queue(batches.append, key_of=lambda item: item, merge=None, auto_flush=False)
    queue.add_item(Key(1, lock))
    with mine:
        entered.clear()
        writer = in_thread(lambda: queue.add_item(Key(1, lock)))
        assert entered.wait(30)
        assert queue.get_stats().accepted == 1
    writer.join(30)
    assert queue.stop(30)
    assert [len(batch) for batch in batches] == [1]
    assert queue.get_stats().delivered == 2


def test_what_others_hold_back_is_passed_over_and_leaves_by_itself_later() -> None:
    gate, batches, sent = Gate(), [], threading.Semaphore(0)

    def callback(batch: list[str]) -> None:
        batches.append(batch)
        sent.release()

    queue = open_queue(callback, merge=held_back(gate), flush_interval=0.0)
    queue._pause.until = float("inf")  # until both are in line
    queue.add_item("k1")
    adder = in_thread(lambda: queue.add_item("k2"))
    assert gate.entered.wait(30)
    with queue._lock:
        queue._pause.end()
    queue.add_item("other")
    assert sent.acquire(timeout=30)
    assert batches == [["other"]]
    assert not queue.flush(0.01)
    assert queue.drop_oldest() is None
    gate.opened.set()
    assert sent.acquire(timeout=30)
    adder.join(30)
    assert batches == [["other"], ["k1+k2"]]
    assert queue.stop(30)
    assert queue.get_stats().delivered == 3


def test_what_comes_while_two_are_merged_follows_in_its_order() -> None:
    """The thread that merges also merges what came meanwhile; the others never wait for it."""
    gate, batches = Gate(), []
    queue = open_queue(batches.append, merge=held_back(gate), max_items=1, auto_flush=False)
    queue.add_item("k1")
    adder = in_thread(lambda: queue.add_item("k2"))
    assert gate.entered.wait(30)
    assert queue.add_item("k3")
    assert queue.add_item("k4")  # They have one key: nobody else merges these two meanwhile.
    assert queue.get_stats().accepted == 4
    gate.opened.set()
    adder.join(30)
    assert gate.calls == [("k1", "k2"), ("k1+k2", "k3"), ("k1+k2+k3", "k4")]
    assert queue.stop(30)
    assert batches == [["k1+k2+k3+k4"]]


class Workload:
    """Joins lists of numbers and uses them up, and settles batches in each of the ways."""

    def __init__(self) -> None:
        self.delivered: list[int] = []
        self.troubles: list[str] = []
        self._guard = threading.Lock()
        self._busy: list[list[int]] = []
        self._turn = iter(range(10**6))

    def merge(self, older: list[int], newer: list[int]) -> list[int]:
        pair = [older, newer]
        with self._guard:
            if any(part is busy for part in pair for busy in self._busy):
                self.troubles.append("two threads at one item")
            self._busy += pair
        merged = older[:1] + older[1:] + newer[1:]
        with self._guard:
            self._busy = [busy for busy in self._busy if all(busy is not part for part in pair)]
        older[1:] = newer[1:] = [-1]
        return merged

    def settle(self, batch: list[list[int]]) -> FlushResult[list[int]]:
        turn = next(self._turn) % 3
        if turn == 0:
            return FlushResult(batch, (), 0.0)
        if turn == 1:
            return FlushResult(dead=[(item, "x") for item in batch])
        with self._guard:
            self.delivered += [number for item in batch for number in item[1:]]
        return FlushResult()

    def produce(self, queue: BatchQueue[Any], first: int) -> None:
        for number in range(first, first + 300):
            assert queue.add_item([number % 3, number])
            if number % 10 == 0:
                queue.redrive()


def test_each_item_is_merged_once_by_one_thread_at_a_time() -> None:
    """Whoever adds, retries, flushes or redrives; ``merge`` may change what it is given."""
    load = Workload()
    queue = open_queue(
        load.settle,
        batch_size=2,
        flush_interval=0.0,
        merge=load.merge,
        workers=3,
        retry_base_delay=0.0,
    )
    starts = (0, 1_000, 2_000)
    threads = [in_thread(partial(load.produce, queue, first)) for first in starts]
    for thread in threads:
        thread.join(60)
    while queue.flush(60) and queue.redrive():
        pass
    assert queue.stop(60)
    assert not load.troubles
    assert sorted(load.delivered) == [first + n for first in starts for n in range(300)]
    stats = queue.get_stats()
    assert (stats.accepted, stats.delivered, stats.pending_bytes) == (900, 900, 0)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_an_interrupted_merge_loses_neither_item(error: BaseException) -> None:
    batches: list[list[str]] = []
    errors = [error]

    def merge(older: str, newer: str) -> str:
        if errors:
            raise errors.pop()
        return join(older, newer)

    queue = open_queue(batches.append, merge=merge, host=SimulatedHost())
    queue.add_item("k1")
    with pytest.raises(type(error)):
        queue.add_item("k2")
    assert queue.flush(1.0)
    assert batches == [["k1"], ["k2"]]
    queue.add_item("k3")
    assert queue.flush(1.0)
    assert queue.get_stats().delivered == 3


def test_a_merge_may_use_the_queue_and_a_flush_from_there_does_not_wait_for_itself() -> None:
    told: list[Any] = []

    def merge(older: str, newer: str) -> str:
        told.append((queue.is_inside(), queue.flush(30), queue.add_item("other")))
        return join(older, newer)

    batches: list[list[str]] = []
    queue = open_queue(batches.append, merge=merge)
    queue.add_item("k1")
    queue.add_item("k2")
    assert told == [(False, False, True)]
    assert queue.stop(30)
    assert batches == [["k1+k2", "other"]]


def test_keys_with_one_hash_are_told_apart_by_what_they_are() -> None:
    batches: list[list[Any]] = []
    queue = open_queue(batches.append, key_of=lambda item: item[0], merge=None, auto_flush=False)
    # The hashes of -1 and -2 are equal.
    for item in ((-1, "a"), (-2, "b"), (-1, "c"), (-2, "d"), (-1, "e")):
        queue.add_item(item)
    assert queue.stop(30)
    assert batches == [[(-1, "e"), (-2, "d")]]


def test_a_key_that_cannot_be_compared_is_like_no_other() -> None:
    class Odd:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            raise LookupError

    batches: list[list[Any]] = []
    source = [[Odd(), 1, 1]]
    queue = open_queue(
        batches.append,
        key_of=lambda item: item,
        merge=None,
        source=lambda _: source.pop() if source else [],
        host=SimulatedHost(),
    )
    odd = Odd()
    assert queue.add_item(odd)
    assert queue.add_item(odd)  # itself, at least
    assert queue.pull() == 3
    assert queue.flush(1.0)
    assert [len(batch) for batch in batches] == [3]
    assert queue.get_stats().delivered == 5


@pytest.mark.parametrize("size", [None, 1.5, -1, "1", True])
def test_a_size_that_is_none_is_the_callers_error(size: Any) -> None:
    """Under the lock it would break the accounts, or the worker."""
    queue = open_queue(lambda batch: None, size_of=lambda item: size, auto_flush=False)
    with pytest.raises(ValueError, match=r"size_of returned .* accepted are whole numbers of 0"):
        queue.add_item("a")
    assert queue.get_stats().accepted == 0


def test_what_is_merged_to_a_full_batch_calls_a_worker() -> None:
    host = SimulatedHost(starts_threads=True)
    queue = open_queue(
        lambda batch: None, size_of=len, max_batch_bytes=4, host=host, workers=2, batch_size=9
    )
    for item in ("a1", "b", "b"):  # the two of b are "b+b" then
        queue.add_item(item)
    assert len(host.started) == 2
    assert take_turn(queue) is not None
