"""Records for the reports' tests: around the edges of days, in many groups."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

from receipt_dynamo import AIUsageMetric

FIRST_DAY = datetime(2026, 3, 27, tzinfo=UTC)
"""Two days before clocks change in Europe, and four before a month ends."""

SERVICES = {"openai": ["gpt-4o", "gpt-4o-mini"], "anthropic": ["claude-sonnet-4", "gpt-4o"]}
STATUSES: list[dict[str, Any]] = [
    {},
    {"pricing": {"status": "priced"}},
    {"pricing": {"status": "estimated"}},
    {"pricing": {"status": "partial"}},
    {"pricing": "of another writer"},
]
UNPRICED = {"pricing": {"status": "unpriced", "reason": "unknown model"}}

# Just before and after midnight in UTC and in zones of whole, half and quarter hours.
_EDGES = [
    timedelta(hours=hours, microseconds=step)
    for hours in (0, 5.25, 9.75, 10, 12, 18.25, 22, 23, 24)
    for step in (-1, 0, 1)
]

moments = st.builds(
    lambda day, edge: FIRST_DAY + timedelta(days=day) + edge,
    st.integers(0, 6),
    st.sampled_from(_EDGES),
)


def make_report_records(count: int, seed: int) -> list[AIUsageMetric]:
    """Return records at random, the same for the same seed."""
    chance = random.Random(seed)
    return [_make_record(chance, number) for number in range(count)]


def _make_record(chance: random.Random, number: int) -> AIUsageMetric:
    service = chance.choice(list(SERVICES))
    is_priced = chance.random() < 0.8
    job = chance.choice([None, None, "job-1", "job-2"])
    return AIUsageMetric(
        service,
        chance.choice(SERVICES[service]),
        chance.choice(["completion", "embedding"]),
        FIRST_DAY + timedelta(days=chance.randrange(7)) + chance.choice(_EDGES),
        request_id=f"id-{number}",
        input_tokens=chance.choice([None, chance.randrange(10_000)]),
        output_tokens=chance.choice([None, chance.randrange(10_000)]),
        api_calls=chance.choice([1, 1, 1, 25]),
        cost_usd=f"{chance.randrange(10**9)}e-9" if is_priced else None,
        latency_ms=chance.choice([None, chance.randrange(5_000)]),
        user_id=chance.choice([None, "ann", "bob"]),
        job_id=job,
        batch_id=chance.choice([None, "batch-1"]),
        github_pr=chance.choice([None, None, 7, 8]),
        environment=chance.choice([None, "production", "staging"]),
        error=chance.choice([None, None, None, "Timeout: too late"]),
        metadata=chance.choice(STATUSES) if is_priced else chance.choice([{}, UNPRICED]),
    )


READERS: dict[str, Any] = {
    "service": lambda record: record.service,
    "model": lambda record: record.model,
    "operation": lambda record: record.operation,
    "user": lambda record: record.user_id,
    "job": lambda record: record.job_id,
    "batch": lambda record: record.batch_id,
    "pull-request": lambda record: None if record.github_pr is None else str(record.github_pr),
    "environment": lambda record: record.environment,
}


def read_value(record: AIUsageMetric, name: str, zone: tzinfo) -> str | None:
    """Return by other means than the report what a record is grouped under."""
    local = record.timestamp.astimezone(zone)
    if name == "day":
        return local.strftime("%Y-%m-%d")
    if name == "month":
        return local.strftime("%Y-%m")
    if name == "hour":
        offset = "" if zone is UTC else local.strftime("%z")
        return local.strftime("%Y-%m-%d %H") + ":00" + offset
    value: str | None = READERS[name](record)
    return value


def sum_plainly(records: Iterable[AIUsageMetric]) -> dict[str, Any]:
    """Return what a report's sums of ``records`` are, costs as fractions."""
    found = list(records)
    priced = [record for record in found if record.cost_usd is not None]
    statuses = [
        record.metadata["pricing"]["status"]
        for record in priced
        if isinstance(record.metadata.get("pricing"), dict)
    ]
    unknown = [record for record in found if record.cost_usd is None]
    return {
        "records": len(found),
        "api_calls": sum(record.api_calls for record in found),
        "input_tokens": sum(record.input_tokens or 0 for record in found),
        "output_tokens": sum(record.output_tokens or 0 for record in found),
        "cost_usd": sum((Fraction(record.cost_usd or 0) for record in priced), Fraction(0)),
        "unpriced": sum(record.metadata == UNPRICED or not record.error for record in unknown),
        "estimated": statuses.count("estimated"),
        "partial": statuses.count("partial"),
        "errors": sum(record.error is not None for record in found),
    }
