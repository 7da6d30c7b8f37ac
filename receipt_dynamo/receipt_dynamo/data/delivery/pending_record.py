"""A record on its way, as the bytes that go on the wire."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from receipt_dynamo.entities.item_key import Key

if TYPE_CHECKING:
    from receipt_dynamo.data.delivery.backlog import Backlog


class Fate(Enum):
    """What became of an accepted record."""

    DELIVERED = "delivered"
    DEAD = "dead"
    DROPPED = "dropped"
    PENDING = "pending"


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """What became of one accepted record.

    Attributes:
        key: The record's PK and SK.
        fate: Delivered (DynamoDB confirmed it), dead (rejected for good), dropped (by the
            policy "drop_oldest"), or pending (the client closed before it was settled).
        reason: Of a dead one, DynamoDB's answer.
    """

    key: Key
    fate: Fate
    reason: str | None = None


Listener: TypeAlias = Callable[[DeliveryReport], object]


class Watch:
    """Somebody who wants to know what becomes of one record.

    Attributes:
        key: The record's PK and SK.
        listener: Whom to tell.
    """

    __slots__ = ("key", "listener")

    def __init__(self, key: Key, listener: Listener) -> None:
        self.key = key
        self.listener = listener


class PendingRecord:
    """One accepted record.

    Attributes:
        key: Its PK and SK.
        body: DynamoDB's JSON of its item.
        size: Of that, in bytes.
        backlog: Whose row it is; None when it is in memory only.
        seq: Number of the row.
        order: The number under which it was accepted: a dead letter that comes back has
            a new one, and is not newer for that.
        attempts: How often it was sent.
        earlier: The record that it replaced, of the same key, which is settled with it.
        watch: Who wants to know what becomes of it, if anybody does.
    """

    __slots__ = ("attempts", "backlog", "body", "earlier", "key", "order", "seq", "size", "watch")

    def __init__(
        self,
        key: Key,
        body: bytes,
        backlog: Backlog | None = None,
        seq: int = 0,
        watch: Watch | None = None,
    ) -> None:
        self.key = key
        self.body = body
        self.size = len(body)
        self.backlog = backlog
        self.seq = self.order = seq
        self.watch = watch
        self.attempts = 0
        self.earlier: PendingRecord | None = None

    def __repr__(self) -> str:
        return f"<PendingRecord of {self.size} bytes>"

    def is_newer_than(self, other: PendingRecord) -> bool:
        """Whether the journals say so, in whatever order the two came from there."""
        if self.backlog is other.backlog:
            return self.order > other.order
        # What a dead process left is older than what this one accepts.
        return other.is_adopted and not self.is_adopted

    @property
    def is_adopted(self) -> bool:
        """Whether another process accepted it."""
        return self.backlog is not None and self.backlog.is_adopted

    def chain(self) -> Iterator[PendingRecord]:
        """Iterate over the record and those that it replaced."""
        record: PendingRecord | None = self
        while record is not None:
            yield record
            record = record.earlier


def merge_records(earlier: PendingRecord, later: PendingRecord) -> PendingRecord:
    """Return the later record, which now stands for both: the last write wins."""
    if earlier.is_newer_than(later):
        earlier, later = later, earlier
    oldest = later
    while oldest.earlier is not None:
        oldest = oldest.earlier
    oldest.earlier = earlier
    return later
