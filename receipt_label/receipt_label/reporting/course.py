"""The course of the cost over a period, step by step, without gaps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Final

from receipt_label.reporting.dimensions import GroupKey, name_hour
from receipt_label.reporting.period import Period
from receipt_label.reporting.sums import Sums, sum_exactly

_IN_HOURS: Final = timedelta(days=2)
_MAX_DAYS: Final = 100
_QUARTER: Final = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Step:
    """One hour, day or month.

    Attributes:
        name: As it is shown.
        costs: Cost in USD of each part that had calls.
        calls: Calls of all of them.
    """

    name: str
    costs: Mapping[str, Decimal]
    calls: int

    @property
    def cost(self) -> Decimal:
        """Cost of all parts, in USD."""
        return sum_exactly(self.costs.values())


def choose_step(period: Period, now: datetime) -> str:
    """Return the length of a step: "hour", or "day"."""
    if period.start is not None and (period.end or now) - period.start <= _IN_HOURS:
        return "hour"
    return "day"


def list_steps(groups: Mapping[GroupKey, Sums], step: str, zone: tzinfo) -> list[Step]:
    """Return the cost of each step, oldest first; more than 100 days become months.

    Args:
        groups: By the step and one more dimension.
        step: "hour" or "day".
        zone: Of days and hours.
    """
    names = sorted({str(key[0]) for key in groups})
    if not names:
        return []
    width = len(names[0])
    if step == "hour":
        names = list(dict.fromkeys(_list_hours(names, zone)))
    elif (date.fromisoformat(names[-1]) - date.fromisoformat(names[0])).days < _MAX_DAYS:
        names = list(_list_days(names[0], names[-1]))
    else:
        names = list(dict.fromkeys(_list_months(names[0], names[-1])))
        width = len("YYYY-MM")
    return _fill(names, groups, width)


def _fill(names: list[str], groups: Mapping[GroupKey, Sums], width: int) -> list[Step]:
    costs: dict[str, dict[str, Decimal]] = {name: {} for name in names}
    calls = dict.fromkeys(names, 0)
    for (moment, part), sums in groups.items():
        name = str(moment)[:width]
        known = costs[name].get(str(part), Decimal(0))
        costs[name][str(part)] = sum_exactly((known, sums.cost_usd))
        calls[name] += sums.api_calls
    return [Step(name, costs[name], calls[name]) for name in names]


def _list_hours(names: list[str], zone: tzinfo) -> Iterator[str]:
    # Names have offsets, so the texts' order is not that of the hours when the offset changes. By
    # quarters, because it may change by less than an hour.
    known = sorted(_read_hour(name) for name in names)
    moment = known[0]
    while moment <= known[-1]:
        yield name_hour(moment, zone)
        moment += _QUARTER


def _read_hour(name: str) -> datetime:
    moment = datetime.fromisoformat(name)
    return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).astimezone(UTC)


def _list_days(first: str, last: str) -> Iterator[str]:
    day = date.fromisoformat(first)
    while day.isoformat() <= last:
        yield day.isoformat()
        day += timedelta(days=1)


def _list_months(first: str, last: str) -> Iterator[str]:
    month = date.fromisoformat(first).replace(day=1)
    while month.isoformat() <= last:
        yield month.isoformat()[:7]
        month = (month + timedelta(days=31)).replace(day=1)
