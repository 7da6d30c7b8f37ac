"""What is done in the background beside sending, once however often it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Final

from receipt_dynamo.utils.batch_queue import BatchQueue, FlushResult
from receipt_dynamo.utils.host import Host

_LOOK_DELAY: Final = 1.0
_LONGEST_LOOK_DELAY: Final = 60.0
"""Seconds between two tries to prove which table it is."""


class Chore(Enum):
    """Something to do that nobody waits for."""

    CATCH_UP = auto()
    """Take in what was put where nobody could wait."""
    CHECKPOINT = auto()
    """Copy the journal's write-ahead log."""
    PULL = auto()
    """Give the queue what is on disk, when no batch is under way that would."""
    LOOK = auto()
    """Look for the journals of dead processes."""


class Chores:
    """Does chores. Thread-safe.

    Args:
        work: What does each chore; one that returns False is done again, after a pause.
        name: For threads and log lines.
        host: Its clock and its threads.

    Attributes:
        disk: The queue of those that take a moment.
        looks: That of :attr:`Chore.LOOK`, which waits for DynamoDB.
    """

    def __init__(self, work: Mapping[Chore, Callable[[], bool]], *, name: str, host: Host) -> None:
        self._work = work
        self.disk: BatchQueue[Chore] = BatchQueue(
            self._do, flush_interval=0.0, key_of=_itself, name=f"{name}-journal", host=host
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
        """Tell whether the calling thread was interrupted in here."""
        return self.disk.is_inside() or self.looks.is_inside()

    def ask(self, chore: Chore) -> None:
        """Have ``chore`` done soon."""
        (self.looks if chore is Chore.LOOK else self.disk).add_item(chore)

    def _do(self, chores: list[Chore]) -> FlushResult[Chore]:
        return FlushResult([chore for chore in chores if not self._work[chore]()])


def _itself(chore: Chore) -> Chore:
    return chore
