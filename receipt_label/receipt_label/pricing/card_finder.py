"""Find the prices for a model, a day and the terms of a call: four price lists, in order."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Final

from receipt_label.pricing.genai_source import find_listing
from receipt_label.pricing.overlay import Overlay
from receipt_label.pricing.price import UnpricedError
from receipt_label.pricing.price_file import EntryTable, PriceEntry
from receipt_label.pricing.rate_card import RateCard, Rates
from receipt_label.pricing.terms import Terms

SKUS_JOINED_BY: Final = "+"
"""Joins what a call is billed as, where that is several things; it costs their sum."""

_TOOLS: Final = {
    "web_search": "web_searches",
    "file_search": "file_searches",
    "code_execution": "code_executions",
}
"""Rates that may be filled in, and what they are for."""


class CardFinder:
    """Finds the prices of a model: the user's, a provider's, the overlay's, genai-prices'.

    Args:
        overrides: The user's own entries.
        find_added: Returns those that a service's provider brings; asked once for each.
        overlay: Ours.
    """

    def __init__(
        self,
        overrides: EntryTable,
        find_added: Callable[[str], Iterable[PriceEntry]],
        overlay: Overlay,
    ) -> None:
        self._overrides = overrides
        self._find_added = functools.cache(lambda service: EntryTable(find_added(service)))
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
        added = self._find_added(service)
        for source, table in (("override", self._overrides), ("provider", added)):
            if own := table.find(service, model, day):
                # Their price holds wherever the call was served.
                unknown = own.price.find_unknown(terms)._replace(geo=None)
                card = own.price.make_card(terms, own.describe(source, model))
                return replace(card, origin=_estimate(card.origin, unknown))
        if ours := self._overlay.find_entry(service, model, day):
            origin = {**ours.describe("overlay", model), "version": self._overlay.version}
            card, unknown = ours.price.make_card(terms, origin), ours.price.find_unknown(terms)
            known_from = None
        else:
            listing = find_listing(service, model, terms, moment)
            card, unknown, known_from = listing.card, listing.unknown, listing.known_from
        card = self._adjust(card, unknown, service, model, day=day, known_from=known_from)
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

    def _adjust(
        self,
        card: RateCard,
        unknown: Terms,
        service: str,
        model: str,
        *,
        day: date,
        known_from: date | None,
    ) -> RateCard:
        """Return the card after all that is known of the terms that its list does not know."""
        left = unknown
        for term in unknown.split():
            for rule in self._overlay.find_adjustments(service, model, term, day):
                if rule.factor is not None:
                    card = rule.scale(card, rule.factor)
                elif (prices := _find_verified(service, model, term, known_from)) is not None:
                    card = rule.project(card, *prices)
                else:
                    continue
                left = left.without(term)
                break
        return replace(card, origin=_estimate(card.origin, left))

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


def _find_verified(
    service: str, model: str, tier: Terms, day: date | None
) -> tuple[RateCard, RateCard] | None:
    """Return a model's standard prices and those of a tier on the day when that was verified."""
    if day is None:
        return None
    then = datetime.combine(day, time.min, UTC)
    found = find_listing(service, model, tier, then)
    if any(found.unknown):
        return None
    return find_listing(service, model, Terms(), then).card, found.card


def _estimate(origin: Mapping[str, Any], unknown: Terms) -> Mapping[str, Any]:
    """Return the origin of a standard price that stands in for one that is not known."""
    if not any(unknown):
        return origin
    return {
        **origin,
        "match": "fallback",
        "status": "estimated",
        "assumed": f"standard price; none is known for {unknown.describe()}",
    }
