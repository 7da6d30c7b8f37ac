"""What the client hands on to its delivery."""

from __future__ import annotations

import math
from typing import Any
from unittest.mock import Mock

import pytest

from receipt_dynamo import ResilientDynamoClient
from receipt_dynamo.data.delivery import lifecycle
from support.inside_client import read_delivery


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Flushing, with something left."""
    flush = Mock(return_value=False)
    monkeypatch.setattr("receipt_dynamo.data.delivery.delivery.Delivery.flush", flush)
    return flush


async def test_flush_without_a_timeout_waits_for_30_seconds_at_most(waited: Mock) -> None:
    """It waited until the end of an outage."""
    with ResilientDynamoClient("my-app-test", "us-east-1", durability="memory") as client:
        assert client.flush() is False
        assert await client.aflush() is False
        assert client.flush(None) is False
    assert [call.args for call in waited.call_args_list] == [(30.0,), (30.0,), (None,)]


@pytest.mark.parametrize("timeout", ["1", True, math.nan, 10**400])
def test_a_bad_timeout_is_named_and_leaves_the_client_open(timeout: Any) -> None:
    """A close that failed half-way was not repeated when the process ended."""
    with ResilientDynamoClient("my-app-test", "us-east-1", durability="memory") as client:
        for wait in (client.flush, client.close):
            with pytest.raises((TypeError, ValueError), match=r"timeout is .*; accepted are"):
                wait(timeout)
        assert lifecycle.is_open(read_delivery(client))
    assert not lifecycle.is_open(read_delivery(client))
