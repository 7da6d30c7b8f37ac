"""One request and its answer: the values that the proxy and the faults speak in."""

from __future__ import annotations

import json
import random
import uuid
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

OK: Final = 200
"""The HTTP status of a request that DynamoDB took."""

_CONTENT_TYPE: Final = "application/x-amz-json-1.0"
_ONE_ITEM_WRITES: Final = frozenset({"PutItem", "UpdateItem", "DeleteItem"})


@dataclass(frozen=True)
class Request:
    """One HTTP request as the client sent it.

    Attributes:
        method: The HTTP method; DynamoDB's is always ``POST``.
        path: The request's target, with its query string.
        headers: Names and values in the order sent.
        body: The body's bytes.
        keep_alive: Whether the client wants to use the connection again.
    """

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    keep_alive: bool = True

    @cached_property
    def operation(self) -> str:
        """DynamoDB's name of the operation, ``""`` when it is not a DynamoDB request."""
        targets = (value for name, value in self.headers if name.lower() == "x-amz-target")
        return next(targets, "").rpartition(".")[2]

    @cached_property
    def document(self) -> dict[str, Any]:
        """The body read as a JSON object, ``{}`` when it is none."""
        try:
            document = json.loads(self.body)
        except ValueError:  # Not ours to refuse: DynamoDB answers to it.
            return {}
        return document if isinstance(document, dict) else {}

    @cached_property
    def table_name(self) -> str:
        """The first table that the request names, ``""`` when it names none."""
        tables = self.document.get("RequestItems")
        name = next(iter(tables), "") if isinstance(tables, dict) else None
        return str(self.document.get("TableName", "") if name is None else name)

    @cached_property
    def items(self) -> int:
        """How many items the request writes: 0 for a read."""
        if self.operation in _ONE_ITEM_WRITES:
            return 1
        if self.operation == "TransactWriteItems":
            return len(self.document.get("TransactItems", ()))
        if self.operation != "BatchWriteItem":
            return 0
        return sum(len(writes) for writes in self.document.get("RequestItems", {}).values())


@dataclass(frozen=True)
class Reply:
    """One HTTP reply.

    Attributes:
        status: The HTTP status.
        headers: Names and values, without length and checksum.
        body: The bytes that are sent.
        checksum: The value of ``x-amz-crc32``; None (default) for the right one.
        length: The announced length in bytes; None (default) for the body's own.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    checksum: int | None = None
    length: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the body is as long as announced."""
        return self.length is None or self.length == len(self.body)


@dataclass(frozen=True)
class Answer:
    """What becomes of a request.

    Attributes:
        reply: What the client gets; None: the connection ends without a reply.
        hold: Seconds that the reply is delayed, less when the proxy is healed.
        reset: End the connection by a TCP reset instead of an orderly close.
        trickle: Seconds between two bytes of the reply, until one side ends the connection; 0
            sends it at once.
    """

    reply: Reply | None
    hold: float = 0.0
    reset: bool = False
    trickle: float = 0.0


@dataclass(frozen=True)
class Exchange:
    """What a fault has in hand to answer one request.

    Attributes:
        request: The request.
        forward: Sends the request upstream, with another body if one is given, and
            returns the reply.
        dice: The source of chance of this request, seeded by the proxy's seed.
    """

    request: Request
    forward: Callable[[bytes | None], Reply]
    dice: random.Random


def compute_checksum(body: bytes) -> int:
    """Return the CRC32 of a body, as DynamoDB puts it in ``x-amz-crc32``."""
    return zlib.crc32(body)


def make_json_reply(status: int, document: dict[str, Any]) -> Reply:
    """Make a reply as DynamoDB's front end does.

    Args:
        status: The HTTP status.
        document: The body, to be written as JSON.
    """
    headers = (("x-amzn-RequestId", uuid.uuid4().hex.upper()), ("Content-Type", _CONTENT_TYPE))
    return Reply(status, headers, encode_json(document))


def encode_json(document: dict[str, Any]) -> bytes:
    """Write a document as compact UTF-8 JSON."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
