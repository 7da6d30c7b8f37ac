"""Background work beside sending. Each chore runs once, however often it was asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Final

from receipt_dynamo.utils.batch_queue import BatchQueue, FlushResult
from receipt_dynamo.utils.host import Host

_LOOK_DELAY: Final = 1.0
_LONGEST_LOOK_DELAY: Final = 60.0
"""Seconds between two tries to prove which table it is."""


RETRY_DELAY: Final = 30.0
"""Seconds until a journal that could not be made or written is tried again, at most."""


class Chore(Enum):
    """Work in the background, which no caller waits for."""

    CATCH_UP = auto()
    """Accept the records that were put in the middle of our own work."""
    CHECKPOINT = auto()
    """Copy the journal's write-ahead log."""
    PULL = auto()
    """Load records from disk into the queue, when no batch is under way that would."""
    REGAIN = auto()
    """Write into the journal what is in memory only, once the disk works again."""
    LOOK = auto()
    """Find and adopt the journals of dead processes."""


class Chores:
    """Runs chores in background threads. Thread-safe.

    Args:
        work: The function of each chore; one that returns False is called again, after a pause.
        name: For threads and log lines.
        host: Its clock and its threads.

    Attributes:
        disk: The queue of the short chores.
        recovery: The queue of :attr:`Chore.REGAIN`, which waits for the disk.
        looks: The queue of :attr:`Chore.LOOK`, which waits for DynamoDB.
    """

    def __init__(self, work: Mapping[Chore, Callable[[], bool]], *, name: str, host: Host) -> None:
        self._work = work
        self.disk: BatchQueue[Chore] = BatchQueue(
            self._do, flush_interval=0.0, key_of=_itself, name=f"{name}-journal", host=host
        )
        self.recovery: BatchQueue[Chore] = BatchQueue(
            self._do,
            flush_interval=0.0,
            key_of=_itself,
            retry_base_delay=RETRY_DELAY,
            retry_max_delay=RETRY_DELAY,
            name=f"{name}-recovery",
            host=host,
        )
        self.looks: BatchQueue[Chore] = BatchQueue(
            self._do,
            flush_interval=0.0,
            key_of=_itself,
            retry_base_delay=_LOOK_DELAY,
            retry_max_delay=_LONGEST_LOOK_DELAY,
            name=f"{name}-adoption",
            host=host,
        )

    def is_inside(self) -> bool:
        """Return whether the calling thread was interrupted in here."""
        return any(queue.is_inside() for queue in (self.disk, self.recovery, self.looks))

    def ask(self, chore: Chore) -> None:
        """Have ``chore`` done soon, in the background."""
        queues = {Chore.LOOK: self.looks, Chore.REGAIN: self.recovery}
        queues.get(chore, self.disk).add_item(chore)

    def _do(self, chores: list[Chore]) -> FlushResult[Chore]:
        return FlushResult([chore for chore in chores if not self._work[chore]()])


def _itself(chore: Chore) -> Chore:
    return chore
