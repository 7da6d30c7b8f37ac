"""Prices of our own for what ``genai-prices`` lacks: see ``overlay.toml`` beside this file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Any, Final

from receipt_label.pricing.model_names import strip_release
from receipt_label.pricing.price_file import EntryTable, PriceEntry, parse_toml, read_entries
from receipt_label.pricing.rate_card import RateCard, Rates
from receipt_label.pricing.rates import TOKEN_RATES
from receipt_label.pricing.terms import Terms

FILE: Final = "overlay.toml"

ALL: Final = "*"
"""Stands for every model of a service."""

_FINE_TUNED: Final = "ft:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment:
    """The change of the standard price for a tier, a speed or a place of service.

    Attributes:
        service: Provider.
        term: The one term that it is for.
        models: Names of the models, or ``*``.
        valid_from: First day on which it holds.
        valid_until: Last day; None for ever.
        factor: Of the standard price of tokens; None when each model has its own, which
            is the one that genai-prices verified later.
        source: Address of the page with the price.
        verified: The day when it was read there.
        assumed: What it rests on, where it cannot be known.
    """

    service: str
    term: Terms
    models: frozenset[str]
    valid_from: date
    valid_until: date | None = None
    factor: Decimal | None = None
    source: str
    verified: date
    assumed: str | None = None

    def is_for(self, service: str, model: str, term: Terms, day: date) -> bool:
        """Return whether it is for a term of a model on a day."""
        return (
            (service, term) == (self.service, self.term)
            and (ALL in self.models or model in self.models)
            and self.valid_from <= day <= (self.valid_until or day)
        )

    def scale(self, card: RateCard, factor: Decimal) -> RateCard:
        """Return a card with the prices of tokens multiplied by a factor."""
        return RateCard(
            _scale(card.rates, factor),
            tuple((above, _scale(rates, factor)) for above, rates in card.steps),
            self.annotate(card.origin),
            card.varies_within_day,
        )

    def project(self, card: RateCard, standard: RateCard, verified: RateCard) -> RateCard:
        """Return a card whose prices are to it as ``verified`` ones are to ``standard`` ones.

        Args:
            card: Standard prices of the day.
            standard: Those of a later day.
            verified: Those of the tier on that later day.
        """
        steps = {above for one in (card, standard, verified) for above, _ in one.steps}

        def price(above: int) -> Rates:
            cards = (card, standard, verified)
            return _project(*(one.find_rates(above + 1 if above else 0) for one in cards))

        return RateCard(
            price(0),
            tuple((above, price(above)) for above in sorted(steps)),
            self.annotate(card.origin),
            card.varies_within_day,
        )

    def annotate(self, origin: Mapping[str, Any]) -> dict[str, Any]:
        """Return an origin that says that this played a part."""
        noted = {
            **origin,
            "adjusted": self.term.describe(),
            "verified": self.verified.isoformat(),
            "url": self.source,
        }
        if self.assumed is not None:
            noted |= {"status": "estimated", "assumed": self.assumed}
        return noted


class Overlay:
    """The price list that comes with this package.

    Args:
        document: The parsed ``overlay.toml``.

    Raises:
        ConfigurationError: It is malformed.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        entries = read_entries(FILE, document.get("price", []))
        self.version: str = document["version"]
        self._entries = EntryTable(entry for entry in entries if not entry.adds)
        self._additions = EntryTable(entry for entry in entries if entry.adds)
        self._adjustments = [_read_adjustment(table) for table in document.get("adjustment", [])]

    def find_entry(self, service: str, model: str, day: date) -> PriceEntry | None:
        """Return what a model costs, if it is here."""
        found = self._entries.find(service, model, day)
        if found is None and model.startswith(_FINE_TUNED):
            found = self._entries.find(service, strip_release(model), day)
        return found

    def find_additions(self, service: str, model: str, day: date) -> list[PriceEntry]:
        """Return what fills in the tools' prices that other lists lack for a model."""
        found = (self._additions.find(service, name, day) for name in (model, ALL))
        return [entry for entry in found if entry is not None]

    def find_adjustments(
        self, service: str, model: str, term: Terms, day: date
    ) -> list[Adjustment]:
        """Return what one term does to the price of a model, the surest knowledge first."""
        return [
            adjustment
            for adjustment in self._adjustments
            if adjustment.is_for(service, model, term, day)
        ]


@cache
def load_overlay() -> Overlay:
    """Return the overlay; it is read once."""
    text = resources.files(__package__).joinpath(FILE).read_text(encoding="utf-8")
    return Overlay(parse_toml(FILE, text))


def _read_adjustment(table: Mapping[str, Any]) -> Adjustment:
    fields = dict(table)
    term = Terms(**{name: fields.pop(name, None) for name in Terms._fields})
    models = frozenset(fields.pop("models", (ALL,)))
    return Adjustment(term=term, models=models, **fields)


def _scale(rates: Rates, factor: Decimal) -> Rates:
    changed = {
        name: price * factor for name in TOKEN_RATES if (price := getattr(rates, name)) is not None
    }
    return replace(rates, **changed)


def _project(rates: Rates, standard: Rates, verified: Rates) -> Rates:
    changed: dict[str, Any] = {}
    for name in TOKEN_RATES:
        price, base, tier = (getattr(one, name) for one in (rates, standard, verified))
        # Where the standard price was the same, as it is nearly always, this is exact.
        changed[name] = price * tier / base if price and base and tier is not None else tier
    return replace(rates, **changed)
