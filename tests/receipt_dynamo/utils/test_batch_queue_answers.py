"""What a flush callback may return, by accident too: never the same items sent for ever."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from functools import partial
from typing import Any

import pytest

from receipt_dynamo import BatchQueue, FlushResult
from support.simulation.host import SimulatedHost, take_turn


async def send_later(batch: list[Any]) -> None:
    """Of an asyncio program; nobody awaits it here."""


def send_lazily(batch: list[Any]) -> Iterator[Any]:
    yield from batch


async def send_lazily_and_later(batch: list[Any]) -> AsyncIterator[Any]:
    for item in batch:
        yield item


class Request:
    """As of an asyncio HTTP client: nothing is sent before it is awaited."""

    def __await__(self) -> Iterator[None]:
        yield


class Equal:
    """Equal to what has its number, as what comes out of JSON is."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Equal) and other.number == self.number

    __hash__ = None  # type: ignore[assignment]


class Incomparable:
    def __eq__(self, other: object) -> bool:
        raise ValueError("the truth value is ambiguous")

    __hash__ = None  # type: ignore[assignment]


class Run:
    """Sends three items, twice each if the queue lets it."""

    def __init__(self, answer: Callable[[list[Any]], Any], *items: Any) -> None:
        self.batches: list[list[Any]] = []
        self.answer = answer
        self.host = SimulatedHost()
        self.queue: BatchQueue[Any] = BatchQueue(
            self.callback, 3, name="rows", host=self.host, random=lambda: 1.0
        )
        for item in items or ("a", "b", "c"):
            assert self.queue.add_item(item)
        for _ in range(3):
            take_turn(self.queue)
            self.host.now += 3_600.0
        self.stats = self.queue.get_stats()
        assert self.stats.accepted == self.stats.delivered + self.stats.pending + self.stats.dead

    def callback(self, batch: list[Any]) -> Any:
        self.batches.append(batch)
        return self.answer(batch)

    @property
    def reasons(self) -> list[str]:
        return [letter.reason for letter in self.queue.dead_letters()]


@pytest.mark.parametrize(
    "answer",
    [True, False, 0, 3, [], ["a"], {"ok": 3}, "done", b"", object(), FlushResult, len],
    ids=lambda answer: type(answer).__name__,
)
def test_another_value_is_a_delivered_batch_with_one_warning(
    caplog: pytest.LogCaptureFixture, answer: Any
) -> None:
    run = Run(lambda batch: answer)
    run.queue.add_item("d")
    run.host.now += 3_600.0
    take_turn(run.queue)
    stats = run.queue.get_stats()
    assert run.batches == [["a", "b", "c"], ["d"]]
    assert (stats.delivered, stats.dead, stats.callback_errors) == (4, 0, 0)
    odd = f"it returned a {type(answer).__name__}, which is ignored"
    accepted = "accepted are None and a FlushResult"
    assert caplog.messages == [f"queue rows: the callback's answer: {odd}; {accepted}"]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_what_a_driver_returns_writes_each_row_once() -> None:
    connect = partial(sqlite3.connect, check_same_thread=False, isolation_level=None)
    with closing(connect(":memory:")) as database:
        database.execute("create table events (name)")

        def write(batch: list[tuple[str]]) -> Any:
            return database.executemany("insert into events values (?)", batch)

        with BatchQueue(write) as queue:
            for number in range(3):
                queue.add_item((f"event-{number}",))
            assert queue.flush(30)
            assert queue.get_stats().delivered == 3
        assert database.execute("select count(*) from events").fetchone() == (3,)


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (send_later, "it returned a coroutine, which is not awaited"),
        (lambda batch: Future(), "it returned a Future, which is not awaited"),
        (send_lazily, "it returned a generator, which is not run"),
        (lambda batch: (item for item in batch), "it returned a generator, which is not run"),
        (send_lazily_and_later, "it returned a async_generator, which is not run"),
        (lambda batch: Request(), "it returned a Request, which is not awaited"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_shows_that_nothing_was_done_makes_dead_letters(
    caplog: pytest.LogCaptureFixture, answer: Callable[[list[Any]], Any], complaint: str
) -> None:
    """Delivered they are not, and sent again they would be for ever."""
    run = Run(answer)
    assert run.batches == [["a", "b", "c"]]
    assert (run.stats.dead, run.stats.delivered, run.stats.pending) == (3, 0, 0)
    assert (run.stats.callback_errors, run.stats.last_error) == (1, "OutcomeError")
    assert run.reasons == [f"the callback's answer was no use: {complaint}"] * 3
    assert caplog.messages == [
        f"queue rows: the callback's answer is no use ({complaint}); its 3 items are dead letters"
    ]


STRANGER = "it spoke of an item that is not of its batch, or twice of one"
FORM = (
    "it returned a FlushResult whose retry is no sequence of items, or whose dead is "
    "no sequence of pairs of an item and a reason"
)


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (lambda batch: FlushResult(["stranger"]), STRANGER),
        (lambda batch: FlushResult(dead=[("stranger", "x")]), STRANGER),
        (lambda batch: FlushResult([batch]), STRANGER),
        (lambda batch: FlushResult([Incomparable()]), STRANGER),
        (lambda batch: FlushResult([batch[0], batch[0]]), STRANGER),
        (lambda batch: FlushResult([batch[0]], [(batch[0], "x")]), STRANGER),
        (lambda batch: FlushResult(5), FORM),  # type: ignore[arg-type]
        (lambda batch: FlushResult(dead=[1, 2]), FORM),  # type: ignore[list-item]
        (lambda batch: FlushResult(dead=[(batch[0],)]), FORM),  # type: ignore[list-item]
        (lambda batch: FlushResult(None), FORM),  # type: ignore[arg-type]
    ],
)
def test_a_result_that_makes_no_sense_makes_dead_letters(
    answer: Callable[[list[Any]], Any], complaint: str
) -> None:
    run = Run(answer)
    assert run.batches == [["a", "b", "c"]]
    assert (run.stats.dead, run.stats.pending, run.stats.callback_errors) == (3, 0, 1)
    assert run.reasons == [f"the callback's answer was no use: {complaint}"] * 3


def test_dead_letters_of_a_bad_answer_can_be_sent_again() -> None:
    answers: Iterator[object] = iter([Future()])
    run = Run(lambda batch: next(answers, None), "a", "b")
    assert run.stats.dead == 2
    assert run.queue.redrive() == 2
    run.host.now += 3_600.0
    take_turn(run.queue)
    assert run.batches == [["a", "b"], ["a", "b"]]
    assert run.queue.get_stats().delivered == 2


def test_items_are_known_by_identity_and_else_by_equality() -> None:
    outcomes = iter([FlushResult([Equal(2)], [(Equal(0), "bad")])])
    items = [Equal(0), Equal(1), Equal(2)]
    run = Run(lambda batch: next(outcomes, None), *items)
    assert run.batches == [items, [items[2]]]
    assert run.batches[1][0] is items[2]
    assert (run.stats.delivered, run.stats.dead) == (2, 1)
    assert run.reasons == ["bad"]


def test_equal_items_are_each_spoken_of_by_themselves() -> None:
    """The identical one first, whatever is equal to it."""
    items = [Equal(1), Equal(1), Equal(1)]
    outcomes = iter([FlushResult([items[2]], [(items[0], "bad")])])
    run = Run(lambda batch: next(outcomes, None), *items)
    assert run.batches == [items, [items[2]]]
    assert run.batches[1][0] is items[2]


@pytest.mark.parametrize("pause", ["soon", True, [1.0]])
def test_a_pause_that_is_no_number_is_ignored_with_a_warning(
    caplog: pytest.LogCaptureFixture, pause: Any
) -> None:
    run = Run(lambda batch: FlushResult(retry_after=pause))
    assert run.batches == [["a", "b", "c"]]
    assert run.stats.delivered == 3
    assert f"its retry_after is a {type(pause).__name__}, which is ignored" in caplog.text


class Sender:
    async def __call__(self, batch: list[Any]) -> None:
        """As an object."""


@pytest.mark.parametrize(
    ("callback", "kind"),
    [
        (send_later, "async"),
        (partial(send_later), "async"),
        (Sender(), "async"),
        (Sender().__call__, "async"),
        (send_lazily, "a generator"),
        (send_lazily_and_later, "an async generator"),
    ],
)
def test_a_callback_that_does_nothing_when_it_is_called_is_refused_early(
    callback: Any, kind: str
) -> None:
    with pytest.raises(TypeError, match=f"flush_callback is {kind}; accepted is a function"):
        BatchQueue(callback)
