"""Each query, asked for what :func:`make_metric` makes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from receipt_dynamo import AIUsageMetric

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FIRST, LAST = "2026-03-01", "2026-03-03"

QUERIES: dict[str, Callable[..., Iterator[Any]]] = {
    "date": lambda client, **kw: client.query_ai_usage_metrics_by_date(FIRST, "openai", **kw),
    "service": lambda client, **kw: client.query_ai_usage_metrics_by_service(
        "openai", FIRST, LAST, **kw
    ),
    "model": lambda client, **kw: client.query_ai_usage_metrics_by_model(
        "openai", "gpt-4o", FIRST, LAST, **kw
    ),
    "job": lambda client, **kw: client.query_ai_usage_metrics_by_job("j", **kw),
    "batch": lambda client, **kw: client.query_ai_usage_metrics_by_batch("b", **kw),
    "user": lambda client, **kw: client.query_ai_usage_metrics_by_user("u", FIRST, LAST, **kw),
    "environment": lambda client, **kw: client.query_ai_usage_metrics_by_environment(
        "staging", FIRST, LAST, **kw
    ),
    "costs": lambda client, **kw: client.query_ai_usage_costs_by_date(FIRST, LAST, **kw),
}
"""All of them find what :func:`make_metric` makes."""


def make_metric(number: int = 0, **fields: Any) -> AIUsageMetric:
    arguments = {
        "service": "openai",
        "model": "gpt-4o",
        "operation": "completion",
        "timestamp": NOON + timedelta(milliseconds=number),
        "request_id": f"id-{number}",
        "user_id": "u",
        "environment": "staging",
        "job_id": "j",
        "batch_id": "b",
    } | fields
    return AIUsageMetric(**arguments)


def list_ids(records: Iterable[AIUsageMetric]) -> list[str]:
    """Return the request ids, in order."""
    return [record.request_id for record in records]
