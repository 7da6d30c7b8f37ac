"""What has no cost among records, grouped by what to do about it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from receipt_dynamo import AIUsageMetric
from receipt_label.pricing import UnpricedGroup, list_unpriced

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def record(
    model: str = "gpt-next", reason: str | None = "unknown model", hours: int = 0, **fields: Any
) -> AIUsageMetric:
    pricing = {"pricing": {"status": "unpriced", "reason": reason}} if reason else {}
    return AIUsageMetric(
        "openai",
        model,
        "completion",
        NOON + timedelta(hours=hours),
        **{"metadata": pricing, **fields},
    )


def test_unpriced_records_are_grouped_with_count_and_last_time() -> None:
    records = [record(hours=2), record(hours=5), record(hours=1), record("gpt-4o", "no usage")]

    assert list_unpriced(iter(records)) == [
        UnpricedGroup(
            service="openai",
            model="gpt-next",
            reason="unknown model",
            count=3,
            last_seen=NOON + timedelta(hours=5),
        ),
        UnpricedGroup(service="openai", model="gpt-4o", reason="no usage", count=1, last_seen=NOON),
    ]


def test_one_model_has_a_group_for_each_reason() -> None:
    groups = list_unpriced([record(), record(reason="no price for audio")])
    assert {group.reason for group in groups} == {"unknown model", "no price for audio"}


def test_a_priced_call_is_not_listed_and_neither_is_a_free_one() -> None:
    priced = {"pricing": {"status": "priced"}}
    assert list_unpriced([record(cost_usd=0, metadata=priced), record(cost_usd="0.1")]) == []


def test_a_call_that_failed_is_not_listed() -> None:
    assert list_unpriced([record(reason=None, error="APIConnectionError")]) == []


def test_a_call_that_broke_after_it_used_something_is_listed() -> None:
    assert len(list_unpriced([record(error="APIConnectionError")])) == 1


@pytest.mark.parametrize("metadata", [{}, {"pricing": "none"}, {"pricing": {"status": 4}}])
def test_a_record_that_does_not_say_why_is_listed(metadata: dict[str, Any]) -> None:
    (group,) = list_unpriced([record(metadata=metadata)])
    assert group.reason == "not reported"
