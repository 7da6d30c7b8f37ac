"""Bad input names the field and what is accepted, and never shows what may be private."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from receipt_dynamo import AIUsageMetric
from receipt_dynamo.entities.attribute_values import measure_item

START = datetime(2026, 3, 1, tzinfo=UTC)
GOOD: dict[str, Any] = {
    "service": "openai",
    "model": "gpt-4o",
    "operation": "completion",
    "timestamp": START,
}


def nest(depth: int) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for _ in range(depth - 1):
        document = {"x": document}
    return document


def test_four_arguments_are_taken_by_position() -> None:
    metric = AIUsageMetric("openai", "gpt-4o", "completion", START)
    assert metric == AIUsageMetric(**GOOD, request_id=metric.request_id)


@pytest.mark.parametrize("more", [("r1",), (None,), ("r1", 5), ("r1", 5, 6, 11, 1, "0.01")])
def test_a_fifth_argument_by_position_is_refused(more: tuple[Any, ...]) -> None:
    """It was taken for the request's id."""
    with pytest.raises(ValidationError, match="Unexpected positional argument"):
        AIUsageMetric("openai", "gpt-4o", "completion", START, *more)


@pytest.mark.parametrize(
    ("field", "value", "accepted"),
    [
        ("service", "", "non-empty str"),
        ("service", 3, "accepted is str"),
        ("model", "  ", "non-empty str"),
        ("operation", None, "accepted is str"),
        ("timestamp", "2026-03-01", "accepted is datetime"),
        ("timestamp", 1_700_000_000, "accepted is datetime"),
        ("request_id", "", "non-empty str"),
        ("input_tokens", -1, "0 or more"),
        ("output_tokens", 1.5, "accepted is int"),
        ("total_tokens", "12", "accepted is int"),
        ("api_calls", True, "accepted is int"),
        ("cost_usd", math.nan, "finite number"),
        ("cost_usd", Decimal("Infinity"), "finite number"),
        ("cost_usd", -0.01, "0 or more"),
        ("cost_usd", "ten", "decimal number"),
        ("cost_usd", Decimal("1." + "1" * 38), "up to 38"),
        ("cost_usd", Decimal("1E-131"), "1E-130"),
        ("latency_ms", Decimal("1E+126"), "below 1E+126"),
        ("latency_ms", -5, "0 or more"),
        ("latency_ms", -0.2, "0 or more"),
        ("latency_ms", math.nan, "finite number"),
        ("latency_ms", math.inf, "finite number"),
        ("latency_ms", True, "int, float"),
        ("latency_ms", Decimal(10**39 + 1), "up to 38"),
        ("user_id", 42, "accepted is str"),
        ("user_id", "\ud800", "surrogate"),
        ("github_pr", -7, "0 or more"),
        ("metadata", ["a"], "accepted is dict"),
        ("metadata", {"x": object()}, "accepted"),
        ("metadata", {"x": b"bytes"}, "accepted"),
        ("metadata", {"": 1}, "non-empty strings"),
        ("metadata", {3: 1}, "non-empty strings"),
        ("metadata", {"x": math.inf}, "finite"),
        ("metadata", {"x": 10**39 + 1}, "up to 38"),
        ("metadata", {"x": "\udfff"}, "surrogate"),
        ("metadata", nest(32), "32 levels"),
        ("request_id", "x" * 1100, "1024 bytes"),
        ("model", "x" * 2050, "2048 bytes"),
        ("job_id", "é" * 1100, "2048 bytes"),
        ("error", "x" * 410_000, "409600 bytes"),
        ("metadata", {"x": "y" * 410_000}, "409600 bytes"),
    ],
)
def test_bad_input_names_the_field_and_what_is_accepted(
    field: str, value: Any, accepted: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        AIUsageMetric(**{**GOOD, field: value})
    assert field in str(caught.value)
    assert accepted in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("missing", list(GOOD))
def test_a_missing_field_is_named(missing: str) -> None:
    arguments = {name: value for name, value in GOOD.items() if name != missing}
    with pytest.raises((ValidationError, TypeError), match=missing):
        AIUsageMetric(**arguments)


def test_an_unknown_field_is_named() -> None:
    with pytest.raises((ValidationError, TypeError), match="tokens_in"):
        AIUsageMetric(**GOOD, tokens_in=3)


def test_what_may_be_private_is_not_shown() -> None:
    secret = "my-secret-prompt"
    bad: list[dict[str, Any]] = [
        {"metadata": {"x": [secret, object()]}},
        {"error": secret * 30_000},
        {"user_id": [secret]},
        {"cost_usd": secret},
    ]
    for fields in bad:
        with pytest.raises(ValidationError) as caught:
            AIUsageMetric(**GOOD, **fields)
        assert secret not in str(caught.value)


def test_what_is_exactly_at_the_limit_is_accepted() -> None:
    at_limit = AIUsageMetric(**GOOD, metadata=nest(31))
    assert AIUsageMetric.from_dynamodb_item(at_limit.to_dynamodb_item()) == at_limit
    room = 400 * 1024 - measure_item(AIUsageMetric(**GOOD, request_id="r").to_dynamodb_item())
    error = "x" * (room - len("error"))
    full = AIUsageMetric(**GOOD, request_id="r", error=error)
    assert measure_item(full.to_dynamodb_item()) == 400 * 1024
    with pytest.raises(ValidationError, match="409601 bytes"):
        AIUsageMetric(**GOOD, request_id="r", error=error + "x")


def test_empty_optional_texts_are_absent() -> None:
    metric = AIUsageMetric(**GOOD, user_id="", job_id="", error="")
    assert (metric.user_id, metric.job_id, metric.error) == (None, None, None)
