"""The one place that knows what a call costs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

from receipt_label.pricing.price import Price, UnpricedError
from receipt_label.pricing.token_usage import TokenUsage

if TYPE_CHECKING:
    from receipt_label.pricing.price_file import PriceEntry
    from receipt_label.pricing.price_lists import PriceLists
    from receipt_label.pricing.token_price import TokenPrice


class PriceBook:
    """Prices calls: the user's own prices first, then our overlay, then ``genai-prices``.

    In a tracker the prices that added providers bring come second.

    What cannot be priced costs None, never 0: an unknown model, a model whose name merely
    begins like a known one, counts that contradict each other, a kind of usage without a
    price. Decimal throughout; nothing is rounded but to the 38 digits of a DynamoDB number.
    Safe for threads and forks. The price lists are imported when they are first needed.

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
        self._overrides: list[PriceEntry] = []
        self._find_added: Callable[[str], list[PriceEntry]] = _find_none
        self._lists: PriceLists | None = None
        if overrides:
            from receipt_label.pricing.overrides import read_overrides

            self._overrides = read_overrides(overrides)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """Make a book with the user's own prices in a file: see ``docs/prices.md``.

        Raises:
            ConfigurationError: The file cannot be read or is malformed; the message names
                file, entry, field, value and what is accepted.
        """
        from receipt_label.pricing.price_file import read_price_file

        book = cls()
        book._overrides = read_price_file(Path(path))
        return book

    def supplement(self, find_added: Callable[[str], list[PriceEntry]]) -> None:
        """Ask for a service's own price list too, as a tracker does for added providers.

        Args:
            find_added: Returns the entries of a service's list when it is first priced; they
                come after the user's own prices and before all others.
        """
        if find_added is not self._find_added:
            self._find_added = find_added
            self._lists = None

    def load(self) -> None:
        """Load the price lists now; otherwise the first call to price waits for it (0.2 s)."""
        self._open_lists()

    def price(self, service: str, model: str, usage: TokenUsage, timestamp: datetime) -> Price:
        """Return what a call cost, or why that is not known.

        Args:
            service: Provider, such as "openai" or "anthropic".
            model: The model that served the call, not the one asked for.
            usage: What it used, with the tier that served it.
            timestamp: When it began; prices are those of that day in UTC. A naive time is
                taken as UTC.
        """
        lists = self._lists
        if lists is None:
            lists = self._open_lists()
        try:
            return lists.price(service, model, usage, timestamp)
        except UnpricedError as error:
            return Price.unpriced(str(error))

    def _open_lists(self) -> PriceLists:
        from receipt_label.pricing.price_lists import PriceLists

        # Two threads may both do it; either's are as good.
        self._lists = PriceLists(self._overrides, self._find_added)
        return self._lists


def _find_none(service: str) -> list[PriceEntry]:  # noqa: ARG001
    return []
