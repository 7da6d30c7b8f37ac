"""The price list that a provider brings with it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from receipt_label.providers.registry import find_provider

if TYPE_CHECKING:
    from receipt_label.pricing.price_file import PriceEntry

_logger = logging.getLogger(__name__)


def find_provider_prices(service: str) -> list[PriceEntry]:
    """Return what a provider charges that brings a list; a bad list is logged and left out."""
    try:
        provider = find_provider(service)
        if provider is None or provider.prices is None:
            return []
        from receipt_label.pricing.price_file import read_price_file

        entries = read_price_file(provider.prices)
    except Exception as error:  # noqa: BLE001 - a file of somebody else's
        _logger.warning("the prices of %s cannot be used: %s", service, error)
        return []
    # A list is for its own provider: it changes no other provider's prices.
    return [entry for entry in entries if entry.service == service]
