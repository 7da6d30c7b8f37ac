"""The dimensions by which calls can be grouped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from receipt_dynamo import AIUsageMetric

Dimension: TypeAlias = "Callable[[AIUsageMetric, tzinfo], str | None]"

GroupKey: TypeAlias = tuple[str | None, ...]
"""A group's value in each dimension; None where the record says nothing."""


def _read_day(record: AIUsageMetric, zone: tzinfo) -> str:
    return record.timestamp.astimezone(zone).date().isoformat()


def name_hour(moment: datetime, zone: tzinfo) -> str:
    """Return the name of the hour of an aware time."""
    local = moment.astimezone(zone)
    # With the offset: where clocks are put back one hour comes twice.
    offset = "" if zone is UTC else f"{local:%z}"
    return f"{local:%Y-%m-%d %H}:00{offset}"


def _read_pull_request(record: AIUsageMetric, _zone: tzinfo) -> str | None:
    return None if record.github_pr is None else str(record.github_pr)


DIMENSIONS: Final[Mapping[str, Dimension]] = {
    "service": lambda record, _zone: record.service,
    "model": lambda record, _zone: record.model,
    "operation": lambda record, _zone: record.operation,
    "user": lambda record, _zone: record.user_id,
    "job": lambda record, _zone: record.job_id,
    "batch": lambda record, _zone: record.batch_id,
    "pull-request": _read_pull_request,
    "environment": lambda record, _zone: record.environment,
    "hour": lambda record, zone: name_hour(record.timestamp, zone),
    "day": _read_day,
    "month": lambda record, zone: _read_day(record, zone)[:7],
}

TIMES: Final = frozenset({"hour", "day", "month"})
"""Those that are shown in their own order, not by cost."""


def read_dimensions(text: str) -> tuple[str, ...]:
    """Return the dimensions that ``text`` names, with commas between them.

    Raises:
        ValueError: One is unknown, or named twice.
    """
    names = tuple(part.strip() for part in text.split(","))
    unknown = [name for name in names if name not in DIMENSIONS]
    if unknown:
        raise ValueError(f"--by has {unknown[0]!r}; accepted are {', '.join(DIMENSIONS)}")
    if len(set(names)) < len(names):
        raise ValueError(f"--by is {text!r}; accepted is each name once")
    return names
