"""Prices of the user's own."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from receipt_label.pricing import PriceBook, TokenPrice, TokenUsage

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
LOCAL = TokenPrice(input=Decimal("0.3"), output=Decimal("0.9"), cache_read=Decimal("0.03"))


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
    ],
)
def test_a_bad_price_is_refused(
    entry: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        TokenPrice(**entry)


@pytest.mark.parametrize(
    "overrides",
    [{"gpt-4o": LOCAL}, {("openai",): LOCAL}, {("openai", 4): LOCAL}, {("a", "b"): Decimal(1)}],
)
def test_a_bad_table_of_overrides_is_refused(overrides: Any) -> None:
    with pytest.raises(TypeError, match="overrides"):
        PriceBook(overrides)
