"""How long the queue pauses, waits and stops, in simulated time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from receipt_dynamo import BatchQueue, FlushResult
from support.simulation.host import SimulatedHost, take_turn


class Script:
    """A callback that keeps its batches, and answers by what it is told, then by None."""

    def __init__(self, *answers: Any) -> None:
        self.batches: list[list[Any]] = []
        self.answers = list(answers)

    def __call__(self, batch: list[Any]) -> Any:
        self.batches.append(batch)
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, BaseException):
            raise answer
        return answer(batch) if callable(answer) else answer


def give_up(batch: list[Any]) -> FlushResult[Any]:
    return FlushResult(dead=[(item, "too bad") for item in batch])


def pause_for(seconds: float) -> Callable[[list[Any]], FlushResult[Any]]:
    return lambda batch: FlushResult(batch, (), seconds)


def open_queue(host: SimulatedHost, callback: Any, **settings: Any) -> BatchQueue[Any]:
    return BatchQueue(callback, **{"batch_size": 1, **settings}, host=host, random=lambda: 1.0)


@pytest.mark.parametrize("failure", [ValueError(), FlushResult])
def test_a_success_sets_the_pause_back(failure: Any) -> None:
    """The second batch fails, succeeds the next time, and the third one fails."""
    host = SimulatedHost()
    queue = open_queue(host, Script(None, failure, None, failure), retry_base_delay=0.25)
    pauses = []
    for item in range(3):
        queue.add_item(item)
        pauses.append(take_turn(queue))
        host.now += pauses[-1] or 0.0
    assert pauses == [None, 0.25, 0.25]


def test_a_flush_sends_again_as_soon_as_the_pause_is_over() -> None:
    host, callback = SimulatedHost(), Script(FlushResult)
    queue = open_queue(host, callback, retry_base_delay=2.0)
    queue.add_item("a")
    assert queue.flush(100.0)
    assert (callback.batches, host.now) == ([["a"], ["a"]], 1_002.0)


@pytest.mark.parametrize("seconds", [10.0, 60.0])
def test_a_stop_does_not_wait_for_a_pause_that_outlasts_it(seconds: float) -> None:
    host, callback = SimulatedHost(), Script(*[pause_for(seconds)] * 9)
    queue = open_queue(host, callback)
    queue.add_item("a")
    assert not queue.stop(10.0)
    assert (callback.batches, host.now) == ([["a"]], 1_000.0)


def test_a_stop_waits_for_a_batch_in_flight_though_a_pause_outlasts_it() -> None:
    def hang(batch: list[str]) -> None:
        queue.add_item("b")
        assert queue._work_once()  # another worker's turn
        assert not queue.stop(10.0)  # a third thread's

    host = SimulatedHost()
    queue = open_queue(host, Script(hang, *[pause_for(60.0)] * 9))
    queue.add_item("a")
    assert queue._work_once()
    assert host.now == 1_010.0


def test_a_flush_does_not_wait_for_what_came_after_it() -> None:
    callback = Script(lambda batch: queue.add_item("later") and None)
    queue = open_queue(SimulatedHost(), callback)
    queue.add_item("a")
    assert queue.flush(5.0)
    assert callback.batches == [["a"]]


def test_a_stop_that_was_cut_short_sends_nothing_more() -> None:
    host, callback = SimulatedHost(), Script(*[FlushResult] * 99)
    queue = open_queue(host, callback)
    queue.add_item("a")
    assert not queue.stop(1.0)
    sent = len(callback.batches)
    assert not queue._work_once()
    assert (len(callback.batches), queue.get_stats().pending) == (sent, 1)


@pytest.mark.parametrize(("seconds", "has_no_time"), [(5.0, False), (5.25, True)])
def test_a_wait_may_last_until_the_stop_does(seconds: float, has_no_time: bool) -> None:
    answers = []
    host = SimulatedHost()
    queue = open_queue(host, lambda batch: answers.append(queue.wait(seconds)))
    queue.add_item("a")
    assert queue.stop(5.0)
    assert answers == [has_no_time]


# The store behind it


def test_what_comes_into_the_store_while_the_last_batch_is_booked_is_fetched() -> None:
    store: list[list[str]] = []

    def take(room: int) -> list[str]:
        given = store.pop() if store else []
        if given == []:
            store[:] = [["late"]] if callback.batches == [["a"]] else []
        return given

    callback = Script()
    queue = open_queue(SimulatedHost(), callback, source=take)
    queue.add_item("a")
    assert take_turn(queue) is None
    assert callback.batches == [["a"], ["late"]]


@pytest.mark.parametrize("part", ["callback", "source"])
def test_an_interrupt_of_who_flushes_leaves_no_batch_in_flight(part: str) -> None:
    def act(what: str) -> None:
        if what == part and not interrupted:
            interrupted.append(True)
            raise KeyboardInterrupt

    def take(room: int) -> list[str]:
        act("source")
        return []

    interrupted: list[bool] = []
    queue = open_queue(SimulatedHost(), lambda batch: act("callback"), source=take)
    queue.add_item("a")
    with pytest.raises(KeyboardInterrupt):
        queue.flush(5.0)
    assert queue.get_stats().in_flight == 0
    assert queue.flush(5.0)
    assert queue.get_stats().delivered == 1


# Keys


@pytest.mark.parametrize("key_of", [None, lambda item: item], ids=["without key", "with key"])
def test_an_item_as_large_as_what_is_free_fits(key_of: Any) -> None:
    queue = open_queue(SimulatedHost(), Script(), max_bytes=5, size_of=len, key_of=key_of)
    assert [queue.add_item(item) for item in ("ab", "cdef", "cde", "")] == [True, False, True, True]


@pytest.mark.parametrize(("in_flight", "held", "replaced"), [(1, 1, 9), (8, 1, 2)])
def test_an_item_that_waits_for_its_key_fills_no_batch(
    in_flight: int, held: int, replaced: int
) -> None:
    """Items are (key, size); a batch has ten bytes."""

    def meanwhile(batch: list[Any]) -> None:
        for item in (("key", held), ("key", replaced), ("other", 2)):
            queue.add_item(item)
        sleeps.append(take_turn(queue))

    sleeps: list[float | None] = []
    rules = {"key_of": lambda item: item[0], "size_of": lambda item: item[1]}
    callback = Script(meanwhile)
    host = SimulatedHost()
    queue = open_queue(host, callback, batch_size=9, max_batch_bytes=10, **rules)
    queue.add_item(("key", in_flight))
    host.now += 5.0
    take_turn(queue)
    assert sleeps == [5.0]


@pytest.mark.parametrize(("returned", "later"), [(1, 6), (6, 1)])
def test_one_that_takes_the_place_of_a_returned_item_counts_with_its_own_bytes(
    returned: int, later: int
) -> None:
    """Items are (key, size); a batch has ten bytes."""

    def meanwhile(batch: list[Any]) -> FlushResult[Any]:
        queue.add_item(("key", later))
        return FlushResult(batch, (), 0.0)

    host, callback = SimulatedHost(), Script(meanwhile)
    rules = {"key_of": lambda item: item[0], "size_of": lambda item: item[1]}
    queue = open_queue(host, callback, batch_size=9, max_batch_bytes=10, **rules)
    queue.add_item(("key", returned))
    host.now += 5.0
    assert take_turn(queue) is None
    assert callback.batches[1:] == [[("key", later)]]
    queue.add_item(("nine", 9))
    assert take_turn(queue) == 5.0
    queue.add_item(("one", 1))
    assert take_turn(queue) is None


def test_dead_letters_with_one_key_are_merged_in_the_order_of_their_latest_items() -> None:
    def add_second(batch: list[str]) -> FlushResult[str]:
        queue.add_item("k2")  # waits for k1, and is merged when that comes back
        return FlushResult(batch, (), 0.0)

    callback = Script(add_second, give_up, give_up)
    queue = open_queue(
        SimulatedHost(),
        callback,
        key_of=lambda item: item[0],
        merge=lambda old, new: f"{old}+{new}",
    )
    for item in ("k1", "k3"):
        queue.add_item(item)
        assert queue.flush(5.0)
    assert [letter.item for letter in queue.dead_letters()] == ["k1+k2", "k3"]
    assert queue.redrive() == 3
    assert queue.flush(5.0)
    assert callback.batches[-1] == ["k1+k2+k3"]
    assert queue.get_stats().delivered == 3


def test_a_dead_letter_is_as_late_as_what_was_merged_into_it() -> None:
    def add_third(batch: list[str]) -> FlushResult[str]:
        queue.add_item("k3")  # waits for k1, and takes its place when that comes back
        return FlushResult(batch, (), 0.0)

    callback = Script(give_up, give_up, add_third, give_up)
    queue = open_queue(SimulatedHost(), callback, key_of=lambda item: item[0])
    for item in ("k1", "k2"):
        queue.add_item(item)
        assert queue.flush(5.0)
    assert queue.redrive(lambda item: item == "k1") == 1
    assert queue.flush(5.0)
    assert sorted(letter.item for letter in queue.dead_letters()) == ["k2", "k3"]
    assert queue.redrive() == 3
    assert queue.flush(5.0)
    assert callback.batches[-1] == ["k3"]


def set_apart(*items: Any, seconds: float = 30.0) -> Callable[[list[Any]], FlushResult[Any]]:
    return lambda batch: FlushResult(apart=[(item, seconds) for item in batch if item in items])


def test_what_is_apart_is_handed_over_by_itself_when_its_time_comes() -> None:
    host, script = SimulatedHost(), Script(set_apart("bad"), None, set_apart("bad"))
    queue = open_queue(host, script, batch_size=3, flush_interval=0.0)
    for item in ("a", "bad", "b"):
        queue.add_item(item)
    pause = take_turn(queue)
    assert (pause, queue.get_stats().pending, queue.get_stats().in_flight) == (30.0, 1, 0)
    queue.add_item("c")
    assert take_turn(queue) == 30.0
    host.now += 30.0
    queue.add_item("d")
    take_turn(queue)
    take_turn(queue)
    assert script.batches == [["a", "bad", "b"], ["c"], ["bad"], ["d"]]
    assert queue.get_stats().delivered == 4
    assert take_turn(queue) == 30.0


def test_a_flush_waits_for_what_is_apart_and_a_stop_tries_it_once_more() -> None:
    host, script = SimulatedHost(), Script(set_apart("bad"), set_apart("bad"), None)
    queue = open_queue(host, script, batch_size=3, flush_interval=0.0)
    queue.add_item("bad")
    assert not queue.flush(10.0)
    assert script.batches == [["bad"]]
    assert not queue.stop(10.0)
    assert script.batches == [["bad"], ["bad"]]
    assert queue.get_stats().pending == 1


def test_what_is_apart_is_merged_with_nothing_and_keeps_the_order_of_its_key() -> None:
    host, script = SimulatedHost(), Script(set_apart(("k", 1)), None, None)
    queue = open_queue(host, script, flush_interval=0.0, key_of=lambda item: item[0])
    queue.add_item(("k", 1))
    take_turn(queue)
    queue.add_item(("k", 2))
    assert take_turn(queue) == 30.0
    host.now += 30.0
    take_turn(queue)
    take_turn(queue)
    assert script.batches == [[("k", 1)], [("k", 1)], [("k", 2)]]
    assert (queue.get_stats().delivered, queue.get_stats().pending) == (2, 0)


def test_so_much_apart_that_others_have_no_room_goes_back_into_the_line() -> None:
    host, script = SimulatedHost(), Script(set_apart(*range(8)))
    queue = open_queue(host, script, batch_size=8, flush_interval=0.0, max_items=8)
    for item in range(8):
        queue.add_item(item)
    take_turn(queue)
    take_turn(queue)
    assert script.batches[1] == [2, 3, 4, 5, 6, 7]
    assert queue.get_stats().pending == 2
