"""Prices of the ``genai-prices`` package, with guards against what it would price wrongly.

It is imported on first use: its data takes a fifth of a second to load. It never goes to
the network unless the program itself starts its ``UpdatePrices``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from receipt_label.pricing.model_names import is_priced_by
from receipt_label.pricing.price import UnpricedError
from receipt_label.pricing.token_usage import TokenUsage

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, PriceCalculation

PACKAGE: Final = "genai-prices"

# A tier that costs what the price list's standard rates say.
_STANDARD_TIERS: Final = frozenset({"default", "standard", "auto"})

# What must have a price of its own, or the package counts it at a lower price or at none.
_NEEDED_PRICES: Final[Mapping[str, str]] = {
    "input_tokens": "input_mtok",
    "output_tokens": "output_mtok",
    "input_audio_tokens": "input_audio_mtok",
    "output_audio_tokens": "output_audio_mtok",
    "web_searches": "web_searches_kcount",
}

_COUNTS: Final = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "input_audio_tokens",
    "output_audio_tokens",
    "web_searches",
)


def load_prices() -> None:
    """Import the package and its data now, so that no call has to wait for it."""
    from genai_prices.data_snapshot import get_snapshot

    get_snapshot()


def price_by_genai(
    service: str, model: str, usage: TokenUsage, timestamp: datetime
) -> tuple[Decimal, dict[str, Any]]:
    """Return the cost in USD and where it comes from.

    Args:
        service: Provider id, such as "openai".
        model: The model that served the call.
        usage: What it used.
        timestamp: When; prices are those of that day.

    Raises:
        UnpricedError: The package has no answer.
    """
    import genai_prices

    context = _make_context(service, usage)
    try:
        found = genai_prices.calc_price(
            genai_prices.Usage(**_read_counts(usage)),
            model,
            provider_id=service,
            genai_request_timestamp=timestamp,
            price_context=context,
        )
    except LookupError as error:
        raise UnpricedError("unknown model") from error
    except ValueError as error:  # More cached than read, for example.
        raise UnpricedError("counts contradict each other") from error
    if not is_priced_by(model, found.model.match):
        raise UnpricedError("unknown model")
    _check_that_all_is_priced(found, usage)
    return found.total_price, _describe(found, model, context, timestamp)


def _read_counts(usage: TokenUsage) -> dict[str, int]:
    return {name: count for name in _COUNTS if (count := getattr(usage, name))}


def _make_context(service: str, usage: TokenUsage) -> dict[str, str]:
    """Return the package's terms for the tier that served the call, if it was not the standard."""
    tier = usage.service_tier or ""
    context: dict[str, str] = {}
    if tier == "batch":
        context["processing"] = "batch"
    elif tier and tier not in _STANDARD_TIERS:
        context["service_tier"] = tier
    if usage.speed and usage.speed != "standard" and service == "anthropic":
        context["speed"] = usage.speed
    return context


def _check_that_all_is_priced(found: PriceCalculation, usage: TokenUsage) -> None:
    prices = found.model_price
    for name, price in _NEEDED_PRICES.items():
        if getattr(usage, name) and getattr(prices, price) is None:
            raise UnpricedError(f"no price for {name.replace('_', ' ')}")
    # Without a price for an hour, these would be charged at that for five minutes.
    hourly = usage.cache_write_1h_tokens and prices.cache_write_mtok is not None
    if hourly and prices.cache_write_1h_mtok is None:
        raise UnpricedError("no price for cache writes for an hour")


def _describe(
    found: PriceCalculation, model: str, context: Mapping[str, str], timestamp: datetime
) -> dict[str, Any]:
    import genai_prices

    exact = model.lower() == found.model.id.lower()
    origin: dict[str, Any] = {
        "source": PACKAGE,
        "version": genai_prices.__version__,
        "model": found.model.id,
        "match": "exact" if exact else "alias",
        "status": "priced",
    }
    if found.auto_update_timestamp is not None:
        origin["updated"] = found.auto_update_timestamp.isoformat()
    if context and not _knows_context(found.model, context, timestamp):
        # The package answers with the standard price where it does not know the tier's.
        origin["status"] = "estimated"
        origin["assumed"] = "standard price; none is known for " + ", ".join(
            f"{name} {value}" for name, value in context.items()
        )
    return origin


def _knows_context(model: ModelInfo, context: Mapping[str, str], timestamp: datetime) -> bool:
    known: set[str] = set()
    for variant in model.price_variants or ():
        is_active = variant.constraint is None or variant.constraint.active(timestamp)
        if is_active and all(context.get(name) == value for name, value in variant.when.items()):
            known |= variant.when.keys()
    return known >= context.keys()
