"""Items at DynamoDB's limit: what a client's form makes too large is refused, never buried."""

from __future__ import annotations

from typing import Any

import pytest

from engines.fixtures import Engine
from receipt_dynamo import (
    AIUsageMetric,
    DynamoClient,
    ItemTooLargeError,
    QueueFullError,
    ResilientDynamoClient,
)
from receipt_dynamo.entities.attribute_values import MAX_ITEM_BYTES, measure_item
from receipt_dynamo.entities.wire_form import FORM_BYTES
from support.usage_queries import NOON, make_metric

SHARDS, DAYS = 100, 36_500
SPARE = (0, 1, 9, 15, 16, 17, 31, 32, 33, 34, 35)


def make_large(number: int, spare: int) -> AIUsageMetric:
    """Return a record that is so many bytes below the limit, in the form without a shard."""
    empty = make_metric(number, request_id=f"id-{number:03}", error="")
    room = MAX_ITEM_BYTES - spare - measure_item(empty.to_dynamodb_item()) - len("error")
    metric = make_metric(number, request_id=f"id-{number:03}", error="x" * room)
    assert measure_item(metric.to_dynamodb_item()) == MAX_ITEM_BYTES - spare
    return metric


LARGE = [make_large(number, spare) for number, spare in enumerate(SPARE)]
FITTING = [
    metric
    for metric in LARGE
    if measure_item(metric.to_dynamodb_item(SHARDS, DAYS)) <= MAX_ITEM_BYTES
]


@pytest.fixture
def judge(engine: Engine) -> Engine:
    if engine.name == "moto":
        pytest.skip("moto's own bound is lower")
    return engine


def test_no_form_adds_more_than_it_is_said_to() -> None:
    """A late time has 12 digits, and most shards of a hundred have two."""
    late = NOON.replace(year=9999, second=59)
    added = {
        measure_item(metric.to_dynamodb_item(SHARDS, DAYS))
        - measure_item(metric.to_dynamodb_item())
        for metric in [make_metric(request_id=f"{number}", timestamp=late) for number in range(50)]
    }
    assert max(added) == FORM_BYTES


def test_what_a_form_makes_too_large_is_refused_and_the_rest_is_delivered(
    judge: Engine, table_name: str, client: DynamoClient
) -> None:
    with ResilientDynamoClient(
        table_name,
        "us-east-1",
        endpoint_url=judge.endpoint_url,
        gsi_shards=SHARDS,
        retention_days=DAYS,
    ) as resilient:
        refused = resilient.batch_put_ai_usage_metrics(LARGE)
        assert resilient.flush(60)
        stats = resilient.get_stats()
    assert 0 < len(FITTING) < len(LARGE)
    assert [metric for metric in LARGE if metric not in refused] == FITTING
    assert (stats.delivered, stats.dead) == (len(FITTING), 0)
    assert stats.refused == {"too_large": len(refused)}
    rows = list(client.query_ai_usage_metrics_by_date(NOON, "openai"))
    assert sorted(rows, key=lambda row: row.timestamp) == FITTING


def test_each_way_in_says_why(judge: Engine, table_name: str, client: DynamoClient) -> None:
    where: dict[str, Any] = {"endpoint_url": judge.endpoint_url, "gsi_shards": SHARDS}
    too_large = LARGE[0]
    with ResilientDynamoClient(table_name, "us-east-1", overflow="raise", **where) as strict:
        with pytest.raises(ItemTooLargeError, match="accepted are records with 34 bytes to spare"):
            strict.put_ai_usage_metric(too_large)
        with pytest.raises(ItemTooLargeError):
            strict.submit_ai_usage_metric(too_large).result(0)
        assert strict.get_stats().refused == {"too_large": 2}
    with pytest.raises(QueueFullError, match="stopped"):
        strict.submit_ai_usage_metric(too_large.__class__("a", "b", "c", NOON)).result(0)
    plain = DynamoClient(table_name, "us-east-1", **where)
    with pytest.raises(ItemTooLargeError):
        plain.put_ai_usage_metric(too_large)
    with pytest.raises(ItemTooLargeError):
        plain.batch_put_ai_usage_metrics([make_metric(99), too_large])
    assert list(client.query_ai_usage_metrics_by_date(NOON, "openai")) == []
    client.put_ai_usage_metric(too_large)  # In the form without a shard it is just small enough.
    assert list(client.query_ai_usage_metrics_by_date(NOON, "openai")) == [too_large]
