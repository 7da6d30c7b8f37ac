"""Price a call: an exact cost in USD with its origin, or none at all; never a guess of 0.

A name brings its module when it is first used, and so do price lists.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from receipt_label.pricing.price import Price
    from receipt_label.pricing.price_book import PriceBook
    from receipt_label.pricing.token_price import TokenPrice
    from receipt_label.pricing.token_usage import TokenUsage
    from receipt_label.pricing.unpriced import UnpricedGroup, list_unpriced

__all__ = ["Price", "PriceBook", "TokenPrice", "TokenUsage", "UnpricedGroup", "list_unpriced"]

_HOMES: Final = {
    "Price": "price",
    "PriceBook": "price_book",
    "TokenPrice": "token_price",
    "TokenUsage": "token_usage",
    "UnpricedGroup": "unpriced",
    "list_unpriced": "unpriced",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found
