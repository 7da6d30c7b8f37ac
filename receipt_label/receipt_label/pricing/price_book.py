"""The one place that knows what a call costs."""

from __future__ import annotations

import decimal
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from receipt_label.pricing.genai_source import load_prices, price_by_genai
from receipt_label.pricing.price import Price, UnpricedError
from receipt_label.pricing.token_usage import TokenUsage

_MILLION: Final = 1_000_000

# The caller's own context may round to a few digits. 38 are what DynamoDB can hold.
_WORKING_DIGITS: Final = decimal.Context(prec=76)
_STORED_DIGITS: Final = decimal.Context(prec=38)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPrice:
    """A price list entry of the user's own, in USD for a million tokens.

    Args:
        input: For tokens read.
        output: For tokens written; None when the model writes none.
        cache_read: For tokens read from a cache; by default as ``input``.
        cache_write: For tokens written to a cache; by default as ``input``.

    Raises:
        TypeError: A price is not a Decimal; a float is not exact.
        ValueError: A price is negative or not finite.
    """

    input: Decimal
    output: Decimal | None = None
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None

    def __post_init__(self) -> None:
        """Check the prices."""
        _check_price("input", self.input)
        for name in ("output", "cache_read", "cache_write"):
            if (price := getattr(self, name)) is not None:
                _check_price(name, price)

    def cost(self, usage: TokenUsage) -> Decimal:
        """Return the cost in USD of ``usage``.

        Raises:
            UnpricedError: This entry cannot price it all.
        """
        read, written = usage.cache_read_tokens, usage.cache_write_tokens
        plain = (usage.input_tokens or 0) - read - written
        if plain < 0:
            raise UnpricedError("counts contradict each other")
        if usage.input_audio_tokens or usage.output_audio_tokens:
            raise UnpricedError("no price for audio")
        if usage.web_searches:
            raise UnpricedError("no price for web searches")
        if usage.output_tokens and self.output is None:
            raise UnpricedError("no price for output")
        cost = self.input * plain + (self.output or 0) * (usage.output_tokens or 0)
        cost += (self.input if self.cache_read is None else self.cache_read) * read
        cost += (self.input if self.cache_write is None else self.cache_write) * written
        return cost / _MILLION


class PriceBook:
    """Prices calls: the user's own prices first, then those of ``genai-prices``.

    What cannot be priced costs None, never 0: an unknown model, a model whose name merely
    begins like a known one, counts that contradict each other, a kind of usage without a
    price. Decimal throughout; nothing is rounded but to the 38 digits of a DynamoDB number.

    Args:
        overrides: Prices of the user's own by (service, model); both in any case, the
            model exactly as served.

    Raises:
        TypeError: A key is not a pair of str, or a value not a :class:`TokenPrice`.
    """

    def __init__(self, overrides: Mapping[tuple[str, str], TokenPrice] | None = None) -> None:
        self._overrides = {
            _check_key(key): _check_entry(key, entry) for key, entry in (overrides or {}).items()
        }

    def load(self) -> None:
        """Load the price data now; otherwise the first call to price waits for it (0.2 s)."""
        load_prices()

    def price(self, service: str, model: str, usage: TokenUsage, timestamp: datetime) -> Price:
        """Return what a call cost, or why that is not known.

        Args:
            service: Provider, such as "openai" or "anthropic".
            model: The model that served the call, not the one asked for.
            usage: What it used, with the tier that served it.
            timestamp: When it began; prices are those of that day.
        """
        if usage.is_unknown:
            return Price.unpriced("no usage")
        try:
            with decimal.localcontext(_WORKING_DIGITS):
                cost, origin = self._find(service, model, usage, timestamp)
        except UnpricedError as error:
            return Price.unpriced(str(error))
        if usage.is_partial:
            origin = {**origin, "status": "partial"}
        return Price(_STORED_DIGITS.plus(cost), origin)

    def _find(
        self, service: str, model: str, usage: TokenUsage, timestamp: datetime
    ) -> tuple[Decimal, dict[str, Any]]:
        entry = self._overrides.get((service.lower(), model.lower()))
        if entry is None:
            return price_by_genai(service, model, usage, timestamp)
        return entry.cost(usage), {
            "source": "override",
            "model": model,
            "match": "exact",
            "status": "priced",
        }


def _check_price(name: str, price: object) -> None:
    if not isinstance(price, Decimal):
        raise TypeError(f"{name} is of type {type(price).__name__}; accepted is Decimal")
    if not price.is_finite() or price < 0:
        raise ValueError(f"{name} is {price}; accepted are finite numbers, 0 or more")


def _check_key(key: object) -> tuple[str, str]:
    match key:
        case (str() as service, str() as model):
            return service.lower(), model.lower()
    raise TypeError(f"overrides has the key {key!r}; accepted are pairs (service, model) of str")


def _check_entry(key: object, entry: object) -> TokenPrice:
    if not isinstance(entry, TokenPrice):
        raise TypeError(
            f"overrides[{key!r}] is of type {type(entry).__name__}; accepted is TokenPrice"
        )
    return entry
