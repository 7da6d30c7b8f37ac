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
        self._measure = _has_no_size if size_of is None else _make_measure(size_of)
        self._merge = merge
        self._source = source
        self._report = report
        self.make_entry = _make_entry_maker(self._measure, key_of, clock)

    def merge(self, older: T, newer: T, size: int) -> tuple[T, int]:
        """Return what is sent for both, and its size; ``size`` is that of the newer one."""
        if self._merge is None:
            return newer, size
        try:
            merged = self._merge(older, newer)
            return merged, self._measure(merged)
        except Exception as error:  # noqa: BLE001 - it must not stop a worker
            self._report(error)
            return newer, size

    def fetch(self, room: int) -> list[Entry[T]]:
        """Return what the source gives for so much room, measured."""
        if self._source is None or room < 1:
            return []
        return [self.make_entry(item) for item in self._source(room)]


def _has_no_size(_: object) -> int:
    return 0


def _make_measure(size_of: Callable[[T], int]) -> Callable[[T], int]:
    def measure(item: T) -> int:
        size = size_of(item)
        # Here, in its caller, and not later in a worker, under the lock.
        if type(size) is not int or size < 0:
            raise ValueError(
                f"size_of returned {size!r} of type {type(size).__name__}; "
                "accepted are whole numbers of 0 or more"
            )
        return size

    return measure


def _make_entry_maker(
    measure: Callable[[T], int],
    key_of: Callable[[T], Hashable] | None,
    clock: Callable[[], float],
) -> Callable[[T], Entry[T]]:
    # Not a method: the attributes that it would look up cost a tenth of add_item.
    if key_of is None:
        return lambda item: Entry(item, measure(item), clock())

    def make_entry(item: T) -> Entry[T]:
        size, key = measure(item), key_of(item)
        if key is None:
            return Entry(item, size, clock())
        return Entry(item, size, clock(), key, hash(key))

    return make_entry
