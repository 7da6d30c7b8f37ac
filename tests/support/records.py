"""Records of the same day, with one key each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from receipt_dynamo import AIUsageMetric

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def make_metrics(count: int, first: int = 0, **fields: Any) -> list[AIUsageMetric]:
    """Return records a millisecond apart, with these fields beside the usual ones."""
    return [
        AIUsageMetric(
            "openai",
            "gpt-4o",
            "completion",
            START + timedelta(milliseconds=number),
            request_id=f"chatcmpl-{number}",
            **fields,
        )
        for number in range(first, first + count)
    ]
