"""Prices of the user's own."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from receipt_label.pricing import PriceBook, TokenPrice, TokenUsage

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
ONE = Decimal(1)
LOCAL = TokenPrice(input=Decimal("0.3"), output=Decimal("0.9"), cache_read=Decimal("0.03"))
ABOVE: Any = {"long_context_above": 5}
LONG: Any = {"long_context": LOCAL, **ABOVE}


def test_an_override_comes_before_the_price_list() -> None:
    book = PriceBook({("OpenAI", "GPT-4o"): LOCAL})
    usage = TokenUsage(input_tokens=1_000, cache_read_tokens=200, output_tokens=100)
    price = book.price("openai", "gpt-4o", usage, NOW)

    # 800 x 0.3 + 200 x 0.03 + 100 x 0.9.
    assert price.cost_usd == Decimal("0.000336")
    assert price.origin["source"] == "override"


def test_an_override_holds_for_that_very_model_only() -> None:
    book = PriceBook({("openai", "gpt-4o"): LOCAL})
    dated = book.price("openai", "gpt-4o-2024-08-06", TokenUsage(input_tokens=1), NOW)
    assert dated.origin["source"] == "genai-prices"


def test_cache_prices_are_those_of_the_input_by_default() -> None:
    book = PriceBook({("x", "y"): TokenPrice(input=Decimal(2), output=Decimal(0))})
    usage = TokenUsage(input_tokens=10, cache_read_tokens=3, cache_write_tokens=4, output_tokens=5)
    price = book.price("x", "y", usage, NOW)
    assert price.cost_usd == Decimal("0.00002")


@pytest.mark.parametrize(
    "usage",
    [
        TokenUsage(input_tokens=1, output_tokens=1),
        TokenUsage(input_tokens=1, cache_read_tokens=2),
        TokenUsage(input_tokens=1, web_searches=1),
        TokenUsage(input_tokens=1, input_audio_tokens=1),
    ],
)
def test_what_an_override_cannot_price_is_unpriced(usage: TokenUsage) -> None:
    book = PriceBook({("openai", "gpt-4o"): TokenPrice(input=Decimal(1))})
    assert book.price("openai", "gpt-4o", usage, NOW).cost_usd is None


@pytest.mark.parametrize(
    ("entry", "error", "message"),
    [
        ({"input": 0.1}, TypeError, "input is of type float; accepted is Decimal"),
        ({"input": Decimal(-1)}, ValueError, "input is -1"),
        ({"input": Decimal("NaN")}, ValueError, "input is NaN"),
        ({"input": Decimal(1), "output": 3}, TypeError, "output is of type int"),
        ({"input": Decimal(1), "cache_read": Decimal("Infinity")}, ValueError, "cache_read"),
        ({}, ValueError, "the entry has no price"),
        ({"image": {"hd": 1}}, TypeError, "image\\['hd'\\] is of type int"),
        ({"input": Decimal(1), "batch": Decimal(1)}, TypeError, "batch is of type Decimal"),
        ({"input": Decimal(1), "flex": TokenPrice(input=ONE, flex=LOCAL)}, ValueError, "flex has"),
        ({"input": Decimal(1), "long_context": LOCAL}, ValueError, "together or not at all"),
        (
            {"input": ONE, "long_context": TokenPrice(input=ONE, **LONG), **ABOVE},
            ValueError,
            "long_context has long_context",
        ),
        (
            {"input": Decimal(1), "long_context_above": 0, "long_context": LOCAL},
            ValueError,
            "long_context_above is 0; accepted are whole numbers, 1 or more",
        ),
        ({"input": Decimal(1), "valid_from": NOW}, TypeError, "valid_from is of type datetime"),
        (
            {"input": ONE, "valid_from": date(2026, 2, 1), "valid_until": date(2026, 1, 1)},
            ValueError,
            "valid_until is 2026-01-01; accepted are days from valid_from",
        ),
    ],
)
def test_a_bad_price_is_refused(
    entry: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        TokenPrice(**entry)


@pytest.mark.parametrize(
    "overrides",
    [
        {"gpt-4o": LOCAL},
        {("openai",): LOCAL},
        {("openai", 4): LOCAL},
        {("a", "b"): Decimal(1)},
        {("a", "b"): [LOCAL, 1]},
    ],
)
def test_a_bad_table_of_overrides_is_refused(overrides: Any) -> None:
    with pytest.raises(TypeError, match="overrides"):
        PriceBook(overrides)


def test_overrides_of_one_model_hold_on_their_own_days() -> None:
    prices = [
        TokenPrice(input=Decimal(2), valid_from=date(2026, 11, 20)),
        TokenPrice(input=Decimal(1), valid_until=date(2026, 11, 19)),
    ]
    book = PriceBook({("x", "y"): prices})
    usage = TokenUsage(input_tokens=1_000, output_tokens=0)
    costs = [
        book.price("x", "y", usage, datetime(2026, 11, day, tzinfo=UTC)).cost_usd
        for day in (19, 20)
    ]
    assert costs == [Decimal("0.001"), Decimal("0.002")]


def test_two_overrides_for_one_day_are_refused() -> None:
    with pytest.raises(ValueError, match="overrides: x y has two prices for the same days"):
        PriceBook({("x", "y"): [LOCAL, LOCAL]})


@pytest.mark.parametrize(
    ("terms", "cost", "match"),
    [
        ({"service_tier": "batch"}, "0.0005", "exact"),
        ({"service_tier": "flex"}, "0.001", "fallback"),
        ({"service_tier": "default"}, "0.001", "exact"),
        ({"speed": "fast"}, "0.003", "exact"),
        ({"service_tier": "batch", "speed": "fast"}, "0.0005", "fallback"),
        ({"inference_geo": "us"}, "0.001", "exact"),
    ],
)
def test_the_standard_price_of_an_override_for_another_tier_is_flagged(
    terms: dict[str, Any], cost: str, match: str
) -> None:
    own = TokenPrice(
        input=Decimal(1), batch=TokenPrice(input=Decimal("0.5")), fast=TokenPrice(input=Decimal(3))
    )
    usage = TokenUsage(input_tokens=1_000, output_tokens=0, **terms)
    price = PriceBook({("x", "y"): own}).price("x", "y", usage, NOW)
    assert (price.cost_usd, price.origin["match"]) == (Decimal(cost), match)


def test_an_override_without_a_price_for_an_hour_does_not_charge_that_for_five_minutes() -> None:
    own = TokenPrice(input=Decimal(1), cache_write=Decimal(2))
    usage = TokenUsage(input_tokens=9, cache_write_tokens=9, cache_write_1h_tokens=1)
    price = PriceBook({("x", "y"): own}).price("x", "y", usage, NOW)
    assert price.origin["reason"] == "no price for cache writes for an hour"
