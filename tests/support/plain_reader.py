"""A reader that was there before us: boto3 alone, and none of our code."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import boto3

TEXTS = ("service", "model", "operation", "timestamp", "requestId", "date", "month", "hour")
OPTIONAL_TEXTS = ("userId", "jobId", "batchId", "environment", "error")
WHOLE_NUMBERS = ("inputTokens", "outputTokens", "totalTokens", "latencyMs", "githubPR")


def read_plainly(item: dict[str, Any]) -> dict[str, Any]:
    """Read a row as its table promises it, and check what it promises of the keys."""
    row: dict[str, Any] = {name: item[name]["S"] for name in TEXTS}
    row["apiCalls"] = int(item["apiCalls"]["N"])
    row |= {name: item[name]["S"] for name in OPTIONAL_TEXTS if name in item}
    row |= {name: int(item[name]["N"]) for name in WHOLE_NUMBERS if name in item}
    if "costUSD" in item:
        text = item["costUSD"]["N"]
        assert float(text) == float(Decimal(text)) >= 0
        row["costUSD"] = float(text)
    if "metadata" in item:
        assert item["metadata"]["M"]
    check_keys(item, row)
    return row


def check_keys(item: dict[str, Any], row: dict[str, Any]) -> None:
    service, day = row["service"], row["date"]
    started = datetime.fromisoformat(row["timestamp"])
    assert started.utcoffset() == timedelta(0)
    assert (day, row["month"]) == (f"{started:%Y-%m-%d}", f"{started:%Y-%m}")
    assert row["hour"] == f"{started:%Y-%m-%d-%H}"
    assert service == service.lower()
    assert item["PK"]["S"] == f"AI_USAGE#{service}#{row['model']}"
    assert item["SK"]["S"] == f"USAGE#{row['timestamp']}#{row['requestId']}"
    assert item["TYPE"]["S"] == "AIUsageMetric"
    assert item["GSI1PK"]["S"].split("#SHARD#")[0] == f"AI_USAGE#{service}"
    assert item["GSI1SK"]["S"] == f"DATE#{day}"
    assert item["GSI2PK"]["S"].split("#SHARD#")[0] == "AI_USAGE_COST"
    assert item["GSI2SK"]["S"] == f"COST#{day}#{service}"
    group = f"JOB#{row['jobId']}" if "jobId" in row else f"BATCH#{row.get('batchId')}"
    if "jobId" in row or "batchId" in row:
        assert item["GSI3PK"]["S"] == group
        assert item["GSI3SK"]["S"] == f"AI_USAGE#{row['timestamp']}"
    for text in row.values():
        assert text != ""


def scan_plainly(table_name: str, endpoint_url: str) -> list[dict[str, Any]]:
    """Return the rows of a table; the one item of ours that is no record has its own key."""
    reader = boto3.client("dynamodb", "us-east-1", endpoint_url=endpoint_url)
    items = [
        item
        for page in reader.get_paginator("scan").paginate(TableName=table_name)
        for item in page["Items"]
        if item["PK"]["S"] != "AI_USAGE_META"
    ]
    reader.close()
    return items
