"""What a callback returns to its batch queue, and what the queue returns to its owner."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final, Generic, Literal, TypeAlias, TypeVar

from receipt_dynamo.errors import ReceiptDynamoError
from receipt_dynamo.utils.arguments import check_callable
from receipt_dynamo.utils.batch.buffer import Entry, are_equal

T = TypeVar("T")
Overflow: TypeAlias = Literal["refuse", "drop_oldest", "raise"]
"""The policy at a bound: for the new item, or for the oldest one."""


class QueueFullError(ReceiptDynamoError):
    """A bound of the queue is reached, and ``overflow`` is "raise"."""


class OutcomeError(ReceiptDynamoError):
    """A return value does not show what was delivered: the batch becomes dead letters."""


@dataclass(frozen=True, slots=True)
class FlushResult(Generic[T]):
    """The outcome of one batch; items in no list are delivered.

    Items are known by identity, else by equality.

    Attributes:
        retry: Items that go back to the front of the queue, in this order.
        dead: Items rejected for good, each with its reason.
        apart: Items that are handed over again by themselves, each after so many seconds; the
            others do not wait for them.
        retry_after: Seconds before the next batch of any worker; None takes the queue's
            own growing backoff when there is something to retry.
        newest_next: Whether the newest items are sent next, ahead of ``retry``: what is
            refused again and again must not keep all others waiting.
    """

    retry: Sequence[T] = ()
    dead: Sequence[tuple[T, str]] = ()
    retry_after: float | None = None
    newest_next: bool = False
    apart: Sequence[tuple[T, float]] = ()


@dataclass(frozen=True, slots=True)
class DeadLetter(Generic[T]):
    """An item that was rejected for good.

    Attributes:
        item: The item.
        reason: What the callback said, or what is wrong with what it returned.
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
        dead: Items that were rejected, see :meth:`BatchQueue.dead_letters`.
        dropped: Items dropped by ``overflow="drop_oldest"``.
        refused: Items not accepted, by reason: "full", "too_large", "stopped".
        pending_bytes: Bytes held, those of dead items included.
        flushes: Batches that came back from the callback.
        callback_errors: How often the callback, or ``merge``, raised, or the callback's
            return value did not show what was delivered.
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
    """Raise TypeError for what cannot be called, or does nothing when it is."""
    check_callable(flush_callback=flush_callback)
    for form in (flush_callback, type(flush_callback).__call__):
        for is_lazy, kind in _LAZY_KINDS:
            if is_lazy(form):
                raise TypeError(
                    f"flush_callback is {kind}; accepted is a function, which a thread calls"
                )


_LAZY_KINDS: Final = (
    (inspect.iscoroutinefunction, "async"),
    (inspect.isasyncgenfunction, "an async generator"),
    (inspect.isgeneratorfunction, "a generator"),
)


@dataclass(slots=True)
class Outcome(Generic[T]):
    """The outcome of a batch, by its entries.

    Attributes:
        retry: Those that go back to the front, in this order.
        dead: Those rejected; each has the reason.
        apart: Those that wait by themselves, for so many seconds.
        pause: Seconds before the next batch, or None.
        newest_next: Whether the newest items are next.
        remark: What is odd about the answer, for a log line; None is nothing.
    """

    retry: list[Entry[T]] = field(default_factory=list)
    dead: list[Entry[T]] = field(default_factory=list)
    apart: list[tuple[Entry[T], float]] = field(default_factory=list)
    pause: float | None = None
    newest_next: bool = False
    remark: str | None = None


def read_outcome(answer: object, batch: Sequence[Entry[T]]) -> Outcome[T]:
    """Find the entries that the callback speaks of.

    None, and whatever else is no :class:`FlushResult`, delivers them all: many a driver's
    call returns something. What shows that nothing was done yet does not.

    Raises:
        OutcomeError: The answer does not show what was delivered; the message has the reason,
            and no item.
    """
    if answer is None:
        return Outcome()
    if not isinstance(answer, FlushResult):
        return Outcome(remark=_judge_stranger(answer))
    pause, remark = _read_seconds(answer.retry_after)
    outcome: Outcome[T] = Outcome(pause=pause, newest_next=bool(answer.newest_next), remark=remark)
    try:
        retry, dead = list(answer.retry), [(item, str(reason)) for item, reason in answer.dead]
    except (TypeError, ValueError):
        raise OutcomeError(
            "it returned a FlushResult whose retry is no sequence of items, or whose dead is "
            "no sequence of pairs of an item and a reason"
        ) from None
    try:
        apart = [(item, max(0.0, float(seconds))) for item, seconds in answer.apart]
    except (TypeError, ValueError, OverflowError):
        raise OutcomeError(
            "it returned a FlushResult whose apart is no sequence of pairs of an item and seconds"
        ) from None
    if not retry and not dead and not apart:
        return outcome
    find = _make_finder(batch)
    outcome.apart = [(find(item), seconds) for item, seconds in apart]
    outcome.retry = [find(item) for item in retry]
    outcome.dead = [find(item) for item, _ in dead]
    for entry, (_, reason) in zip(outcome.dead, dead, strict=True):
        entry.reason = reason
    return outcome


def _judge_stranger(answer: object) -> str:
    """Return what is odd about an answer that is no FlushResult.

    Raises:
        OutcomeError: It shows that the items may not have been delivered.
    """
    kind = type(answer).__name__
    if inspect.isgenerator(answer) or inspect.isasyncgen(answer):
        raise OutcomeError(f"it returned a {kind}, which is not run")
    if inspect.isawaitable(answer) or isinstance(answer, Future):
        if inspect.iscoroutine(answer):
            answer.close()  # Else Python complains as well, and of less.
        raise OutcomeError(f"it returned a {kind}, which is not awaited")
    return f"it returned a {kind}, which is ignored; accepted are None and a FlushResult"


def _make_finder(batch: Sequence[Entry[T]]) -> Callable[[T], Entry[T]]:
    """Return what finds an item's entry, each once."""
    left: dict[Entry[T], None] = dict.fromkeys(batch)
    by_item: dict[int, list[Entry[T]]] = {}
    for entry in reversed(batch):
        by_item.setdefault(id(entry.item), []).append(entry)

    def find(item: T) -> Entry[T]:
        same = by_item.get(id(item), [])
        while same and same[-1] not in left:
            same.pop()
        equal = (entry for entry in left if are_equal(entry.item, item))
        entry = same[-1] if same else next(equal, None)
        if entry is None:
            raise OutcomeError("it spoke of an item that is not of its batch, or twice of one")
        del left[entry]
        return entry

    return find


def read_hint(error: BaseException) -> float:
    """Return the ``retry_after`` of what the callback raised, in seconds; 0 is none."""
    try:
        hint = getattr(error, "retry_after", None)
    except Exception:  # noqa: BLE001 - of the exception's own
        hint = None
    seconds, _ = _read_seconds(hint)
    return seconds or 0.0


def _read_seconds(retry_after: object) -> tuple[float | None, str | None]:
    """Return a pause in seconds, and what is odd about it."""
    if retry_after is None:
        return None, None
    if isinstance(retry_after, (int, float)) and not isinstance(retry_after, bool):
        try:
            return float(retry_after), None
        except OverflowError:
            return math.inf, None
    kind = type(retry_after).__name__
    return None, f"its retry_after is a {kind}, which is ignored; accepted are None and seconds"
