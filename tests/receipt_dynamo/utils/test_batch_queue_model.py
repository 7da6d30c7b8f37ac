"""The pure buffer against a small independent model, under everything that can happen."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from receipt_dynamo.utils.batch_buffer import BatchBuffer, Entry

BATCH, BATCH_BYTES, ITEMS, BYTES = 3, 25, 8, 60
INTERVAL = 5.0
KEYS = st.sampled_from([None, None, "a", "b", "c"])


@dataclass(eq=False)
class Cell:
    """What the callback would get, and the accepted numbers that it stands for."""

    item: int
    key: str | None
    size: int
    since: float
    numbers: set[int] = field(default_factory=set)
    attempts: int = 0

    def take_over(self, later: Cell) -> None:
        self.item, self.size = later.item, later.size
        self.numbers |= later.numbers


class BufferAgainstModel(RuleBasedStateMachine):
    """The model is plain lists of cells, searched through each time."""

    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.buffer: BatchBuffer[int] = BatchBuffer(
            BATCH, BATCH_BYTES, ITEMS, BYTES, lambda old, new, size: (new, size)
        )
        self.line: list[Cell] = []
        self.held: list[Cell] = []
        self.flights: list[tuple[list[Cell], list[Entry[int]]]] = []
        self.dead: list[Cell] = []
        self.settled = {"delivered": 0, "dropped": 0}
        self.accepted = 0
        self.now = 0.0

    @property
    def flying(self) -> list[Cell]:
        return [cell for cells, _ in self.flights for cell in cells]

    @property
    def all_cells(self) -> list[Cell]:
        return [*self.line, *self.held, *self.flying, *self.dead]

    def find(self, cells: list[Cell], key: str | None) -> Cell | None:
        found = [cell for cell in cells if key is not None and cell.key == key]
        assert len(found) <= 1
        return found[0] if found else None

    def has_room(self, size: int) -> bool:
        held = sum(cell.size for cell in self.all_cells)
        return len(self.all_cells) < ITEMS and held + size <= BYTES

    @rule(size=st.integers(0, 30), key=KEYS, is_short_way=st.booleans())
    def accept(self, size: int, key: str | None, is_short_way: bool) -> None:
        self.now += 1
        number = self.accepted + 1
        cell = Cell(number, key, size, self.now, {number})
        same = self.find([*self.line, *self.held], key)
        expected = same is not None or self.has_room(size)
        if key is None and is_short_way:
            assert self.buffer.append(number, size, self.now) == expected
        else:
            assert self.buffer.offer(number, size, key, self.now) == expected
        if same is not None:
            same.take_over(cell)
        elif expected:
            (self.line if self.find(self.flying, key) is None else self.held).append(cell)
        self.accepted += expected

    @rule(size=st.integers(0, 30), key=KEYS)
    def admit_beyond_the_bounds(self, size: int, key: str | None) -> None:
        self.now += 1
        self.accepted += 1
        cell = Cell(self.accepted, key, size, self.now, {self.accepted})
        same = self.find([*self.line, *self.held], key)
        self.buffer.admit(self.accepted, size, key, self.now)
        if same is not None:
            same.take_over(cell)
        else:
            (self.line if self.find(self.flying, key) is None else self.held).append(cell)

    @rule()
    def take(self) -> None:
        cells: list[Cell] = []
        while self.line and len(cells) < BATCH:
            if cells and sum(cell.size for cell in [*cells, self.line[0]]) > BATCH_BYTES:
                break
            cells.append(self.line.pop(0))
        batch = self.buffer.take_batch()
        assert [entry.item for entry in batch] == [cell.item for cell in cells]
        for cell, entry in zip(cells, batch, strict=True):
            cell.attempts += 1
            assert (entry.attempts, entry.since) == (cell.attempts, cell.since)
        if cells:
            self.flights.append((cells, batch))

    @precondition(lambda self: self.flights)
    @rule(data=st.data())
    def settle(self, data: Any) -> None:
        cells, batch = self.flights.pop(data.draw(st.integers(0, len(self.flights) - 1)))
        fates = [data.draw(st.sampled_from(["retry", "dead", "delivered"])) for _ in cells]
        by_fate: dict[str, list[Any]] = {"retry": [], "dead": [], "delivered": []}
        for entry, fate in zip(batch, fates, strict=True):
            by_fate[fate].append(entry)
        self.buffer.settle_batch(batch, by_fate["retry"], by_fate["dead"])
        ended = list(zip(cells, fates, strict=True))
        front = [self.merge_held(cell) for cell, fate in ended if fate == "retry"]
        self.line = [*front, *self.line]
        for cell, fate in ended:
            if fate != "retry":
                self.settle_one(cell, fate)

    def merge_held(self, cell: Cell) -> Cell:
        """What is sent next is the last write."""
        later = self.find(self.held, cell.key)
        if later is not None:
            self.held.remove(later)
            cell.take_over(later)
        return cell

    def settle_one(self, cell: Cell, fate: str) -> None:
        later = self.find(self.held, cell.key)
        if later is not None:
            self.held.remove(later)
            self.line.insert(0, later)
        if fate == "dead":
            self.dead.append(cell)
        else:
            self.settled["delivered"] += len(cell.numbers)

    @rule()
    def drop(self) -> None:
        dropped = self.buffer.drop_oldest()
        assert (dropped and dropped.item) == (self.line[0].item if self.line else None)
        if self.line:
            self.settled["dropped"] += len(self.line.pop(0).numbers)

    @precondition(lambda self: self.dead)
    @rule(data=st.data())
    def revive(self, data: Any) -> None:
        self.now += 1
        entries = self.buffer.dead_entries
        assert [entry.item for entry in entries] == [cell.item for cell in self.dead]
        picks = [data.draw(st.booleans()) for _ in entries]
        chosen = [entry for entry, pick in zip(entries, picks, strict=True) if pick]
        cells = [cell for cell, pick in zip(self.dead, picks, strict=True) if pick]
        # While its key is in flight one stays dead: it must not follow the newer one.
        cells = [cell for cell in cells if self.find(self.flying, cell.key) is None]
        expected = sum(len(cell.numbers) for cell in cells)
        assert self.buffer.revive(chosen, self.now) == expected
        for cell in cells:
            self.dead.remove(cell)
            newer = self.find(self.line, cell.key)
            if newer is not None:  # whose content stays: the last write wins
                newer.numbers |= cell.numbers
            else:
                cell.since = self.now
                self.line.append(cell)

    @invariant()
    def the_accounts_agree(self) -> None:
        type(self).steps += 1
        buffer = self.buffer
        live = [*self.line, *self.held, *self.flying]
        assert buffer.accepted == self.accepted
        assert buffer.delivered == self.settled["delivered"]
        assert buffer.dropped == self.settled["dropped"]
        assert buffer.dead == sum(len(cell.numbers) for cell in self.dead)
        assert buffer.in_flight == sum(len(cell.numbers) for cell in self.flying)
        assert buffer.pending == sum(len(cell.numbers) for cell in live)
        assert buffer.bytes == sum(cell.size for cell in self.all_cells)

    @invariant()
    def room_ends_at_half_of_a_bound(self) -> None:
        held, used = len(self.all_cells), sum(cell.size for cell in self.all_cells)
        free = ITEMS - ITEMS // 2 - held
        assert self.buffer.room == (max(0, free) if (BYTES - used) * 2 > BYTES else 0)

    @invariant()
    def no_key_is_twice_in_flight(self) -> None:
        keys = [entry.key for _, batch in self.flights for entry in batch if entry.key is not None]
        assert len(keys) == len(set(keys))

    @invariant()
    def the_line_is_as_long_as_it_should_be(self) -> None:
        line_bytes = sum(cell.size for cell in self.line)
        is_full = len(self.line) >= BATCH or line_bytes >= BATCH_BYTES
        assert self.buffer.holds_full_batch == is_full
        completes = len(self.line) % BATCH in {0, 1} or line_bytes >= BATCH_BYTES
        assert self.buffer.begins_batch == completes

    @invariant()
    def a_batch_is_due_when_it_is_full_or_wanted_or_old(self) -> None:
        due = None
        if self.line:
            due = -math.inf if self.buffer.holds_full_batch else self.line[0].since + INTERVAL
        assert self.buffer.due_at(INTERVAL, False) == due
        assert self.buffer.due_at(None, False) is None
        assert self.buffer.due_at(None, True) == (-math.inf if self.line else None)

    @invariant()
    def what_is_unsettled_among_the_first_is_known(self) -> None:
        """Never "settled" too early; a merged item may be waited for a little longer."""
        pending = [cell.numbers for cell in (*self.line, *self.held, *self.flying)]
        for number in range(self.accepted + 1):
            oldest = any(min(numbers) <= number for numbers in pending)
            newest_only = any(number in numbers for numbers in pending)
            assert self.buffer.has_unsettled(number) == oldest
            assert oldest >= newest_only


def test_the_buffer_does_what_the_model_does() -> None:
    BufferAgainstModel.steps = 0
    examples = 3 * settings.default.max_examples
    run_state_machine_as_test(
        BufferAgainstModel,
        settings=settings(max_examples=examples, stateful_step_count=50),
    )
    assert BufferAgainstModel.steps >= 34 * examples  # more than 10,000 in CI's profile
