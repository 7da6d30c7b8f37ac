"""The items of a batch queue, and the arithmetic of its accounts.

The life of an item:

* It is *in line* when it was accepted, and leaves at its turn.
* It is *in flight* while a callback has it. From there it is *delivered*, or *dead* (given
  up with a reason), or back at the front of the line.
* Of the items with one key only the first is in line or in flight. What comes later is
  merged into it while it is in line, and waits *behind* it while it is in flight.
* A dead one may be taken back into the line. The first in line may be *dropped*.

At every moment ``accepted == delivered + pending + dead + dropped``; pending are those in
line, in flight and behind.

Pure: no lock, no thread, no clock; the time comes in as an argument. Nothing of the user's
runs in here but the ``__eq__`` of keys, in :meth:`BatchBuffer.find_lane`, which needs no lock.
What is to be merged is put into ``pairs``, for whoever called, when the lock is free.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")


class Entry(Generic[T]):
    """One item on its way, with what was merged into it.

    Attributes:
        item: What the callback gets.
        size: In bytes.
        key: No two entries with one key are in flight at a time; None is no key.
        key_hash: The key's hash.
        since: When it came, in seconds.
        lane: What is pending with its key; None without a key.
        number: Its position among the accepted items; of merged ones, the first one's.
        latest: The position of the last one of merged ones.
        count: Accepted items that it stands for.
        attempts: How often it was handed to the callback.
        is_busy: Whether it is in flight or being merged, and must stay as it is.
        reason: Why it is dead, once it is.
    """

    reason: str

    __slots__ = (
        *("attempts", "count", "is_busy", "item", "key", "key_hash"),
        *("lane", "latest", "number", "reason", "since", "size"),
    )

    def __init__(
        self, item: T, size: int, since: float, key: Hashable | None = None, key_hash: int = 0
    ) -> None:
        self.item = item
        self.size = size
        self.since = since
        self.key = key
        self.key_hash = key_hash
        self.lane: Lane[T] | None = None
        self.number = self.latest = 0
        self.count = 1
        self.attempts = 0
        self.is_busy = False


class Lane(Generic[T]):
    """The pending items with one key, oldest first; only the first is in line or in flight.

    Attributes:
        key: The key.
        entries: The pending entries.
        dead: How many dead ones have this key.
    """

    __slots__ = ("dead", "entries", "key")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.entries: list[Entry[T]] = []
        self.dead = 0

    @property
    def is_busy(self) -> bool:
        """Whether one of the entries must stay as it is."""
        return any(entry.is_busy for entry in self.entries)


Lanes: TypeAlias = tuple[Lane[T], ...]
"""Those whose keys have one hash. A change makes a new tuple: who knows it sees no change."""


@dataclass(frozen=True, slots=True, eq=False)
class Pair(Generic[T]):
    """Two neighbours in a lane, to be merged; both are busy until that is done."""

    lane: Lane[T]
    older: Entry[T]
    newer: Entry[T]


class BatchBuffer(Generic[T]):
    """Entries in line, in flight, behind and dead, within bounds of items and bytes.

    Args:
        batch_size: Items in one batch, at most.
        max_batch_bytes: Bytes in one batch, at most.
        max_items: Entries held, dead ones included.
        max_bytes: Bytes held, dead ones included.

    Attributes:
        pairs: What is to be merged, by :meth:`finish_merge` or :meth:`cancel_merge`.
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
        """Drop everything, the accounts included."""
        self._in_line: deque[Entry[T]] = deque()
        self._in_flight: set[Entry[T]] = set()
        self._dead: dict[Entry[T], None] = {}
        # By the keys' hashes, because the keys' own __eq__ may do anything.
        self._lanes: dict[int, Lanes[T]] = {}
        self.pairs: deque[Pair[T]] = deque()
        self._newest_next = False
        self._free_items: int = self._max_items
        self._free_bytes: float = self._max_bytes
        # Of those in line, without what is being merged.
        self._ready_items = self._ready_bytes = 0
        self.accepted = self.delivered = self.dead = self.dropped = self.in_flight = 0

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
    def dead_entries(self) -> list[Entry[T]]:
        """Entries that were given up, oldest first."""
        return list(self._dead)

    @property
    def begins_batch(self) -> bool:
        """Whether the item accepted last is the first of a batch, or completes one."""
        return (
            self._ready_items % self._batch_size <= 1 or self._ready_bytes >= self._max_batch_bytes
        )

    @property
    def holds_full_batch(self) -> bool:
        """Whether what is ready to leave fills a batch, by items or by bytes."""
        return self._ready_items >= self._batch_size or self._ready_bytes >= self._max_batch_bytes

    @property
    def is_merging(self) -> bool:
        """Whether some of those in line cannot leave now, because they are being merged."""
        return self._ready_items < len(self._in_line)

    @property
    def room(self) -> int:
        """Entries that may be added before half of a bound is reached."""
        if self._free_bytes * 2 <= self._max_bytes:
            return 0
        return max(0, self._free_items - self._max_items // 2)

    def due_at(self, flush_interval: float | None, is_wanted: bool) -> float | None:
        """Return when the next batch should leave, in seconds; None is not yet foreseen.

        Args:
            flush_interval: Seconds that an item waits for others; None leaves it to demand.
            is_wanted: Whether a flush or a stop waits for it.
        """
        if not self._ready_items:
            return None
        if is_wanted:
            return -math.inf
        if flush_interval is None:
            return None
        if self.holds_full_batch:
            return -math.inf
        return self._find_first_ready().since + flush_interval

    def _find_first_ready(self) -> Entry[T]:
        return next(entry for entry in self._in_line if not entry.is_busy)

    def has_unsettled(self, number: int) -> bool:
        """Whether an item among the first ``number`` accepted ones is still pending."""
        # Those behind are younger than the first with their key.
        live = chain(self._in_flight, self._in_line)
        return any(entry.number <= number for entry in live)

    # The way in

    def find_lane(self, entry: Entry[T]) -> tuple[Lanes[T], Lane[T] | None]:
        """Return the lanes among which the entry's would be, and the entry's.

        The one method that needs no lock, and is not to be called with one: the ``__eq__``
        of the keys is the user's. What it found holds as long as :meth:`knows` says so.
        """
        lanes = self._lanes.get(entry.key_hash, ())
        for lane in lanes:
            if are_equal(lane.key, entry.key):
                return lanes, lane
        return lanes, None

    def knows(self, entry: Entry[T], lanes: Lanes[T]) -> bool:
        """Whether ``lanes`` are still those among which the entry's would be."""
        return self._lanes.get(entry.key_hash, ()) is lanes

    def has_room_for(self, entry: Entry[T], lane: Lane[T] | None) -> bool:
        """Whether the bounds let the entry in; one that is merged needs no extra room."""
        if lane is not None and lane.entries and lane.entries[-1] not in self._in_flight:
            return True
        return self._free_items > 0 and entry.size <= self._free_bytes

    def admit(self, entry: Entry[T], lane: Lane[T] | None) -> None:
        """Take the entry in, whatever the bounds say, behind what ``lane`` holds."""
        self.accepted += 1
        entry.number = entry.latest = self.accepted
        self._free_items -= 1
        self._free_bytes -= entry.size
        if entry.key is not None:
            entry.lane = lane or self._open_lane(entry)
            entry.lane.entries.append(entry)
            if len(entry.lane.entries) > 1:
                self._find_pair(entry.lane)
                return
        self._in_line.append(entry)
        self._count_ready(entry, 1)

    def redrive(self, entries: Iterable[Entry[T]], now: float) -> int:
        """Take dead entries back to the end of the line; return how many items these are.

        One whose key is in flight stays dead: sent after the newer one, the older would win.
        So does one whose key is being merged at this moment.
        """
        reviving = [
            entry
            for entry in entries
            if entry in self._dead and not (entry.lane and entry.lane.is_busy)
        ]
        for entry in reviving:
            del self._dead[entry]
            self.dead -= entry.count
            self._redrive_one(entry, now)
        for entry in reviving:
            if entry.lane is not None:
                self._find_pair(entry.lane)
        return sum(entry.count for entry in reviving)

    def _redrive_one(self, entry: Entry[T], now: float) -> None:
        entry.since = now
        if entry.lane is not None:
            others = entry.lane.entries
            # Dead letters come back in any order: either may be the newer one.
            place = sum(other.latest < entry.latest for other in others)
            others.insert(place, entry)
            entry.lane.dead -= 1
            if place > 0:
                return
            if len(others) > 1:
                self._take_place(entry, others[1])
                return
        self._in_line.append(entry)
        self._count_ready(entry, 1)

    def _take_place(self, entry: Entry[T], other: Entry[T]) -> None:
        """Put ``entry`` into the line where the other one was, which is now behind it."""
        self._in_line[self._in_line.index(other)] = entry
        self._count_ready(other, -1)
        self._count_ready(entry, 1)
        entry.since, entry.attempts = other.since, other.attempts

    # Merging

    def _find_pair(self, lane: Lane[T]) -> None:
        """Note the first two neighbours of the lane that nobody is at, if there are any."""
        entries = lane.entries
        for older, newer in pairwise(entries):
            if not (older.is_busy or newer.is_busy):
                self._count_ready_first(lane, older, -1)
                older.is_busy = newer.is_busy = True
                self.pairs.append(Pair(lane, older, newer))
                return

    def finish_merge(self, pair: Pair[T], item: T, size: int) -> None:
        """Have the older one stand for both, as ``item`` of ``size`` bytes."""
        lane, older, newer = pair.lane, pair.older, pair.newer
        self._free_items += 1
        self._free_bytes += older.size + newer.size - size
        older.item, older.size = item, size
        older.count += newer.count
        older.number = min(older.number, newer.number)
        older.latest = newer.latest
        lane.entries.remove(newer)
        older.is_busy = False
        self._count_ready_first(lane, older, 1)
        self._find_pair(lane)

    def cancel_merge(self, pair: Pair[T]) -> None:
        """Leave the two as they are: they are sent one after the other."""
        pair.older.is_busy = pair.newer.is_busy = False
        self._count_ready_first(pair.lane, pair.older, 1)

    def _count_ready_first(self, lane: Lane[T], entry: Entry[T], sign: int) -> None:
        """Count an entry that begins or ends to be merged, if it is the one in line."""
        if lane.entries[0] is entry:
            self._count_ready(entry, sign)

    def _count_ready(self, entry: Entry[T], sign: int) -> None:
        self._ready_items += sign
        self._ready_bytes += sign * entry.size

    # The way out

    def drop_oldest(self) -> Entry[T] | None:
        """Drop the first in line that no thread is merging, and return it; None if none is left."""
        if not self._ready_items:
            return None
        entry = self._find_first_ready()
        self._in_line.remove(entry)
        self._count_ready(entry, -1)
        self.dropped += entry.count
        self._forget(entry)
        self._leave_lane(entry)
        return entry

    def take_batch(self) -> list[Entry[T]]:
        """Move the first in line into flight: those that fit into one batch.

        What is being merged is passed over, and keeps its place.
        """
        if self._newest_next:
            self._newest_next = False
            self._in_line.rotate(min(self._batch_size, len(self._in_line)))
        batch: list[Entry[T]] = []
        passed_over: list[Entry[T]] = []
        room = self._max_batch_bytes
        while self._in_line and len(batch) < self._batch_size:
            entry = self._in_line[0]
            if batch and entry.size > room:
                break
            self._in_line.popleft()
            if entry.is_busy:
                passed_over.append(entry)
                continue
            room -= entry.size
            self._launch(entry)
            batch.append(entry)
        self._in_line.extendleft(reversed(passed_over))
        return batch

    def _launch(self, entry: Entry[T]) -> None:
        entry.attempts += 1
        entry.is_busy = True
        self._count_ready(entry, -1)
        self._in_flight.add(entry)
        self.in_flight += entry.count

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
        leaving = [entry for entry in batch if entry not in returning]
        for entry in batch:
            entry.is_busy = False
            self._in_flight.discard(entry)
            self.in_flight -= entry.count
        for entry in reversed(again):
            self._line_up_first(entry)
            if entry.lane is not None:
                self._find_pair(entry.lane)  # The last write wins.
        for entry in leaving:
            if entry in given_up:
                self._bury(entry)
            else:
                self.delivered += entry.count
                self._forget(entry)
            self._leave_lane(entry)
        self._newest_next = newest_next or self._newest_next

    def _bury(self, entry: Entry[T]) -> None:
        self.dead += entry.count
        self._dead[entry] = None
        if entry.lane is not None:
            entry.lane.dead += 1

    def _leave_lane(self, entry: Entry[T]) -> None:
        """Let the next one with its key into the line, in place of one that is not pending."""
        lane = entry.lane
        if lane is None:
            return
        lane.entries.remove(entry)
        if lane.entries:
            self._line_up_first(lane.entries[0])
        elif not lane.dead:
            self._close_lane(lane, entry.key_hash)

    def _line_up_first(self, entry: Entry[T]) -> None:
        self._in_line.appendleft(entry)
        if not entry.is_busy:
            self._count_ready(entry, 1)

    def _open_lane(self, entry: Entry[T]) -> Lane[T]:
        lane: Lane[T] = Lane(entry.key)
        self._lanes[entry.key_hash] = (*self._lanes.get(entry.key_hash, ()), lane)
        return lane

    def _close_lane(self, lane: Lane[T], key_hash: int) -> None:
        others = tuple(other for other in self._lanes[key_hash] if other is not lane)
        if others:
            self._lanes[key_hash] = others
        else:
            del self._lanes[key_hash]

    def _forget(self, entry: Entry[T]) -> None:
        """Give back the room of an entry."""
        self._free_items += 1
        self._free_bytes += entry.size


def are_equal(one: object, other: object) -> bool:
    """Whether they are equal; if the comparison fails, they are not."""
    try:
        return one is other or bool(one == other)
    except Exception:  # noqa: BLE001 - of the user's own, in a thread that must go on
        return False
