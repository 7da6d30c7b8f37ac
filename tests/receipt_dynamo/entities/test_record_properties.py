"""The record survives the way to DynamoDB's form and back, whatever it holds."""

from __future__ import annotations

import json
import pickle
import re
from decimal import Decimal
from typing import Any

from hypothesis import given, settings

from receipt_dynamo import AIUsageMetric
from receipt_dynamo.entities.attribute_values import measure_item
from support.strategies import metrics

PLAIN_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def numbers_in(value: Any) -> list[str]:
    if isinstance(value, dict):
        found = [value["N"]] if isinstance(value.get("N"), str) else []
        return found + [number for element in value.values() for number in numbers_in(element)]
    if isinstance(value, list):
        return [number for element in value for number in numbers_in(element)]
    return []


@settings(max_examples=400)
@given(metrics())
def test_a_record_comes_back_as_it_was(metric: AIUsageMetric) -> None:
    item = metric.to_dynamodb_item()
    back = AIUsageMetric.from_dynamodb_item(item)
    assert back == metric
    assert hash(back) == hash(metric)
    assert back.to_dynamodb_item() == item


@settings(max_examples=400)
@given(metrics())
def test_the_json_says_what_the_item_says(metric: AIUsageMetric) -> None:
    encoded = metric.to_dynamodb_json()
    assert json.loads(encoded) == metric.to_dynamodb_item()
    # Compact, and nothing escaped that JSON does not demand: escapes triple on the wire.
    assert encoded.decode() == json.dumps(
        json.loads(encoded), ensure_ascii=False, separators=(",", ":")
    )


@given(metrics())
def test_no_number_is_ever_in_exponent_form(metric: AIUsageMetric) -> None:
    item = metric.to_dynamodb_item()
    assert all(PLAIN_NUMBER.fullmatch(number) for number in numbers_in(item))
    if metric.cost_usd is not None:
        assert Decimal(item["costUSD"]["N"]) == metric.cost_usd


@given(metrics())
def test_absent_fields_leave_no_attribute(metric: AIUsageMetric) -> None:
    item = metric.to_dynamodb_item()
    for field, attribute in {
        "input_tokens": "inputTokens",
        "cost_usd": "costUSD",
        "user_id": "userId",
        "job_id": "jobId",
        "batch_id": "batchId",
        "error": "error",
    }.items():
        assert (attribute in item) == (getattr(metric, field) is not None)
    assert ("metadata" in item) == bool(metric.metadata)
    assert ("GSI3PK" in item) == bool(metric.job_id or metric.batch_id)
    assert ("GSI4PK" in item) == bool(metric.job_id and metric.batch_id)


@given(metrics())
def test_an_item_is_within_dynamodbs_size(metric: AIUsageMetric) -> None:
    assert measure_item(metric.to_dynamodb_item()) <= 400 * 1024


@settings(max_examples=400)
@given(metrics().filter(lambda metric: metric.metadata))
def test_a_printed_document_bounds_the_size_of_the_stored_one(metric: AIUsageMetric) -> None:
    """The cheap check of the size rests on this."""
    stored = measure_item({"x": metric.to_dynamodb_item()["metadata"]})
    assert stored <= 4 * len(repr(metric.metadata))


@given(metrics())
def test_a_record_can_be_pickled(metric: AIUsageMetric) -> None:
    assert pickle.loads(pickle.dumps(metric)) == metric
