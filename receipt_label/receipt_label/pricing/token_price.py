"""A price list entry: the user's own, or one of the overlay's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

from receipt_label.pricing.rate_card import ANY_IMAGE, RateCard, Rates
from receipt_label.pricing.rates import RATES, UnitRates
from receipt_label.pricing.terms import Terms

TIERS: Final = ("batch", "flex", "priority", "fast")
_VARIANTS: Final = ("long_context", *TIERS)

_ACCEPTED: Final = "accepted are finite numbers, 0 or more"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPrice(UnitRates):
    """A price list entry, in USD. Usage without a price here cannot be priced by it.

    Besides the prices of :class:`~receipt_label.pricing.rates.UnitRates`, such as
    ``TokenPrice(input=Decimal("2.50"), output=Decimal(10))`` for a million tokens each:

    Args:
        image: For one image; or one price for each size and quality, such as
            ``{"1024x1024 hd": ...}``, with "default" for a call that named neither.
        long_context_above: Input tokens, those from a cache included, above which
            ``long_context`` holds for the whole call.
        long_context: What differs then.
        batch: What differs in the provider's batch tier.
        flex: What differs in its flex tier.
        priority: What differs in its priority tier.
        fast: What differs in its fast tier or at its fast speed.
        valid_from: First day (UTC) on which the entry holds; None for always.
        valid_until: Last day on which it holds; None for ever.

    Raises:
        TypeError: A price is not a Decimal; a float is not exact.
        ValueError: A price is negative or not finite, no price is given, or the parts
            do not fit together.
    """

    image: Decimal | Mapping[str, Decimal] | None = None
    long_context_above: int | None = None
    long_context: TokenPrice | None = None
    batch: TokenPrice | None = None
    flex: TokenPrice | None = None
    priority: TokenPrice | None = None
    fast: TokenPrice | None = None
    valid_from: date | None = None
    valid_until: date | None = None

    def __post_init__(self) -> None:
        """Check the prices."""
        for name in RATES:
            if (price := getattr(self, name)) is not None:
                _check_price(name, price)
        for kind, price in self._list_images().items():
            _check_price(f"image[{kind!r}]", price)
        if not self._list_rates() and not self._list_images():
            raise ValueError("the entry has no price; accepted is at least one")
        if (self.long_context is None) != (self.long_context_above is None):
            raise ValueError("long_context and long_context_above are given together or not at all")
        _check_threshold(self.long_context_above)
        for name in _VARIANTS:
            if (variant := getattr(self, name)) is not None:
                _check_variant(name, variant)
        _check_days(self.valid_from, self.valid_until)

    def holds_on(self, day: date) -> bool:
        """Return whether the entry holds on a day."""
        return (self.valid_from or day) <= day <= (self.valid_until or day)

    def make_card(self, terms: Terms, origin: Mapping[str, Any]) -> RateCard:
        """Return the prices for calls under these terms.

        Where the entry has none for them, :meth:`find_unknown`, they are the standard ones.
        """
        tier = self._find_tier(terms)
        layers = [(0, self), (self.long_context_above, self.long_context)]
        if tier is not None:
            layers += [(0, tier), (tier.long_context_above, tier.long_context)]
        steps = sorted({above for above, layer in layers if layer is not None and above})
        return RateCard(
            _stack(layers, 0), tuple((above, _stack(layers, above)) for above in steps), origin
        )

    def find_unknown(self, terms: Terms) -> Terms:
        """Return the terms for which the entry has no price."""
        if self._find_tier(terms) is None:
            return terms
        return Terms(speed=terms.speed if terms.tier else None, geo=terms.geo)

    def _find_tier(self, terms: Terms) -> TokenPrice | None:
        tier = terms.tier or terms.speed
        return getattr(self, tier) if tier in TIERS else None

    def _list_rates(self) -> dict[str, Decimal]:
        return {name: price for name in RATES if (price := getattr(self, name)) is not None}

    def _list_images(self) -> Mapping[str, Decimal]:
        if self.image is None:
            return {}
        return self.image if isinstance(self.image, Mapping) else {ANY_IMAGE: self.image}


def _stack(layers: list[tuple[int | None, TokenPrice | None]], above: int) -> Rates:
    """Return the rates for more than ``above`` input tokens: a later layer comes first."""
    rates: dict[str, Any] = {}
    images: dict[str, Decimal] = {}
    for start, layer in layers:
        if layer is not None and (start or 0) <= above:
            rates |= layer._list_rates()  # noqa: SLF001
            images |= layer._list_images()  # noqa: SLF001
    return Rates(**rates, images=images)


def _check_price(name: str, price: object) -> None:
    if not isinstance(price, Decimal):
        raise TypeError(f"{name} is of type {type(price).__name__}; accepted is Decimal")
    if not price.is_finite() or price < 0:
        raise ValueError(f"{name} is {price}; {_ACCEPTED}")


def _check_threshold(above: object) -> None:
    if above is not None and (type(above) is not int or above < 1):
        raise ValueError(f"long_context_above is {above!r}; accepted are whole numbers, 1 or more")


def _check_variant(name: str, variant: object) -> None:
    if not isinstance(variant, TokenPrice):
        raise TypeError(f"{name} is of type {type(variant).__name__}; accepted is TokenPrice")
    banned = ["valid_from", "valid_until", *TIERS]
    if name == "long_context":
        banned.append("long_context")
    for inner in banned:
        if getattr(variant, inner) is not None:
            raise ValueError(f"{name} has {inner}, which belongs to the entry itself")


def _check_days(first: object, last: object) -> None:
    for name, day in (("valid_from", first), ("valid_until", last)):
        # A datetime is a date too, but cannot be compared with one.
        if day is not None and type(day) is not date:
            raise TypeError(f"{name} is of type {type(day).__name__}; accepted is date")
    if isinstance(first, date) and isinstance(last, date) and last < first:
        raise ValueError(f"valid_until is {last}; accepted are days from valid_from, {first}, on")
