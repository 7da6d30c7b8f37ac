"""BatchQueue with real threads, held in step by events; nothing here sleeps or is timed."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest

from receipt_dynamo import BatchQueue, FlushResult, QueueFullError
from receipt_dynamo.utils.batch.buffer import BatchBuffer
from receipt_dynamo.utils.host import Host
from support.lockstep import at_each_step, run_in_step


class Recorder:
    """A callback that keeps what it got, and can be held back or made to fail."""

    def __init__(self, *outcomes: Any) -> None:
        self.batches: list[list[Any]] = []
        self.outcomes = list(outcomes)
        self.entered = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()
        self.lock = threading.Lock()

    def __call__(self, batch: list[Any]) -> Any:
        with self.lock:
            self.batches.append(batch)
            outcome = self.outcomes.pop(0) if self.outcomes else None
        self.entered.release()
        assert self.gate.wait(30)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome(batch) if callable(outcome) else outcome


def open_queue(callback: Callable[[list[Any]], Any], **settings: Any) -> BatchQueue[Any]:
    return BatchQueue(callback, **{"flush_interval": 60.0, "retry_base_delay": 0.001, **settings})


def balances(queue: BatchQueue[Any]) -> bool:
    stats = queue.get_stats()
    return stats.accepted == stats.delivered + stats.pending + stats.dead + stats.dropped


def test_a_full_batch_leaves_by_itself() -> None:
    callback = Recorder()
    with open_queue(callback, batch_size=3) as queue:
        for item in "abc":
            assert queue.add_item(item)
        assert callback.entered.acquire(timeout=30)
    assert callback.batches == [["a", "b", "c"]]


def test_a_batch_full_by_bytes_leaves_by_itself() -> None:
    callback = Recorder()
    with open_queue(callback, size_of=len, max_batch_bytes=5) as queue:
        queue.add_item("aaa")
        queue.add_item("bb")
        assert callback.entered.acquire(timeout=30)
    assert callback.batches == [["aaa", "bb"]]


def test_an_old_item_leaves_by_itself() -> None:
    callback = Recorder()
    with open_queue(callback, flush_interval=0.01) as queue:
        queue.add_item("a")
        assert callback.entered.acquire(timeout=30)


def test_without_auto_flush_nothing_leaves_before_it_is_asked_for() -> None:
    callback = Recorder()
    queue = open_queue(callback, batch_size=2, auto_flush=False, flush_interval=0.0)
    for item in "abcde":
        queue.add_item(item)
    assert callback.batches == []
    assert queue.flush(30)
    assert callback.batches == [["a", "b"], ["c", "d"], ["e"]]
    queue.stop()


def test_the_25th_caller_does_not_pay_for_the_write() -> None:
    callback = Recorder()
    callback.gate.clear()
    queue = open_queue(callback, batch_size=5)
    for item in range(100):
        assert queue.add_item(item)  # while no callback ever returns
    assert queue.get_stats().delivered == 0
    callback.gate.set()
    assert queue.stop(30)


def test_the_worker_survives_the_first_callback_exception() -> None:
    callback = Recorder(RuntimeError("boom"), RuntimeError("again"))
    with open_queue(callback, batch_size=2) as queue:
        for item in "ab":
            queue.add_item(item)
        assert queue.flush(30)
        stats = queue.get_stats()
    assert callback.batches == [["a", "b"]] * 3
    assert (stats.delivered, stats.callback_errors, stats.last_error) == (2, 2, "RuntimeError")


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
def test_the_worker_survives_what_is_no_exception(error: BaseException) -> None:
    with open_queue(Recorder(error)) as queue:
        queue.add_item("a")
        assert queue.flush(30)
        assert queue.get_stats().delivered == 1


def test_items_are_not_taken_out_before_the_send_succeeded() -> None:
    callback = Recorder(RuntimeError("boom"))
    callback.gate.clear()
    queue = open_queue(callback, batch_size=2, retry_base_delay=3600.0, retry_max_delay=3600.0)
    queue.add_item("a")
    queue.add_item("b")
    assert callback.entered.acquire(timeout=30)
    assert (queue.get_stats().pending, queue.get_stats().in_flight) == (2, 2)
    callback.gate.set()
    assert not queue.flush(0.05)
    stats = queue.get_stats()
    assert (stats.pending, stats.delivered) == (2, 0)  # "sent" is not counted in a finally
    assert queue.stop(30)


def test_a_failed_batch_returns_to_the_front_in_order() -> None:
    callback = Recorder(RuntimeError("boom"))
    with open_queue(callback, batch_size=2, auto_flush=False) as queue:
        for item in "abcd":
            queue.add_item(item)
        assert queue.flush(30)
    assert callback.batches == [["a", "b"], ["a", "b"], ["c", "d"]]


def test_a_partial_success_keeps_the_rest() -> None:
    def keep_odd(batch: list[Any]) -> FlushResult[Any]:
        return FlushResult([item for item in batch if item % 2], (), 0.0)

    callback = Recorder(keep_odd)
    with open_queue(callback, batch_size=4, auto_flush=False) as queue:
        for item in range(6):
            queue.add_item(item)
        assert queue.flush(30)
        assert queue.get_stats().delivered == 6
    assert callback.batches == [[0, 1, 2, 3], [1, 3, 4, 5]]


def test_dead_letters_are_kept_with_reason_and_attempts_and_can_be_redriven() -> None:
    def refuse_bad(batch: list[Any]) -> FlushResult[Any]:
        return FlushResult(dead=[(item, "too bad") for item in batch if item == "bad"])

    callback = Recorder(RuntimeError("boom"), refuse_bad)
    with open_queue(callback) as queue:
        queue.add_item("good")
        queue.add_item("bad")
        assert queue.flush(30)
        (letter,) = queue.dead_letters()
        assert (letter.item, letter.reason, letter.attempts) == ("bad", "too bad", 2)
        assert balances(queue)
        assert queue.redrive(lambda item: item == "other") == 0
        assert queue.redrive() == 1
        assert (queue.get_stats().dead, queue.dead_letters()) == (0, [])
        assert queue.flush(30)
        assert queue.get_stats().delivered == 2


def test_a_redriven_item_never_overwrites_a_newer_one_that_is_in_flight() -> None:
    callback = Recorder(lambda batch: FlushResult(dead=[(batch[0], "too bad")]))
    with open_queue(callback, batch_size=1, key_of=lambda item: item[0]) as queue:
        queue.add_item(("key", "old"))
        assert queue.flush(30)
        callback.gate.clear()
        queue.add_item(("key", "new"))
        assert callback.entered.acquire(timeout=30)
        assert callback.entered.acquire(timeout=30)
        assert queue.redrive() == 0
        callback.gate.set()
        assert queue.flush(30)
        stats = queue.get_stats()
    assert callback.batches == [[("key", "old")], [("key", "new")]]
    assert (stats.accepted, stats.delivered, stats.dead, stats.pending) == (2, 1, 1, 0)


@pytest.mark.parametrize("order", [["old", "new"], ["new", "old"]])
def test_of_two_redriven_items_with_one_key_the_later_one_is_sent(order: list[str]) -> None:
    def refuse(batch: list[Any]) -> FlushResult[Any]:
        return FlushResult(dead=[(item, "too bad") for item in batch])

    callback = Recorder(refuse, refuse)
    with open_queue(callback, batch_size=1, key_of=lambda item: item[0], auto_flush=False) as queue:
        for item in ("old", "new"):
            queue.add_item(("key", item))
            assert queue.flush(30)
        for item in order:
            assert queue.redrive(lambda letter, item=item: letter[1] == item) == 1
        assert queue.flush(30)
        assert queue.get_stats().delivered == 2
    assert callback.batches[2:] == [[("key", "new")]]


def test_a_redriven_item_does_not_replace_what_newer_ones_were_merged_into() -> None:
    callback = Recorder(lambda batch: FlushResult(dead=[(batch[0], "too bad")]))
    with open_queue(callback, batch_size=1, key_of=lambda item: item[0], auto_flush=False) as queue:
        queue.add_item(("key", "old"))
        assert queue.flush(30)
        queue.add_item(("key", "new"))
        queue.add_item(("key", "newer"))
        assert queue.redrive() == 1
        assert queue.flush(30)
        assert queue.get_stats().delivered == 3
    assert callback.batches[1:] == [[("key", "newer")]]


def test_a_key_is_never_twice_in_a_batch_and_the_last_write_wins() -> None:
    callback = Recorder()
    with open_queue(callback, key_of=lambda item: item[0]) as queue:
        for item in ("a1", "b1", "a2", "a3"):
            queue.add_item(item)
        assert queue.get_stats().pending == 4
        assert queue.flush(30)
        assert queue.get_stats().delivered == 4
    assert callback.batches == [["a3", "b1"]]


def test_a_key_in_flight_waits_for_its_turn() -> None:
    callback = Recorder()
    callback.gate.clear()
    with open_queue(callback, batch_size=1, workers=4, key_of=lambda item: item[0]) as queue:
        queue.add_item("a1")
        assert callback.entered.acquire(timeout=30)
        queue.add_item("a2")
        queue.add_item("b1")
        assert callback.entered.acquire(timeout=30)
        assert callback.batches == [["a1"], ["b1"]]
        callback.gate.set()
        assert queue.flush(30)
    assert callback.batches[2] == ["a2"]


@pytest.mark.parametrize(
    ("overflow", "items", "dropped", "refused"),
    [("refuse", ["a", "b"], 0, {"full": 1}), ("drop_oldest", ["b", "c"], 1, {})],
)
def test_a_full_queue_follows_its_policy(
    overflow: Any, items: list[str], dropped: int, refused: dict[str, int]
) -> None:
    callback = Recorder()
    queue = open_queue(callback, max_items=2, overflow=overflow, auto_flush=False)
    accepted = [queue.add_item(item) for item in "abc"]
    assert accepted == [True, True, overflow == "drop_oldest"]
    stats = queue.get_stats()
    assert (stats.dropped, stats.refused) == (dropped, refused)
    assert balances(queue)
    assert queue.stop(30)
    assert callback.batches == [items]


def test_a_full_queue_raises_when_asked_to() -> None:
    queue = open_queue(Recorder(), max_bytes=5, size_of=len, overflow="raise", auto_flush=False)
    queue.add_item("abc")
    with pytest.raises(QueueFullError, match="an item of 4 bytes"):
        queue.add_item("defg")
    assert queue.get_stats().refused == {"full": 1}
    assert queue.stop(30)


def test_an_item_that_can_never_fit_is_refused() -> None:
    queue = open_queue(Recorder(), max_batch_bytes=5, size_of=len)
    assert not queue.add_item("abcdef")
    assert queue.get_stats().refused == {"too_large": 1}
    queue.stop()


def test_stop_delivers_then_refuses_and_may_be_called_again() -> None:
    callback = Recorder()
    queue = open_queue(callback)
    queue.add_item("a")
    assert queue.stop(30)
    assert callback.batches == [["a"]]
    assert not queue.add_item("b")
    assert queue.get_stats().refused == {"stopped": 1}
    assert queue.stop(0)


def test_stop_keeps_its_deadline_and_what_is_left_stays_counted() -> None:
    """`close` joins for a second and abandons the batch in flight."""
    callback = Recorder()
    callback.gate.clear()
    queue = open_queue(callback, batch_size=1)
    queue.add_item("a")
    queue.add_item("b")
    assert callback.entered.acquire(timeout=30)
    assert not queue.stop(0.05)
    assert queue.get_stats().pending == 2
    callback.gate.set()
    assert queue.stop(30)
    assert queue.get_stats().delivered == 2


def test_stop_makes_one_last_attempt_in_spite_of_a_pause() -> None:
    callback = Recorder(lambda batch: FlushResult(batch, (), 3600.0))
    queue = open_queue(callback)
    queue.add_item("a")
    assert not queue.flush(0.05)
    assert queue.stop(30)
    assert callback.batches == [["a"], ["a"]]


def test_a_flush_does_not_cut_a_pause_short() -> None:
    """A flush in an outage must not storm."""
    callback = Recorder(lambda batch: FlushResult(batch, (), 3600.0))
    queue = open_queue(callback)
    queue.add_item("a")
    for _ in range(5):
        assert not queue.flush(0.01)
    assert callback.batches == [["a"]]
    queue.stop(30)


def test_a_stop_interrupts_the_callbacks_wait() -> None:
    interrupted = []

    def callback(batch: list[Any]) -> FlushResult[Any]:
        entered.set()
        interrupted.append(queue.wait(3600.0))
        return FlushResult(batch)

    entered = threading.Event()
    queue = open_queue(callback, batch_size=1)
    queue.add_item("a")
    assert entered.wait(30)
    assert not queue.stop(0.05)
    assert interrupted[0] is True
    assert queue.get_stats().pending == 1


def test_a_flush_from_inside_the_callback_does_not_wait_for_itself() -> None:
    answers = []
    queue = open_queue(lambda batch: answers.append(queue.flush(30)))
    queue.add_item("a")
    assert queue.flush(30)
    assert answers == [False]
    assert queue.stop(30)


def test_adding_from_inside_the_callback_and_from_a_log_handler_does_not_deadlock() -> None:
    class Echo(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            queue.add_item("logged")

    def callback(batch: list[Any]) -> None:
        if "first" in batch:
            queue.add_item("from inside")
        if not seen:
            seen.append(True)
            raise RuntimeError

    seen: list[bool] = []
    logger = logging.getLogger("receipt_dynamo.utils.batch_queue")
    handler = Echo()
    logger.addHandler(handler)
    try:
        with open_queue(callback, batch_size=1) as queue:
            queue.add_item("first")
            assert queue.flush(30)
    finally:
        logger.removeHandler(handler)
    assert queue.get_stats().delivered >= 3
    assert balances(queue)


def test_size_of_and_key_of_may_use_the_queue() -> None:
    def size_of(item: str) -> int:
        if item == "outer":
            queue.add_item("inner")
        return len(item)

    with open_queue(Recorder(), size_of=size_of, key_of=lambda item: item) as queue:
        queue.add_item("outer")
        assert queue.flush(30)
    assert queue.get_stats().delivered == 2


@pytest.mark.parametrize("auto_flush", [True, False])
def test_an_item_that_comes_in_from_inside_of_the_lock_is_admitted_after(auto_flush: bool) -> None:
    """A finalizer or signal handler runs in the thread that holds the lock."""
    callback = Recorder()
    queue = open_queue(callback, auto_flush=auto_flush)
    assert queue._edit(queue.add_item, "from a finalizer")
    assert queue.get_stats().accepted == 1
    assert queue.stop(30)
    assert callback.batches == [["from a finalizer"]]


def test_what_comes_in_while_others_are_merged_cannot_break_the_bound() -> None:
    def merge(old: str, new: str) -> str:
        came_in.append(queue.add_item("inner"))
        return new

    came_in: list[bool] = []
    callback = Recorder()
    queue = open_queue(callback, max_items=1, auto_flush=False, key_of=lambda i: i[0], merge=merge)
    for item in ("outer-1", "outer-2", "outer-3"):
        assert queue.add_item(item)
    stats = queue.get_stats()
    assert (stats.accepted, stats.refused, came_in) == (3, {"full": 2}, [False, False])
    assert queue.stop(30)
    assert callback.batches == [["outer-3"]]


def test_without_a_timeout_flush_and_stop_wait_as_long_as_it_takes() -> None:
    callback = Recorder(RuntimeError("boom"), None, RuntimeError("boom"))
    queue = open_queue(callback)
    queue.add_item("a")
    assert queue.flush()
    queue.add_item("b")
    assert queue.stop(None)
    assert callback.batches == [["a"], ["a"], ["b"], ["b"]]


def test_a_finalizer_that_adds_an_item_at_any_step_of_another_loses_neither() -> None:
    callback = Recorder()
    queue = open_queue(callback, auto_flush=False)
    inner: list[str] = []

    def finalize() -> None:
        if len(inner) == 200:  # What it adds is admitted in steps as well.
            return
        inner.append(f"inner-{len(inner)}")
        assert queue.add_item(inner[-1])

    with at_each_step(BatchBuffer.admit, finalize):
        assert queue.add_item("outer")
    assert len(inner) > 10
    assert queue.stop()
    assert sorted(item for batch in callback.batches for item in batch) == sorted([*inner, "outer"])
    assert balances(queue)


def test_nobody_wakes_up_while_idle() -> None:
    """Ten wake-ups a second, for ever: an idle worker waits without a timeout."""
    waits: list[float | None] = []
    asleep = threading.Event()
    queue = open_queue(Recorder(), batch_size=1)
    original = queue._work.wait

    def wait(timeout: float | None = None) -> bool:
        waits.append(timeout)
        asleep.set()
        return original(timeout)

    queue._work.wait = wait  # type: ignore[method-assign]
    queue.add_item("a")
    assert queue.flush(30)
    assert asleep.wait(30)
    assert waits[-1] is None
    queue.stop()


@pytest.mark.parametrize("has_lock", [True, False])
def test_a_bound_holds_between_threads_and_without_the_lock_it_does_not(has_lock: bool) -> None:
    queue = open_queue(Recorder(), auto_flush=False, max_items=1)
    if not has_lock:
        lockless: Any = nullcontext()
        queue._lock = lockless
    accepted = []
    add = lambda: accepted.append(queue.add_item("item"))  # noqa: E731
    run_in_step(BatchBuffer.admit, [add, add])
    assert sorted(accepted) == [not has_lock, True]
    assert len(queue._buffer._in_line) == (1 if has_lock else 2)


def test_many_producers_several_workers_and_failures_settle_each_item_once() -> None:
    delivered: list[int] = []
    guard = threading.Lock()
    calls = iter(range(10**9))

    def callback(batch: list[int]) -> FlushResult[int] | None:
        turn = next(calls) % 5
        if turn == 0:
            raise RuntimeError
        keep = batch[::2] if turn == 1 else []
        with guard:
            delivered.extend(item for item in batch if item not in keep)
        return FlushResult(keep, (), 0.0)

    start = threading.Barrier(8)
    switch_interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with open_queue(callback, batch_size=7, workers=4, retry_max_delay=0.001) as queue:

            def produce(first: int) -> None:
                start.wait()
                for item in range(first, first + 500):
                    queue.add_item(item)

            threads = [threading.Thread(target=produce, args=(n * 500,)) for n in range(8)]
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                assert balances(queue)
            for thread in threads:
                thread.join()
            assert queue.flush(60)
            assert queue.get_stats().delivered == 4_000
    finally:
        sys.setswitchinterval(switch_interval)
    assert sorted(delivered) == list(range(4_000))


def test_several_flushers_never_send_one_item_twice() -> None:
    callback = Recorder(RuntimeError("boom"))
    queue = open_queue(callback, batch_size=3, auto_flush=False)
    start = threading.Barrier(6)
    done: list[bool] = []

    def add_and_flush(first: int) -> None:
        start.wait(30)
        for item in range(first, first + 100):
            queue.add_item(item)
        done.append(queue.flush(30))

    threads = [threading.Thread(target=add_and_flush, args=(n * 100,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert done == [True] * 6
    assert queue.stop(30)
    sent = [item for batch in callback.batches[1:] for item in batch]
    assert sorted(sent) == list(range(600))


async def test_a_thousand_tasks_add_items_while_the_callback_hangs() -> None:
    """No task waits for it; all is delivered once it goes on."""
    callback = Recorder()
    callback.gate.clear()
    queue = open_queue(callback, batch_size=25)
    everybody = asyncio.Barrier(1_000)

    async def work(number: int) -> bool:
        await everybody.wait()
        return queue.add_item(number)

    assert all(await asyncio.gather(*(work(number) for number in range(1_000))))
    assert queue.get_stats().delivered == 0
    callback.gate.set()
    assert await asyncio.to_thread(queue.stop, 30)
    sent = [item for batch in callback.batches for item in batch]
    assert sorted(sent) == list(range(1_000))


def test_the_wall_clock_is_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: pytest.fail("the wall clock was read"))
    with open_queue(Recorder(), flush_interval=0.001) as queue:
        queue.add_item("a")
        assert queue.flush(30)
    assert Host.clock is time.monotonic


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 0),
        ("flush_interval", -1.0),
        ("flush_interval", float("nan")),
        ("max_items", 0),
        ("max_bytes", 1.5),
        ("max_batch_bytes", 0),
        ("workers", 0),
        ("retry_base_delay", -1),
        ("retry_max_delay", float("inf")),
        ("overflow", "spill"),
    ],
)
def test_a_bad_argument_names_itself_and_its_value(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value!r}; accepted are "):
        BatchQueue(lambda batch: None, **{name: value})


@pytest.mark.parametrize(
    "name",
    [
        "batch_size",
        "flush_interval",
        "max_items",
        "max_bytes",
        "workers",
        "retry_base_delay",
        "retry_max_delay",
    ],
)
def test_none_is_no_number(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is None; accepted are "):
        BatchQueue(lambda batch: None, **{name: None})


def test_a_flag_is_true_or_false() -> None:
    with pytest.raises(TypeError, match="auto_flush is 'no'; accepted are True and False"):
        BatchQueue(lambda batch: None, auto_flush="no")  # type: ignore[arg-type]


def test_a_bad_overflow_is_told_the_good_ones() -> None:
    with pytest.raises(ValueError, match="accepted are 'refuse', 'drop_oldest', 'raise'"):
        BatchQueue(lambda batch: None, overflow="spill")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["flush_callback", "random"])
@pytest.mark.parametrize("value", [None, "x"])
def test_what_must_be_called_names_itself_when_it_cannot_be(name: str, value: Any) -> None:
    arguments = {"flush_callback": lambda batch: None, name: value}
    with pytest.raises(TypeError, match=f"{name} is {value!r}; accepted is what can be called"):
        BatchQueue(**arguments)


@pytest.mark.parametrize("name", ["size_of", "key_of", "merge", "source"])
def test_what_may_be_called_names_itself_when_it_cannot_be(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} is 'x'; accepted is what can be called"):
        BatchQueue(lambda batch: None, **{name: "x"})


def test_an_async_callback_is_refused_early() -> None:
    """Never awaited, it would send nothing, and its batch would come back for ever."""

    async def write(batch: list[int]) -> None: ...

    with pytest.raises(TypeError, match=r"^flush_callback is async; accepted is a function"):
        BatchQueue(write)  # type: ignore[arg-type]


def test_a_forked_child_starts_empty_with_free_locks_and_the_parent_keeps_its_items() -> None:
    program = """
import os, signal, threading
from receipt_dynamo import BatchQueue

signal.alarm(30)  # a child that hangs dies of it
got = []
queue = BatchQueue(got.extend, flush_interval=60)
queue.add_item("parent")
held, leave = threading.Event(), threading.Event()

def hold():
    with queue._lock:
        held.set()
        leave.wait()

holder = threading.Thread(target=hold)
holder.start()
held.wait()
pid = os.fork()
if pid == 0:
    empty = queue.get_stats().accepted == 0
    queue.add_item("child")
    os._exit(0 if empty and queue.stop(20) and got == ["child"] else 1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
leave.set()
holder.join()
assert queue.stop(20) and got == ["parent"]
"""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program]
    subprocess.run(command, check=True, timeout=60)


def test_no_thread_can_be_started_in_atexit_and_the_items_are_delivered() -> None:
    """On Python 3.12 and later; there, stop does the work in the thread that exits."""
    program = """
import atexit, sys
from receipt_dynamo import BatchQueue
got = []
queue = BatchQueue(got.extend, 2, flush_interval=60)
def finish():
    for item in "abc":
        queue.add_item(item)
    assert queue.stop(20)
    sys.stdout.write("".join(got))
atexit.register(finish)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "abc", done.stderr
