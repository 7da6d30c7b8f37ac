"""What a call cost: exact prices in USD, with their origin, or none at all; never a guess of 0."""

from receipt_label.pricing.price_book import Price, PriceBook, TokenPrice
from receipt_label.pricing.token_usage import TokenUsage

__all__ = ["Price", "PriceBook", "TokenPrice", "TokenUsage"]
