"""The form of an item with shards and with an end: against today's form, byte for byte."""

from __future__ import annotations

import json
import zlib
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from receipt_dynamo import AIUsageMetric
from receipt_dynamo.entities.wire_form import (
    EXPIRY_ATTRIBUTE,
    cost_partition_key,
    find_shard,
    read_shard,
    service_partition_key,
)
from support.strategies import documents, keys, metrics, names

START = datetime(2026, 3, 1, 12, 0, 0, 999_999, tzinfo=UTC)
EXAMPLES = settings(max_examples=settings.default.max_examples)


def typed(value: Any) -> dict[str, Any]:
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": value}
        case list():
            return {"L": [typed(element) for element in value]}
        case dict():
            return {"M": {key: typed(element) for key, element in value.items()}}
    return {"N": format(value, "f") if isinstance(value, Decimal) else str(value)}


def encode_as_before_shards(metric: AIUsageMetric) -> bytes:
    """The documented form, written a second time, without anything of the package."""
    moment = metric.timestamp.isoformat()
    day = moment[:10]
    item: dict[str, Any] = {
        "GSI1PK": f"AI_USAGE#{metric.service}",
        "GSI1SK": f"DATE#{day}",
        "GSI2PK": "AI_USAGE_COST",
        "GSI2SK": f"COST#{day}#{metric.service}",
        "TYPE": "AIUsageMetric",
        "service": metric.service,
        "model": metric.model,
        "date": day,
        "month": day[:7],
        "PK": f"AI_USAGE#{metric.service}#{metric.model}",
        "SK": f"USAGE#{moment}#{metric.request_id}",
        "operation": metric.operation,
        "requestId": metric.request_id,
        "timestamp": moment,
        "hour": f"{day}-{moment[11:13]}",
        "userId": metric.user_id,
        "jobId": metric.job_id,
        "batchId": metric.batch_id,
        "environment": metric.environment,
        "error": metric.error,
        "apiCalls": metric.api_calls,
        "inputTokens": metric.input_tokens,
        "outputTokens": metric.output_tokens,
        "totalTokens": metric.total_tokens,
        "costUSD": metric.cost_usd,
        "latencyMs": metric.latency_ms,
        "githubPR": metric.github_pr,
    }
    group = [f"JOB#{metric.job_id}"] if metric.job_id else []
    group += [f"BATCH#{metric.batch_id}"] if metric.batch_id else []
    for index, key in zip(("GSI3", "GSI4"), group, strict=False):
        item |= {f"{index}PK": key, f"{index}SK": f"AI_USAGE#{moment}"}
    item = {name: typed(value) for name, value in item.items() if value is not None}
    if metric.metadata:
        item["metadata"] = typed(metric.metadata)
    return json.dumps(item, ensure_ascii=False, separators=(",", ":")).encode()


@EXAMPLES
@given(metrics())
def test_one_shard_is_byte_for_byte_the_form_before_shards(metric: AIUsageMetric) -> None:
    golden = encode_as_before_shards(metric)
    assert metric.to_dynamodb_json() == golden
    assert metric.to_dynamodb_json(gsi_shards=1, retention_days=None) == golden


@EXAMPLES
@given(metrics(), st.integers(2, 100))
def test_shards_change_the_partition_keys_of_two_indexes_and_nothing_else(
    metric: AIUsageMetric, gsi_shards: int
) -> None:
    """PK, SK, GSI3 and GSI4 never change; shard 0 keeps its keys for any number of shards."""
    shard = zlib.crc32(metric.request_id.encode()) % gsi_shards
    before = encode_as_before_shards(metric)
    after = metric.to_dynamodb_json(gsi_shards)
    assert (after == before) is (shard == 0)
    suffix = f"#SHARD#{shard}" if shard else ""
    assert json.loads(after) == json.loads(before) | {
        "GSI1PK": {"S": f"AI_USAGE#{metric.service}{suffix}"},
        "GSI2PK": {"S": f"AI_USAGE_COST{suffix}"},
    }
    assert metric.to_dynamodb_item(gsi_shards) == json.loads(after)
    assert AIUsageMetric.from_dynamodb_item(json.loads(after)) == metric
    assert read_shard(after) == shard


def test_the_shard_of_a_request_id_is_the_same_for_ever() -> None:
    """By CRC-32, whose published check value, of "123456789", is 0xCBF43926."""
    assert find_shard("123456789", 2**32) == 0xCBF43926
    assert [find_shard("123456789", count) for count in (1, 2, 3, 100)] == [0, 0, 2, 62]
    assert find_shard("日本😀", 100) == zlib.crc32("日本😀".encode()) % 100


@EXAMPLES
@given(names, st.integers(0, 99), names, st.integers(0, 99))
@example("openai", 1, "openai#1", 0)
@example("openai", 1, "openai#SHARD#1", 0)
@example("openai", 11, "openai#SHARD#1", 1)
@example("openai#shard#1", 1, "openai", 1)
@example("openai#shard#1#shard#1", 0, "openai#shard#1", 1)
def test_no_service_has_the_key_of_anothers_shard(
    one: str, one_shard: int, other: str, other_shard: int
) -> None:
    """A service named like a shard would be counted as another one."""
    services = [AIUsageMetric(name, "m", "o", START).service for name in (one, other)]
    same = services[0] == services[1] and one_shard == other_shard
    keys = [
        service_partition_key(service, shard)
        for service, shard in zip(services, (one_shard, other_shard), strict=True)
    ]
    assert (keys[0] == keys[1]) is same
    costs = cost_partition_key(one_shard), cost_partition_key(other_shard)
    assert (costs[0] == costs[1]) is (one_shard == other_shard)


FORGED = '"},"GSI2PK":{"S":"AI_USAGE_COST#SHARD#77"},"x":{"S":"'


@EXAMPLES
@given(st.dictionaries(keys, documents, max_size=3), st.integers(1, 100), names)
def test_nothing_that_a_user_wrote_is_taken_for_the_shard(
    metadata: dict[str, Any], gsi_shards: int, request_id: str
) -> None:
    forged = {"GSI2PK": "AI_USAGE_COST#SHARD#77", "S": FORGED}
    metric = AIUsageMetric(
        FORGED,
        f"{FORGED}\\",
        FORGED,
        START,
        request_id=request_id,
        user_id=FORGED,
        job_id=FORGED,
        error=FORGED,
        metadata={**forged, **metadata, "inner": {**forged, "list": [forged]}},
    )
    body = metric.to_dynamodb_json(gsi_shards)
    assert read_shard(body) == find_shard(metric.request_id, gsi_shards)
    item = json.loads(body)
    for order in (sorted(item), sorted(item, reverse=True)):  # As another writer may have it.
        reordered = json.dumps({name: item[name] for name in order}).encode()
        assert read_shard(reordered) == find_shard(metric.request_id, gsi_shards)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"#SHARD#",
        b'"#SHARD#"',
        b'["#SHARD#1"]',
        b'{"GSI2PK":{"S":"AI_USAGE_COST#SHARD#"}}',
        b'{"GSI2PK":{"S":"AI_USAGE_COST#SHARD#one"}}',
        b'{"GSI2PK":{"S":"AI_USAGE#SHARD#1"}}',
        b'{"GSI2PK":{"S":3},"x":"#SHARD#1"}',
        b'{"GSI2PK":{"N":"3"},"x":"#SHARD#1"}',
        b'{"x":"#SHARD#1"}',
    ],
)
def test_what_is_no_item_of_ours_is_in_no_shard(body: bytes) -> None:
    assert read_shard(body) == 0


@EXAMPLES
@given(metrics(), st.integers(1, 36_500))
def test_an_item_expires_whole_days_after_its_timestamp(
    metric: AIUsageMetric, retention_days: int
) -> None:
    item = json.loads(metric.to_dynamodb_json(1, retention_days))
    seconds = (metric.timestamp - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() // 1
    expires_at = item.pop("expiresAt")
    assert abs(int(expires_at["N"]) - (seconds + 86_400 * retention_days)) <= 1
    assert item == json.loads(metric.to_dynamodb_json())


def test_the_end_of_an_item_is_in_whole_seconds() -> None:
    metric = AIUsageMetric("openai", "m", "o", START)
    item = metric.to_dynamodb_item(retention_days=30)
    assert item[EXPIRY_ATTRIBUTE] == {"N": "1774958400"}  # 2026-03-31, 12:00:00 UTC
    assert EXPIRY_ATTRIBUTE not in metric.to_dynamodb_item()
