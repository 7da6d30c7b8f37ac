"""Adding up, against plain sums."""

from __future__ import annotations

import tracemalloc
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_dynamo import AIUsageMetric
from receipt_label.reporting.dimensions import DIMENSIONS, read_dimensions
from receipt_label.reporting.sums import Sums
from receipt_label.reporting.usage_report import add_up
from support.report_records import make_report_records, moments, read_value, sum_plainly
from support.strategies import decimals, metrics

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

zones = st.sampled_from(["Europe/Berlin", "Asia/Kathmandu", "Pacific/Kiritimati"]).map(
    ZoneInfo
) | st.just(UTC)
groupings = st.lists(st.sampled_from(sorted(DIMENSIONS)), min_size=1, max_size=3, unique=True).map(
    tuple
)


def describe(sums: Sums) -> dict[str, Any]:
    names = ("records", "api_calls", "input_tokens", "output_tokens", "unpriced")
    counted = {name: getattr(sums, name) for name in (*names, "estimated", "partial", "errors")}
    return {**counted, "cost_usd": Fraction(sums.cost_usd)}


@given(
    st.lists(st.tuples(metrics(), moments), max_size=8).map(
        lambda drawn: [replace(record, timestamp=moment) for record, moment in drawn]
    ),
    st.lists(groupings, min_size=1, max_size=3),
    zones,
)
def test_every_grouping_equals_plain_sums(
    records: list[AIUsageMetric], by: list[tuple[str, ...]], zone: tzinfo
) -> None:
    report = add_up(iter(records), by, zone)
    assert describe(report.total) == sum_plainly(records)
    for grouping in by:
        expected: defaultdict[tuple[str | None, ...], list[AIUsageMetric]] = defaultdict(list)
        for record in records:
            key = tuple(read_value(record, name, zone) for name in grouping)
            expected[key].append(record)
        found = {key: describe(sums) for key, sums in report.groups[grouping].items()}
        assert found == {key: sum_plainly(group) for key, group in expected.items()}


@given(st.lists(decimals(signed=False), max_size=20))
def test_a_sum_of_costs_is_rounded_to_nothing(costs: list[Decimal]) -> None:
    """Numbers from 1E-130 to 9.9E+125 stand in one sum; 28 digits do not hold it."""
    sums = Sums()
    for cost in costs:
        sums.add(AIUsageMetric("openai", "gpt-4o", "completion", NOON, cost_usd=cost))
    assert Fraction(sums.cost_usd) == sum(map(Fraction, costs), Fraction(0))


@given(st.integers(1, 8), st.sampled_from(["user,model", "day", "service", "hour,user"]))
def test_the_groups_that_are_not_shown_are_in_the_rest(top: int, names: str) -> None:
    by = read_dimensions(names)
    records = make_report_records(60, seed=top)
    report = add_up(records, [by], UTC)
    ranking, whole = report.rank(by, top), report.rank(by)
    assert len(ranking.groups) == min(top, len(whole.groups))
    assert ranking.left_out == len(whole.groups) - len(ranking.groups)
    together = Sums()
    for group in ranking.groups:
        together.merge(group.sums)
    together.merge(ranking.rest)
    assert together == report.total
    shown = {group.key for group in ranking.groups}
    least = min(group.sums.cost_usd for group in ranking.groups)
    assert all(g.sums.cost_usd <= least for g in whole.groups if g.key not in shown)


def test_groups_are_in_the_order_of_cost_and_times_in_their_own() -> None:
    records = make_report_records(80, seed=1)
    report = add_up(records, [("user",), ("day", "user")], UTC)
    costs = [group.sums.cost_usd for group in report.rank(("user",)).groups]
    assert costs == sorted(costs, reverse=True)
    days = [str(group.key[0]) for group in report.rank(("day", "user"), 5).groups]
    assert days == sorted(days)


def test_the_order_of_reading_changes_nothing() -> None:
    free = [
        AIUsageMetric("openai", name, "completion", NOON, cost_usd=0) for name in ("b", "a", "c")
    ]
    for records in (free, free[::-1]):
        ranking = add_up(records, [("model", "user")], UTC).rank(("model", "user"))
        assert [group.key for group in ranking.groups] == [("a", None), ("b", None), ("c", None)]


def test_an_hour_that_comes_twice_is_two_hours() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    moments = [datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in (0, 1)]
    records = [AIUsageMetric("openai", "gpt-4o", "completion", moment) for moment in moments]
    keys = list(add_up(records, [("hour",)], berlin).groups[("hour",)])
    assert keys == [("2026-10-25 02:00+0200",), ("2026-10-25 02:00+0100",)]


def test_a_failed_call_without_a_cost_is_no_unpriced_one() -> None:
    sums = Sums()
    sums.add(AIUsageMetric("openai", "gpt-4o", "completion", NOON, error="Timeout: too late"))
    assert (sums.unpriced, sums.errors, sums.cost_usd) == (0, 1, 0)


@pytest.mark.parametrize("text", ["", "week", "model,", "Model", "cost_usd"])
def test_an_unknown_group_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="accepted are service, model, operation"):
        read_dimensions(text)


def test_a_group_that_is_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="accepted is each name once"):
        read_dimensions("day,model,day")


def test_memory_is_that_of_the_groups_not_of_the_records() -> None:
    """The trap: every row of a month is loaded for a sum."""

    def stream(count: int) -> Iterator[AIUsageMetric]:
        for number in range(count):
            yield AIUsageMetric(
                "openai",
                f"model-{number % 5}",
                "completion",
                NOON + timedelta(seconds=number % 1000),
                cost_usd="0.001",
            )

    def measure(count: int) -> int:
        tracemalloc.start()
        try:
            add_up(stream(count), [("model",), ("day", "service")], UTC)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    measure(100)  # Imports, caches.
    assert measure(6_000) < measure(600) + 20_000
