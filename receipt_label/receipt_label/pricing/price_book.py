"""The one place that knows what a call costs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple, Self, TypeAlias

from receipt_label.errors import ConfigurationError
from receipt_label.pricing.card_finder import CardFinder
from receipt_label.pricing.genai_source import read_snapshot
from receipt_label.pricing.overlay import load_overlay
from receipt_label.pricing.price import Price, UnpricedError
from receipt_label.pricing.price_file import (
    EntryTable,
    PriceEntry,
    check_overlaps,
    read_price_file,
)
from receipt_label.pricing.rate_card import RateCard, check_counts
from receipt_label.pricing.terms import Terms
from receipt_label.pricing.token_price import TokenPrice
from receipt_label.pricing.token_usage import TokenUsage

MOST_CARDS: Final = 4_096
"""Price cards that are kept: one for each model, tier and day that was asked for."""


_RawTerms: TypeAlias = tuple[str | None, str | None, str | None]


class _Cards(NamedTuple):
    """The cards that were made from one state of the price list of genai-prices."""

    snapshot: object
    find: Callable[..., RateCard | str]


class PriceBook:
    """Prices calls: the user's own prices first, then our overlay, then ``genai-prices``.

    What cannot be priced costs None, never 0: an unknown model, a model whose name merely
    begins like a known one, counts that contradict each other, a kind of usage without a
    price. Decimal throughout; nothing is rounded but to the 38 digits of a DynamoDB number.
    Safe for threads and forks.

    Args:
        overrides: Prices of the user's own by (service, model); both in any case, the
            model exactly as served. Several for one model hold on different days.

    Raises:
        TypeError: A key is not a pair of str, or a value not a :class:`TokenPrice`.
        ValueError: Two prices for one model hold on the same days.
    """

    def __init__(
        self,
        overrides: Mapping[tuple[str, str], TokenPrice | Sequence[TokenPrice]] | None = None,
    ) -> None:
        self._overrides = EntryTable(_list_entries(overrides or {}))
        self._cards: _Cards | None = None

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """Make a book with the user's own prices in a file: see ``docs/prices.md``.

        Raises:
            ConfigurationError: The file cannot be read or is malformed; the message names
                file, entry, field, value and what is accepted.
        """
        name = os.fspath(path)
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"the price file {name} cannot be read: {error}") from error
        book = cls()
        book._overrides = EntryTable(read_price_file(name, text))
        return book

    def load(self) -> None:
        """Load the price data now; otherwise the first call to price waits for it (0.2 s)."""
        self._find_cards()

    def price(self, service: str, model: str, usage: TokenUsage, timestamp: datetime) -> Price:
        """Return what a call cost, or why that is not known.

        Args:
            service: Provider, such as "openai" or "anthropic".
            model: The model that served the call, not the one asked for.
            usage: What it used, with the tier that served it.
            timestamp: When it began; prices are those of that day in UTC. A naive time is
                taken as UTC.
        """
        try:
            check_counts(usage)
            card = self._find_card(service, model, usage, timestamp)
            cost = card.cost(usage)
        except UnpricedError as error:
            return Price.unpriced(str(error))
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
        card = self._find_cards()(service, model, usage.sku, terms, moment.date())
        if isinstance(card, str):
            raise UnpricedError(card)
        if card.varies_within_day:
            return self._make_card(service, model, usage.sku, terms, moment)
        return card

    def _find_cards(self) -> Callable[..., RateCard | str]:
        """Return what finds cards, anew when genai-prices has updated its data."""
        snapshot = read_snapshot()
        cards = self._cards
        if cards is None or cards.snapshot is not snapshot:
            cards = self._cards = _Cards(snapshot, lru_cache(MOST_CARDS)(self._make_card_of_day))
        return cards.find

    def _make_card_of_day(
        self, service: str, model: str, sku: str | None, terms: _RawTerms, day: date
    ) -> RateCard | str:
        """Return the card, or why there is none: that is worth keeping too."""
        try:
            return self._make_card(service, model, sku, terms, datetime.combine(day, time.min, UTC))
        except UnpricedError as error:
            return str(error)

    def _make_card(
        self, service: str, model: str, sku: str | None, terms: _RawTerms, moment: datetime
    ) -> RateCard:
        finder = CardFinder(self._overrides, load_overlay())
        if sku is not None:
            return finder.find_sum(service.lower(), sku.lower(), moment)
        return finder.find(service.lower(), model.lower(), Terms.of(*terms), moment)


def _to_utc(timestamp: datetime) -> datetime:
    if timestamp.tzinfo is None:
        return timestamp.replace(tzinfo=UTC)
    return timestamp.astimezone(UTC)


def _list_entries(
    overrides: Mapping[tuple[str, str], TokenPrice | Sequence[TokenPrice]],
) -> list[PriceEntry]:
    entries = []
    for key, given in overrides.items():
        service, model = _check_key(key)
        for price in given if isinstance(given, list | tuple) else (given,):
            if not isinstance(price, TokenPrice):
                raise TypeError(
                    f"overrides[{key!r}] is of type {type(price).__name__}; accepted are "
                    "TokenPrice and sequences of it"
                )
            entries.append(PriceEntry(service=service, models=(model,), price=price))
    check_overlaps("overrides", entries)
    return entries


def _check_key(key: object) -> tuple[str, str]:
    match key:
        case (str() as service, str() as model):
            return service.lower(), model.lower()
    raise TypeError(f"overrides has the key {key!r}; accepted are pairs (service, model) of str")
