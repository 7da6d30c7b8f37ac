"""The price lists that providers bring with them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from receipt_label.providers.registry import list_providers

if TYPE_CHECKING:
    from receipt_label.pricing.price_file import PriceEntry

_logger = logging.getLogger(__name__)


def read_provider_prices() -> list[PriceEntry]:
    """Return what the providers charge that bring a list; a bad list is logged and left out."""
    from receipt_label.pricing.price_file import read_price_file

    found: list[PriceEntry] = []
    for provider in list_providers():
        if provider.prices is None:
            continue
        try:
            entries = read_price_file(provider.prices)
        except Exception as error:  # noqa: BLE001 - a file of somebody else's
            _logger.warning("the prices of %s cannot be used: %s", provider.service, error)
            continue
        # A list is for its own provider: it changes nobody else's prices.
        found += [entry for entry in entries if entry.service == provider.service]
    return found
