"""An assertion that fails says what was recorded, and shows no payload."""

from __future__ import annotations

from typing import Any

import pytest

from receipt_label.testing import assert_usage
from support.records import make_metrics

RECORDS = [
    *make_metrics(2, job_id="job-7", cost_usd="0.0004", metadata={"shop": "Lidl", "n": 1}),
    *make_metrics(1, first=2, error="RateLimitError: HTTP 429", input_tokens=3),
]


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ({}, [0, 1, 2]),
        ({"service": "openai", "count": 3}, [0, 1, 2]),
        ({"job_id": "job-7"}, [0, 1]),
        ({"job_id": None, "count": 1}, [2]),
        ({"cost_usd": 0.0004, "model": "gpt-4o"}, [0, 1]),
        ({"cost_usd": None}, [2]),
        ({"metadata": {"shop": "Lidl"}}, [0, 1]),
        ({"metadata": {"shop": "Aldi"}, "count": 0}, []),
        ({"input_tokens": 3}, [2]),
    ],
)
def test_assert_usage_returns_the_records_that_match(
    expected: dict[str, Any], found: list[int]
) -> None:
    assert assert_usage(iter(RECORDS), **expected) == [RECORDS[index] for index in found]


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ({"count": 2}, "expected 2 record(s) with any fields; 3 of 3 recorded match"),
        (
            {"job_id": "job-8", "cost_usd": "1"},
            "expected at least one record with job_id='job-8', cost_usd='1'; 0 of 3 recorded",
        ),
        ({"job_id": "job-7", "count": 0}, "expected 0 record(s) with job_id='job-7'; 2 of 3"),
    ],
)
def test_it_says_what_was_recorded(expected: dict[str, Any], said: str) -> None:
    with pytest.raises(AssertionError) as caught:
        assert_usage(RECORDS, **expected)
    message = str(caught.value)
    assert message.startswith(said)
    first = "openai gpt-4o completion, None + None tokens, 0.0004 USD, job_id='job-7', "
    assert first + "metadata with n, shop" in message
    assert "3 + None tokens, no cost, error='RateLimitError: HTTP 429'" in message
    assert "Lidl" not in message


def test_a_long_list_is_cut() -> None:
    with pytest.raises(AssertionError) as caught:
        assert_usage(make_metrics(50), count=1)
    assert str(caught.value).count("\n") == 21
    assert str(caught.value).endswith("... and 30 more")


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(TypeError, match="unknown: job, tokens; accepted are count and api_calls"):
        assert_usage(RECORDS, job="job-7", tokens=3)
