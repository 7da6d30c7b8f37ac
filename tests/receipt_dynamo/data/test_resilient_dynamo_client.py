"""What the client hands on to its delivery."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from receipt_dynamo import ResilientDynamoClient


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
