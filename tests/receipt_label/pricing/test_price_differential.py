"""Our arithmetic over the prices of genai-prices, against the package's own."""

from __future__ import annotations

import decimal
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import genai_prices
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo
from hypothesis import given
from hypothesis import strategies as st

from receipt_label.pricing import PriceBook, TokenUsage
from receipt_label.pricing.genai_source import PACKAGE

BOOK = PriceBook()

SERVICES: Final = ("openai", "anthropic")
MODELS: Final = [
    (provider.id, model)
    for provider in get_snapshot().providers
    if provider.id in SERVICES
    for model in provider.models
]

# What the package calls our counts. Ours of one kind are as large as the prices allow.
COUNTS: Final = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "cache_write_1h_tokens": "cache_write_1h_tokens",
    "input_audio_tokens": "input_audio_tokens",
    "output_audio_tokens": "output_audio_tokens",
    "input_image_tokens": "input_image_tokens",
    "output_image_tokens": "output_image_tokens",
    "reasoning_tokens": "output_reasoning_tokens",
    "web_searches": "web_searches",
    "file_searches": "storage_searches",
    "input_characters": "input_characters",
    "audio_seconds": "audio_seconds",
}
TERMS: Final = {
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "fast": {"service_tier": "fast"},
    None: {},
}


@st.composite
def usages(draw: st.DrawFn) -> dict[str, Any]:
    """Counts that do not contradict each other; half of them below the long contexts."""
    counts = st.integers(0, 400_000)
    cached, written, hourly, plain = (draw(counts) for _ in range(4))
    audio, images, text, reasoning = (draw(counts) for _ in range(4))
    is_cached = draw(st.booleans())
    usage: dict[str, Any] = {"output_tokens": text + reasoning, "reasoning_tokens": reasoning}
    if is_cached:
        usage |= {
            "input_tokens": plain + cached + written + hourly,
            "cache_read_tokens": cached,
            "cache_write_tokens": written + hourly,
            "cache_write_1h_tokens": hourly,
        }
    elif draw(st.booleans()):
        usage |= {"input_tokens": plain + audio, "input_audio_tokens": audio}
        usage |= {"output_audio_tokens": text}
    else:
        usage |= {"input_tokens": plain + images, "input_image_tokens": images}
        usage |= {"output_image_tokens": text}
    if draw(st.booleans()):
        usage |= {
            "web_searches": draw(st.integers(1, 99)),
            "file_searches": draw(st.integers(0, 9)),
        }
    if draw(st.booleans()):
        usage = {"input_characters": text} if draw(st.booleans()) else {}
        usage |= {"audio_seconds": Decimal(audio) / 8}
    return usage


def price_by_package(
    service: str, model: ModelInfo, usage: dict[str, Any], tier: str | None, moment: datetime
) -> Decimal:
    counts = {COUNTS[name]: count for name, count in usage.items() if count}
    with decimal.localcontext(decimal.Context(prec=76)):
        return genai_prices.calc_price(
            genai_prices.Usage(**counts),
            model.id,
            provider_id=service,
            genai_request_timestamp=moment,
            price_context=TERMS[tier],
        ).total_price


@given(
    usage=usages(),
    tier=st.sampled_from(list(TERMS)),
    moment=st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1)),
)
def test_prices_are_those_of_the_package_where_it_is_right(
    usage: dict[str, Any], tier: str | None, moment: datetime
) -> None:
    """For every model of both providers; where we refuse, the package would leave out a part."""
    moment = moment.replace(tzinfo=UTC)
    compared = 0
    for service, model in MODELS:
        price = BOOK.price(service, model.id, TokenUsage(**usage, service_tier=tier), moment)
        if price.cost_usd is None or not is_taken_over(price.origin):
            continue
        theirs = price_by_package(service, model, usage, tier, moment)
        with decimal.localcontext(decimal.Context(prec=38)):
            assert price.cost_usd == +theirs, model.id
        compared += 1
    has_plain_input = usage.get("input_tokens") and not usage.get("input_audio_tokens")
    if has_plain_input and tier is None:
        assert compared > 20


def is_taken_over(origin: Any) -> bool:
    return origin["source"] == PACKAGE and "adjusted" not in origin
