"""Google Places: what a call to it is billed as. Nothing here imports a Google package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from receipt_label.pricing import TokenUsage
from receipt_label.providers.google_places_skus import BilledAs
from receipt_label.providers.reply import Reply

PLACES_MODEL: Final = "places_api"
"""Model in the records of Google Places, which has none."""


def read_places(billed_as: BilledAs) -> Callable[[object], Reply]:
    """Return a reader of replies: they say nothing, the request does."""
    details: dict[str, Any] = {
        name: value
        for name, value in (("sku", billed_as.sku), ("field_tier", billed_as.tier))
        if value is not None
    }
    usage = None if billed_as.sku is None else TokenUsage(sku=billed_as.sku)

    def read(result: object) -> Reply:  # noqa: ARG001
        return Reply(usage=usage, details=details)

    return read
