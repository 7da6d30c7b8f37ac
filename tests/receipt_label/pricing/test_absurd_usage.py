"""Whatever a reply tells, pricing it raises nothing and never gives a cost that cannot be."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from receipt_label.pricing import PriceBook, TokenUsage

BOOK = PriceBook()

absurd = st.one_of(
    st.integers(-(10**40), 10**40),
    st.sampled_from([None, True, 0.5, "12", Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity")]),
)
sane = st.integers(0, 10**6)
MODELS: Final = [
    *("gpt-4o", "gpt-5", "gpt-6-sol", "gpt-realtime", "gpt-image-1", "whisper-1", "tts-1"),
    *("claude-haiku-4-5", "claude-sonnet-4-20250514", "dall-e-3", "omni-moderation-latest"),
    *("text-embedding-3-small", "sonar-deep-research", "nothing-like-it", "", "*", "\ud800", "ß"),
]
COUNTS: Final = (
    *("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"),
    *("cache_write_1h_tokens", "input_audio_tokens", "output_audio_tokens"),
    *("input_image_tokens", "output_image_tokens", "reasoning_tokens", "web_searches"),
    *("file_searches", "code_executions", "input_characters", "audio_seconds", "images"),
)
terms = st.sampled_from([None, "", "batch", "flex", "priority", "fast", "default", "us", "\x00"])
usages = st.dictionaries(st.sampled_from(COUNTS), sane | absurd, max_size=6)


@given(
    service=st.sampled_from(
        ["openai", "anthropic", "perplexity", "google_places", "", "ANTHROPIC"]
    ),
    model=st.sampled_from(MODELS) | st.text(max_size=30),
    counts=usages,
    tier=terms,
    speed=terms,
    geo=terms,
    sku=st.sampled_from([None, None, "find_place", "find_place+", "+", "x"]),
    moment=st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)),
)
def test_absurd_usage_raises_nothing(
    service: str,
    model: str,
    counts: dict[str, Any],
    tier: str | None,
    speed: str | None,
    geo: str | None,
    sku: str | None,
    moment: datetime,
) -> None:
    usage = TokenUsage(**counts, service_tier=tier, speed=speed, inference_geo=geo, sku=sku)
    price = BOOK.price(service, model, usage, moment.replace(tzinfo=UTC))

    if price.cost_usd is None:
        assert price.origin["status"] == "unpriced"
        assert 0 < len(price.origin["reason"]) < 100
    else:
        assert price.cost_usd.is_finite()
        assert price.cost_usd >= 0
        assert price.cost_usd > 0 or is_free(price.origin)


def is_free(origin: Any) -> bool:
    return origin["source"] == "overlay" and "url" in origin
