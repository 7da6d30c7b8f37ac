"""A new table on each engine, seen by DynamoClient and by boto3."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest

from engines.fixtures import Engine
from receipt_dynamo import DynamoClient

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def make_shared_table(engine: Engine) -> Callable[[], DynamoClient]:
    """Return a function that makes a table for several tests, which only read it."""

    def make() -> DynamoClient:
        name = f"test-table-shared-{next(_numbers)}"
        # With keys of its own: it is made before a test's environment is.
        client = DynamoClient(
            name,
            "us-east-1",
            engine.endpoint_url,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
        client.create_table()
        return client

    return make


@pytest.fixture
def client(engine: Engine, table_name: str) -> DynamoClient:
    client = DynamoClient(table_name, "us-east-1", engine.endpoint_url)
    client.create_table()
    return client


@pytest.fixture
def raw(engine: Engine) -> Iterator[Any]:
    client = boto3.client("dynamodb", region_name="us-east-1", endpoint_url=engine.endpoint_url)
    yield client
    client.close()


@pytest.fixture(scope="module")
def page_by_twos(engine: Engine) -> Iterator[Callable[[DynamoClient], DynamoClient]]:
    """Return a function that has a table read in pages of two items, by the SDK's Limit."""
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    reader = boto3.client("dynamodb", "us-east-1", endpoint_url=engine.endpoint_url, **keys)
    reader.meta.events.register(
        "provide-client-params.dynamodb.Query", lambda params, **_: {**params, "Limit": 2}
    )
    yield lambda client: DynamoClient(client.table_name, client=reader)
    reader.close()
