"""What a batch queue holds, and the arithmetic of its accounts.

Pure: no lock, no thread, no clock; the time comes in as an argument. At every moment
``accepted == delivered + pending + dead + dropped``.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import chain
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")
Arrival: TypeAlias = tuple[T, int, Hashable | None, float]
"""An item, its size in bytes, its key, and when it came."""


class Entry(Generic[T]):
    """One item on its way, with what was merged into it.

    Attributes:
        item: What the callback gets.
        size: In bytes.
        key: No two entries with one key are in flight at a time; None is no key.
        since: When it was accepted, in seconds.
        number: The how manieth accepted item it is; the first one of merged ones.
        latest: That of the last one of merged ones.
        count: Accepted items that it stands for.
        attempts: How often it was handed to the callback.
        reason: Why it is dead, once it is.
    """

    reason: str

    __slots__ = ("attempts", "count", "item", "key", "latest", "number", "reason", "since", "size")

    def __init__(self, item: T, size: int, key: Hashable | None, since: float, number: int) -> None:
        self.item = item
        self.size = size
        self.key = key
        self.since = since
        self.number = self.latest = number
        self.count = 1
        self.attempts = 0


class BatchBuffer(Generic[T]):
    """Waiting, in flight and dead entries, within bounds of items and bytes.

    Args:
        batch_size: Items in one batch, at most.
        max_batch_bytes: Bytes in one batch, at most.
        max_items: Entries held, dead ones included.
        max_bytes: Bytes held, dead ones included.
        merge: Gets a waiting item, a later one with its key and that one's size; returns
            what is sent for both, and its size.
    """

    def __init__(
        self,
        batch_size: int,
        max_batch_bytes: float,
        max_items: int,
        max_bytes: float,
        merge: Callable[[T, T, int], tuple[T, int]],
    ) -> None:
        self._merge = merge
        self._batch_size = batch_size
        self._max_batch_bytes = max_batch_bytes
        self._max_items = max_items
        self._max_bytes = max_bytes
        self.clear()

    def clear(self) -> None:
        """Forget everything, the accounts included."""
        # The line: first those with an entry, then the rest as they came. Most items come
        # without a key, and need no entry before they leave.
        self._waiting: deque[Entry[T]] = deque()
        self._arrivals: deque[Arrival[T]] = deque()
        # None is no key, and is not kept among the keys.
        self._waiting_by_key: dict[Hashable, Entry[T]] = {}
        # Entries whose key is in flight wait beside the line: two batches with one key
        # could overtake each other, and the older write would win.
        self._held: dict[Hashable, Entry[T]] = {}
        self._in_flight: set[Entry[T]] = set()
        self._keys_in_flight: set[Hashable] = set()
        self.dead_entries: list[Entry[T]] = []
        self._newest_next = False
        self._free_items: int = self._max_items
        self._free_bytes: float = self._max_bytes
        self._away_bytes = 0  # held but not in line
        self._numbered = 0
        self.delivered = self.dead = self.dropped = self.in_flight = 0

    @property
    def accepted(self) -> int:
        """Items accepted so far, merged ones included."""
        return self._numbered + len(self._arrivals)

    @property
    def pending(self) -> int:
        """Accepted items that are not settled, those in flight and merged ones included."""
        return self.accepted - self.delivered - self.dead - self.dropped

    @property
    def accounts(self) -> tuple[int, int, int, int, int, int]:
        """Items accepted, delivered, pending, in flight, dead and dropped."""
        return (
            *(self.accepted, self.delivered, self.pending),
            *(self.in_flight, self.dead, self.dropped),
        )

    @property
    def bytes(self) -> int:
        """Bytes held, those of dead entries included."""
        return int(self._max_bytes - self._free_bytes)

    @property
    def begins_batch(self) -> bool:
        """Whether the item accepted last is the first of a batch, or completes one."""
        # Asked after most items: without the properties below, which cost as much again.
        length = len(self._waiting) + len(self._arrivals)
        return length % self._batch_size <= 1 or (
            self._max_bytes - self._free_bytes - self._away_bytes >= self._max_batch_bytes
        )

    @property
    def holds_full_batch(self) -> bool:
        """Whether what waits fills a batch, by items or by bytes."""
        return self._line_length >= self._batch_size or self._line_bytes >= self._max_batch_bytes

    @property
    def _line_length(self) -> int:
        return len(self._waiting) + len(self._arrivals)

    @property
    def _line_bytes(self) -> int:
        return self.bytes - self._away_bytes

    def due_at(self, flush_interval: float | None, is_wanted: bool) -> float | None:
        """Return when the next batch should leave, in seconds; None is not yet foreseen.

        Args:
            flush_interval: Seconds that an item waits for others; None leaves it to demand.
            is_wanted: Whether a flush or a stop waits for it.
        """
        if not self._line_length:
            return None
        if is_wanted:
            return -math.inf
        if flush_interval is None:
            return None
        if self.holds_full_batch:
            return -math.inf
        return (self._waiting[0].since if self._waiting else self._arrivals[0][3]) + flush_interval

    @property
    def room(self) -> int:
        """Entries that may be added before half of a bound is reached."""
        if self._free_bytes * 2 <= self._max_bytes:
            return 0
        return max(0, self._free_items - self._max_items // 2)

    def drop_oldest(self) -> Entry[T] | None:
        """Give up the first in line, and return it; None when nobody waits."""
        self._line_up(1)
        if not self._waiting:
            return None
        entry = self._pop_waiting()
        self.dropped += entry.count
        self._forget(entry)
        return entry

    def append(self, arrival: Arrival[T]) -> bool:
        """Accept an item, which has no key, at the end of the line.

        Safe at any moment outside of another method: an interrupt, or a finalizer that
        comes back here, finds the item in line with its account, or neither.

        Returns:
            False when a bound leaves no room for it.
        """
        size = arrival[1]
        if self._free_items <= 0 or size > self._free_bytes:
            return False
        self._free_items -= 1
        self._free_bytes -= size
        self._arrivals.append(arrival)
        return True

    def offer(self, item: T, size: int, key: Hashable | None, now: float) -> bool:
        """Accept ``item``: in place of a waiting one with its key, else at the end of the line.

        Returns:
            False when a bound leaves no room for it.
        """
        if key is None:
            return self.append((item, size, None, now))
        if self._arrivals:
            self._line_up(self._line_length)
        if self._replace(item, size, key):
            return True
        if self._free_items <= 0 or size > self._free_bytes:
            return False
        self._enter(item, size, key, now)
        return True

    def admit(self, item: T, size: int, key: Hashable | None, now: float) -> None:
        """Take ``item`` in, whatever the bounds say."""
        self._line_up(self._line_length)
        if not self._replace(item, size, key):
            self._enter(item, size, key, now)

    def _enter(self, item: T, size: int, key: Hashable | None, now: float) -> None:
        entry = Entry(item, size, key, now, self._numbered + 1)
        self._free_items -= 1
        self._free_bytes -= size
        self._numbered += 1
        if key in self._keys_in_flight:
            self._away_bytes += size
            self._held[key] = entry
            return
        if key is not None:
            self._waiting_by_key[key] = entry
        self._waiting.append(entry)

    def _replace(self, item: T, size: int, key: Hashable) -> bool:
        waiting = self._waiting_by_key.get(key)
        entry = waiting or self._held.get(key)
        if entry is None:
            return False
        grown = self._merge_into(entry, entry.item, item, size)
        if waiting is None:
            self._away_bytes += grown
        entry.count += 1
        self._numbered += 1
        entry.latest = self._numbered
        return True

    def _merge_into(self, entry: Entry[T], earlier: T, later: T, size: int) -> int:
        """Have ``entry`` stand for both items; return by how many bytes it grew."""
        old_size = entry.size
        entry.item, entry.size = self._merge(earlier, later, size)
        self._free_bytes -= entry.size - old_size
        return entry.size - old_size

    def _line_up(self, count: int) -> None:
        """Make sure that the first ``count`` in line have an entry, if there are as many."""
        while self._arrivals and len(self._waiting) < count:
            item, size, _, since = self._arrivals.popleft()
            self._numbered += 1
            self._waiting.append(Entry(item, size, None, since, self._numbered))

    def take_batch(self) -> list[Entry[T]]:
        """Move the first in line into flight: as many as fit into one batch."""
        if self._newest_next:
            self._move_newest_to_front()
        self._line_up(self._batch_size)
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
        newest_next: bool,
    ) -> None:
        """Book what became of a batch: ``retry`` goes to the front, in its order.

        What is neither in ``retry`` nor in ``dead`` is delivered. With ``newest_next`` the
        next batch is of the last in line.
        """
        again, given_up = list(retry), set(dead)
        returning = set(again)
        for entry in batch:
            self._in_flight.discard(entry)
            self.in_flight -= entry.count
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
        self._newest_next = newest_next or self._newest_next

    def revive(self, entries: Iterable[Entry[T]], now: float) -> int:
        """Take dead entries back to the end of the line; return how many items these are.

        One whose key is in flight stays dead: sent after the newer one, the older would win.
        """
        self._line_up(self._line_length)
        chosen = {
            entry
            for entry in set(entries).intersection(self.dead_entries)
            if entry.key not in self._keys_in_flight
        }
        reviving = [entry for entry in self.dead_entries if entry in chosen]
        self.dead_entries = [entry for entry in self.dead_entries if entry not in chosen]
        items = sum(entry.count for entry in reviving)
        self.dead -= items
        for entry in reviving:
            self._revive_one(entry, now)
        return items

    def has_unsettled(self, number: int) -> bool:
        """Whether an item among the first ``number`` accepted ones is still pending."""
        if self._arrivals and self._numbered < number:
            return True
        # Those held are younger than what is in flight with their key.
        live = chain(self._in_flight, self._waiting)
        return any(entry.number <= number for entry in live)

    def _revive_one(self, entry: Entry[T], now: float) -> None:
        waiting = self._waiting_by_key.get(entry.key)
        if waiting is None:
            entry.since = now
            self._waiting.append(entry)
            self._note_waiting(entry)
            return
        # Both count as delivered when the one is. Sent after the newer, the older would win;
        # and either may be the newer: dead letters come back in any order.
        older, newer = sorted((entry, waiting), key=lambda one: one.latest)
        self._merge_into(waiting, older.item, newer.item, newer.size)
        waiting.count += entry.count
        waiting.number, waiting.latest = min(older.number, newer.number), newer.latest
        self._forget(entry)

    def _absorb_held(self, entry: Entry[T]) -> None:
        """Merge a later item with the same key into one that returns: the last write wins."""
        later = self._held.pop(entry.key, None)
        if later is not None:
            self._away_bytes += self._merge_into(entry, entry.item, later.item, later.size)
            entry.count += later.count
            entry.latest = later.latest
            self._forget(later)

    def _release_held(self, batch: Iterable[Entry[T]]) -> None:
        for entry in batch:
            if entry.key not in self._keys_in_flight:
                later = self._held.pop(entry.key, None)
                if later is not None:
                    self._waiting.appendleft(later)
                    self._note_waiting(later)

    def _note_waiting(self, entry: Entry[T]) -> None:
        self._away_bytes -= entry.size
        if entry.key is not None:
            self._waiting_by_key[entry.key] = entry

    def _move_newest_to_front(self) -> None:
        self._newest_next = False
        self._line_up(self._line_length)
        self._waiting.rotate(min(self._batch_size, len(self._waiting)))

    def _pop_waiting(self) -> Entry[T]:
        entry = self._waiting.popleft()
        self._away_bytes += entry.size
        self._waiting_by_key.pop(entry.key, None)
        return entry

    def _forget(self, entry: Entry[T]) -> None:
        """Give back the room of an entry that is away."""
        self._free_items += 1
        self._free_bytes += entry.size
        self._away_bytes -= entry.size
