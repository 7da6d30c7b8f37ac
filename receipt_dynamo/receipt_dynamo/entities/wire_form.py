"""The wire form: names and formats of all attributes but the metadata, as JSON.

The wire form is fixed: existing readers and dashboards depend on every name and format
here. ``docs/architecture.md`` holds the table. It is written as the JSON that leaves, once:
a dict of typed maps, encoded by a general encoder, costs twice as much.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Final

from pydantic_core import from_json

from receipt_dynamo.entities.attribute_values import format_number, quote

ITEM_TYPE: Final = "AIUsageMetric"

EXPIRY_ATTRIBUTE: Final = "expiresAt"
"""The attribute that time to live looks at: seconds since 1970, where a record has it."""

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


_SECONDS_OF_A_DAY: Final = 24 * 60 * 60

_SHARD_MARK: Final = "#SHARD#"
"""Before the number of a shard in a partition key. Services are stored in lower case, so none
has a name that holds it."""

FORM_BYTES: Final = 2 * len(f"{_SHARD_MARK}99") + len(EXPIRY_ATTRIBUTE) + 7
"""What a client's form adds, at most: a shard in two keys, and an expiry of 12 digits."""


def find_shard(request_id: str, gsi_shards: int) -> int:
    """Return the shard, from 0 to below ``gsi_shards``, in which a call's index keys are.

    CRC-32, because it is the same in every process, on every machine and in every language,
    which Python's own ``hash`` is not, spreads evenly, and takes less than a microsecond.
    """
    return zlib.crc32(request_id.encode()) % gsi_shards


def _mark_shard(partition_key: str, shard: int) -> str:
    """Return the partition key of one shard; shard 0 has the key that there was before shards."""
    return f"{partition_key}{_SHARD_MARK}{shard}" if shard else partition_key


def service_partition_key(service: str, shard: int = 0) -> str:
    """Return GSI1's PK: all calls of one service, in one shard."""
    return _mark_shard(f"AI_USAGE#{service}", shard)


def service_sort_key(date: str) -> str:
    """Return GSI1's SK of one day, ``YYYY-MM-DD``."""
    return f"DATE#{date}"


_COSTS: Final = "AI_USAGE_COST"


def cost_partition_key(shard: int = 0) -> str:
    """Return GSI2's PK: all calls of all services, in one shard, for cost by date."""
    return _mark_shard(_COSTS, shard)


def cost_sort_key(date: str, service: str) -> str:
    """Return GSI2's SK of one day and service."""
    return f"COST#{date}#{service}"


def job_partition_key(job_id: str) -> str:
    """Return GSI3's PK of one job."""
    return f"JOB#{job_id}"


def batch_partition_key(batch_id: str) -> str:
    """Return the PK of one batch, in GSI3, or in GSI4 when the call has a job as well."""
    return f"BATCH#{batch_id}"


# A program uses few models, one or two days at a time, and up to 100 shards.
@lru_cache(maxsize=2048)
def encode_shared_attributes(service: str, model: str, date: str, shard: int) -> str:
    """Return what the calls of one service, model, day and shard share, as members of JSON."""
    texts = {
        "GSI1PK": service_partition_key(service, shard),
        "GSI1SK": service_sort_key(date),
        "GSI2PK": cost_partition_key(shard),
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
    """Return those of :data:`NUMBER_ATTRIBUTES` that are known, as parts of the JSON."""
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


_SHARD_IN_JSON: Final = re.compile(
    rb'\{"GSI1PK":\{"S":"(?:[^"\\]|\\.)*"\},"GSI1SK":\{"S":"[^"]*"\},'
    rb'"GSI2PK":\{"S":"(AI_USAGE_COST[^"]*)"\}'
)
"""How an item begins that :func:`encode_shared_attributes` made, up to its key of GSI2."""


def read_shard(body: bytes) -> int:
    """Return the shard in which an encoded item is, by its own key of GSI2.

    A user's value cannot be taken for that key: it is read at its place. Bytes that are not
    our item are in shard 0; DynamoDB will reject them.
    """
    if _SHARD_MARK.encode() not in body:  # As in nearly all.
        return 0
    found = _SHARD_IN_JSON.match(body)
    try:
        # The whole is parsed for a writer only that orders its attributes in another way.
        key = found[1].decode() if found else from_json(body)["GSI2PK"]["S"]
        costs, _, shard = key.partition(_SHARD_MARK)
        return int(shard) if costs == _COSTS else 0
    except (AttributeError, LookupError, TypeError, ValueError):
        return 0


def encode_expiry(timestamp: datetime, retention_days: int) -> str:
    """Return the TTL attribute, in whole seconds since 1970, as a member of a JSON object."""
    expiry = int(timestamp.timestamp()) + retention_days * _SECONDS_OF_A_DAY
    return f'"{EXPIRY_ATTRIBUTE}":{{"N":"{expiry}"}}'
