"""The faults: each says what becomes of one request, and what its client gets to see.

A fault is a frozen value that is checked when it is made. ``answer`` is its whole
behaviour. To write your own fault, make a subclass of ``Fault`` with another ``answer``.
"""

from __future__ import annotations

import abc
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from receipt_dynamo.testing.checks import check_error, check_number, check_share
from receipt_dynamo.testing.exchange import (
    OK,
    Answer,
    Exchange,
    Reply,
    compute_checksum,
    encode_json,
    make_json_reply,
)
from receipt_dynamo.testing.throttling import (
    THROTTLE_SHAPES,
    make_error_reply,
    make_throttle_reply,
)

_THROUGHPUT_EXCEEDED: Final = "ProvisionedThroughputExceededException"
_UNPROCESSED: Final = "UnprocessedItems"
_ALL_BITS: Final = 0xFF


class Fault(abc.ABC):
    """What becomes of a request instead of being passed on and answered."""

    @abc.abstractmethod
    def answer(self, exchange: Exchange) -> Answer:
        """Answer one request, in a thread of the proxy's own.

        Args:
            exchange: The request, the way upstream, and the dice.
        """


@dataclass(frozen=True)
class Latency(Fault):
    """The request waits, then it is passed on. It combines with any other fault.

    Args:
        seconds: How long, before anything else is done.

    Raises:
        ValueError: ``seconds`` is not a finite number of 0 or more.
    """

    seconds: float

    def __post_init__(self) -> None:
        check_number("seconds", self.seconds, 0.0)

    def answer(self, exchange: Exchange) -> Answer:
        """Pass the request on; the proxy has waited before."""
        return Answer(exchange.forward(None))


@dataclass(frozen=True)
class Throttle(Fault):
    """DynamoDB refuses the whole request for lack of throughput; nothing is written.

    Args:
        code: ``ProvisionedThroughputExceededException`` (default), ``ThrottlingException``
            or ``RequestLimitExceeded``.
        reasons: Names of the reasons; None (default) for the code's usual one, ``()`` for
            a reply without reasons.

    Raises:
        ValueError: ``code`` is none of the three.
        TypeError: ``reasons`` is a string.
    """

    code: str = _THROUGHPUT_EXCEEDED
    reasons: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.code not in THROTTLE_SHAPES:
            raise ValueError(
                f"code is {self.code!r}; accepted is one of {', '.join(THROTTLE_SHAPES)}"
            )
        if isinstance(self.reasons, str):
            raise TypeError(f"reasons is {self.reasons!r}; accepted is a sequence of names")
        if self.reasons is not None:
            object.__setattr__(self, "reasons", tuple(self.reasons))

    def answer(self, exchange: Exchange) -> Answer:
        """Refuse the request."""
        reasons = self.reasons
        if reasons is None:
            reasons = (THROTTLE_SHAPES[self.code].default_reason,)
        return Answer(make_throttle_reply(self.code, reasons, exchange.request.table_name))


@dataclass(frozen=True)
class UnprocessedItems(Fault):
    """A partial batch write: some items are written, the others are returned.

    Only the items that are written go upstream. Any operation but BatchWriteItem has
    no such reply and is throttled as a whole: always with ``count``, else with the
    chance ``share``, so that the same share holds for items in batches and alone.

    Args:
        share: The chance of each item to come back, above 0 and up to 1.
        count: How many items come back, chosen at random; all when it is more than
            the batch has.

    Raises:
        ValueError: Not exactly one of the two is given, or it is out of range.
    """

    share: float | None = None
    count: int | None = None

    def __post_init__(self) -> None:
        if (self.share is None) == (self.count is None):
            raise ValueError(
                f"share is {self.share!r} and count is {self.count!r}; give exactly one of them"
            )
        if self.share is not None:
            check_share("share", self.share)
        if self.count is not None and (type(self.count) is not int or self.count < 1):
            raise ValueError(f"count is {self.count!r}; accepted is an int of 1 or more")

    def answer(self, exchange: Exchange) -> Answer:
        """Write some items, return the others."""
        request = exchange.request
        if request.operation == "BatchWriteItem" and request.items:
            return Answer(self._write_the_rest(exchange))
        if self.share is not None and exchange.dice.random() >= self.share:
            return Answer(exchange.forward(None))
        return Throttle().answer(exchange)

    def _write_the_rest(self, exchange: Exchange) -> Reply:
        document = exchange.request.document
        returned, written = self._split(exchange)
        if not returned:
            return exchange.forward(None)
        if not written:  # DynamoDB takes no empty batch.
            return make_json_reply(OK, {_UNPROCESSED: returned})
        reply = exchange.forward(encode_json({**document, "RequestItems": written}))
        return _add_unprocessed(reply, returned) if reply.status == OK else reply

    def _split(self, exchange: Exchange) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what comes back and what is written, each by table."""
        chosen = self._choose(exchange)
        returned: dict[str, Any] = {}
        written: dict[str, Any] = {}
        position = 0
        for table, writes in exchange.request.document["RequestItems"].items():
            for write in writes:
                side = returned if position in chosen else written
                side.setdefault(table, []).append(write)
                position += 1
        return returned, written

    def _choose(self, exchange: Exchange) -> set[int]:
        positions = range(exchange.request.items)
        if self.share is not None:
            return {position for position in positions if exchange.dice.random() < self.share}
        return set(exchange.dice.sample(positions, min(self.count or 0, len(positions))))


@dataclass(frozen=True)
class ErrorReply(Fault):
    """DynamoDB refuses the request with an error; nothing is written.

    Args:
        status: The HTTP status, 400 to 599; default 500.
        code: The error code; default ``InternalServerError``.
        message: The text for people.

    Raises:
        ValueError: ``status`` is out of range, or ``code`` is empty.
    """

    status: int = 500
    code: str = "InternalServerError"
    message: str = "The request processing has failed because of an unknown error."

    def __post_init__(self) -> None:
        check_error(self.status, self.code)

    def answer(self, exchange: Exchange) -> Answer:  # noqa: ARG002 - refused unseen
        """Refuse the request."""
        return Answer(make_error_reply(self.status, self.code, self.message))


@dataclass(frozen=True)
class ServerErrorAfterApply(Fault):
    """The request is carried out, but its reply is an error.

    Args:
        status: The HTTP status, 400 to 599; default 500.
        code: The error code; default ``InternalServerError``.

    Raises:
        ValueError: ``status`` is out of range, or ``code`` is empty.
    """

    status: int = 500
    code: str = "InternalServerError"

    def __post_init__(self) -> None:
        check_error(self.status, self.code)

    def answer(self, exchange: Exchange) -> Answer:
        """Pass the request on, and reply with the error."""
        exchange.forward(None)
        return ErrorReply(self.status, self.code).answer(exchange)


@dataclass(frozen=True)
class LostReply(Fault):
    """The request is carried out, then the connection closes without a reply."""

    def answer(self, exchange: Exchange) -> Answer:
        """Pass the request on, and say nothing."""
        exchange.forward(None)
        return Answer(None)


@dataclass(frozen=True)
class Reset(Fault):
    """The connection is reset (TCP RST) before the request is passed on."""

    def answer(self, exchange: Exchange) -> Answer:  # noqa: ARG002 - dropped unseen
        """Drop the request."""
        return Answer(None, reset=True)


@dataclass(frozen=True)
class Truncated(Fault):
    """The request is carried out, but its reply's body is cut off.

    The checksum header stays that of the whole body.

    Args:
        share: How much of the body arrives, from 0 up to but without 1; default half.
        full_length: Announce the length of the whole body and close the connection
            early (True), or announce that of the short body (False, default). botocore
            compares neither length nor checksum and sees a status 200 in both cases.

    Raises:
        ValueError: ``share`` is out of range.
    """

    share: float = 0.5
    full_length: bool = False

    def __post_init__(self) -> None:
        check_number("share", self.share, 0.0)
        if self.share >= 1:
            raise ValueError(f"share is {self.share!r}; accepted is less than 1")

    def answer(self, exchange: Exchange) -> Answer:
        """Pass the request on, and cut the reply."""
        reply = exchange.forward(None)
        return Answer(
            replace(
                reply,
                body=reply.body[: int(len(reply.body) * self.share)],
                checksum=compute_checksum(reply.body),
                length=len(reply.body) if self.full_length else None,
            )
        )


@dataclass(frozen=True)
class Corrupt(Fault):
    """The request is carried out, but bits of its reply's body are flipped.

    The checksum header stays that of the intact body. By default the first byte, the
    ``{``, becomes one that no UTF-8 text begins with.

    Args:
        at: The offset of the flipped byte, counted round in a shorter body; default 0.
        mask: Which bits of that byte are flipped, 1 to 255; default all. ``0x01`` keeps
            ASCII text UTF-8: at offset 0 it is no JSON any more, elsewhere it may be.

    Raises:
        ValueError: ``at`` or ``mask`` is out of range.
    """

    at: int = 0
    mask: int = _ALL_BITS

    def __post_init__(self) -> None:
        if type(self.at) is not int or self.at < 0:
            raise ValueError(f"at is {self.at!r}; accepted is an int of 0 or more")
        if type(self.mask) is not int or not 1 <= self.mask <= _ALL_BITS:
            raise ValueError(f"mask is {self.mask!r}; accepted is an int from 1 to 255")

    def answer(self, exchange: Exchange) -> Answer:
        """Pass the request on, and damage the reply."""
        reply = exchange.forward(None)
        if not reply.body:
            return Answer(reply)
        body = bytearray(reply.body)
        body[self.at % len(body)] ^= self.mask
        return Answer(replace(reply, body=bytes(body), checksum=compute_checksum(reply.body)))


@dataclass(frozen=True)
class WrongChecksum(Fault):
    """The request is carried out and its reply is intact, but the checksum is wrong."""

    def answer(self, exchange: Exchange) -> Answer:
        """Pass the request on, and lie about the checksum."""
        reply = exchange.forward(None)
        return Answer(replace(reply, checksum=compute_checksum(reply.body) ^ 1))


@dataclass(frozen=True)
class EmptyReply(Fault):
    """A batch write is dropped, yet answered by ``{}`` with status 200 and a right checksum.

    For other writes ``{}`` means success: they are carried out,
    so the client never sees a success that did not happen.
    """

    def answer(self, exchange: Exchange) -> Answer:
        """Reply ``{}``."""
        if exchange.request.operation != "BatchWriteItem":
            exchange.forward(None)
        return Answer(make_json_reply(OK, {}))


@dataclass(frozen=True)
class Stall(Fault):
    """The request is carried out, but its reply is delayed.

    Args:
        seconds: How long at most; the reply leaves as soon as the proxy is healed.
            Default an hour: longer than any test.

    Raises:
        ValueError: ``seconds`` is not a finite number of 0 or more.
    """

    seconds: float = 3600.0

    def __post_init__(self) -> None:
        check_number("seconds", self.seconds, 0.0)

    def answer(self, exchange: Exchange) -> Answer:
        """Pass the request on, and keep the reply."""
        return Answer(exchange.forward(None), hold=self.seconds)


@dataclass(frozen=True)
class SlowUplink(Fault):
    """The request is carried out, but its reply is as late as if it had come at this rate.

    Args:
        bytes_per_second: Of the request's body; its time ends when the proxy is healed.

    Raises:
        ValueError: ``bytes_per_second`` is not a finite number above 0.
    """

    bytes_per_second: float

    def __post_init__(self) -> None:
        check_number("bytes_per_second", self.bytes_per_second, 1e-9)

    def answer(self, exchange: Exchange) -> Answer:
        """Pass the request on, and keep the reply for a time that follows from its size."""
        seconds = len(exchange.request.body) / self.bytes_per_second
        return Answer(exchange.forward(None), hold=seconds)


@dataclass(frozen=True)
class Trickle(Fault):
    """The request is carried out, but its reply comes byte by byte.

    Args:
        seconds: Between two bytes; default 1.

    Raises:
        ValueError: ``seconds`` is not a finite number of 0 or more.
    """

    seconds: float = 1.0

    def __post_init__(self) -> None:
        check_number("seconds", self.seconds, 0.0)

    def answer(self, exchange: Exchange) -> Answer:
        """Pass the request on, and let the reply trickle."""
        return Answer(exchange.forward(None), trickle=self.seconds)


def _add_unprocessed(reply: Reply, returned: dict[str, Any]) -> Reply:
    """Return the reply with these items beside those that DynamoDB itself returned."""
    document = json.loads(reply.body)
    unprocessed = {table: list(writes) for table, writes in returned.items()}
    for table, writes in document.get(_UNPROCESSED, {}).items():
        unprocessed.setdefault(table, []).extend(writes)
    return replace(reply, body=encode_json({**document, _UNPROCESSED: unprocessed}))
