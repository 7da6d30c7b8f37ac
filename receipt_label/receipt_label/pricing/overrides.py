"""Prices that the user gives in code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from receipt_label.pricing.price_file import PriceEntry, check_overlaps
from receipt_label.pricing.token_price import TokenPrice


def read_overrides(
    overrides: Mapping[tuple[str, str], TokenPrice | Sequence[TokenPrice]],
) -> list[PriceEntry]:
    """Return the entries for prices by (service, model).

    Raises:
        TypeError: A key is not a pair of str, or a value not a :class:`TokenPrice`.
        ValueError: Two prices for one model hold on the same days.
    """
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
