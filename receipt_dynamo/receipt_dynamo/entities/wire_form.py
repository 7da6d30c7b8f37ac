"""The names and formats of the wire form, and the JSON that the low-level API sends.

The wire form is fixed: existing readers and dashboards depend on every name and format
here. ``docs/architecture.md`` holds the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Final, TypeAlias

from pydantic_core import to_json

from receipt_dynamo.entities.attribute_values import AttributeValue

Attributes: TypeAlias = list[tuple[str, str]]
"""Attributes of one type, by their name in the table; numbers as plain digits."""

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


def shared_texts(service: str, model: str, date: str) -> Attributes:
    """Return the text attributes that the calls of one service, model and day share."""
    return [
        ("GSI1PK", service_partition_key(service)),
        ("GSI1SK", service_sort_key(date)),
        ("GSI2PK", COST_PARTITION_KEY),
        ("GSI2SK", cost_sort_key(date, service)),
        ("TYPE", ITEM_TYPE),
        ("service", service),
        ("model", model),
        ("date", date),
        ("month", date[:7]),
    ]


# A program uses few models, and one or two days at a time.
@lru_cache(maxsize=256)
def encode_shared_texts(service: str, model: str, date: str) -> str:
    """Return :func:`shared_texts` as members of a JSON object, with commas between."""
    return ",".join(encode_texts(shared_texts(service, model, date)))


def encode_texts(texts: Attributes) -> list[str]:
    """Return text attributes as members of a JSON object; what is not ASCII stays as it is."""
    return [f'"{name}":{{"S":{encode_basestring(text)}}}' for name, text in texts]


def encode_numbers(numbers: Attributes) -> list[str]:
    """Return number attributes, in plain digits, as members of a JSON object."""
    return [f'"{name}":{{"N":"{number}"}}' for name, number in numbers]


def encode_value(value: AttributeValue) -> str:
    """Return one attribute value as JSON."""
    return to_json(value).decode()
