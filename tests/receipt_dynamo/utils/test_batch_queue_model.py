"""The pure buffer against a small independent model, under everything that can happen."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from receipt_dynamo.utils.batch_buffer import BatchBuffer, Entry

BATCH, BATCH_BYTES, ITEMS, BYTES = 3, 25, 8, 60

Item = tuple[int, str | None]


class BufferAgainstModel(RuleBasedStateMachine):
    """The model is a plain ledger: where each accepted number is, and nothing clever."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer: BatchBuffer[Item] = BatchBuffer(BATCH, BATCH_BYTES, ITEMS, BYTES)
        self.fate: dict[int, str] = {}  # accepted number -> pending, delivered, dead, dropped
        self.stands_for: dict[int, set[int]] = {}  # newest number of an entry -> all of them
        self.flights: list[list[Entry[Item]]] = []
        self.now = 0.0

    def numbers(self, fate: str) -> set[int]:
        return {number for number, now in self.fate.items() if now == fate}

    @rule(size=st.integers(0, 30), key=st.sampled_from([None, None, "a", "b", "c"]))
    def offer(self, size: int, key: str | None) -> None:
        self.now += 1
        number = len(self.fate)
        item = (number, key)
        replaced = self.waiting_with(key)
        has_room = self.buffer._entries < ITEMS and self.buffer.bytes + size <= BYTES
        assert self.buffer.offer(item, size, key, self.now) == (replaced is not None or has_room)
        if replaced is not None:
            self.stands_for[number] = self.stands_for.pop(replaced) | {number}
        elif has_room:
            self.stands_for[number] = {number}
        else:
            return
        self.fate[number] = "pending"

    def waiting_with(self, key: str | None) -> int | None:
        buffer = self.buffer
        waiting = [*buffer._waiting, *buffer._held.values()]
        found = [entry.item[0] for entry in waiting if key is not None and entry.key == key]
        assert len(found) <= 1
        return found[0] if found else None

    @rule()
    def take(self) -> None:
        expected = list(self.buffer._waiting)
        batch = self.buffer.take_batch()
        if not batch:
            assert not expected
            return
        assert batch == expected[: len(batch)]
        assert len(batch) <= BATCH
        assert len(batch) == 1 or sum(entry.size for entry in batch) <= BATCH_BYTES
        self.flights.append(batch)

    @precondition(lambda self: self.flights)
    @rule(data=st.data())
    def settle(self, data: Any) -> None:
        batch = self.flights.pop(data.draw(st.integers(0, len(self.flights) - 1)))
        outcomes = [data.draw(st.sampled_from(["retry", "dead", "delivered"])) for _ in batch]
        retry = [entry for entry, fate in zip(batch, outcomes, strict=True) if fate == "retry"]
        dead = [entry for entry, fate in zip(batch, outcomes, strict=True) if fate == "dead"]
        returning = {}
        for entry, fate in zip(batch, outcomes, strict=True):
            number = entry.item[0]
            if fate == "retry":
                later = self.waiting_with(entry.key)
                returning[entry] = number if later is None else later
                if later is not None:
                    self.stands_for[later] |= self.stands_for.pop(number)
            else:
                self.book(number, fate)
        self.buffer.settle_batch(batch, retry, dead)
        for entry, newest in returning.items():
            assert entry.item[0] == newest  # the last write wins
        order = [entry for entry in self.buffer._waiting if entry in retry]
        assert order == retry

    @rule()
    def drop(self) -> None:
        oldest = self.buffer._waiting[0].item[0] if self.buffer._waiting else None
        assert self.buffer.drop_oldest() == (oldest is not None)
        if oldest is not None:
            self.book(oldest, "dropped")

    @rule()
    def revive(self) -> None:
        dead = list(self.buffer.dead_entries)
        for entry in dead:
            number = entry.item[0]
            later = self.waiting_with(entry.key)
            for old in self.stands_for_dead(number):
                self.fate[old] = "pending"
            if later is not None:
                self.stands_for[later] |= self.stands_for.pop(number)
            self.buffer.revive([entry], self.now)

    def stands_for_dead(self, number: int) -> set[int]:
        return self.stands_for[number]

    def book(self, number: int, fate: str) -> None:
        for each in self.stands_for[number]:
            assert self.fate[each] == "pending"
            self.fate[each] = fate
        if fate != "dead":
            del self.stands_for[number]

    @invariant()
    def the_accounts_agree(self) -> None:
        buffer = self.buffer
        assert buffer.accepted == len(self.fate)
        assert buffer.delivered == len(self.numbers("delivered"))
        assert buffer.dead == len(self.numbers("dead"))
        assert buffer.dropped == len(self.numbers("dropped"))
        assert buffer.pending == len(self.numbers("pending"))
        assert buffer.in_flight == sum(entry.count for batch in self.flights for entry in batch)

    @invariant()
    def no_key_is_twice_in_flight(self) -> None:
        keys = [entry.key for batch in self.flights for entry in batch if entry.key is not None]
        assert len(keys) == len(set(keys))
        waiting = {entry.key for entry in self.buffer._waiting if entry.key is not None}
        assert not waiting & set(keys)

    @invariant()
    def bytes_and_entries_are_what_is_held(self) -> None:
        buffer = self.buffer
        held = [
            *buffer._waiting,
            *buffer._held.values(),
            *buffer.dead_entries,
            *[entry for batch in self.flights for entry in batch],
        ]
        assert buffer.bytes == sum(entry.size for entry in held)
        assert buffer._entries == len(held)
        assert buffer._waiting_bytes == sum(entry.size for entry in buffer._waiting)

    @invariant()
    def every_pending_number_is_found(self) -> None:
        pending = self.numbers("pending")
        live = [
            *self.buffer._waiting,
            *self.buffer._held.values(),
            *[entry for batch in self.flights for entry in batch],
        ]
        assert {n for entry in live for n in self.stands_for[entry.item[0]]} == pending
        for entry in live:
            assert entry.count == len(self.stands_for[entry.item[0]])
        for number in range(len(self.fate) + 1):
            unsettled = any(each < number for each in pending)
            assert self.buffer.has_unsettled(number) >= unsettled


BufferAgainstModel.TestCase.settings = settings(
    settings.default, max_examples=250, stateful_step_count=50
)
TestBufferAgainstModel = BufferAgainstModel.TestCase
