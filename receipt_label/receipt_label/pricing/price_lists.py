"""The price lists in force, and the cards that were made from them.

Importing this module imports ``genai-prices``, whose data takes a fifth of a second to load.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from genai_prices.data_snapshot import get_snapshot

from receipt_label.pricing.card_finder import CardFinder
from receipt_label.pricing.overlay import load_overlay
from receipt_label.pricing.price import Price, UnpricedError
from receipt_label.pricing.price_file import EntryTable, PriceEntry
from receipt_label.pricing.rate_card import WORKING_DIGITS, RateCard, check_counts
from receipt_label.pricing.terms import Terms
from receipt_label.pricing.token_usage import TokenUsage

MOST_CARDS: Final = 1_024
"""Price cards that are kept: one for each model, tier and day that was asked for."""

_RawTerms: TypeAlias = tuple[str | None, str | None, str | None]


class _Cards(NamedTuple):
    """The cards that were made from one state of the data of genai-prices."""

    snapshot: object
    find: Callable[..., RateCard | str]


class PriceLists:
    """Prices calls by the price lists, and keeps what it looked up.

    Args:
        overrides: The user's own entries, which come first.
        find_added: Returns those that a service's provider brings, which come second.
    """

    def __init__(
        self, overrides: Iterable[PriceEntry], find_added: Callable[[str], Iterable[PriceEntry]]
    ) -> None:
        self._finder = CardFinder(EntryTable(overrides), find_added, load_overlay())
        self._cards = self._renew_cards()

    def price(self, service: str, model: str, usage: TokenUsage, timestamp: datetime) -> Price:
        """Return what a call cost: see :meth:`PriceBook.price`.

        Raises:
            UnpricedError: That is not known.
        """
        check_counts(usage)
        card = self._find_card(service, model, usage, timestamp)
        cost = card.cost(usage)
        origin = dict(card.origin)
        for count, note in card.added.items():
            if getattr(usage, count):
                origin.update(note)
        if usage.is_partial:
            origin["status"] = "partial"
        return Price(cost, origin)

    def _find_card(
        self, service: str, model: str, usage: TokenUsage, timestamp: datetime
    ) -> RateCard:
        moment = timestamp if timestamp.tzinfo is UTC else _to_utc(timestamp)
        terms = (usage.service_tier, usage.speed, usage.inference_geo)
        cards = self._cards
        if cards.snapshot is not get_snapshot():
            cards = self._cards = self._renew_cards()
        card = cards.find(service, model, usage.sku, terms, moment.date())
        if isinstance(card, str):
            raise UnpricedError(card)
        if card.varies_within_day:
            return self._make_card(service, model, usage.sku, terms, moment)
        return card

    def _renew_cards(self) -> _Cards:
        """Return none yet, for the data in force: ``UpdatePrices`` replaces it at any time."""
        return _Cards(get_snapshot(), lru_cache(MOST_CARDS)(self._make_card_of_day))

    def _make_card_of_day(
        self, service: str, model: str, sku: str | None, terms: _RawTerms, day: date
    ) -> RateCard | str:
        """Return the card, or why it is missing: both are kept."""
        try:
            return self._make_card(service, model, sku, terms, datetime.combine(day, time.min, UTC))
        except UnpricedError as error:
            return str(error)

    def _make_card(
        self, service: str, model: str, sku: str | None, terms: _RawTerms, moment: datetime
    ) -> RateCard:
        with decimal.localcontext(WORKING_DIGITS):
            if sku is not None:
                return self._finder.find_sum(service.lower(), sku.lower(), moment)
            return self._finder.find(service.lower(), model.lower(), Terms.of(*terms), moment)


def _to_utc(timestamp: datetime) -> datetime:
    if timestamp.tzinfo is None:
        return timestamp.replace(tzinfo=UTC)
    return timestamp.astimezone(UTC)
