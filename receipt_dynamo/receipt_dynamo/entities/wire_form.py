"""The wire form: names and formats of all attributes but the metadata, as JSON.

The wire form is fixed: existing readers and dashboards depend on every name and format
here. ``docs/architecture.md`` holds the table. It is written as the JSON that leaves, once:
a dict of typed maps, encoded by a general encoder, costs twice as much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Final

from receipt_dynamo.entities.attribute_values import format_number, quote

ITEM_TYPE: Final = "AIUsageMetric"

TEXT_ATTRIBUTES: Final[Mapping[str, str]] = {
    "user_id": "userId",
    "job_id": "jobId",
    "batch_id": "batchId",
    "environment": "environment",
    "error": "error",
}

NUMBER_ATTRIBUTES: Final[Mapping[str, str]] = {
    "api_calls": "apiCalls",
    "input_tokens": "inputTokens",
    "output_tokens": "outputTokens",
    "total_tokens": "totalTokens",
    "cost_usd": "costUSD",
    "latency_ms": "latencyMs",
    "github_pr": "githubPR",
}


def usage_partition_key(service: str, model: str) -> str:
    """Return the table's PK of one service and model."""
    return f"AI_USAGE#{service}#{model}"


def usage_sort_key(timestamp: str, request_id: str) -> str:
    """Return the table's SK of one call; ``timestamp`` is in ISO 8601."""
    return f"USAGE#{timestamp}#{request_id}"


def service_partition_key(service: str) -> str:
    """Return GSI1's PK: all calls of one service."""
    return f"AI_USAGE#{service}"


def service_sort_key(date: str) -> str:
    """Return GSI1's SK of one day, ``YYYY-MM-DD``."""
    return f"DATE#{date}"


COST_PARTITION_KEY: Final = "AI_USAGE_COST"
"""GSI2's PK: all calls of all services, for cost by date."""


def cost_sort_key(date: str, service: str) -> str:
    """Return GSI2's SK of one day and service."""
    return f"COST#{date}#{service}"


def job_partition_key(job_id: str) -> str:
    """Return GSI3's PK of one job."""
    return f"JOB#{job_id}"


def batch_partition_key(batch_id: str) -> str:
    """Return the PK of one batch, in GSI3, or in GSI4 when the call has a job as well."""
    return f"BATCH#{batch_id}"


# A program uses few models, and one or two days at a time.
@lru_cache(maxsize=256)
def encode_shared_attributes(service: str, model: str, date: str) -> str:
    """Return what the calls of one service, model and day share, as members of a JSON object."""
    texts = {
        "GSI1PK": service_partition_key(service),
        "GSI1SK": service_sort_key(date),
        "GSI2PK": COST_PARTITION_KEY,
        "GSI2SK": cost_sort_key(date, service),
        "TYPE": ITEM_TYPE,
        "service": service,
        "model": model,
        "date": date,
        "month": date[:7],
    }
    return ",".join([f'"{name}":{{"S":{quote(text)}}}' for name, text in texts.items()])


def encode_call(key: tuple[str, str], operation: str, timestamp: str, request_id: str) -> str:
    """Return what every call has and shares with no other, as members of a JSON object."""
    partition_key, sort_key = key
    return (
        f'"PK":{{"S":{quote(partition_key)}}},"SK":{{"S":{quote(sort_key)}}},'
        f'"operation":{{"S":{quote(operation)}}},"requestId":{{"S":{quote(request_id)}}},'
        f'"timestamp":{{"S":"{timestamp}"}},"hour":{{"S":"{timestamp[:10]}-{timestamp[11:13]}"}}'
    )


def encode_texts(values: Sequence[str | None]) -> list[str]:
    """Return those of :data:`TEXT_ATTRIBUTES` that are set, each a member of a JSON object."""
    return [
        f'"{name}":{{"S":{quote(text)}}}'
        for name, text in zip(TEXT_ATTRIBUTES.values(), values, strict=True)
        if text is not None
    ]


def encode_numbers(values: Sequence[int | Decimal | None]) -> list[str]:
    """Return those of :data:`NUMBER_ATTRIBUTES` that are known, as above."""
    return [
        f'"{name}":{{"N":"{format_number(number)}"}}'
        for name, number in zip(NUMBER_ATTRIBUTES.values(), values, strict=True)
        if number is not None
    ]


def encode_group_keys(job_id: str | None, batch_id: str | None, timestamp: str) -> list[str]:
    """Return the sparse index keys: GSI3 by job, else batch; GSI4 by batch beside a job."""
    partition_keys = {}
    if job_id:
        partition_keys["GSI3"] = job_partition_key(job_id)
    if batch_id:
        partition_keys["GSI4" if job_id else "GSI3"] = batch_partition_key(batch_id)
    return [
        f'"{index}PK":{{"S":{quote(key)}}},"{index}SK":{{"S":"AI_USAGE#{timestamp}"}}'
        for index, key in partition_keys.items()
    ]
