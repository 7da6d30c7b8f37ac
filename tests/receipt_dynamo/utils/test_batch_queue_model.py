"""The pure buffer against a small independent model, under everything that can happen."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from receipt_dynamo.utils.batch.buffer import BatchBuffer, Entry
from receipt_dynamo.utils.batch.items import ItemRules
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

INTERVAL = 5.0
SIZES = st.sampled_from([0, 1, 2, 4, 6, 8, 8, 12, 25, 26])
KEYS = st.sampled_from([None, "a", "a", "b"])
FATES = st.sampled_from(["delivered", "retry", "dead"])


class SameHash(str):
    """A key that is told from others by what it is."""

    __slots__ = ()

    def __hash__(self) -> int:
        return 7


class BufferAgainstModel(RuleBasedStateMachine):
    """Does the same with the buffer and the model, and compares them after each step."""

    @initialize(merge=st.sampled_from([take_later, join]))
    def begin(self, merge: Any) -> None:
        self.buffer: BatchBuffer[Item] = BatchBuffer(
            BATCH, BATCH_BYTES, ITEMS, BYTES, is_replacing=merge is take_later
        )
        self.merge = merge
        # One hash for all keys: they are told apart by what they are.
        self.rules = ItemRules(
            lambda item: item.size,
            lambda item: item.key and SameHash(item.key),
            *(None, None, lambda: self.now),
            report=lambda error: None,
        )
        self.model = QueueModel(merge)
        self.flights: list[tuple[list[Cell], list[Entry[Item]]]] = []
        self.now = 0.0
        self.made = 0

    def make_item(self, size: int, key: str | None) -> Item:
        self.now += 1
        self.made += 1
        return Item((self.made,), key, size)

    def merge_pairs(self) -> None:
        while self.buffer.merges:
            older, newer = self.buffer.merges.popleft()
            merged = self.merge(older.item, newer.item)
            self.buffer.finish_merge(older, newer, merged, merged.size)

    def admit(self, item: Item, *, is_stored: bool) -> bool:
        entry = self.rules.make_entry(item)
        lanes, lane = self.buffer.find_lane(entry) if item.key is not None else (None, None)
        verdict = self.buffer.admit(entry, lanes, lane, is_stored)
        self.merge_pairs()
        assert verdict != "changed"
        self.verdict = verdict
        return verdict != "full"

    @rule(size=SIZES, key=KEYS)
    def accept(self, size: int, key: str | None) -> None:
        item = self.make_item(size, key)
        length = len(self.model.line)
        assert self.admit(item, is_stored=False) == self.model.offer(item, self.now)
        if len(self.model.line) > length:
            is_full_by_bytes = sum(cell.size for cell in self.model.line) >= BATCH_BYTES
            begins = (length + 1) % BATCH in {0, 1} or is_full_by_bytes
            assert (self.verdict == "begins_batch") == begins

    @rule(size=SIZES, key=KEYS)
    def admit_beyond_the_bounds(self, size: int, key: str | None) -> None:
        item = self.make_item(size, key)
        self.model.admit(item, self.now)
        assert self.admit(item, is_stored=True)

    @rule()
    def take(self) -> None:
        cells, batch = self.model.take(), self.buffer.take_batch()
        assert [entry.item for entry in batch] == [cell.item for cell in cells]
        for cell, entry in zip(cells, batch, strict=True):
            assert (entry.attempts, entry.since) == (cell.attempts, cell.since)
        if cells:
            self.flights.append((cells, batch))

    @precondition(lambda self: self.flights)
    @rule(data=st.data())
    def settle(self, data: Any) -> None:
        cells, batch = self.flights.pop(data.draw(st.integers(0, len(self.flights) - 1)))
        fates = [data.draw(FATES) for _ in cells]
        self.book(cells, batch, fates, newest_next=data.draw(st.booleans()))

    @rule(fate=FATES)
    def send(self, fate: str) -> None:
        cells, batch = self.model.take(), self.buffer.take_batch()
        self.book(cells, batch, [fate] * len(batch), newest_next=False)

    def book(
        self, cells: list[Cell], batch: list[Entry[Item]], fates: list[str], newest_next: bool
    ) -> None:
        by_fate: dict[str, list[Any]] = {"retry": [], "dead": [], "delivered": []}
        for entry, fate in zip(batch, fates, strict=True):
            by_fate[fate].append(entry)
        self.buffer.settle_batch(batch, by_fate["retry"], by_fate["dead"], newest_next)
        self.merge_pairs()
        self.model.settle(cells, fates, newest_next)

    @rule()
    def drop(self) -> None:
        dropped = self.buffer.drop_oldest()
        assert (dropped and dropped.item) == self.model.drop()

    @precondition(lambda self: self.model.dead)
    @rule(data=st.data())
    def redrive(self, data: Any) -> None:
        self.now += 1
        entries = self.buffer.dead_entries
        assert [entry.item for entry in entries] == [cell.item for cell in self.model.dead]
        picks = [data.draw(st.booleans()) for _ in entries]
        chosen = [entry for entry, pick in zip(entries, picks, strict=True) if pick]
        cells = [cell for cell, pick in zip(self.model.dead, picks, strict=True) if pick]
        expected = self.model.redrive(cells, self.now)
        assert self.buffer.redrive(chosen, self.now) == expected
        self.merge_pairs()

    @invariant()
    def the_accounts_agree(self) -> None:
        buffer, model = self.buffer, self.model
        assert (buffer.accepted, buffer.delivered) == (model.accepted, model.delivered)
        assert (buffer.dropped, buffer.dead) == (model.dropped, count_items(model.dead))
        assert (buffer.pending, buffer.in_flight) == (model.pending, count_items(model.flying))
        assert (buffer.bytes, buffer.room) == (model.bytes, model.room)

    @invariant()
    def no_key_is_twice_in_flight(self) -> None:
        keys = [entry.key for _, batch in self.flights for entry in batch if entry.key is not None]
        assert len(keys) == len(set(keys))

    @invariant()
    def the_line_is_as_long_as_it_should_be(self) -> None:
        assert self.buffer.holds_full_batch == self.model.has_full_batch

    @invariant()
    def a_batch_is_due_when_it_is_full_or_wanted_or_old(self) -> None:
        due, line = None, self.model.line
        if line:
            due = -math.inf if self.model.has_full_batch else line[0].since + INTERVAL
        assert self.buffer.due_at(INTERVAL, False) == due
        assert self.buffer.due_at(None, False) is None
        assert self.buffer.due_at(None, True) == (-math.inf if line else None)

    @invariant()
    def what_is_unsettled_among_the_first_is_known(self) -> None:
        """Never "settled" too early; a merged item may be waited for a little longer."""
        for number in range(self.model.accepted + 1):
            assert self.buffer.has_unsettled(number) == self.model.is_pending(number)


BufferAgainstModel.TestCase.settings = settings(stateful_step_count=50)
TestBufferAgainstModel = BufferAgainstModel.TestCase
