"""The whole queue against the model, in simulated time: what leaves, when, and what is told.

No thread runs. A worker's turn is one step; while it is inside the callback, other steps
are taken, another worker's turn among them, so that results come late and out of order.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from receipt_dynamo import BatchQueue, FlushResult, QueueFullError
from support.queue_model import (
    BATCH,
    BATCH_BYTES,
    BYTES,
    ITEMS,
    Cell,
    Item,
    QueueModel,
    count_items,
    join,
    take_later,
)
from support.simulation.host import AsleepError, SimulatedHost

INTERVAL, BASE_DELAY, LONGEST_DELAY = 5.0, 0.5, 6.0
# Quarters of a second are exact as floats: no rounding blurs a boundary.
SECONDS = st.integers(0, 40).map(lambda quarters: quarters / 4)
SIZES = st.sampled_from([0, 1, 2, 4, 6, 8, 8, 12, 25, 26])
KEYS = st.sampled_from([None, "a", "a", "b"])
ITEMS_TO_ADD = st.lists(st.tuples(SIZES, KEYS), min_size=1, max_size=4)
MEANWHILE = ["add", "add", "turn", "turn", "flush", "drop", "pull", "redrive", "wait"]
OUTCOMES = st.sampled_from(["settled", "settled", "settled", "raised", "hinted"])
FATES = st.sampled_from(["delivered", "delivered", "delivered", "retry", "dead"])
HINTS = st.sampled_from([None, None, 0.0, 2.0, 20.0])


class HintedError(Exception):
    retry_after = 20.0


class Store:
    """What is behind the queue, and what comes in right after it was asked."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.late: list[Item] = []

    def give(self, room: int) -> list[Item]:
        given, self.items = self.items[:room], [*self.items[room:], *self.late]
        self.late = []
        return given


def merge_never(earlier: Item, later: Item) -> Item:
    raise LookupError


class QueueAgainstModel(RuleBasedStateMachine):
    """Does the same with the queue and the model, and compares them after each step."""

    steps = 0

    @initialize(
        merge=st.sampled_from([None, join, merge_never]),
        has_keys=st.booleans(),
        overflow=st.sampled_from(["refuse", "drop_oldest", "raise"]),
        auto_flush=st.sampled_from([True, True, False]),
    )
    def begin(self, merge: Any, has_keys: bool, overflow: Any, auto_flush: bool) -> None:
        self.has_keys, self.overflow, self.auto_flush = has_keys, overflow, auto_flush
        self.merge = merge
        self.troubles: list[AssertionError] = []
        self.store, self.made = Store(), 0
        self.open_queue()

    @precondition(lambda self: self.stop_at is not None)
    @rule()
    def open_queue(self) -> None:
        self.host = SimulatedHost()
        self.stop_at: float | None = None
        self.queue: BatchQueue[Item] = BatchQueue(
            self.keep_trouble(self.deliver),
            BATCH,
            INTERVAL,
            self.auto_flush,
            max_items=ITEMS,
            max_bytes=BYTES,
            size_of=lambda item: item.size,
            max_batch_bytes=BATCH_BYTES,
            overflow=self.overflow,
            key_of=(lambda item: item.key) if self.has_keys else None,
            merge=self.merge,
            source=self.keep_trouble(self.give),
            retry_base_delay=BASE_DELAY,
            retry_max_delay=LONGEST_DELAY,
            host=self.host,
            random=lambda: 1.0,
        )
        self.start_empty()

    def start_empty(self) -> None:
        self.model = QueueModel(self.merge_in_model)
        self.refused: Counter[str] = Counter()
        self.flushes = self.errors = self.failures = 0
        self.last_error: str | None = None
        self.paused_until = -math.inf
        self.wanted_by = 0
        self.in_callbacks = 0.0
        self.plans: list[Any] = []
        self.sent_at: list[float] = []
        self.landing: list[tuple[list[Cell], list[str], FlushResult[Item], float]] = []

    def merge_in_model(self, earlier: Item, later: Item) -> Item:
        if self.merge is merge_never:
            self.errors += 1
            self.last_error = "LookupError"
        return join(earlier, later) if self.merge is join else take_later(earlier, later)

    def make_item(self, size: int, key: str | None) -> Item:
        self.made += 1
        return Item((self.made,), key if self.has_keys else None, size)

    # What the queue calls

    def keep_trouble(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """The queue survives what its functions raise: an assertion of ours is kept for later."""

        def call(argument: Any) -> Any:
            try:
                return function(argument)
            except AssertionError as trouble:
                self.troubles.append(trouble)
                raise

        return call

    def deliver(self, batch: list[Item]) -> FlushResult[Item] | None:
        """The callback: nothing leaves before its time, and then the right items."""
        began, in_callbacks = self.host.now, self.in_callbacks
        try:
            return self.deliver_in_time(batch)
        finally:
            self.in_callbacks = in_callbacks + self.host.now - began

    def deliver_in_time(self, batch: list[Item]) -> FlushResult[Item] | None:
        self.land()
        self.sent_at.append(self.host.now)
        assert self.host.now >= self.due(), "not yet due, or paused"
        cells = self.model.take()
        assert batch == [cell.item for cell in cells]
        data = self.plans.pop() if self.plans else None
        if data is None:
            return self.answer(batch, cells, ["delivered"] * len(cells), None, False)
        for _ in range(data.draw(st.integers(0, 3))):
            self.do_meanwhile(data)
            self.land()
        outcome = data.draw(OUTCOMES)
        if outcome != "settled":
            self.fail(cells, outcome)
            raise (HintedError if outcome == "hinted" else ValueError)
        self.store.late = [self.make_item(1, None)] if data.draw(st.booleans()) else []
        fates = [data.draw(FATES) for _ in cells]
        return self.answer(batch, cells, fates, data.draw(HINTS), data.draw(st.booleans()))

    def answer(
        self,
        batch: list[Item],
        cells: list[Cell],
        fates: list[str],
        pause: float | None,
        newest_next: bool,
    ) -> FlushResult[Item] | None:
        told = list(zip(batch, fates, strict=True))
        retry = [item for item, fate in told if fate == "retry"]
        dead = [(item, f"reason {item.parts}") for item, fate in told if fate == "dead"]
        answer = FlushResult(retry, dead, pause, newest_next)
        self.landing.append((cells, fates, answer, self.host.now))
        return None if answer == FlushResult([], []) else answer

    def fail(self, cells: list[Cell], outcome: str) -> None:
        self.errors += 1
        self.last_error = "HintedError" if outcome == "hinted" else "ValueError"
        hint = HintedError.retry_after if outcome == "hinted" else 0.0
        self.pause_after_failure(self.host.now, hint)
        self.flushes += 1
        self.model.settle(cells, ["retry"] * len(cells))

    def pause_after_failure(self, now: float, hint: float) -> None:
        self.failures += 1
        delay = min(LONGEST_DELAY, max(hint, BASE_DELAY * 2 ** (self.failures - 1)))
        self.paused_until = max(self.paused_until, now + delay)

    def give(self, room: int) -> list[Item]:
        """The source: asked before a batch is booked, or by a pull."""
        if self.landing and self.room_after_landing() > 0:
            assert room == self.room_after_landing()
            given = self.store.give(room)
            self.land(given)
            return given
        self.land()
        assert room == self.model.room
        given = self.store.give(room)
        for item in given:
            self.model.admit(item, self.host.now)
        return given

    def room_after_landing(self) -> int:
        cells, fates, *_ = self.landing[-1]
        return self.model.room + len(cells) - fates.count("retry")

    def land(self, given: list[Item] = []) -> None:  # noqa: B006 - never changed
        """Book the batch whose callback has returned; first what the source gave for it."""
        for item in given:
            self.model.admit(item, self.host.now)
        if not self.landing:
            return
        cells, fates, answer, now = self.landing.pop()
        if "retry" in fates and answer.retry_after is None:
            self.pause_after_failure(now, 0.0)
        else:
            self.failures = 0
            self.paused_until = max(self.paused_until, now + (answer.retry_after or 0.0))
        self.flushes += 1
        self.model.settle(cells, fates, answer.newest_next)

    def due(self) -> float:
        """When the next batch may leave; infinite when nothing makes it due."""
        line = self.model.line
        if not line:
            return math.inf
        if self.wanted_by or self.stop_at is not None:
            return self.paused_until
        if not self.auto_flush:
            return math.inf
        due = -math.inf if self.model.has_full_batch else line[0].since + INTERVAL
        return max(due, self.paused_until)

    # Steps

    def do_meanwhile(self, data: Any) -> None:
        """Another thread's step, while a batch is in flight."""
        step = data.draw(st.sampled_from(MEANWHILE))
        if step == "add":
            self.add_some(data.draw(ITEMS_TO_ADD))
        elif step == "turn":
            self.take_turn(data)
        elif step == "flush":
            self.flush(data, data.draw(SECONDS))
        elif step == "drop":
            self.drop()
        elif step == "pull":
            self.pull()
        elif step == "redrive":
            self.redrive(data.draw(st.integers(1, 3)))
        else:
            self.wait_in_callback(data.draw(SECONDS))

    def wait_in_callback(self, seconds: float) -> None:
        end = self.host.now + seconds
        has_no_time = seconds > 0 and self.stop_at is not None and end > self.stop_at
        assert self.queue.wait(seconds) == has_no_time
        assert self.host.now == (end - seconds if has_no_time else end)

    @rule(items=ITEMS_TO_ADD)
    def add_some(self, items: list[tuple[int, str | None]]) -> None:
        for size, key in items:
            self.add(size, key)

    def add(self, size: int, key: str | None) -> None:
        item = self.make_item(size, key)
        refusal = self.find_refusal(item)
        if refusal in ("full", "too_large") and self.overflow == "raise":
            try:
                self.queue.add_item(item)
            except QueueFullError as error:
                assert refusal in str(error)
            else:
                raise AssertionError("it was not refused")
        else:
            assert self.queue.add_item(item) == (refusal is None)
        if refusal is not None:
            self.refused[refusal] += 1

    def find_refusal(self, item: Item) -> str | None:
        """Why the item is refused; it is in the model when it is not."""
        if self.stop_at is not None:
            return "stopped"
        if item.size > BATCH_BYTES:
            return "too_large"
        while not self.model.offer(item, self.host.now):
            if self.overflow != "drop_oldest" or self.model.drop() is None:
                return "full"
        return None

    @rule(items=ITEMS_TO_ADD)
    def store_some(self, items: list[tuple[int, str | None]]) -> None:
        self.store.items += [self.make_item(size, key) for size, key in items]

    @rule()
    def pull(self) -> None:
        before = self.model.accepted
        expected = min(self.model.room, len(self.store.items))
        assert self.queue.pull() == expected == self.model.accepted - before

    @rule()
    def drop(self) -> None:
        assert self.queue.drop_oldest() == self.model.drop()

    @rule(modulus=st.integers(1, 3))
    def redrive(self, modulus: int) -> None:
        cells = [cell for cell in self.model.dead if cell.item.parts[-1] % modulus == 0]
        expected = self.model.redrive(cells, self.host.now)
        assert self.queue.redrive(lambda item: item.parts[-1] % modulus == 0) == expected

    @rule(seconds=SECONDS)
    def pass_time(self, seconds: float) -> None:
        self.host.now += seconds

    @rule(data=st.data())
    def take_turn(self, data: Any) -> None:
        """A worker's turn: it sends what is due, or sleeps until it is, or ends."""
        due, is_over, flushes = self.due(), self.is_over(), self.flushes
        with self.planned(data):
            try:
                works_on = self.queue._work_once()
            except AsleepError as asleep:
                assert not is_over
                assert asleep.args == (None if due == math.inf else due - self.host.now,)
                assert due > self.host.now
                return
        assert works_on == (not is_over) == (self.flushes > flushes)

    def is_over(self) -> bool:
        return self.stop_at is not None and (
            not self.model.pending or self.host.now >= self.stop_at
        )

    @rule(data=st.data(), timeout=SECONDS)
    def flush(self, data: Any, timeout: float) -> None:
        """It says truly whether all from before it is settled."""
        number, deadline = self.model.accepted, self.host.now + timeout
        self.wanted_by += 1
        with self.planned(data, timeout):
            is_done = self.queue.flush(timeout)
        self.wanted_by -= 1
        assert is_done != self.model.is_pending(number)
        assert is_done or self.host.now >= deadline

    @precondition(lambda self: self.made > 20)  # else little would happen before it
    @rule(data=st.data(), timeout=SECONDS)
    def stop(self, data: Any, timeout: float) -> None:
        self.paused_until = -math.inf
        self.stop_at = self.host.now + timeout
        with self.planned(data, timeout):
            is_done = self.queue.stop(timeout)
        self.stop_at = -math.inf
        assert is_done == (not self.model.pending)

    @contextmanager
    def planned(self, data: Any, timeout: float | None = None) -> Iterator[None]:
        """The next batch has an outcome from ``data``; what is due leaves at once, in time."""
        start, is_due = self.host.now, self.due() <= self.host.now
        plans, sent, flushes = len(self.plans), len(self.sent_at), self.flushes
        in_callbacks = self.in_callbacks
        self.plans.append(data)
        yield
        del self.plans[plans:]
        self.land()
        if timeout is not None:
            assert not (is_due and timeout > 0) or self.sent_at[sent] == start
            # A callback that runs is not interrupted.
            assert self.host.now - start - (self.in_callbacks - in_callbacks) <= timeout
        # What came into the store while the last batch was booked nobody else would fetch.
        assert self.model.pending or not self.store.items or self.flushes == flushes

    @precondition(lambda self: self.made > 20)  # else little would happen before it
    @rule()
    def fork(self) -> None:
        """The child starts empty; a queue that was stopped stays stopped."""
        self.queue.reset_after_fork()
        self.start_empty()

    @invariant()
    def what_is_told_agrees(self) -> None:
        type(self).steps += 1
        for trouble in self.troubles:
            raise trouble
        stats, model = self.queue.get_stats(), self.model
        assert stats.accepted == stats.delivered + stats.pending + stats.dead + stats.dropped
        assert (stats.accepted, stats.delivered) == (model.accepted, model.delivered)
        assert (stats.pending, stats.in_flight) == (model.pending, 0)
        assert (stats.dead, stats.dropped) == (count_items(model.dead), model.dropped)
        assert (stats.pending_bytes, stats.refused) == (model.bytes, self.refused)
        assert (stats.flushes, stats.callback_errors) == (self.flushes, self.errors)
        assert stats.last_error == self.last_error
        letters = [(letter.item, letter.attempts) for letter in self.queue.dead_letters()]
        assert letters == [(cell.item, cell.attempts) for cell in model.dead]


@pytest.mark.timeout(900)  # the thorough profile takes minutes
def test_the_queue_does_what_the_model_does() -> None:
    QueueAgainstModel.steps = 0
    examples = 3 * settings.default.max_examples
    run_state_machine_as_test(
        QueueAgainstModel,
        settings=settings(max_examples=examples, stateful_step_count=50),
    )
    assert QueueAgainstModel.steps >= 100 * settings.default.max_examples  # 10,000 in CI
