"""A DynamoDB behind botocore's own client: the last step before the socket is ours.

botocore makes, signs and parses every request, so that the prepared body, the checksum and
each error are the real ones. Faults, and the verbs that ask for them, are those of the fault proxy.
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
        self._script: deque[Fault | None] = deque()
        self._always: list[Fault] = []
        self._is_down = False
        self.illegal: list[str] = []
        self.described = 0
        self.on_request: Callable[[list[Item]], object] = lambda items: None
        self.on_answer: Callable[[], object] = lambda: None

    @property
    def in_flight(self) -> int:
        """Batches that are not answered yet."""
        return len(self._in_flight)

    def script(self, *faults: Fault | None) -> None:
        """Have these meet the next batches, one by one; None lets one pass."""
        self._script.extend(faults)

    def always(self, fault: Fault) -> None:
        """Have every batch that reaches the table meet this fault, until ``heal``."""
        self._always.append(fault)

    def down(self) -> None:
        """Refuse connections, until ``heal``."""
        self._is_down = True

    def heal(self) -> None:
        """Let everything pass from now on."""
        self._script.clear()
        self._always.clear()
        self._is_down = False

    def receive(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        """Answer instead of the network: a handler of botocore's event ``before-send``."""
        headers = tuple((name, _text(value)) for name, value in request.headers.items())
        asked = Request("POST", "/", headers, _bytes(request.body))
        if self._is_down:
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
            fault = self._script.popleft() if self._script else None
            exchange = Exchange(asked, lambda body: self._receive_batch(asked, body), self._dice)
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

    def _receive_batch(self, asked: Request, body: bytes | None) -> Reply:
        request = asked if body is None else Request("POST", "/", asked.headers, body)
        if not self._always:
            return self._apply(request)
        exchange = Exchange(request, lambda _: self._apply(request), self._dice)
        reply = self._always[0].answer(exchange).reply
        assert reply is not None
        return reply

    def _apply(self, request: Request) -> Reply:
        items = [write["PutRequest"]["Item"] for write in request.document["RequestItems"][TABLE]]
        complaints = [item["poison"]["S"] for item in items if "poison" in item]
        if complaints:
            return make_error_reply(400, "ValidationException", complaints[0])
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
