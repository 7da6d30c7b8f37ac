"""A DynamoDB behind botocore's own client: the last step before the socket is ours.

botocore makes, signs and parses every request, so that the prepared body, the checksum and
each error are the real ones. The faults are those of the fault proxy.
"""

from __future__ import annotations

import io
import json
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Any, Final

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ConnectionClosedError, EndpointConnectionError, ReadTimeoutError

from receipt_dynamo.data.batch_write import accept_prepared_bodies
from receipt_dynamo.data.connection import SdkSettings, Target, make_client, make_credentials
from receipt_dynamo.entities.item_key import Key, key_of
from receipt_dynamo.testing import Exchange, Fault, Reply, Request, Throttle, UnprocessedItems
from receipt_dynamo.testing.exchange import compute_checksum, make_json_reply
from receipt_dynamo.testing.throttling import make_error_reply
from support.simulation.host import SimulatedHost

TABLE: Final = "test-table"
ARN: Final = f"arn:aws:dynamodb:us-east-1:123456789012:table/{TABLE}"
READ_TIMEOUT: Final = 5.0

Item = dict[str, Any]


class SimulatedTable:
    """A table as strict as DynamoDB, which fails as it is told.

    An item with an attribute ``poison`` makes DynamoDB reject its batch, in these words.

    Attributes:
        rows: What is stored.
        history: Every item that ever was, by key, in order.
        starts: When batches arrived.
        throttled: How often an item was throttled, and its client was told so.
        faults: What meets the next batches; None lets one pass.
        is_down: Whether connections are refused.
        refusal: Code of the error by which every request is refused, or None.
        complaint: Message by which every item is rejected, or None.
        illegal: What no client may ever do, and one did.
        described: How often the table was described.
        on_request: Called with the items of each batch, before anything else is done.
        on_answer: Called before the answer to a batch leaves.
    """

    def __init__(self, host: SimulatedHost) -> None:
        self._host = host
        self._dice = random.Random(7)
        self._in_flight: list[tuple[Key, ...]] = []
        self.rows: dict[Key, Item] = {}
        self.history: dict[Key, list[Item]] = {}
        self.starts: list[float] = []
        self.throttled = 0
        self.faults: deque[Fault | None] = deque()
        self.is_down = False
        self.refusal: str | None = None
        self.complaint: str | None = None
        self.illegal: list[str] = []
        self.described = 0
        self.on_request: Callable[[list[Item]], object] = lambda items: None
        self.on_answer: Callable[[], object] = lambda: None

    @property
    def in_flight(self) -> int:
        """Batches that are not answered yet."""
        return len(self._in_flight)

    def heal(self) -> None:
        """Let everything pass from now on."""
        self.faults.clear()
        self.is_down, self.refusal, self.complaint = False, None, None

    def receive(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        """Answer instead of the network: a handler of botocore's event ``before-send``."""
        headers = tuple((name, _text(value)) for name, value in request.headers.items())
        asked = Request("POST", "/", headers, _bytes(request.body))
        if self.is_down:
            raise EndpointConnectionError(endpoint_url=request.url)
        if asked.operation == "DescribeTable":
            return _to_response(request.url, self._describe())
        return self._answer(request.url, asked)

    def _answer(self, url: str, asked: Request) -> AWSResponse:
        items = [write["PutRequest"]["Item"] for write in asked.document["RequestItems"][TABLE]]
        keys = tuple(key_of(item) for item in items)
        self._check(asked, items, keys)
        self.starts.append(self._host.now)
        self._in_flight.append(keys)
        try:
            self.on_request(items)
            fault = self.faults.popleft() if self.faults else None
            exchange = Exchange(asked, lambda body: self._apply(asked, body), self._dice)
            if fault is None:
                return _to_response(url, exchange.forward(None))
            answer = fault.answer(exchange)
            if answer.hold:
                self._host.now += READ_TIMEOUT
                raise ReadTimeoutError(endpoint_url=url)
            if answer.reply is None:
                raise ConnectionClosedError(endpoint_url=url)
            if isinstance(fault, Throttle):
                self.throttled += len(items)
            elif isinstance(fault, UnprocessedItems):
                self.throttled += _count_unprocessed(answer.reply)
            return _to_response(url, answer.reply)
        finally:
            self.on_answer()
            self._in_flight.remove(keys)

    def _check(self, asked: Request, items: list[Item], keys: tuple[Key, ...]) -> None:
        if not 1 <= len(items) <= 25:
            self.illegal.append(f"a batch of {len(items)} items")
        if len(asked.body) > 16 * 1024 * 1024:
            self.illegal.append(f"a batch of {len(asked.body)} bytes")
        flying = Counter(keys) + Counter(key for batch in self._in_flight for key in batch)
        self.illegal += [
            f"{key} is {count} times in flight" for key, count in flying.items() if count > 1
        ]

    def _describe(self) -> Reply:
        self.described += 1
        return make_json_reply(200, {"Table": {"TableName": TABLE, "TableArn": ARN}})

    def _apply(self, asked: Request, body: bytes | None) -> Reply:
        request = asked if body is None else Request("POST", "/", asked.headers, body)
        items = [write["PutRequest"]["Item"] for write in request.document["RequestItems"][TABLE]]
        if self.refusal is not None:
            return make_error_reply(400, self.refusal, "no")
        complaints = [item["poison"]["S"] for item in items if "poison" in item]
        if self.complaint or complaints:
            return make_error_reply(400, "ValidationException", self.complaint or complaints[0])
        for item in items:
            self.rows[key_of(item)] = item
            self.history.setdefault(key_of(item), []).append(item)
        return make_json_reply(200, {"UnprocessedItems": {}})


class SimulatedService:
    """One boto3 client, as the writer's, for one simulated table after the other."""

    def __init__(self) -> None:
        settings = SdkSettings(total_max_attempts=1, parameter_validation=False)
        credentials = make_credentials("testing", "testing", None)
        self.client = make_client(Target(TABLE, "us-east-1", credentials=credentials), settings)
        accept_prepared_bodies(self.client)
        self.client.meta.events.register("before-send.dynamodb.*", self._receive)
        self.table: SimulatedTable | None = None

    def _receive(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        assert self.table is not None
        return self.table.receive(request)


def _count_unprocessed(reply: Reply) -> int:
    return len(json.loads(reply.body).get("UnprocessedItems", {}).get(TABLE, ()))


class _Body(io.BytesIO):
    def stream(self) -> Iterator[bytes]:
        yield self.read()


def _to_response(url: str, reply: Reply) -> AWSResponse:
    checksum = compute_checksum(reply.body) if reply.checksum is None else reply.checksum
    headers = {**dict(reply.headers), "x-amz-crc32": str(checksum)}
    return AWSResponse(url, reply.status, headers, _Body(reply.body))


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _bytes(body: str | bytes) -> bytes:
    return body.encode() if isinstance(body, str) else body
