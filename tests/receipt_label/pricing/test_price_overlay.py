"""The overlay: what it is for, and that each of its entries says from where it is."""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib import resources
from typing import Any

import pytest

from receipt_label.pricing import Price, PriceBook, TokenPrice, TokenUsage

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
BOOK = PriceBook()
DOCUMENT = tomllib.loads(
    resources.files("receipt_label.pricing").joinpath("overlay.toml").read_text(encoding="utf-8")
)


def price(service: str, model: str, moment: datetime = NOW, **usage: Any) -> Price:
    return BOOK.price(service, model, TokenUsage(**usage), moment)


@pytest.mark.parametrize(
    "entry", [*DOCUMENT["price"], *DOCUMENT["adjustment"]], ids=lambda entry: str(entry)[:60]
)
def test_every_entry_says_where_and_when_it_was_read(entry: dict[str, Any]) -> None:
    assert entry["source"].startswith("https://")
    assert entry["verified"] <= date.fromisoformat(DOCUMENT["version"])


def test_a_price_of_the_overlay_says_where_it_comes_from() -> None:
    origin = price("openai", "dall-e-3", images=1, image_size="1024x1024").origin
    assert origin == {
        "source": "overlay",
        "version": DOCUMENT["version"],
        "model": "dall-e-3",
        "match": "exact",
        "status": "priced",
        "effective": "2023-11-06",
        "verified": "2026-11-26",
        "url": "https://developers.openai.com/api/docs/models/dall-e-3",
    }


def test_a_tier_of_an_earlier_day_is_the_packages_price_with_the_page_that_says_so() -> None:
    day = datetime(2025, 9, 1, tzinfo=UTC)
    origin = price("openai", "gpt-5", day, input_tokens=1, service_tier="flex").origin
    assert origin["source"] == "genai-prices"
    assert origin["adjusted"] == "service_tier flex"
    assert origin["url"] == "https://developers.openai.com/api/docs/guides/flex-processing"


def test_trap_the_batch_discount_of_an_earlier_day_is_not_forgotten() -> None:
    day = datetime(2024, 9, 1, tzinfo=UTC)
    counts = {"input_tokens": 1_000, "output_tokens": 100}
    standard = price("openai", "gpt-4o-2024-08-06", day, **counts)
    batch = price("openai", "gpt-4o-2024-08-06", day, **counts, service_tier="batch")
    assert (standard.cost_usd, batch.cost_usd) == (Decimal("0.0035"), Decimal("0.00175"))
    assert batch.origin["status"] == "priced"


def test_a_tier_before_it_existed_is_estimated_at_the_standard_price() -> None:
    day_before, first_day = (
        price(
            "openai",
            "gpt-4-0613",
            datetime(2024, 4, day, tzinfo=UTC),
            input_tokens=1_000,
            service_tier="batch",
        )
        for day in (14, 15)
    )
    assert (day_before.cost_usd, first_day.cost_usd) == (Decimal("0.03"), Decimal("0.015"))
    assert (day_before.origin["match"], first_day.origin["match"]) == ("fallback", "alias")


def test_a_priority_price_whose_history_is_not_known_is_an_estimate() -> None:
    day = datetime(2025, 9, 1, tzinfo=UTC)
    usage = {"input_tokens": 1_000, "output_tokens": 0, "service_tier": "priority"}
    found = price("openai", "gpt-4.1", day, **usage)
    assert found.cost_usd == Decimal("0.0035")
    assert found.origin["status"] == "estimated"
    assert "its history is not known" in found.origin["assumed"]


def test_the_standard_price_for_fast_service_of_an_unknown_price_is_flagged() -> None:
    found = price("anthropic", "claude-haiku-4-5", input_tokens=1_000, speed="fast")
    assert found.origin["match"] == "fallback"
    assert found.origin["assumed"] == "standard price; none is known for speed fast"


def test_a_fine_tuned_model_is_found_by_its_base_and_no_other_is() -> None:
    names = ("ft:gpt-4.1-2025-04-14:team::id", "ft:gpt-4.1-max:team::id", "gpt-4.1-max")
    origins = [price("openai", name, input_tokens=1).origin for name in names]
    assert (origins[0]["model"], origins[0]["match"]) == ("ft:gpt-4.1", "alias")
    assert [origin.get("reason") for origin in origins[1:]] == ["unknown model"] * 2


def test_a_release_that_the_overlay_does_not_name_is_unpriced() -> None:
    found = price("openai", "dall-e-3-2030-01-01", images=1, image_size="1024x1024")
    assert found == Price.unpriced("unknown model")


def test_a_price_of_the_overlay_is_adjusted_too() -> None:
    found = price(
        "openai", "ft:gpt-4.1:t::i", input_tokens=1_000, output_tokens=0, service_tier="batch"
    )
    assert found.cost_usd == Decimal("0.0015")
    assert found.origin["status"] == "estimated"
    unknown = price(
        "openai", "ft:gpt-4.1:t::i", input_tokens=1_000, output_tokens=0, service_tier="flex"
    )
    assert (unknown.cost_usd, unknown.origin["match"]) == (Decimal("0.003"), "fallback")


def test_an_adjustment_ends_with_its_last_day() -> None:
    costs = [
        price(
            "anthropic",
            "claude-opus-4-7",
            datetime(2026, 7, day, tzinfo=UTC),
            input_tokens=1_000,
            speed="fast",
        ).cost_usd
        for day in (24, 25)
    ]
    assert costs == [Decimal("0.03"), Decimal("0.005")]


def test_a_container_for_code_is_an_estimate_and_a_call_without_one_is_not() -> None:
    with_one = price("openai", "gpt-5", input_tokens=1, output_tokens=0, code_executions=1)
    without = price("openai", "gpt-5", input_tokens=1, output_tokens=0)
    assert with_one.origin["assumed"] == "containers for code have 1 GB; larger ones cost more"
    assert (with_one.origin["status"], without.origin["status"]) == ("estimated", "priced")


def test_a_web_search_that_may_have_been_the_preview_is_an_estimate() -> None:
    counts = {"input_tokens": 1_000, "output_tokens": 0, "web_searches": 1}
    both = [
        price("openai", model, **counts, code_executions=code)
        for model, code in (("gpt-4o", 0), ("gpt-5", 0), ("gpt-4o", 1))
    ]
    assert [found.origin["status"] for found in both] == ["estimated", "priced", "estimated"]
    assert both[0].cost_usd == Decimal("0.0125")
    assert "web_search_preview" in both[0].origin["assumed"]


def test_an_image_of_a_size_without_a_price_is_unpriced() -> None:
    found = price("openai", "dall-e-3", images=1, image_size="64x64")
    assert found == Price.unpriced("no price for images (64x64)")


def test_places_are_estimates_because_no_call_knows_the_volume_of_its_month() -> None:
    origin = price("google_places", "places_api", sku="places_api_text_search_pro").origin
    assert origin["status"] == "estimated"
    assert origin["assumed"] == "first paid volume tier; free monthly calls: 5,000"
    assert origin["effective"] == "2025-03-01"


@pytest.mark.parametrize("sku", ["no_such_sku", "places_details+no_such_sku", "+", ""])
def test_a_call_with_an_unknown_sku_is_unpriced_and_never_free(sku: str) -> None:
    assert price("google_places", "places_api", sku=sku) == Price.unpriced("unknown SKU")


def test_a_sku_before_its_price_is_known_is_unpriced() -> None:
    found = price(
        "google_places",
        "places_api",
        datetime(2025, 2, 28, tzinfo=UTC),
        sku="places_api_text_search_pro",
    )
    assert found.cost_usd is None


def test_what_is_free_costs_0_with_a_source() -> None:
    free = price("openai", "omni-moderation-latest")
    assert free.cost_usd == 0
    assert free.origin["status"] == "priced"
    assert free.origin["url"] == "https://developers.openai.com/api/docs/guides/moderation"


def test_an_override_comes_before_the_overlay() -> None:
    book = PriceBook({("google_places", "find_place"): TokenPrice(request=Decimal("9.5"))})
    found = book.price("google_places", "places_api", TokenUsage(sku="find_place"), NOW)
    assert found.cost_usd == Decimal("0.0095")
    assert found.origin["source"] == "override"


def test_every_sku_that_a_call_to_places_can_have_has_a_price() -> None:
    from receipt_label.providers import google_places_skus as skus

    new = {sku for table in skus._NEW_BY_FIELDS.values() for sku in table.values()}
    known = {
        *new,
        *skus._NEW_BY_CALL.values(),
        *skus._LEGACY_BY_CALL.values(),
        *skus._LEGACY_WITH_DATA.values(),
        *skus._IDS_REFRESH.values(),
        *skus._LEGACY_FIELDS,
    }
    unpriced = [sku for sku in known if price("google_places", "x", sku=sku).cost_usd is None]
    assert unpriced == []
