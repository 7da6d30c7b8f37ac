"""A table behind the fault proxy, and a plain boto3 client that repeats nothing."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from botocore.config import Config

from receipt_dynamo.testing import FaultProxy

ONE_ATTEMPT = Config(
    retries={"total_max_attempts": 1, "mode": "standard"}, read_timeout=30, max_pool_connections=1
)


@dataclass
class Caller:
    """Writes through the proxy, and reads the table past it."""

    client: Any
    direct: Any
    table_name: str
    replies: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    def put(self, key: str = "a") -> dict[str, Any]:
        return self.client.put_item(TableName=self.table_name, Item={"PK": {"S": key}})

    def write_batch(self, count: int, prefix: str = "k") -> dict[str, Any]:
        writes = [{"PutRequest": {"Item": {"PK": {"S": f"{prefix}{n}"}}}} for n in range(count)]
        return self.client.batch_write_item(RequestItems={self.table_name: writes})

    @property
    def stored(self) -> set[str]:
        items = self.direct.scan(TableName=self.table_name, ConsistentRead=True)["Items"]
        return {item["PK"]["S"] for item in items}

    @property
    def checksum_matches(self) -> bool:
        """Whether the last reply's checksum header is that of its body."""
        headers, body = self.replies[-1]
        return int(headers["x-amz-crc32"]) == zlib.crc32(body)

    def keep_reply(self, response_dict: dict[str, Any] | None, **_: Any) -> None:
        if response_dict is not None:
            self.replies.append((response_dict["headers"], response_dict["body"]))


def open_client(endpoint_url: str) -> Any:
    return boto3.client("dynamodb", endpoint_url=endpoint_url, config=ONE_ATTEMPT)


@pytest.fixture
def caller(proxy: FaultProxy, moto_endpoint: str, table_name: str) -> Iterator[Caller]:
    direct = open_client(moto_endpoint)
    direct.create_table(
        TableName=table_name,
        KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "PK", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    caller = Caller(open_client(proxy.endpoint_url), direct, table_name)
    caller.client.meta.events.register("response-received.dynamodb.*", caller.keep_reply)
    yield caller
    caller.client.close()
    direct.close()
