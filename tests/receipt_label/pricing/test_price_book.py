"""Costs worked out by hand; the rates stand beside them."""

from __future__ import annotations

import decimal
import socket
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import genai_prices
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_label.pricing import Price, PriceBook, TokenUsage

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
BOOK = PriceBook()


def cost(service: str, model: str, **counts: object) -> Decimal | None:
    return BOOK.price(service, model, TokenUsage(**counts), NOW).cost_usd


@pytest.mark.parametrize(
    ("service", "model", "same_as"),
    [
        ("openai", "gpt-4o-2024-08-06", "gpt-4o"),
        ("openai", "gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("openai", "gpt-4.1-2025-04-14", "gpt-4.1"),
        ("anthropic", "claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("anthropic", "claude-sonnet-4-5@20250929", "claude-sonnet-4-5"),
        ("anthropic", "claude-sonnet-4-20250514", "claude-sonnet-4-0"),
        ("anthropic", "claude-3-5-sonnet-latest", "claude-3-5-sonnet"),
    ],
)
def test_dated_model_names_have_a_price(service: str, model: str, same_as: str) -> None:
    dated = BOOK.price(service, model, TokenUsage(input_tokens=1_000, output_tokens=10), NOW)

    assert dated.cost_usd == cost(service, same_as, input_tokens=1_000, output_tokens=10)
    assert dated.origin["match"] == "alias"


@pytest.mark.parametrize(
    ("service", "model"),
    [
        ("openai", "gpt-4o-nonexistent-2030"),
        ("openai", "gpt-6"),
        ("openai", "gpt-5-pro-max"),
        ("openai", "gpt-4o-audio-preview-next"),
        ("openai", "my-gpt-4o"),
        ("anthropic", "claude-opus-4-10"),
        ("anthropic", "claude-opus-4-7-fast"),
        ("anthropic", "claude-3-5-sonnet-mini"),
        ("anthropic", "not-claude-v2"),
    ],
)
def test_a_new_model_is_not_priced_as_an_old_one_by_substring(service: str, model: str) -> None:
    assert cost(service, model, input_tokens=1_000, output_tokens=10) is None


def test_zero_output_tokens_do_not_make_the_call_free() -> None:
    # gpt-4o: 2.50 USD a million read.
    assert cost("openai", "gpt-4o", input_tokens=1_000, output_tokens=0) == Decimal("0.0025")


def test_a_small_embedding_is_not_rounded_to_zero() -> None:
    # text-embedding-3-small: 0.02 USD a million.
    price = cost("openai", "text-embedding-3-small", input_tokens=1, output_tokens=0)
    assert price == Decimal("0.00000002")


def test_cached_tokens_are_counted_once_and_at_their_price() -> None:
    # gpt-4o: 2.50 plain, 1.25 cached, 10.00 written: 600 x 2.5 + 400 x 1.25 + 100 x 10.
    price = cost("openai", "gpt-4o", input_tokens=1_000, cache_read_tokens=400, output_tokens=100)
    assert price == Decimal("0.003")


def test_cache_writes_for_an_hour_have_their_own_price() -> None:
    # claude-haiku-4-5: 1.00 plain, 0.10 read, 1.25 and 2.00 written to a cache, 5.00 output.
    price = cost(
        "anthropic",
        "claude-haiku-4-5",
        input_tokens=1_000,
        cache_read_tokens=300,
        cache_write_tokens=500,
        cache_write_1h_tokens=200,
        output_tokens=10,
    )
    plain, read, five_minutes, hour, output = 200, 300, 300, 200, 10
    assert price == Decimal(
        plain * 1 + read * Decimal("0.1") + five_minutes * Decimal("1.25") + hour * 2 + output * 5
    ) / Decimal(1_000_000)


def test_web_searches_cost_extra() -> None:
    # 10 USD for a thousand.
    counts = {"input_tokens": 1_000, "output_tokens": 10}
    without = cost("anthropic", "claude-haiku-4-5", **counts)
    with_two = cost("anthropic", "claude-haiku-4-5", **counts, web_searches=2)
    assert (with_two, without) == (Decimal("0.02105"), Decimal("0.00105"))


@pytest.mark.parametrize("service", ["openai", "anthropic", "google_places", "nobody"])
def test_an_unknown_model_is_unpriced_and_never_free(service: str) -> None:
    assert cost(service, "nothing-like-it", input_tokens=5, output_tokens=5) is None


def test_usage_that_nobody_told_is_unpriced() -> None:
    assert BOOK.price("openai", "gpt-4o", TokenUsage(), NOW) == Price.unpriced("no usage")


@pytest.mark.parametrize(
    ("model", "counts", "reason"),
    [
        ("gpt-unheard-of", {"input_tokens": 1}, "unknown model"),
        ("gpt-4o-mini-max", {"input_tokens": 1}, "unknown model"),
        ("gpt-4o", {"input_tokens": 1, "cache_read_tokens": 2}, "counts contradict each other"),
        ("gpt-3.5-turbo", {"input_tokens": 1, "web_searches": 1}, "no price for web searches"),
        ("gpt-4o", {}, "no usage"),
        ("gpt-4o", {"input_tokens": 0, "output_tokens": 0}, "no usage"),
        ("gpt-4o", {"input_tokens": 10**30}, "a count is absurd"),
        ("gpt-4o", {"input_tokens": -1}, "a count is absurd"),
        ("gpt-4o", {"input_tokens": 1.5}, "a count is absurd"),
        ("gpt-4o", {"input_tokens": True}, "a count is absurd"),
        ("gpt-4o", {"input_tokens": 5, "audio_seconds": Decimal("NaN")}, "a count is absurd"),
        ("whisper-1", {"audio_seconds": Decimal(-1)}, "a count is absurd"),
        ("gpt-4o", {"input_tokens": 5, "input_audio_tokens": 6}, "counts contradict each other"),
        ("gpt-4o", {"output_tokens": 5, "reasoning_tokens": 6}, "counts contradict each other"),
        (
            "gpt-audio",
            {"output_tokens": 5, "output_audio_tokens": 6},
            "counts contradict each other",
        ),
        ("gpt-4o", {"cache_read_tokens": 6}, "counts contradict each other"),
        (
            "gpt-3.5-turbo",
            {"input_tokens": 10, "cache_read_tokens": 8, "cache_write_tokens": 8},
            "counts contradict each other",
        ),
        (
            "gpt-4o",
            {"input_tokens": 10, "input_audio_tokens": 8, "input_image_tokens": 8},
            "counts contradict each other",
        ),
        (
            "gpt-4o",
            {"output_tokens": 10, "output_audio_tokens": 8, "output_image_tokens": 8},
            "counts contradict each other",
        ),
        (
            "gpt-image-1",
            {"input_tokens": 9, "cache_read_tokens": 4, "input_image_tokens": 4},
            "no price for cached audio or images apart",
        ),
        (
            "gpt-4o",
            {"input_tokens": 9, "cache_write_tokens": 1, "cache_write_1h_tokens": 2},
            "counts contradict each other",
        ),
        (
            "gpt-realtime",
            {"input_tokens": 9, "cache_read_tokens": 4, "input_audio_tokens": 4},
            "no price for cached audio or images apart",
        ),
    ],
)
def test_what_is_unpriced_says_why(model: str, counts: dict[str, Any], reason: str) -> None:
    price = BOOK.price("openai", model, TokenUsage(**counts), NOW)
    assert price.cost_usd is None
    assert price.origin == {"status": "unpriced", "reason": reason}


def test_half_a_usage_is_priced_as_partial() -> None:
    price = BOOK.price("openai", "gpt-4o", TokenUsage(input_tokens=1_000), NOW)
    assert (price.cost_usd, price.origin["status"]) == (Decimal("0.0025"), "partial")


def test_a_stream_that_ended_early_is_priced_as_partial() -> None:
    usage = TokenUsage(input_tokens=1_000, output_tokens=3, is_interrupted=True)
    price = BOOK.price("openai", "gpt-4o", usage, NOW)
    assert (price.cost_usd, price.origin["status"]) == (Decimal("0.00253"), "partial")


def test_a_model_that_charges_for_what_nobody_counts_is_an_estimate() -> None:
    usage = TokenUsage(input_tokens=1, output_tokens=1)
    origin = BOOK.price("perplexity", "sonar-deep-research", usage, NOW).origin
    assert origin["status"] == "estimated"
    assert origin["assumed"] == "nothing of output_citation_mtok was used"


def test_images_without_a_price_of_their_own_are_read_as_the_text_beside_them() -> None:
    # gpt-4o: 2.50 plain, 1.25 cached.
    counts = {"input_tokens": 1_000, "input_image_tokens": 600, "output_tokens": 0}
    assert cost("openai", "gpt-4o", **counts) == Decimal("0.0025")
    assert cost("openai", "gpt-4o", **counts, cache_read_tokens=800) == Decimal("0.0015")


def test_the_largest_count_is_still_priced() -> None:
    # whisper-1: 0.36 USD an hour.
    assert cost("openai", "whisper-1", audio_seconds=Decimal(10**12)) == Decimal(100_000_000)
    assert cost("openai", "gpt-4o", input_tokens=10**12, output_tokens=0) == Decimal(2_500_000)


def test_more_cached_than_read_is_unpriced() -> None:
    counts = {"input_tokens": 10, "cache_read_tokens": 20, "output_tokens": 1}
    assert cost("openai", "gpt-4o", **counts) is None


@pytest.mark.parametrize("kind", ["input_audio_tokens", "output_audio_tokens", "web_searches"])
def test_a_kind_of_usage_without_a_price_is_not_charged_at_another(kind: str) -> None:
    counts = {"input_tokens": 100, "output_tokens": 100, kind: 10}
    assert cost("openai", "gpt-3.5-turbo", **counts) is None


def test_output_of_a_model_that_is_not_charged_for_output_is_not_free() -> None:
    assert cost("openai", "text-embedding-3-small", input_tokens=1, output_tokens=1) is None


def test_the_served_tier_decides() -> None:
    # gpt-5: 1.25 standard, 0.625 flex, 2.50 priority a million read.
    prices = [
        cost("openai", "gpt-5", input_tokens=1_000, output_tokens=0, service_tier=tier)
        for tier in ("default", "flex", "priority", None)
    ]
    assert prices == [Decimal(text) for text in ("0.00125", "0.000625", "0.0025", "0.00125")]


def test_what_the_batch_api_served_has_its_discount() -> None:
    # claude-sonnet-4-6: 3.00 a million read, 1.50 in a batch.
    counts = {"input_tokens": 1_000, "output_tokens": 0}
    batch = cost("anthropic", "claude-sonnet-4-6", **counts, service_tier="batch")
    standard = cost("anthropic", "claude-sonnet-4-6", **counts, service_tier="standard")
    assert (batch, standard) == (Decimal("0.0015"), Decimal("0.003"))


def test_the_standard_price_for_an_unknown_tier_is_flagged() -> None:
    usage = TokenUsage(input_tokens=1_000, output_tokens=0, service_tier="scale")
    price = BOOK.price("openai", "gpt-4o", usage, NOW)

    assert price.origin["status"] == "estimated"
    assert "service_tier scale" in price.origin["assumed"]


def test_the_origin_names_package_version_and_entry() -> None:
    usage = TokenUsage(input_tokens=1, output_tokens=1)
    price = BOOK.price("openai", "gpt-4o-2024-08-06", usage, NOW)

    assert price.origin == {
        "source": "genai-prices",
        "version": genai_prices.__version__,
        "model": "gpt-4o",
        "match": "alias",
        "status": "priced",
    }


def test_the_price_is_that_of_the_day() -> None:
    # o3 became cheaper on 10 June 2025: 10 USD a million read before, 2 after.
    usage = TokenUsage(input_tokens=1_000, output_tokens=0)
    before = BOOK.price("openai", "o3", usage, datetime(2025, 5, 1, tzinfo=UTC))
    after = BOOK.price("openai", "o3", usage, NOW)
    assert (before.cost_usd, after.cost_usd) == (Decimal("0.01"), Decimal("0.002"))


def test_the_callers_decimal_context_does_not_round() -> None:
    with decimal.localcontext(decimal.Context(prec=3)):
        price = cost("openai", "gpt-4o", input_tokens=123_457, output_tokens=0)
    assert price == Decimal("0.3086425")


@given(
    plain=st.integers(0, 10**9),
    cached=st.integers(0, 10**9),
    output=st.integers(1, 10**9),
)
def test_costs_are_exact_for_any_counts(plain: int, cached: int, output: int) -> None:
    price = cost(
        "openai",
        "gpt-4o",
        input_tokens=plain + cached,
        cache_read_tokens=cached,
        output_tokens=output,
    )
    by_hand = plain * Fraction("2.5") + cached * Fraction("1.25") + output * 10
    assert price is not None
    assert Fraction(price) == by_hand / 1_000_000


def test_prices_never_come_from_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("went to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    book = PriceBook()
    book.load()
    assert book.price("openai", "gpt-4o", TokenUsage(input_tokens=1), NOW).cost_usd is not None
