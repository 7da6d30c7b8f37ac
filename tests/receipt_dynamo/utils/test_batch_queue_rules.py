"""What BatchQueue promises in its docstrings, each rule by itself; no test depends on speed."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import pytest

from receipt_dynamo import BatchQueue, FlushResult
from support.simulation.host import SimulatedHost, take_turn


class Collector:
    """A callback that keeps its batches; the first calls have the outcomes that it is given."""

    def __init__(self, *outcomes: Callable[[list[Any]], Any] | BaseException) -> None:
        self.batches: list[list[Any]] = []
        self.outcomes = list(outcomes)
        self.calls = threading.Semaphore(0)

    def __call__(self, batch: list[Any]) -> Any:
        self.batches.append(batch)
        outcome = self.outcomes.pop(0) if self.outcomes else None
        self.calls.release()
        if isinstance(outcome, BaseException):
            raise outcome
        return None if outcome is None else outcome(batch)


class HintedError(Exception):
    def __init__(self, retry_after: Any) -> None:
        self.retry_after = retry_after


def give_up(batch: list[Any]) -> FlushResult[Any]:
    return FlushResult(dead=[(item, "too bad") for item in batch])


def open_queue(callback: Callable[[list[Any]], Any], **settings: Any) -> BatchQueue[Any]:
    return BatchQueue(callback, **{"flush_interval": 60.0, "retry_base_delay": 0.001, **settings})


def count_workers(name: str) -> int:
    return sum(thread.name == f"{name}-worker" for thread in threading.enumerate())


# The pauses


def test_a_hint_of_the_callbacks_error_lengthens_the_pause() -> None:
    callback = Collector(HintedError(3600.0))
    queue = open_queue(callback)
    queue.add_item("a")
    assert not queue.flush(0.05)
    assert callback.batches == [["a"]]
    assert queue.stop(30)


def test_a_hint_that_is_no_number_is_no_hint() -> None:
    callback = Collector(HintedError("soon"))
    with open_queue(callback) as queue:
        queue.add_item("a")
        assert queue.flush(30)
    assert callback.batches == [["a"], ["a"]]


@pytest.mark.parametrize("hint", [1e12, math.inf, 10**400])
def test_a_hint_is_clamped_to_the_longest_pause(hint: Any) -> None:
    """Believed, one wrong header would stop the queue for years, or its worker for ever."""
    callback = Collector(HintedError(hint))
    with open_queue(callback, retry_max_delay=0.001) as queue:
        queue.add_item("a")
        assert queue.flush(30)
    assert callback.batches == [["a"], ["a"]]


def test_a_hint_that_cannot_be_read_is_no_hint() -> None:
    class BrokenHintError(Exception):
        @property
        def retry_after(self) -> float:
            raise LookupError

    callback = Collector(BrokenHintError())
    with open_queue(callback) as queue:
        queue.add_item("a")
        assert queue.flush(30)
        assert queue.get_stats().last_error == "BrokenHintError"
    assert callback.batches == [["a"], ["a"]]


@pytest.mark.parametrize("pause", [1e12, math.inf, 10**400])
def test_a_pause_longer_than_a_thread_can_sleep_lasts_until_a_stop(pause: float) -> None:
    callback = Collector(lambda batch: FlushResult(batch, (), pause))
    queue = open_queue(callback, batch_size=1)
    queue.add_item("a")
    assert callback.calls.acquire(timeout=30)
    assert not queue.flush(0.05)
    assert queue.stop(30)
    assert callback.batches == [["a"], ["a"]]


def test_an_interval_longer_than_a_thread_can_sleep_leaves_it_to_demand() -> None:
    callback = Collector()
    queue = open_queue(callback, flush_interval=1e300)
    queue.add_item("a")
    assert queue.flush(30)
    assert queue.stop(30)
    assert callback.batches == [["a"]]


def test_a_wait_that_is_longer_than_a_thread_can_sleep_ends_with_a_stop() -> None:
    answers: list[bool] = []
    entered = threading.Event()

    def callback(batch: list[Any]) -> None:
        entered.set()
        answers.append(queue.wait(math.inf))

    queue = open_queue(callback, batch_size=1)
    queue.add_item("a")
    assert entered.wait(30)
    assert queue.stop(30)
    assert (answers, queue.get_stats().callback_errors) == ([True], 0)


def test_a_wait_inside_of_the_callback_ends_by_itself() -> None:
    answers: list[bool] = []
    with open_queue(lambda batch: answers.append(queue.wait(0.001)), batch_size=1) as queue:
        queue.add_item("a")
        assert queue.flush(30)
    assert answers == [False]
    assert queue.get_stats().callback_errors == 0


def test_a_stop_with_time_enough_lets_the_callback_wait() -> None:
    answers: list[bool] = []
    entered, stopping = threading.Event(), threading.Event()

    def callback(batch: list[Any]) -> None:
        entered.set()
        assert stopping.wait(30)
        answers.append(queue.wait(0.001))

    queue = open_queue(callback, batch_size=1)
    queue.add_item("a")
    assert entered.wait(30)
    stopper = threading.Thread(target=queue.stop, args=(3600.0,))
    stopper.start()
    while queue.add_item("b"):  # until it is refused: the stop has begun
        pass
    stopping.set()
    stopper.join()
    assert set(answers) == {False}


# Dead letters


def test_a_redrive_takes_what_matches_and_it_leaves_by_itself() -> None:
    callback = Collector(give_up)
    queue = open_queue(callback, batch_size=3, flush_interval=0.01, name="redrive")
    for item in "abc":
        queue.add_item(item)
    assert callback.calls.acquire(timeout=30)
    assert queue.flush(30)
    assert queue.redrive(lambda item: item == "b") == 1
    assert count_workers("redrive") == 1
    assert callback.calls.acquire(timeout=30)
    assert queue.flush(30)
    assert callback.batches == [["a", "b", "c"], ["b"]]
    assert [letter.item for letter in queue.dead_letters()] == ["a", "c"]
    assert queue.stop(30)


# Refusals


@pytest.mark.parametrize("key_of", [None, lambda item: item], ids=["without key", "with key"])
def test_an_item_as_large_as_a_batch_fits_and_a_larger_one_does_not(key_of: Any) -> None:
    queue = open_queue(Collector(), auto_flush=False, size_of=len, max_batch_bytes=5, key_of=key_of)
    assert queue.add_item("abcde")
    assert not queue.add_item("abcdef")
    assert not queue.add_item("abcdefg")
    assert queue.get_stats().refused == {"too_large": 2}
    assert queue.stop(30)


def test_a_stopped_queue_refuses_without_raising() -> None:
    queue = open_queue(Collector(), overflow="raise")
    assert queue.stop(30)
    assert not queue.add_item("a")
    assert not queue.add_item("b")
    assert queue.get_stats().refused == {"stopped": 2}


def test_the_newest_items_are_sent_next_when_the_callback_asks_for_it() -> None:
    """Items without a key as well, in their order; what came back follows in its own."""
    outcomes = iter([lambda batch: FlushResult(batch, newest_next=True)])
    batches: list[list[str]] = []

    def callback(batch: list[str]) -> FlushResult[str] | None:
        batches.append(batch)
        outcome = next(outcomes, None)
        return outcome and outcome(batch)

    queue = open_queue(callback, batch_size=2, auto_flush=False)
    for item in "abcde":
        queue.add_item(item)
    assert queue.flush(30)
    assert batches == [["a", "b"], ["d", "e"], ["a", "b"], ["c"]]


def test_an_item_without_a_key_leaves_by_age_where_others_have_one() -> None:
    queue = open_queue(Collector(), key_of=lambda item: None, host=SimulatedHost())
    queue.add_item("a")
    assert take_turn(queue) == 60.0
