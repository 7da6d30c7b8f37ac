"""A request ends in time as a whole, and a large one has the time that its bytes need."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest
from botocore.exceptions import ReadTimeoutError

from receipt_dynamo import AIUsageMetric, DynamoClient
from receipt_dynamo.data.batch_write import accept_prepared_bodies
from receipt_dynamo.data.connection import Connection, SdkSettings, Target
from receipt_dynamo.data.deadline import within
from receipt_dynamo.data.delivery.backlog import PendingRecord
from receipt_dynamo.data.delivery.sender import ConnectionWriter
from receipt_dynamo.testing import FaultProxy, SlowUplink, Trickle


def open_writer(table_name: str, endpoint_url: str, read_timeout: float) -> ConnectionWriter:
    settings = SdkSettings(1, 5.0, read_timeout, parameter_validation=False)
    target = Target(table_name, "us-east-1", endpoint_url)
    return ConnectionWriter(Connection(target, settings, prepare=accept_prepared_bodies))


def make_record(size: int = 0) -> PendingRecord:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    metadata = {"text": "x" * size} if size else None
    metric = AIUsageMetric("openai", "gpt-4o", "completion", start, metadata=metadata)
    return PendingRecord(metric.key, metric.to_dynamodb_json())


def test_a_reply_that_trickles_ends_by_the_deadline(proxy: FaultProxy, table: DynamoClient) -> None:
    """Each byte comes well within the time for a byte; all of them would come in the end."""
    proxy.always(Trickle(0.02))
    writer = open_writer(table.table_name, proxy.endpoint_url, 30.0)
    with within(0.5), pytest.raises(ReadTimeoutError):
        writer.write([make_record()])
    proxy.heal()
    assert writer.write([make_record()]) == set()


def test_a_reply_has_the_time_for_a_reply_in_all(proxy: FaultProxy, table: DynamoClient) -> None:
    proxy.always(Trickle(0.02))
    writer = open_writer(table.table_name, proxy.endpoint_url, 0.5)
    with pytest.raises(ReadTimeoutError):
        writer.write([make_record()])


@pytest.fixture
def deaf_server() -> Iterator[str]:
    """Yield the address of a server that accepts connections, and reads nothing."""
    with closing(socket.socket()) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_sending_ends_by_the_deadline(deaf_server: str) -> None:
    """More than the buffers of the system take; the error is one of time, not of a connection."""
    writer = open_writer("test-table", deaf_server, 30.0)
    records = [PendingRecord(("a", str(number)), b" " * 1_000_000) for number in range(16)]
    with within(0.5), pytest.raises(ReadTimeoutError):
        writer.write(records)


def test_a_large_request_has_the_time_for_its_bytes(proxy: FaultProxy, table: DynamoClient) -> None:
    """At this rate it takes a second; a reply alone has a tenth of one."""
    writer = open_writer(table.table_name, proxy.endpoint_url, 0.1)
    proxy.always(SlowUplink(100 * 1024))
    assert writer.write([make_record(100 * 1024)]) == set()
