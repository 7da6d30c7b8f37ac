"""The items of a batch queue, and the arithmetic of its accounts.

The life of an item:

* It is *in line* when it was accepted, and leaves at its turn.
* It is *in flight* while a callback has it. From there it is *delivered*, or *dead* (given
  up with a reason), or back at the front of the line.
* Of the items with one key only the first is in line or in flight. What comes later is
  merged into it while it is in line, and waits *behind* it while it is in flight.
* One that its callback puts *apart* waits by itself, until its time comes. It is in flight alone
  then, and nothing is merged into it.
* A dead one may be taken back into the line. The first in line may be *dropped*.

At every moment ``accepted == delivered + pending + dead + dropped``; pending are those in
line, in flight, apart and behind.

Pure: no lock, no thread, no clock; the time comes in as an argument. Nothing of the user's
runs in here but the ``__eq__`` of keys, in :meth:`BatchBuffer.find_lane`, which needs no lock.
Items to merge are put into ``merges``, for the caller, who merges when the lock is free.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from itertools import chain
from typing import Final, Generic, Literal, TypeAlias, TypeVar

T = TypeVar("T")

_MOST_APART: Final = 0.25
"""So much of the bound of entries may wait apart."""


class Entry(Generic[T]):
    """One item on its way, with what was merged into it; ``ItemRules`` makes it.

    Attributes:
        item: What the callback gets.
        size: In bytes.
        since: When it came, in seconds.
        key: No two entries with one key are in flight at a time; None is no key, and has
            no hash, lane or latest.
        key_hash: The key's hash.
        lane: What is pending with its key.
        number: Its position among the accepted items; of merged ones, the first one's.
        latest: The position of the last one of merged ones.
        count: Accepted items that it stands for.
        attempts: How often it was handed to the callback.
        is_busy: Whether it is in flight, apart or being merged, and must stay as it is.
        reason: Why it is dead, once it is.
    """

    item: T
    size: int
    since: float
    key: Hashable | None
    key_hash: int
    lane: Lane[T]
    number: int
    latest: int
    count: int
    attempts: int
    is_busy: bool
    reason: str

    __slots__ = (
        *("attempts", "count", "is_busy", "item", "key", "key_hash"),
        *("lane", "latest", "number", "reason", "since", "size"),
    )


class Lane(Generic[T]):
    """The pending items with one key, oldest first; only the first is in line or in flight.

    Attributes:
        key: The key.
        entries: The pending entries.
        is_merging: Whether a newer entry is being merged into one of them.
        dead: How many dead ones have this key.
    """

    __slots__ = ("dead", "entries", "is_merging", "key")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.entries: list[Entry[T]] = []
        self.is_merging = False
        self.dead = 0

    @property
    def is_busy(self) -> bool:
        """Whether one of the entries must stay as it is."""
        return any(entry.is_busy for entry in self.entries)


Pair: TypeAlias = tuple[Entry[T], Entry[T]]
"""An entry, which is busy, and a newer one to be merged into it, which has no place or room."""

Lanes: TypeAlias = tuple[Lane[T], ...]
"""Those whose keys have one hash. A change makes a new tuple: who knows it sees no change."""

Verdict: TypeAlias = Literal["full", "changed", "begins_batch", "merge"]


class BatchBuffer(Generic[T]):
    """Entries in line, in flight, behind and dead, within bounds of items and bytes.

    Args:
        batch_size: Items in one batch, at most.
        max_batch_bytes: Bytes in one batch, at most.
        max_items: Entries held, dead ones included.
        max_bytes: Bytes held, dead ones included.
        is_replacing: Whether a new entry's item takes the place of one in line with its
            key; else the two are to be merged.

    Attributes:
        merges: What is to be merged, and reported by :meth:`finish_merge` or
            :meth:`cancel_merge`.
    """

    def __init__(
        self,
        batch_size: int,
        max_batch_bytes: float,
        max_items: int,
        max_bytes: int,
        *,
        is_replacing: bool = False,
    ) -> None:
        self._batch_size = batch_size
        self._max_batch_bytes = max_batch_bytes
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._is_replacing = is_replacing
        self.clear()

    def clear(self) -> None:
        """Drop everything, the accounts included."""
        self._in_line: deque[Entry[T]] = deque()
        self._in_flight: set[Entry[T]] = set()
        self._dead: dict[Entry[T], None] = {}
        # Until when each waits.
        self._apart: dict[Entry[T], float] = {}
        self._was_apart = False
        # By the keys' hashes, because the keys' own __eq__ may do anything.
        self._lanes: dict[int, Lanes[T]] = {}
        self.merges: deque[Pair[T]] = deque()
        self._newest_next = False
        # Of the line: the bounds without what is held beside it. So what comes is counted once.
        self._line_max_items = self._max_items
        self._line_max_bytes = self._max_bytes
        self._line_bytes = 0
        self._merging = 0  # Of those in line, for now they must stay.
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
        return self._max_bytes - self._line_max_bytes + self._line_bytes

    @property
    def dead_entries(self) -> list[Entry[T]]:
        """The dead letters, oldest first."""
        return list(self._dead)

    @property
    def holds_full_batch(self) -> bool:
        """Whether the line fills a batch, by items or by bytes."""
        return len(self._in_line) >= self._batch_size or self._line_bytes >= self._max_batch_bytes

    @property
    def is_ready(self) -> bool:
        """Whether one of those in line is not being merged, and can leave."""
        return len(self._in_line) > self._merging

    @property
    def room(self) -> int:
        """Entries that may be added before half of a bound is reached."""
        if self.bytes * 2 >= self._max_bytes:
            return 0
        free_items = self._line_max_items - len(self._in_line)
        return max(0, free_items - self._max_items // 2)

    def due_at(self, flush_interval: float | None, is_wanted: bool) -> float | None:
        """Return when the next batch should leave, in seconds; None is not yet foreseen.

        Args:
            flush_interval: Seconds that an item waits for others; None leaves it to demand.
            is_wanted: Whether a flush or a stop waits for it.
        """
        if not self._in_line:
            return None
        if is_wanted:
            return -math.inf
        if flush_interval is None:
            return None
        if self.holds_full_batch:
            return -math.inf
        return self._in_line[0].since + flush_interval

    @property
    def apart_until(self) -> float | None:
        """When the first of those apart is to be sent, in seconds; None when none is apart."""
        return min(self._apart.values(), default=None)

    @property
    def is_all_apart(self) -> bool:
        """Whether all that is pending waits apart, or for what does."""
        return bool(self._apart) and not self._in_line and not self._in_flight

    def has_unsettled(self, number: int) -> bool:
        """Whether an item among the first ``number`` accepted ones is still pending."""
        # Those behind are younger than the first with their key.
        live = chain(self._in_flight, self._in_line, self._apart)
        return any(entry.number <= number for entry in live)

    # The way in

    def find_lane(self, entry: Entry[T]) -> tuple[Lanes[T] | None, Lane[T] | None]:
        """Return the lanes among which the entry's would be, and the entry's.

        The one method that needs no lock, and is not to be called with one: the ``__eq__``
        of the keys is the user's.
        """
        lanes = self._lanes.get(entry.key_hash)
        for lane in lanes or ():
            if lane.key is entry.key or are_equal(lane.key, entry.key):
                return lanes, lane
        return lanes, None

    def admit(
        self,
        entry: Entry[T],
        lanes: Lanes[T] | None = None,
        lane: Lane[T] | None = None,
        is_stored: bool = False,
    ) -> Verdict | None:
        """Take the entry in, at the end of the line or behind what has its key.

        Args:
            entry: The entry.
            lanes: What :meth:`find_lane` found, if the entry has a key.
            lane: The same.
            is_stored: Whether it comes from a store, and is taken in whatever the bounds say.

        Returns:
            "changed" when the entry's lane is to be found anew; "full" when a bound leaves no
            room; else the entry is in, and "begins_batch" when it is the first of a batch or
            completes one, or "merge" when two are to be merged.
        """
        line = self._in_line
        line_bytes = self._line_bytes + entry.size
        has_room = is_stored or (
            len(line) < self._line_max_items and line_bytes <= self._line_max_bytes
        )
        if entry.key is not None:
            if self._lanes.get(entry.key_hash) is not lanes:
                return "changed"
            if lane is not None and lane.entries:
                return self._admit_behind(entry, lane, has_room)
        if not has_room:
            return "full"
        entry.number = self.accepted = self.accepted + 1
        if entry.key is not None:
            entry.latest = entry.number
            entry.lane = lane or self._open_lane(entry)
            entry.lane.entries.append(entry)
        line.append(entry)
        self._line_bytes = line_bytes
        is_first = (len(line) - self._merging) % self._batch_size <= 1
        return "begins_batch" if is_first or line_bytes >= self._max_batch_bytes else None

    def _admit_behind(self, entry: Entry[T], lane: Lane[T], has_room: bool) -> Verdict | None:
        """Take the entry in behind others; one that will be merged needs no room of its own."""
        last = lane.entries[-1]
        is_alone_in_flight = last.is_busy and not lane.is_merging
        if is_alone_in_flight and not has_room:
            return "full"
        entry.number = entry.latest = self.accepted = self.accepted + 1
        entry.lane = lane
        if is_alone_in_flight or lane.is_merging:
            lane.entries.append(entry)
            self._occupy(entry)
            return None
        if not self._is_replacing:
            self._begin_merge(last, entry)
            return "merge"
        # The older item goes with the new entry, and ends where its caller lets go of it.
        last.item, entry.item = entry.item, last.item
        self._join(last, entry, entry.size)
        return None

    def redrive(self, entries: Iterable[Entry[T]], now: float) -> int:
        """Take dead entries back to the end of the line; return how many items these are.

        One whose key is in flight stays dead: sent after the newer one, the older would win.
        So does one whose key is being merged at this moment.
        """
        reviving = [
            entry
            for entry in entries
            if entry in self._dead and (entry.key is None or not entry.lane.is_busy)
        ]
        for entry in reviving:
            del self._dead[entry]
            self.dead -= entry.count
            self._redrive_one(entry, now)
        for entry in reviving:
            if entry.key is not None:
                self._find_pair(entry.lane)
        return sum(entry.count for entry in reviving)

    def _redrive_one(self, entry: Entry[T], now: float) -> None:
        entry.since = now
        if entry.key is not None:
            entry.lane.dead -= 1
            others = entry.lane.entries
            # Dead letters come back in any order: either may be the newer one.
            place = sum(other.latest < entry.latest for other in others)
            others.insert(place, entry)
            if place > 0:
                return
            if len(others) > 1:
                self._take_place(entry, others[1])
                return
        self._in_line.append(entry)
        self._line_bytes += entry.size
        self._forget(entry)

    def _take_place(self, entry: Entry[T], other: Entry[T]) -> None:
        """Put ``entry`` into the line where the other one was, which is now behind it."""
        self._in_line[self._in_line.index(other)] = entry
        self._line_bytes += entry.size - other.size
        self._forget(entry)
        self._occupy(other)
        entry.since, entry.attempts = other.since, other.attempts

    # Merging

    def _find_pair(self, lane: Lane[T]) -> None:
        """Begin to merge the first two of the lane that can be, unless a thread merges there."""
        entries = lane.entries
        first = 1 if entries[0] in self._in_flight or entries[0] in self._apart else 0
        if not lane.is_merging and len(entries) >= first + 2:
            older, newer = entries[first], entries.pop(first + 1)
            older.number = min(older.number, newer.number)
            self._forget(newer)
            self._begin_merge(older, newer)

    def _begin_merge(self, older: Entry[T], newer: Entry[T]) -> None:
        older.is_busy = older.lane.is_merging = True
        self._merging += older.lane.entries[0] is older
        self.merges.append((older, newer))

    def _end_merge(self, older: Entry[T]) -> None:
        older.is_busy = older.lane.is_merging = False
        self._merging -= older.lane.entries[0] is older

    def cancel_merge(self, older: Entry[T], newer: Entry[T]) -> None:
        """Leave the two as they are: they are sent one after the other."""
        self._end_merge(older)
        entries = older.lane.entries
        entries.insert(entries.index(older) + 1, newer)
        self._occupy(newer)

    def finish_merge(self, older: Entry[T], newer: Entry[T], item: T, size: int) -> bool:
        """Have the older one stand for both, as ``item`` of ``size`` bytes.

        Returns:
            Whether the line fills a batch by bytes.
        """
        self._end_merge(older)
        older.item = item
        self._join(older, newer, size)
        if len(older.lane.entries) > 1:
            self._find_pair(older.lane)
        return self._line_bytes >= self._max_batch_bytes

    def _join(self, older: Entry[T], newer: Entry[T], size: int) -> None:
        """Have the older one count for both, with ``size`` bytes."""
        if older.lane.entries[0] is older:
            self._line_bytes += size - older.size
        else:
            self._line_max_bytes -= size - older.size
        older.size = size
        older.count += newer.count
        older.latest = newer.latest

    # The way out

    def drop_oldest(self) -> Entry[T] | None:
        """Drop the first in line that no thread is merging, and return it; None if none is left."""
        entry = next((entry for entry in self._in_line if not entry.is_busy), None)
        if entry is None:
            return None
        self._in_line.remove(entry)
        self._line_bytes -= entry.size
        self.dropped += entry.count
        self._leave_lane(entry)
        return entry

    def take_batch(self, now: float = -math.inf) -> list[Entry[T]]:
        """Move the first in line into flight: those that fit into one batch.

        What is being merged is passed over, and keeps its place. Each other time it is one that
        waited apart, if its time has come.
        """
        entry = min(self._apart, key=self._apart.__getitem__, default=None)
        is_due = entry is not None and self._apart[entry] <= now
        self._was_apart = is_due and not (self._was_apart and self.is_ready)
        if entry is not None and self._was_apart:
            del self._apart[entry]
            entry.attempts += 1
            self._in_flight.add(entry)
            self.in_flight += entry.count
            return [entry]
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
        self._line_bytes -= entry.size
        self._occupy(entry)
        self._in_flight.add(entry)
        self.in_flight += entry.count

    def settle_batch(
        self,
        batch: Sequence[Entry[T]],
        retry: Iterable[Entry[T]],
        dead: Iterable[Entry[T]],
        newest_next: bool,
        apart: Iterable[tuple[Entry[T], float]] = (),
    ) -> None:
        """Book what became of a batch: ``retry`` goes to the front, in its order.

        What is in none of ``retry``, ``dead`` and ``apart`` is delivered. Those apart come with
        the time until which they wait. With ``newest_next`` the
        next batch is of the last in line.
        """
        again, given_up = list(retry), set(dead)
        separated = dict(apart)
        returning = {*again, *separated}
        leaving = [entry for entry in batch if entry not in returning]
        for entry in batch:
            entry.is_busy = False
            self._in_flight.discard(entry)
            self.in_flight -= entry.count
        for entry in reversed(again):
            self._line_up_first(entry)
            if entry.key is not None:
                self._find_pair(entry.lane)  # The last write wins.
        for entry, until in separated.items():
            if len(self._apart) < self._max_items * _MOST_APART:
                entry.is_busy = True
                self._apart[entry] = until
            else:  # Those in line must have room.
                self._line_up_last(entry)
        for entry in leaving:
            if entry in given_up:
                self._bury(entry)
            else:
                self.delivered += entry.count
                self._forget(entry)
            self._leave_lane(entry)
        self._newest_next = newest_next or self._newest_next

    def recall(self) -> None:
        """Take what waits apart to the end of the line."""
        recalled, self._apart = self._apart, {}
        for entry in recalled:
            entry.is_busy = False
            self._line_up_last(entry)

    def _line_up_last(self, entry: Entry[T]) -> None:
        self._in_line.append(entry)
        self._line_bytes += entry.size
        self._forget(entry)
        if entry.key is not None:
            self._find_pair(entry.lane)

    def _bury(self, entry: Entry[T]) -> None:
        self.dead += entry.count
        self._dead[entry] = None
        if entry.key is not None:
            entry.lane.dead += 1

    def _leave_lane(self, entry: Entry[T]) -> None:
        """Let the next one with its key into the line, in place of one that is not pending."""
        if entry.key is None:
            return
        lane = entry.lane
        lane.entries.remove(entry)
        if lane.entries:
            self._line_up_first(lane.entries[0])
        elif not lane.dead:
            self._close_lane(lane, entry.key_hash)

    def _line_up_first(self, entry: Entry[T]) -> None:
        self._in_line.appendleft(entry)
        self._line_bytes += entry.size
        self._forget(entry)
        self._merging += entry.is_busy

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

    def _occupy(self, entry: Entry[T]) -> None:
        """Take the room of an entry beside the line."""
        self._line_max_items -= 1
        self._line_max_bytes -= entry.size

    def _forget(self, entry: Entry[T]) -> None:
        """Give back the room of an entry beside the line."""
        self._line_max_items += 1
        self._line_max_bytes += entry.size


def are_equal(one: object, other: object) -> bool:
    """Whether they are equal; if the comparison fails, they are not."""
    try:
        return one is other or bool(one == other)
    except Exception:  # noqa: BLE001 - of the user's own, in a thread that must go on
        return False
