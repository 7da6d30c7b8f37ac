"""What a batch queue holds, and the arithmetic of its accounts.

Pure: no lock, no thread, no clock; the time comes in as an argument. At every moment
``accepted == delivered + pending + dead + dropped``.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from itertools import chain
from typing import Generic, TypeVar

T = TypeVar("T")


class Entry(Generic[T]):
    """One item on its way, with what was merged into it.

    Attributes:
        item: What the callback gets.
        size: In bytes.
        key: No two entries with one key are in flight at a time; None is no key.
        since: When it was accepted, in seconds.
        number: The how manieth accepted item it is.
        count: Accepted items that it stands for.
        attempts: How often it was handed to the callback.
        reason: Why it is dead.
    """

    # Defaults of the class: one is made for each item, and most never need their own.
    count: int = 1
    attempts: int = 0
    reason: str = ""

    def __init__(self, item: T, size: int, key: Hashable | None, since: float, number: int) -> None:
        self.item = item
        self.size = size
        self.key = key
        self.since = since
        self.number = number


class BatchBuffer(Generic[T]):
    """Waiting, in flight and dead entries, within bounds of items and bytes.

    Args:
        batch_size: Items in one batch, at most.
        max_batch_bytes: Bytes in one batch, at most.
        max_items: Entries held, dead ones included.
        max_bytes: Bytes held, dead ones included.
    """

    def __init__(
        self, batch_size: int, max_batch_bytes: float, max_items: int, max_bytes: float
    ) -> None:
        self._batch_size = batch_size
        self._max_batch_bytes = max_batch_bytes
        self._max_items = max_items
        self._max_bytes = max_bytes
        self.clear()

    def clear(self) -> None:
        """Forget everything, the accounts included."""
        self._waiting: deque[Entry[T]] = deque()
        self._waiting_by_key: dict[Hashable, Entry[T]] = {}
        # Entries whose key is in flight wait beside the line: two batches with one key
        # could overtake each other, and the older write would win.
        self._held: dict[Hashable, Entry[T]] = {}
        self._in_flight: set[Entry[T]] = set()
        self._keys_in_flight: set[Hashable] = set()
        self.dead_entries: list[Entry[T]] = []
        self._entries = self._waiting_bytes = 0
        self.bytes = 0
        self.accepted = self.delivered = self.dead = self.dropped = self.in_flight = 0

    @property
    def pending(self) -> int:
        """Accepted items that are not settled, those in flight and merged ones included."""
        return self.accepted - self.delivered - self.dead - self.dropped

    @property
    def begins_batch(self) -> bool:
        """Whether the item accepted last is the first of a batch, or completes one."""
        return len(self._waiting) % self._batch_size in (0, 1) or (
            self._waiting_bytes >= self._max_batch_bytes
        )

    @property
    def holds_full_batch(self) -> bool:
        """Whether what waits fills a batch, by items or by bytes."""
        return (
            len(self._waiting) >= self._batch_size or self._waiting_bytes >= self._max_batch_bytes
        )

    def due_at(self, flush_interval: float | None, is_wanted: bool) -> float | None:
        """Return when the next batch should leave, in seconds; None is not yet foreseen.

        Args:
            flush_interval: Seconds that an item waits for others; None leaves it to demand.
            is_wanted: Whether a flush or a stop waits for it.
        """
        if not self._waiting:
            return None
        if is_wanted:
            return -math.inf
        if flush_interval is None:
            return None
        return -math.inf if self.holds_full_batch else self._waiting[0].since + flush_interval

    def drop_oldest(self) -> bool:
        """Give up the first in line; False when nobody waits."""
        if not self._waiting:
            return False
        entry = self._pop_waiting()
        self.dropped += entry.count
        self._forget(entry)
        return True

    def offer(self, item: T, size: int, key: Hashable | None, now: float) -> bool:
        """Accept ``item``: in place of a waiting one with its key, else at the end of the line.

        Returns:
            False when a bound leaves no room for it.
        """
        if key is not None and self._replace(item, size, key):
            return True
        if self._entries >= self._max_items or self.bytes + size > self._max_bytes:
            return False
        self.accepted += 1
        self._entries += 1
        self.bytes += size
        entry = Entry(item, size, key, now, self.accepted)
        if key is None:
            self._waiting.append(entry)
            self._waiting_bytes += size
        elif key in self._keys_in_flight:
            self._held[key] = entry
        else:
            self._waiting.append(entry)
            self._note_waiting(entry)
        return True

    def _replace(self, item: T, size: int, key: Hashable) -> bool:
        waiting = self._waiting_by_key.get(key)
        entry = waiting or self._held.get(key)
        if entry is None:
            return False
        self.bytes += size - entry.size
        if waiting is not None:
            self._waiting_bytes += size - entry.size
        entry.item, entry.size = item, size
        entry.count += 1
        self.accepted += 1
        return True

    def take_batch(self) -> list[Entry[T]]:
        """Move the first in line into flight: as many as fit into one batch."""
        batch: list[Entry[T]] = []
        room = self._max_batch_bytes
        while (
            self._waiting
            and len(batch) < self._batch_size
            and (not batch or self._waiting[0].size <= room)
        ):
            entry = self._pop_waiting()
            entry.attempts += 1
            room -= entry.size
            self._in_flight.add(entry)
            self.in_flight += entry.count
            if entry.key is not None:
                self._keys_in_flight.add(entry.key)
            batch.append(entry)
        return batch

    def settle_batch(
        self,
        batch: Sequence[Entry[T]],
        retry: Iterable[Entry[T]],
        dead: Iterable[Entry[T]],
    ) -> None:
        """Book what became of a batch: ``retry`` goes to the front, in its order.

        What is neither in ``retry`` nor in ``dead`` is delivered.
        """
        again, given_up = list(retry), set(dead)
        returning = set(again)
        for entry in batch:
            self._in_flight.discard(entry)
            self.in_flight -= entry.count
            if entry.key is not None:
                self._keys_in_flight.discard(entry.key)
            if entry in given_up:
                self.dead += entry.count
                self.dead_entries.append(entry)
            elif entry not in returning:
                self.delivered += entry.count
                self._forget(entry)
        for entry in reversed(again):
            self._absorb_held(entry)
            self._waiting.appendleft(entry)
            self._note_waiting(entry)
        self._release_held(batch)

    def revive(self, entries: Iterable[Entry[T]], now: float) -> int:
        """Take dead entries back to the end of the line; return how many items these are."""
        chosen = set(entries).intersection(self.dead_entries)
        reviving = [entry for entry in self.dead_entries if entry in chosen]
        self.dead_entries = [entry for entry in self.dead_entries if entry not in chosen]
        items = sum(entry.count for entry in reviving)
        self.dead -= items
        for entry in reviving:
            self._revive_one(entry, now)
        return items

    def has_unsettled(self, number: int) -> bool:
        """Whether an item among the first ``number`` accepted ones is still pending."""
        live = chain(self._in_flight, self._waiting, self._held.values())
        return any(entry.number <= number for entry in live)

    def _revive_one(self, entry: Entry[T], now: float) -> None:
        newer = self._waiting_by_key.get(entry.key) or self._held.get(entry.key)
        if entry.key is not None and newer is not None:
            newer.count += entry.count
            newer.number = min(newer.number, entry.number)
            self._forget(entry)
            return
        entry.since, entry.reason = now, ""
        if entry.key is not None and entry.key in self._keys_in_flight:
            self._held[entry.key] = entry
        else:
            self._waiting.append(entry)
            self._note_waiting(entry)

    def _absorb_held(self, entry: Entry[T]) -> None:
        """Merge a later item with the same key into one that returns: the last write wins."""
        later = self._held.pop(entry.key, None) if entry.key is not None else None
        if later is not None:
            self.bytes -= entry.size
            self._entries -= 1
            entry.item, entry.size = later.item, later.size
            entry.count += later.count

    def _release_held(self, batch: Iterable[Entry[T]]) -> None:
        for entry in batch:
            if entry.key is not None and entry.key not in self._keys_in_flight:
                later = self._held.pop(entry.key, None)
                if later is not None:
                    self._waiting.appendleft(later)
                    self._note_waiting(later)

    def _note_waiting(self, entry: Entry[T]) -> None:
        self._waiting_bytes += entry.size
        if entry.key is not None:
            self._waiting_by_key[entry.key] = entry

    def _pop_waiting(self) -> Entry[T]:
        entry = self._waiting.popleft()
        self._waiting_bytes -= entry.size
        if entry.key is not None:
            del self._waiting_by_key[entry.key]
        return entry

    def _forget(self, entry: Entry[T]) -> None:
        self._entries -= 1
        self.bytes -= entry.size
