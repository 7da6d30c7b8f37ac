"""The owner's functions for the items of a batch queue: size, key, merge, source.

All of it is called without the queue's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from receipt_dynamo.utils.arguments import check_callable, given
from receipt_dynamo.utils.batch.buffer import Entry

T = TypeVar("T")


class ItemRules(Generic[T]):
    """The functions that the queue got for its items.

    Args:
        size_of: An item's size in bytes; None is no size.
        key_of: An item's key; None is no key.
        merge: Makes one item of an earlier one and a later one with its key; None takes the
            later one.
        source: A store of more items; None has none.
        clock: Monotonic time in seconds.
        report: Gets what ``merge`` raised.

    Attributes:
        make_entry: Returns an item with its size, its key, and the time.

    Raises:
        TypeError: One of them cannot be called.
    """

    def __init__(
        self,
        size_of: Callable[[T], int] | None,
        key_of: Callable[[T], Hashable] | None,
        merge: Callable[[T, T], T] | None,
        source: Callable[[int], Sequence[T]] | None,
        clock: Callable[[], float],
        *,
        report: Callable[[Exception], object],
    ) -> None:
        check_callable(**given(size_of=size_of, key_of=key_of, merge=merge, source=source))
        self._size_of = size_of
        self._merge = merge
        self._source = source
        self._report = report
        self.make_entry = _make_entry_maker(size_of, key_of, clock)

    def merge(self, older: T, newer: T, size: int) -> tuple[T, int]:
        """Return what is sent for both, and its size; ``size`` is that of the newer one."""
        if self._merge is None:
            return newer, size
        try:
            merged = self._merge(older, newer)
            return merged, 0 if self._size_of is None else _check_size(self._size_of(merged))
        except Exception as error:  # noqa: BLE001 - it must not stop a worker
            self._report(error)
            return newer, size

    def fetch(self, room: int) -> list[Entry[T]]:
        """Return what the source gives for so much room, measured."""
        if self._source is None or room < 1:
            return []
        return [self.make_entry(item) for item in self._source(room)]


def _make_entry_maker(
    size_of: Callable[[T], int] | None,
    key_of: Callable[[T], Hashable] | None,
    clock: Callable[[], float],
) -> Callable[[T], Entry[T]]:
    # One function, and no __init__: each call in it would cost a tenth of add_item.
    def make_entry(item: T) -> Entry[T]:
        entry: Entry[T] = Entry()
        entry.item = item
        size = 0 if size_of is None else size_of(item)
        entry.size = size if type(size) is int and size >= 0 else _check_size(size)
        entry.key = key = None if key_of is None else key_of(item)
        if key is not None:
            entry.key_hash = hash(key)
        entry.count = 1
        entry.attempts = 0
        entry.is_busy = False
        entry.since = clock()
        return entry

    return make_entry


def _check_size(size: int) -> int:
    # Here, in its caller, and not later in a worker, under the lock.
    if type(size) is not int or size < 0:
        raise ValueError(
            f"size_of returned {size!r} of type {type(size).__name__}; "
            "accepted are whole numbers of 0 or more"
        )
    return size
