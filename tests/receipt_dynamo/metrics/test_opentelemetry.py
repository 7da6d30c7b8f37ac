"""What an OpenTelemetry reader finds, with the real SDK."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from receipt_dynamo import ResilientDynamoClient
from receipt_dynamo.metrics import OpenTelemetryMetrics

from .test_prometheus import make_call

CHAT = {
    "gen_ai.provider.name": "openai",
    "gen_ai.operation.name": "chat",
    "gen_ai.response.model": "gpt-4o",
    "deployment.environment.name": "production",
}
TABLE = {"aws.dynamodb.table_name": "calls"}


@pytest.fixture
def reader() -> InMemoryMetricReader:
    return InMemoryMetricReader()


@pytest.fixture
def metrics(
    client: ResilientDynamoClient, reader: InMemoryMetricReader
) -> Iterator[OpenTelemetryMetrics]:
    provider = MeterProvider([reader])
    made = OpenTelemetryMetrics(client, meter_provider=provider)
    yield made
    made.close()
    provider.shutdown()


def read_points(reader: InMemoryMetricReader) -> dict[str, list[tuple[dict[str, Any], Any]]]:
    """Return the data points with their attributes, by the instrument's name."""
    data = reader.get_metrics_data()
    return {
        metric.name: [
            (dict(point.attributes), getattr(point, "value", getattr(point, "sum", None)))
            for point in metric.data.data_points
        ]
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


@pytest.mark.usefixtures("metrics")
def test_calls_and_delivery_are_reported_once(
    client: ResilientDynamoClient, reader: InMemoryMetricReader
) -> None:
    client.put_ai_usage_metric(
        make_call(input_tokens=100, output_tokens=7, cost_usd=Decimal("0.25"), latency_ms=1_500)
    )
    assert client.flush(30)
    for _ in range(2):  # Reading twice counts nothing twice.
        points = read_points(reader)
        assert points["receipt.calls"] == [(CHAT, 1)]
        assert points["receipt.cost"] == [(CHAT, 0.25)]
        assert points["gen_ai.client.token.usage"] == [
            ({**CHAT, "gen_ai.token.type": "input"}, 100),
            ({**CHAT, "gen_ai.token.type": "output"}, 7),
        ]
        assert points["gen_ai.client.operation.duration"] == [(CHAT, 1.5)]
        assert points["receipt.records.accepted"] == [(TABLE, 1)]
        assert points["receipt.records.delivered"] == [(TABLE, 1)]
        assert points["receipt.records.pending"] == [(TABLE, 0)]
        assert points["receipt.records.oldest_age"] == [(TABLE, 0.0)]
        assert "receipt.pace" not in points  # DynamoDB has not throttled.
        assert "receipt.calls.unpriced" not in points


@pytest.mark.usefixtures("metrics")
def test_what_has_no_price_is_counted_apart(
    client: ResilientDynamoClient, reader: InMemoryMetricReader
) -> None:
    client.put_ai_usage_metric(make_call())
    client.put_ai_usage_metric(make_call(error="APITimeoutError"))
    points = read_points(reader)
    assert points["receipt.calls.unpriced"] == [(CHAT, 1)]
    errors = {attributes.get("error.type") for attributes, _ in points["receipt.calls"]}
    assert errors == {None, "APITimeoutError"}


def test_closed_metrics_report_nothing_new(
    client: ResilientDynamoClient, metrics: OpenTelemetryMetrics, reader: InMemoryMetricReader
) -> None:
    metrics.close()
    client.put_ai_usage_metric(make_call())
    assert read_points(reader) == {}


def test_what_is_no_client_is_refused() -> None:
    with pytest.raises(TypeError, match="clients has one of type NoneType"):
        OpenTelemetryMetrics(None)  # type: ignore[arg-type]
