"""What a batch queue and its callback tell each other, and what the queue tells its owner."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeAlias, TypeVar

from receipt_dynamo.errors import ReceiptDynamoError
from receipt_dynamo.utils.arguments import check_callable
from receipt_dynamo.utils.batch.buffer import Entry

T = TypeVar("T")
Overflow: TypeAlias = Literal["refuse", "drop_oldest", "raise"]
"""What becomes of a new item at a bound, or of the oldest one."""


class QueueFullError(ReceiptDynamoError):
    """A bound of the queue is reached, and ``overflow`` is "raise"."""


class OutcomeError(ReceiptDynamoError):
    """What a callback returned makes no sense; its batch is kept, and sent again."""


@dataclass(frozen=True, slots=True)
class FlushResult(Generic[T]):
    """What became of one batch; what is in neither list is delivered.

    Attributes:
        retry: Items that go back to the front of the queue, in this order.
        dead: Items given up for good, each with its reason.
        retry_after: Seconds before the next batch of any worker; None takes the queue's
            own growing backoff when there is something to retry.
        newest_next: Whether the newest items are sent next, ahead of ``retry``: what is
            refused again and again must not keep all others waiting.
    """

    retry: Sequence[T] = ()
    dead: Sequence[tuple[T, str]] = ()
    retry_after: float | None = None
    newest_next: bool = False


@dataclass(frozen=True, slots=True)
class DeadLetter(Generic[T]):
    """An item that was given up for good.

    Attributes:
        item: The item.
        reason: What the callback said.
        attempts: How often it was handed to the callback.
    """

    item: T
    reason: str
    attempts: int


@dataclass(frozen=True, slots=True)
class BatchQueueStats:
    """One consistent snapshot: ``accepted == delivered + pending + dead + dropped``.

    Attributes:
        accepted: Items for which ``add_item`` returned True.
        delivered: Items that the callback settled as delivered.
        pending: Items not settled, those in flight included.
        in_flight: Items in the hands of a callback right now.
        dead: Items that the callback gave up.
        dropped: Items given up under ``overflow="drop_oldest"``.
        refused: Items not accepted, by reason: "full", "too_large", "stopped".
        pending_bytes: Bytes held, those of dead items included.
        flushes: Batches that came back from the callback.
        callback_errors: How often the callback, or ``merge``, raised.
        last_error: Type of the latest such error, or None.
    """

    accepted: int
    delivered: int
    pending: int
    in_flight: int
    dead: int
    dropped: int
    refused: Mapping[str, int]
    pending_bytes: int
    flushes: int
    callback_errors: int
    last_error: str | None


def check_callback(flush_callback: object) -> None:
    """Raise TypeError for what cannot be called, or would have to be awaited."""
    check_callable(flush_callback=flush_callback)
    if inspect.iscoroutinefunction(flush_callback):
        raise TypeError("flush_callback is async; accepted is a function, which a thread calls")


def read_outcome(
    outcome: FlushResult[T] | None, batch: Sequence[Entry[T]]
) -> tuple[list[Entry[T]], list[Entry[T]], float | None]:
    """Find the entries that the callback speaks of, by the identity of their items.

    Raises:
        OutcomeError: The answer makes no sense; the message says why, and holds no item.
    """
    if outcome is None:
        return [], [], None
    if not isinstance(outcome, FlushResult):
        raise OutcomeError(
            f"it returned a {type(outcome).__name__}; accepted are None and a FlushResult"
        )
    if not outcome.retry and not outcome.dead:
        return [], [], _read_seconds(outcome.retry_after)
    by_item: dict[int, list[Entry[T]]] = {}
    for entry in batch:
        by_item.setdefault(id(entry.item), []).append(entry)

    def find(item: T) -> Entry[T]:
        entries = by_item.get(id(item))
        if not entries:
            raise OutcomeError("it spoke of an item that is not of its batch, or twice of one")
        return entries.pop(0)

    retry = [find(item) for item in outcome.retry]
    dead = []
    for item, reason in outcome.dead:
        entry = find(item)
        entry.reason = reason
        dead.append(entry)
    return retry, dead, _read_seconds(outcome.retry_after)


def read_hint(error: BaseException) -> float:
    """Return the ``retry_after`` of what the callback raised, in seconds; 0 is none."""
    try:
        hint = getattr(error, "retry_after", None)
    except Exception:  # noqa: BLE001 - of the exception's own
        hint = None
    return hint if isinstance(hint, (int, float)) else 0.0


def _read_seconds(retry_after: object) -> float | None:
    if retry_after is None:
        return None
    if isinstance(retry_after, bool) or not isinstance(retry_after, (int, float)):
        kind = type(retry_after).__name__
        raise OutcomeError(f"its retry_after is a {kind}; accepted are None and seconds")
    return float(retry_after)
