"""A client whose table is moto's, in this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from moto import mock_aws

from receipt_dynamo import DynamoClient, ResilientDynamoClient


@pytest.fixture
def client() -> Iterator[ResilientDynamoClient]:
    with mock_aws():
        DynamoClient("calls", "us-east-1").create_table()
        with ResilientDynamoClient("calls", "us-east-1", batch_flush_interval=60.0) as made:
            yield made
