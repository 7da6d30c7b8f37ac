"""The course of the cost: no gap, and nothing missing from its sum."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_dynamo import AIUsageMetric
from receipt_label.reporting.course import choose_step, list_steps
from receipt_label.reporting.period import read_period
from receipt_label.reporting.sums import sum_exactly
from receipt_label.reporting.usage_report import add_up

NOW = datetime(2026, 11, 26, 11, 30, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def tell(moments: list[datetime], step: str, zone: tzinfo = UTC) -> list[tuple[str, Decimal]]:
    records = [
        AIUsageMetric("openai", "gpt-4o", "completion", moment, cost_usd="0.5")
        for moment in moments
    ]
    by = (step, "service")
    steps = list_steps(add_up(records, [by], zone).groups[by], step, zone)
    return [(each.name, each.cost) for each in steps]


def test_days_without_calls_are_steps_too() -> None:
    moments = [NOW, NOW + timedelta(days=3), NOW]
    assert tell(moments, "day") == [
        ("2026-11-26", Decimal("1.0")),
        ("2026-11-27", Decimal(0)),
        ("2026-11-28", Decimal(0)),
        ("2026-11-29", Decimal("0.5")),
    ]


def test_the_hour_that_comes_twice_and_the_one_that_never_comes() -> None:
    autumn = datetime(2026, 10, 25, tzinfo=UTC)
    names = [name for name, _ in tell([autumn, autumn + timedelta(hours=2)], "hour", BERLIN)]
    assert names == [
        "2026-10-25 02:00+0200",
        "2026-10-25 02:00+0100",
        "2026-10-25 03:00+0100",
    ]
    spring = datetime(2026, 3, 29, tzinfo=UTC)
    names = [name for name, _ in tell([spring, spring + timedelta(hours=1)], "hour", BERLIN)]
    assert names == ["2026-03-29 01:00+0100", "2026-03-29 03:00+0200"]


def test_many_days_are_told_in_months() -> None:
    first = datetime(2026, 1, 31, tzinfo=UTC)
    moments = [first, first + timedelta(days=29), first + timedelta(days=99)]
    assert len(tell(moments, "day")) == 100
    assert tell([*moments, first + timedelta(days=100)], "day") == [
        ("2026-01", Decimal("0.5")),
        ("2026-02", Decimal(0)),
        ("2026-03", Decimal("0.5")),
        ("2026-04", Decimal(0)),
        ("2026-05", Decimal("1.0")),
    ]


def test_without_calls_there_are_no_steps() -> None:
    assert tell([], "day") == tell([], "hour") == []


@given(
    st.lists(st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)), max_size=6),
    st.sampled_from(["hour", "day"]),
    st.sampled_from([UTC, BERLIN, ZoneInfo("Asia/Kathmandu"), ZoneInfo("Australia/Lord_Howe")]),
)
def test_the_steps_together_are_the_total(moments: list[datetime], step: str, zone: tzinfo) -> None:
    if step == "hour" and moments:  # Of two days, as the command asks for.
        moments = [moment.replace(month=4, day=4 + moment.day % 2) for moment in moments]
    course = tell([moment.replace(tzinfo=UTC) for moment in moments], step, zone)
    assert sum_exactly(cost for _, cost in course) == Decimal("0.5") * len(moments)
    assert [name for name, _ in course] == list(dict.fromkeys(name for name, _ in course))


@pytest.mark.parametrize(
    ("since", "until", "step"),
    [
        ("24h", None, "hour"),
        ("today", None, "hour"),
        ("yesterday", "today", "hour"),
        ("3d", None, "day"),
        ("2026-11", None, "day"),
        (None, None, "day"),
    ],
)
def test_two_days_are_told_in_hours(since: str | None, until: str | None, step: str) -> None:
    assert choose_step(read_period(since, until, now=NOW), NOW) == step
