"""What a batch queue should hold, said as simply as possible: plain lists, searched each time.

It shares no code and no idea with the queue: a late result, a merge or a bound is counted
anew from the cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import reduce

BATCH, BATCH_BYTES, ITEMS, BYTES = 3, 25, 8, 60


@dataclass(frozen=True)
class Item:
    """What is sent; ``parts`` are the items of which it was made."""

    parts: tuple[int, ...]
    key: str | None
    size: int


def take_later(earlier: Item, later: Item) -> Item:
    return later


def join(earlier: Item, later: Item) -> Item:
    return Item(earlier.parts + later.parts, later.key, max(earlier.size, later.size))


@dataclass(eq=False)
class Cell:
    """What the callback would get, and the accepted numbers that it stands for."""

    item: Item
    since: float
    numbers: set[int] = field(default_factory=set)
    attempts: int = 0

    @property
    def key(self) -> str | None:
        return self.item.key

    @property
    def size(self) -> int:
        return self.item.size


class QueueModel:
    """Lists of cells, and totals."""

    def __init__(self, merge: Callable[[Item, Item], Item]) -> None:
        self.merge = merge
        self.line: list[Cell] = []
        self.held: list[Cell] = []
        self.flights: list[list[Cell]] = []
        self.dead: list[Cell] = []
        self.newest_next = False
        self.accepted = self.delivered = self.dropped = 0

    @property
    def flying(self) -> list[Cell]:
        return [cell for cells in self.flights for cell in cells]

    @property
    def all_cells(self) -> list[Cell]:
        return [*self.line, *self.held, *self.flying, *self.dead]

    @property
    def bytes(self) -> int:
        return sum(cell.size for cell in self.all_cells)

    @property
    def pending(self) -> int:
        return count_items([*self.line, *self.held, *self.flying])

    @property
    def room(self) -> int:
        """It ends at half of a bound."""
        free = ITEMS - ITEMS // 2 - len(self.all_cells)
        return max(0, free) if (BYTES - self.bytes) * 2 > BYTES else 0

    @property
    def has_full_batch(self) -> bool:
        return len(self.line) >= BATCH or sum(cell.size for cell in self.line) >= BATCH_BYTES

    def find(self, cells: list[Cell], key: str | None) -> Cell | None:
        found = [cell for cell in cells if key is not None and cell.key == key]
        assert len(found) <= 1
        return found[0] if found else None

    def is_pending(self, number: int) -> bool:
        """Whether one of the first ``number`` items may still be pending; a merged one counts."""
        live = [*self.line, *self.held, *self.flying]
        return any(min(cell.numbers) <= number for cell in live)

    def offer(self, item: Item, now: float) -> bool:
        replaces = self.find([*self.line, *self.held], item.key) is not None
        if replaces or (len(self.all_cells) < ITEMS and self.bytes + item.size <= BYTES):
            self.admit(item, now)
            return True
        return False

    def admit(self, item: Item, now: float) -> None:
        self.accepted += 1
        same = self.find([*self.line, *self.held], item.key)
        if same is not None:
            same.item = self.merge(same.item, item)
            same.numbers.add(self.accepted)
            return
        cell = Cell(item, now, {self.accepted})
        (self.line if self.find(self.flying, item.key) is None else self.held).append(cell)

    def take(self) -> list[Cell]:
        if self.newest_next and self.line:
            newest = min(BATCH, len(self.line))
            self.line = [*self.line[-newest:], *self.line[:-newest]]
        self.newest_next = False
        cells: list[Cell] = []
        while self.line and len(cells) < BATCH:
            if cells and sum(cell.size for cell in [*cells, self.line[0]]) > BATCH_BYTES:
                break
            cells.append(self.line.pop(0))
        for cell in cells:
            cell.attempts += 1
        if cells:
            self.flights.append(cells)
        return cells

    def settle(self, cells: list[Cell], fates: list[str], newest_next: bool = False) -> None:
        self.newest_next = self.newest_next or newest_next
        self.flights = [others for others in self.flights if others is not cells]
        ended = list(zip(cells, fates, strict=True))
        front = [cell for cell, fate in ended if fate == "retry"]
        for cell in reversed(front):
            self.absorb_held(cell)
        self.line = [*front, *self.line]
        for cell, fate in ended:
            if fate != "retry":
                self.settle_one(cell, fate)

    def merge_in_order(self, cell: Cell, others: list[Cell]) -> None:
        ordered = sorted([cell, *others], key=lambda one: max(one.numbers))
        cell.item = reduce(self.merge, [one.item for one in ordered])
        cell.numbers = set().union(*(one.numbers for one in ordered))

    def absorb_held(self, cell: Cell) -> None:
        """What is sent next is the last write."""
        later = self.find(self.held, cell.key)
        if later is not None:
            self.held.remove(later)
            cell.item = self.merge(cell.item, later.item)
            cell.numbers |= later.numbers

    def settle_one(self, cell: Cell, fate: str) -> None:
        later = self.find(self.held, cell.key)
        if later is not None:
            self.held.remove(later)
            self.line.insert(0, later)
        if fate == "dead":
            self.dead.append(cell)
        else:
            self.delivered += len(cell.numbers)

    def drop(self) -> Item | None:
        if not self.line:
            return None
        self.dropped += len(self.line[0].numbers)
        return self.line.pop(0).item

    def redrive(self, cells: Iterable[Cell], now: float) -> int:
        # While its key is in flight one stays dead: it must not follow the newer one.
        chosen = [cell for cell in cells if self.find(self.flying, cell.key) is None]
        count = count_items(chosen)
        for cell in chosen:
            self.dead.remove(cell)
        while chosen:
            cell = chosen.pop(0)
            same = self.find(self.line, cell.key)
            if same is None:
                same = cell
                cell.since = now
                self.line.append(cell)
            # The last write wins, whichever of them that is.
            twins = [one for one in chosen if one.key is not None and one.key == cell.key]
            chosen = [one for one in chosen if one not in twins]
            self.merge_in_order(same, [*twins, *([cell] if cell is not same else [])])
        return count


def count_items(cells: Iterable[Cell]) -> int:
    return sum(len(cell.numbers) for cell in cells)
