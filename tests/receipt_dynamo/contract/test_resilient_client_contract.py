"""ResilientDynamoClient through its public API, on every engine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import date
from functools import partial

import boto3
import pytest

from engines.fixtures import Engine
from receipt_dynamo import (
    AIUsageMetric,
    DeliveryEventKind,
    DynamoClient,
    ResilientDynamoClient,
)
from support import records

TEXT = "äöü 🎉" * 3

make_metrics = partial(
    records.make_metrics, cost_usd="0.000123", metadata={"text": TEXT, "number": 7}
)


def read_rows(client: DynamoClient | ResilientDynamoClient) -> list[AIUsageMetric]:
    rows = client.query_ai_usage_metrics_by_date(records.START.date(), "openai")
    return sorted(rows, key=lambda row: row.timestamp)


@pytest.fixture
def client(engine: Engine, table_name: str) -> Iterator[ResilientDynamoClient]:
    with ResilientDynamoClient(
        table_name, "us-east-1", endpoint_url=engine.endpoint_url, batch_flush_interval=0.05
    ) as client:
        client.create_table()
        yield client


def test_every_record_becomes_the_row_that_was_put(client: ResilientDynamoClient) -> None:
    metrics = make_metrics(60)
    assert [client.put_ai_usage_metric(metric) for metric in metrics] == [True] * 60
    assert client.flush(timeout=30)
    stats = client.get_stats()
    assert (stats.accepted, stats.delivered, stats.pending, stats.dead) == (60, 60, 0, 0)
    assert read_rows(client) == metrics


def test_batch_put_accepts_all_and_returns_the_refused(client: ResilientDynamoClient) -> None:
    metrics = make_metrics(30)
    assert client.batch_put_ai_usage_metrics(metrics) == []
    assert client.flush(timeout=30)
    assert read_rows(client) == metrics


def test_a_record_is_sent_without_a_flush(client: ResilientDynamoClient) -> None:
    (metric,) = make_metrics(1)
    client.put_ai_usage_metric(metric)
    assert client.close(timeout=30).delivered == 1
    assert (
        client.get_ai_usage_metric("openai", "gpt-4o", metric.timestamp, metric.request_id)
        == metric
    )


def test_single_sends_are_still_in_the_background(engine: Engine, table_name: str) -> None:
    with ResilientDynamoClient(
        table_name, "us-east-1", endpoint_url=engine.endpoint_url, enable_batch_processing=False
    ) as client:
        client.create_table()
        metrics = make_metrics(5)
        client.batch_put_ai_usage_metrics(metrics)
        assert client.flush(timeout=30)
        assert read_rows(client) == metrics


def test_the_last_write_of_one_key_wins(client: ResilientDynamoClient) -> None:
    (metric,) = make_metrics(1)
    for tokens in range(30):
        changed = AIUsageMetric(
            metric.service,
            metric.model,
            metric.operation,
            metric.timestamp,
            request_id=metric.request_id,
            input_tokens=tokens,
        )
        assert client.put_ai_usage_metric(changed)
    assert client.flush(timeout=30)
    assert client.get_stats().delivered == 30
    assert [row.input_tokens for row in read_rows(client)] == [29]


async def test_asyncio_never_blocks_the_loop(engine: Engine, table_name: str) -> None:
    async with ResilientDynamoClient(
        table_name, "us-east-1", endpoint_url=engine.endpoint_url
    ) as client:
        await asyncio.to_thread(client.create_table)
        metrics = make_metrics(50)
        accepted = await asyncio.gather(*[client.aput(metric) for metric in metrics])
        assert all(accepted)
        assert await client.aflush(timeout=30)
        assert await asyncio.to_thread(read_rows, client) == metrics


def test_a_plain_client_becomes_a_resilient_one(engine: Engine, table_name: str) -> None:
    plain = DynamoClient(table_name, "us-east-1", engine.endpoint_url)
    plain.create_table()
    with ResilientDynamoClient.from_client(plain, batch_size=5) as client:
        client.batch_put_ai_usage_metrics(make_metrics(12))
        assert client.flush(timeout=30)
    assert read_rows(plain) == make_metrics(12)


def test_a_boto3_client_becomes_a_resilient_one(engine: Engine, table_name: str) -> None:
    session_client = boto3.client(
        "dynamodb",
        region_name="us-east-1",
        endpoint_url=engine.endpoint_url,
        aws_access_key_id="other",
        aws_secret_access_key="other",
    )
    with ResilientDynamoClient.from_client(session_client, table_name) as client:
        client.create_table()
        client.batch_put_ai_usage_metrics(make_metrics(3))
        assert client.flush(timeout=30)
        assert len(list(client.query_ai_usage_costs_by_date(date(2026, 3, 1)))) == 3
    session_client.close()


def test_a_missing_table_is_misconfigured_and_the_records_wait(
    engine: Engine, table_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = ResilientDynamoClient(table_name, "us-east-1", endpoint_url=engine.endpoint_url)
    refused = threading.Event()
    client.add_listener(
        lambda event: event.kind is DeliveryEventKind.MISCONFIGURED and refused.set()
    )
    client.batch_put_ai_usage_metrics(make_metrics(3))
    assert refused.wait(60)
    stats = client.get_stats()
    assert (stats.pending, stats.dead) == (3, 0)
    assert "ResourceNotFoundException" in (stats.last_error or "")
    client.create_table()
    report = client.close(timeout=30)  # the last attempt does not wait for the hold
    assert (report.delivered, report.pending) == (3, 0)
