"""What a call cost: exact prices in USD, with their origin, or none at all; never a guess of 0."""

from receipt_label.pricing.price import Price
from receipt_label.pricing.price_book import PriceBook
from receipt_label.pricing.token_price import TokenPrice
from receipt_label.pricing.token_usage import TokenUsage
from receipt_label.pricing.unpriced import UnpricedGroup, list_unpriced

__all__ = ["Price", "PriceBook", "TokenPrice", "TokenUsage", "UnpricedGroup", "list_unpriced"]
