"""When a worker is woken or started, and what holds by default; no thread runs here."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from receipt_dynamo import BatchQueue, FlushResult
from receipt_dynamo.utils.batch.workers import Workers
from receipt_dynamo.utils.host import Host
from support.simulation.host import SimulatedHost, take_turn


def open_queue(
    host: Host, callback: Callable[[list[Any]], Any] = lambda batch: None, **settings: Any
) -> BatchQueue[Any]:
    return BatchQueue(callback, host=host, random=lambda: 1.0, **settings)


# The threads


class JoinableHost(Host):
    """The real thing, whose threads can be waited for."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def start_thread(self, work: Callable[[], object], name: str) -> None:
        self.threads.append(threading.Thread(target=work, name=name, daemon=True))
        self.threads[-1].start()

    def join(self) -> None:
        for thread in self.threads:
            thread.join(30)


def make_workers(host: Host, limit: int = 2, work: Any = lambda: False) -> Workers:
    return Workers(host, limit, "pool", threading.Condition(threading.RLock()), work)


def test_so_many_are_started_and_no_more() -> None:
    workers = make_workers(Host(), limit=3)
    assert [workers.call() for _ in range(5)] == [True, True, True, False, False]


def test_an_idle_one_is_woken_in_place_of_starting_one() -> None:
    waiting = threading.Event()
    done: list[str] = []

    def work() -> bool:
        with workers._condition:
            waiting.set()
            workers.sleep(None)
        done.append("woken")
        return False

    host = JoinableHost()
    workers = make_workers(host, work=work)
    assert workers.call()
    assert workers.start(is_reserved=True)
    assert waiting.wait(30)
    with workers._condition:
        assert workers.idle == 1
        assert not workers.call()
    host.join()
    assert (done, workers.idle, workers.free) == (["woken"], 0, 2)


def test_two_that_sleep_are_two_idle_ones() -> None:
    asleep = threading.Semaphore(0)

    def work() -> bool:
        with workers._condition:
            asleep.release()
            workers.sleep(None)
        return False

    host = JoinableHost()
    workers = make_workers(host, work=work)
    assert workers.call()
    assert workers.call()
    for _ in range(2):
        assert workers.start(is_reserved=True)
        assert asleep.acquire(timeout=30)
    with workers._condition:
        assert (workers.idle, workers.free) == (2, 0)
        workers._condition.notify_all()
    host.join()
    assert (workers.idle, workers.free) == (0, 2)


def test_one_that_ends_leaves_its_place_and_is_none_any_more() -> None:
    seen: list[bool] = []
    turns = iter([True, True, False])

    def work() -> bool:
        seen.append(workers.is_one())
        return next(turns)

    workers = make_workers(Host(), work=work)
    assert not workers.is_one()
    assert workers.call()
    workers._run()
    assert (seen, workers.is_one(), workers.free) == ([True, True, True], False, 2)


def test_a_place_that_could_not_be_filled_is_free_again() -> None:
    workers = make_workers(SimulatedHost())
    assert workers.call()
    assert not workers.start(is_reserved=True)
    assert workers.free == 2
    assert not workers.start_first(is_needed=True)
    assert workers.free == 2


def test_the_first_one_is_started_when_it_is_needed() -> None:
    host = SimulatedHost(starts_threads=True)
    workers = make_workers(host)
    assert workers.start_first(is_needed=False)
    assert host.started == []
    assert workers.start_first(is_needed=True)
    assert workers.start_first(is_needed=True)
    assert (host.started, workers.free) == (["pool-worker"], 1)
    assert workers.start(is_reserved=False)
    assert host.started == ["pool-worker"]


# Who needs one


def test_the_first_item_of_a_batch_and_the_one_that_fills_it_call_a_worker() -> None:
    host = SimulatedHost(starts_threads=True)
    queue = open_queue(host, batch_size=3, workers=9, name="pool")
    started = []
    for item in range(7):
        assert queue.add_item(item)
        started.append(len(host.started))
    assert started == [1, 1, 2, 3, 3, 4, 5]
    assert set(host.started) == {"pool-worker"}


def test_a_worker_that_leaves_a_full_batch_behind_calls_another() -> None:
    host = SimulatedHost(starts_threads=True)
    store = [[1, 2, 3, 4]]
    queue = open_queue(host, batch_size=2, workers=9, source=lambda _: store.pop() if store else [])
    assert queue.pull() == 4
    assert len(host.started) == 1
    assert queue._work_once()
    assert len(host.started) == 2
    assert queue._work_once()
    assert len(host.started) == 2


def test_a_pull_that_brings_nothing_calls_nobody_and_one_that_does_calls_one() -> None:
    host = SimulatedHost(starts_threads=True)
    store = [[2], [1], []]
    queue = open_queue(host, source=lambda _: store.pop())
    assert queue.pull() == 0
    assert host.started == []
    assert queue.pull() == 1
    assert queue.pull() == 1  # the one worker is called already
    assert len(host.started) == 1


def test_a_redrive_that_brings_nothing_calls_nobody_and_one_that_does_calls_one() -> None:
    host = SimulatedHost()
    queue = open_queue(host, lambda batch: FlushResult(dead=[(batch[0], "too bad")]), batch_size=1)
    queue.add_item("a")
    assert take_turn(queue) is None
    host.started.clear()
    assert queue.redrive(lambda item: False) == 0
    assert host.started == []
    assert queue.redrive() == 1
    assert len(host.started) == 1


def test_a_flush_of_an_empty_queue_starts_no_thread() -> None:
    host = SimulatedHost(starts_threads=True)
    assert open_queue(host).flush(5.0)
    assert host.started == []


def test_without_auto_flush_a_flush_starts_one_and_leaves_nothing_to_it_later() -> None:
    host = SimulatedHost()
    queue = open_queue(host, batch_size=2, auto_flush=False)
    queue.add_item("a")
    queue.add_item("b")
    assert host.started == []
    assert queue.flush(5.0)
    assert host.started == ["batch-queue-worker"]
    queue.add_item("c")
    queue.add_item("d")
    assert take_turn(queue) is None
    assert queue.get_stats().pending == 2


# Defaults


def test_a_batch_holds_25_items_and_waits_five_seconds_for_them_by_default() -> None:
    batches: list[list[int]] = []
    queue = open_queue(SimulatedHost(), batches.append)
    for item in range(24):
        queue.add_item(item)
    assert take_turn(queue) == 5.0
    queue.add_item(24)
    queue.add_item(25)
    assert take_turn(queue) == 5.0
    assert [len(batch) for batch in batches] == [25]


def test_a_queue_holds_ten_thousand_items_and_64_mib_by_default() -> None:
    queue = open_queue(SimulatedHost())
    assert sum(queue.add_item(item) for item in range(10_002)) == 10_000
    by_bytes = open_queue(SimulatedHost(), size_of=int)
    assert not by_bytes.add_item(64 * 1024 * 1024 + 1)
    assert by_bytes.add_item(64 * 1024 * 1024)
    assert by_bytes.get_stats().refused == {"too_large": 1}


def test_one_callback_runs_at_a_time_by_default() -> None:
    host = SimulatedHost(starts_threads=True)
    queue = open_queue(host)
    for item in range(100):
        queue.add_item(item)
    assert host.started == ["batch-queue-worker"]


def test_pauses_double_from_a_tenth_of_a_second_to_half_a_minute_by_default() -> None:
    host, pauses = SimulatedHost(), []
    queue = open_queue(host, FlushResult)
    queue.add_item("a")
    host.now += 5.0
    for _ in range(11):
        pause = take_turn(queue)
        assert pause is not None
        pauses.append(pause)
        host.now += pause
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0])


def test_a_stop_waits_ten_seconds_by_default() -> None:
    host, waited = SimulatedHost(), []

    def callback(batch: list[str]) -> None:
        start = host.now
        assert not queue.stop()  # of another thread, which waits for this one
        waited.append(host.now - start)

    queue = open_queue(host, callback, batch_size=1)
    queue.add_item("a")
    assert queue._work_once()
    assert waited == [10.0]


def test_without_a_size_items_have_no_bytes_merged_ones_neither() -> None:
    plain = open_queue(SimulatedHost(), max_bytes=1)
    assert plain.add_item("a")
    assert plain.add_item("b")
    assert plain.get_stats().pending_bytes == 0
    queue = open_queue(SimulatedHost(), key_of=lambda _: "key", merge=lambda old, new: old + new)
    for item in "ab":
        queue.add_item(item)
    assert (queue.get_stats().pending, queue.get_stats().pending_bytes) == (2, 0)


# Log lines


def test_what_a_callback_raised_is_logged_by_type_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(batch: list[str]) -> None:
        raise ValueError("secret")

    host = SimulatedHost()
    queue = open_queue(host, fail, name="rows", flush_interval=0.0, retry_base_delay=1.0)
    queue.add_item("a")
    queue.add_item("b")
    for _ in range(3):
        host.now += take_turn(queue) or 0.0
    host.now += 60.0
    take_turn(queue)
    line = (
        "queue rows: the callback failed (it raised ValueError); "
        "its 2 items are kept and sent again"
    )
    assert caplog.messages == [line, f"{line} (2 more since the last such line)"]
