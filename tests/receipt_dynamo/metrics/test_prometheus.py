"""What a Prometheus scrape finds, with the real prometheus_client."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from receipt_dynamo import AIUsageMetric, ResilientDynamoClient
from receipt_dynamo.metrics import PrometheusCollector

CHAT = {
    "gen_ai_provider_name": "openai",
    "gen_ai_operation_name": "chat",
    "gen_ai_response_model": "gpt-4o",
    "deployment_environment_name": "production",
    "error_type": "",
}


def make_call(**changes: Any) -> AIUsageMetric:
    said: dict[str, Any] = {
        "service": "openai",
        "model": "gpt-4o",
        "operation": "completion",
        "timestamp": datetime(2026, 3, 1, tzinfo=UTC),
        "environment": "production",
        "user_id": "ann",
        "job_id": "nightly",
    }
    return AIUsageMetric(**{**said, **changes})


@pytest.fixture
def collector(client: ResilientDynamoClient) -> Iterator[PrometheusCollector]:
    made = PrometheusCollector(client)
    yield made
    made.close()


def scrape(collector: PrometheusCollector) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Return what the text says that a real scrape gets: samples with labels, by name."""
    registry = CollectorRegistry()
    registry.register(collector)
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def test_calls_tokens_cost_and_durations_have_their_labels(
    client: ResilientDynamoClient, collector: PrometheusCollector
) -> None:
    call = make_call(input_tokens=100, output_tokens=7, cost_usd=Decimal("0.25"), latency_ms=1_500)
    for _ in range(2):
        assert client.put_ai_usage_metric(call)
    found = scrape(collector)
    assert found["receipt_calls_total"] == [(CHAT, 2.0)]
    assert found["receipt_cost_usd_total"] == [(CHAT, 0.5)]
    assert "receipt_calls_unpriced_total" not in found
    assert found["gen_ai_client_token_usage_sum"] == [
        ({**CHAT, "gen_ai_token_type": "input"}, 200.0),
        ({**CHAT, "gen_ai_token_type": "output"}, 14.0),
    ]
    buckets = [
        value
        for labels, value in found["gen_ai_client_token_usage_bucket"]
        if (labels["gen_ai_token_type"], labels["le"]) in {("input", "64.0"), ("input", "256.0")}
    ]
    assert buckets == [0.0, 2.0]
    assert found["gen_ai_client_operation_duration_seconds_sum"] == [(CHAT, 3.0)]
    assert found["gen_ai_client_operation_duration_seconds_count"] == [(CHAT, 2.0)]


def test_a_call_without_a_price_and_one_that_failed_are_told_apart(
    client: ResilientDynamoClient, collector: PrometheusCollector
) -> None:
    client.put_ai_usage_metric(make_call())
    client.put_ai_usage_metric(make_call(error="RateLimitError: HTTP 429 rate_limit_exceeded"))
    client.put_ai_usage_metric(make_call(error="the whole prompt, say"))
    found = scrape(collector)
    assert found["receipt_calls_unpriced_total"] == [(CHAT, 1.0)]
    errors = {labels["error_type"] for labels, _ in found["receipt_calls_total"]}
    assert errors == {"", "RateLimitError", "_OTHER"}


def test_users_and_jobs_are_no_labels(
    client: ResilientDynamoClient, collector: PrometheusCollector
) -> None:
    client.put_ai_usage_metric(make_call(batch_id="b1", request_id="chatcmpl-1"))
    registry = CollectorRegistry()
    registry.register(collector)
    text = generate_latest(registry).decode()
    assert not {word for word in ("ann", "nightly", "b1", "chatcmpl-1") if f'"{word}"' in text}


def test_delivery_is_read_at_the_scrape(
    client: ResilientDynamoClient, collector: PrometheusCollector
) -> None:
    table = {"aws_dynamodb_table_name": "calls"}
    client.put_ai_usage_metric(make_call())
    found = scrape(collector)
    assert found["receipt_records_accepted_total"] == [(table, 1.0)]
    assert found["receipt_records_pending"] == [(table, 1.0)]
    ((labels, age),) = found["receipt_records_oldest_age_seconds"]
    assert labels == table
    assert 0 < age <= client.get_stats().oldest_pending_seconds
    assert client.flush(30)
    found = scrape(collector)
    assert found["receipt_records_delivered_total"] == [(table, 1.0)]
    assert found["receipt_records_pending"] == [(table, 0.0)]
    assert found["receipt_records_oldest_age_seconds"] == [(table, 0.0)]
    states = {labels["state"]: value for labels, value in found["receipt_circuit_breaker_state"]}
    assert states == {"closed": 1.0, "open": 0.0, "half_open": 0.0} | {
        name: 0.0 for name in states if name not in {"closed", "open", "half_open"}
    }


def test_a_refused_record_is_no_call(
    client: ResilientDynamoClient, collector: PrometheusCollector
) -> None:
    client.close()
    assert not client.put_ai_usage_metric(make_call())
    found = scrape(collector)
    assert "receipt_calls_total" not in found
    assert found["receipt_records_refused_total"] == [
        ({"aws_dynamodb_table_name": "calls", "reason": "stopped"}, 1.0)
    ]


def test_the_number_of_label_sets_is_bounded(
    client: ResilientDynamoClient, collector: PrometheusCollector
) -> None:
    for number in range(1_100):
        client.put_ai_usage_metric(make_call(model=f"model-{number}"))
    samples = scrape(collector)["receipt_calls_total"]
    assert len(samples) == 1_001
    assert sum(value for _, value in samples) == 1_100
    assert {labels["gen_ai_response_model"] for labels, value in samples if value == 100} == {
        "_OTHER"
    }


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_begins_at_0(
    client: ResilientDynamoClient, collector: PrometheusCollector
) -> None:
    client.put_ai_usage_metric(make_call())
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        before = "receipt_calls_total" in scrape(collector)
        client.put_ai_usage_metric(make_call())
        count = scrape(collector)["receipt_calls_total"][0][1]
        os.write(writer, f"{before} {count}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 100) == b"False 1.0"
    assert scrape(collector)["receipt_calls_total"] == [(CHAT, 1.0)]


def test_a_closed_collector_reports_nothing_and_counts_no_more(
    client: ResilientDynamoClient, collector: PrometheusCollector
) -> None:
    collector.close()
    client.put_ai_usage_metric(make_call())
    assert scrape(collector) == {}


def test_what_is_no_client_is_refused(client: ResilientDynamoClient) -> None:
    with pytest.raises(ValueError, match="clients is empty"):
        PrometheusCollector()
    with pytest.raises(TypeError, match="clients has one of type str"):
        PrometheusCollector("calls")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="clients has two for table 'calls'"):
        PrometheusCollector(client, client)
