"""Which prices hold for a model, a day and the terms of a call: three price lists, in order."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Final

from receipt_label.pricing.genai_source import Listing, find_listing
from receipt_label.pricing.overlay import Adjustment, Overlay
from receipt_label.pricing.price import UnpricedError
from receipt_label.pricing.price_file import EntryTable
from receipt_label.pricing.rate_card import RateCard, Rates
from receipt_label.pricing.terms import Terms
from receipt_label.pricing.token_price import estimate

SKUS_JOINED_BY: Final = "+"
"""Joins what a call is billed as, where that is several things; it costs their sum."""

_TOOLS: Final = {
    "web_search": "web_searches",
    "file_search": "file_searches",
    "code_execution": "code_executions",
}
"""Rates that may be filled in, and what they are for."""


class CardFinder:
    """Finds the prices of a model: the user's own, the overlay's, those of genai-prices.

    Args:
        overrides: The user's own entries.
        overlay: Ours.
    """

    def __init__(self, overrides: EntryTable, overlay: Overlay) -> None:
        self._overrides = overrides
        self._overlay = overlay

    def find(self, service: str, model: str, terms: Terms, moment: datetime) -> RateCard:
        """Return the prices that hold for a call.

        Args:
            service: Provider, in lower case.
            model: The model that served the call, in lower case.
            terms: How it was served.
            moment: When it began, UTC.

        Raises:
            UnpricedError: No list has the model.
        """
        day = moment.date()
        if own := self._overrides.find(service, model, day):
            return own.price.make_card(terms, own.describe("override", model))
        if ours := self._overlay.entries.find(service, model, day):
            origin = {**ours.describe("overlay", model), "version": self._overlay.version}
            return ours.price.make_card(terms, origin)
        card = self._find_in_package(service, model, terms, moment)
        return self._add_what_lacks(card, service, model, day)

    def find_sum(self, service: str, skus: str, moment: datetime) -> RateCard:
        """Return the prices of a call that is billed as one SKU or several.

        Raises:
            UnpricedError: No list has one of them.
        """
        try:
            cards = [self.find(service, sku, Terms(), moment) for sku in skus.split(SKUS_JOINED_BY)]
        except UnpricedError as error:
            raise UnpricedError("unknown SKU") from error
        known = [price for card in cards if (price := card.rates.request) is not None]
        if len(known) < len(cards):
            raise UnpricedError("unknown SKU")
        origins = [card.origin for card in cards]
        origin = next((each for each in origins if "assumed" in each), origins[0])
        total = Rates(request=sum(known, Decimal(0)))
        return RateCard(total, origin={**origin, "model": skus})

    def _find_in_package(
        self, service: str, model: str, terms: Terms, moment: datetime
    ) -> RateCard:
        listing = find_listing(service, model, terms, moment)
        card, left = listing.card, listing.unknown
        for term in listing.unknown.split():
            for found in self._overlay.find_adjustments(service, model, term, moment.date()):
                adjusted = self._adjust(card, found, listing, service, model)
                if adjusted is not None:
                    card, left = adjusted, left.without(term)
                    break
        return replace(card, origin=estimate(card.origin, left))

    @staticmethod
    def _adjust(
        card: RateCard, adjustment: Adjustment, listing: Listing, service: str, model: str
    ) -> RateCard | None:
        """Return the adjusted card; None where that needs a price that no list has."""
        if adjustment.factor is not None:
            return adjustment.scale(card, adjustment.factor)
        if listing.known_from is None:
            return None
        then = datetime.combine(listing.known_from, time.min, UTC)
        standard = find_listing(service, model, Terms(), then)
        tier = find_listing(service, model, adjustment.term, then)
        return None if any(tier.unknown) else adjustment.project(card, standard.card, tier.card)

    def _add_what_lacks(self, card: RateCard, service: str, model: str, day: date) -> RateCard:
        for entry in self._overlay.find_additions(service, model, day):
            more = entry.price.make_card(Terms(), {}).rates
            note = entry.describe("overlay", model)
            said: dict[str, Any] = {
                name: note[name] for name in ("status", "assumed", "url") if name in note
            }
            notes: dict[str, dict[str, Any]] = {
                count: said
                for rate, count in _TOOLS.items()
                # What rests on an assumption does so in whichever list it is.
                if (price := getattr(more, rate)) is not None
                and getattr(card.rates, rate) in (None, price)
            }
            card = replace(
                card,
                rates=_fill_in(card.rates, more),
                steps=tuple((above, _fill_in(rates, more)) for above, rates in card.steps),
                added={**card.added, **notes},
            )
        return card


def _fill_in(rates: Rates, more: Rates) -> Rates:
    missing = [name for name in _TOOLS if getattr(rates, name) is None]
    return replace(rates, **{name: getattr(more, name) for name in missing})
