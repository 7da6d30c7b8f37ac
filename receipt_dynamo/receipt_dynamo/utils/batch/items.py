"""What the owner of a batch queue says of its items: size, key, how to merge, where more are."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from receipt_dynamo.utils.arguments import check_callable, given
from receipt_dynamo.utils.batch.buffer import Arrival

T = TypeVar("T")


class ItemRules(Generic[T]):
    """The functions that the queue got for its items.

    Args:
        size_of: An item's size in bytes; None is no size.
        key_of: An item's key; None is no key.
        merge: Makes one item of a waiting one and a later one with its key; None takes the
            later one.
        source: A store of more items; None has none.
        clock: Monotonic time in seconds.
        report: Gets what ``merge`` raised.

    Attributes:
        has_keys: Whether items may have a key.
        measure: Returns an item with its size, its key, and the time.

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
        self._size_of = size_of or _has_no_size
        self._merge = merge
        self._source = source
        self._report = report
        self.has_keys = key_of is not None
        self.measure = _make_measure(self._size_of, key_of, clock)

    def merge(self, waiting: T, later: T, size: int) -> tuple[T, int]:
        """Return what is sent for both, and its size; ``size`` is that of the later one."""
        if self._merge is None:
            return later, size
        try:
            merged = self._merge(waiting, later)
            return merged, self._size_of(merged)
        except Exception as error:  # noqa: BLE001 - it must not stop a worker
            self._report(error)
            return later, size

    def fetch(self, room: int) -> list[Arrival[T]]:
        """Return what the source gives for so much room, measured."""
        if self._source is None or room < 1:
            return []
        return [self.measure(item) for item in self._source(room)]


def _has_no_size(_: object) -> int:
    return 0


def _make_measure(
    size_of: Callable[[T], int],
    key_of: Callable[[T], Hashable] | None,
    clock: Callable[[], float],
) -> Callable[[T], Arrival[T]]:
    # Not a method: the attributes that it would look up cost a tenth of add_item.
    if key_of is None:
        return lambda item: (item, size_of(item), None, clock())

    def measure(item: T) -> Arrival[T]:
        size, key = size_of(item), key_of(item)
        hash(key)  # An unhashable one fails here, in its caller, and not later in a worker.
        return item, size, key, clock()

    return measure
