"""Prices of the ``genai-prices`` package, with guards against what it would price wrongly.

The package never goes to the network unless the program itself starts its ``UpdatePrices``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

import genai_prices
from genai_prices.types import (
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    PriceCalculation,
    PriceVariant,
)

from receipt_label.pricing.model_names import is_priced_by
from receipt_label.pricing.price import UnpricedError
from receipt_label.pricing.rate_card import RateCard, Rates
from receipt_label.pricing.rates import TOKEN_RATES
from receipt_label.pricing.terms import Terms

PACKAGE: Final = "genai-prices"
UNKNOWN_MODEL: Final = "unknown model"

_RATES: Final[Mapping[str, str]] = {
    **{name: f"{name}_mtok" for name in TOKEN_RATES},
    "reasoning": "output_reasoning_mtok",
    "characters": "input_mchars",
    "audio_hour": "audio_hours",
    "request": "requests_kcount",
    "web_search": "web_searches_kcount",
    "file_search": "storage_searches_kcount",
    "code_execution": "code_executions_kcount",
}
"""The package's names of our rates; both are for the same quantities."""

# Parts that our usage does not count apart from the rates that they are parts of: such usage
# is unpriced (cached audio), or has the same price.
_PARTS: Final = frozenset(
    {
        "cache_write_5m_mtok",
        "cache_audio_read_mtok",
        "cache_image_read_mtok",
        "cache_video_read_mtok",
        "input_audio_hours",
    }
)


@dataclass(frozen=True, slots=True)
class Listing:
    """The package's prices of a model at a moment.

    Attributes:
        card: Its prices.
        unknown: The terms for which it has no price at that moment, so that ``card`` has
            the standard one for them.
        known_from: Where the price of the unknown tier begins later: the day when it was
            first verified.
    """

    card: RateCard
    unknown: Terms
    known_from: date | None


def find_listing(service: str, model: str, terms: Terms, moment: datetime) -> Listing:
    """Return the prices of a model at a moment.

    Args:
        service: Provider id, such as "openai".
        model: The model that served the call.
        terms: How it was served.
        moment: When; prices are those of that day.

    Raises:
        UnpricedError: The package does not know the model.
    """
    context = _make_context(terms)
    try:
        # Nothing is counted: this is the public way to the prices of a model.
        found = genai_prices.calc_price(
            genai_prices.Usage(),
            model,
            provider_id=service,
            genai_request_timestamp=moment,
            price_context=context,
        )
    except LookupError as error:
        raise UnpricedError(UNKNOWN_MODEL) from error
    if not is_priced_by(model, found.model.match):
        raise UnpricedError(UNKNOWN_MODEL)
    variants = list(_find_variants(found.model, context))
    known = {name for variant in variants if _is_active(variant, moment) for name in variant.when}
    card = RateCard(
        _read_rates(found.model_price, 0),
        tuple((above, _read_rates(found.model_price, above + 1)) for above in _find_steps(found)),
        _describe(found, model, _find_start(found.model, variants, moment)),
        varies_within_day=_varies_within_day(found.model),
    )
    unknown = Terms(
        tier=None if known & {"processing", "service_tier"} else terms.tier,
        speed=None if "speed" in known else terms.speed,
        geo=terms.geo,
    )
    later = [start for variant in variants if (start := _read_start(variant)) is not None]
    return Listing(card, unknown, min(later, default=None))


def find_newest_day(today: date) -> date | None:
    """Return the newest day on which a price of the package began; None if it has no days.

    Args:
        today: Prices that begin later do not count.
    """
    from genai_prices.data import providers

    models = (model for provider in providers for model in provider.models)
    dated = (priced for model in models for priced in _list_dated(model))
    days = (day for priced in dated if (day := _read_start(priced)) is not None)
    return max((day for day in days if day <= today), default=None)


def _make_context(terms: Terms) -> dict[str, str]:
    """Return the package's words for the terms that are not the standard ones."""
    context: dict[str, str] = {}
    if terms.tier == "batch":
        context["processing"] = "batch"
    elif terms.tier:
        context["service_tier"] = terms.tier
    if terms.speed:
        context["speed"] = terms.speed
    return context


def _read_rates(prices: ModelPrice, input_tokens: int) -> Rates:
    """Return the rates for a call with this number of input tokens."""
    known: dict[str, Any] = {}
    for name, key in _RATES.items():
        price: Any = getattr(prices, key, None)
        if price is not None and not isinstance(price, Decimal):
            # The package's rule: the price of the highest step that the input exceeds.
            exceeded = [tier.price for tier in price.tiers if input_tokens > tier.start]
            price = exceeded[-1] if exceeded else price.base
        known[name] = price
    return Rates(**known)


def _find_steps(found: PriceCalculation) -> list[int]:
    prices = vars(found.model_price).values()
    return sorted({tier.start for price in prices for tier in getattr(price, "tiers", ())})


def _find_uncounted(prices: ModelPrice) -> list[str]:
    """Return what a model charges for and no usage of ours counts, in the package's words."""
    charged = {key for key, price in vars(prices).items() if price is not None}
    return sorted(charged - _PARTS - set(_RATES.values()))


def _find_variants(model: ModelInfo, context: Mapping[str, str]) -> Iterator[PriceVariant]:
    """Yield the variants, of any time, that are for all or part of the context."""
    for variant in model.price_variants or ():
        if all(context.get(name) == value for name, value in variant.when.items()):
            yield variant


def _is_active(priced: PriceVariant | ConditionalPrice, moment: datetime) -> bool:
    return priced.constraint is None or priced.constraint.active(moment)


def _read_start(priced: PriceVariant | ConditionalPrice) -> date | None:
    start = getattr(priced.constraint, "start_date", None)
    return start if isinstance(start, date) else None


def _find_start(
    model: ModelInfo, variants: Iterable[PriceVariant], moment: datetime
) -> date | None:
    """Return the first day of the prices of a moment, if the package has it."""
    conditions = model.prices if isinstance(model.prices, list) else []
    dated: list[PriceVariant | ConditionalPrice] = [*conditions, *variants]
    active = [priced for priced in dated if _is_active(priced, moment)]
    return max(filter(None, map(_read_start, active)), default=None)


def _varies_within_day(model: ModelInfo) -> bool:
    dated = _list_dated(model)
    return any(priced.constraint is not None and _read_start(priced) is None for priced in dated)


def _list_dated(model: ModelInfo) -> list[PriceVariant | ConditionalPrice]:
    """Return the prices of a model that hold under conditions only."""
    conditions = model.prices if isinstance(model.prices, list) else []
    return [*conditions, *(model.price_variants or ())]


def _describe(found: PriceCalculation, model: str, start: date | None) -> dict[str, Any]:
    exact = model.lower() == found.model.id.lower()
    origin: dict[str, Any] = {
        "source": PACKAGE,
        "version": genai_prices.__version__,
        "model": found.model.id,
        "match": "exact" if exact else "alias",
        "status": "priced",
    }
    if uncounted := _find_uncounted(found.model_price):
        origin |= {"status": "estimated", "assumed": f"nothing of {', '.join(uncounted)} was used"}
    if start is not None:
        origin["effective"] = start.isoformat()
    if found.auto_update_timestamp is not None:
        origin["updated"] = found.auto_update_timestamp.isoformat()
    return origin
