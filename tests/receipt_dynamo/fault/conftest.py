"""A table, and the proxy before it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from receipt_dynamo import DynamoClient
from receipt_dynamo.testing import FaultProxy


@pytest.fixture
def proxy(moto_endpoint: str) -> Iterator[FaultProxy]:
    with FaultProxy(moto_endpoint, seed=7) as proxy:
        yield proxy


@pytest.fixture
def table(moto_endpoint: str, table_name: str) -> DynamoClient:
    """The table without the proxy in between: what is really stored."""
    client = DynamoClient(table_name, "us-east-1", moto_endpoint)
    client.create_table()
    return client
