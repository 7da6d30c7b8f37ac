"""The cost of one call, or why it is unknown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Self

UNPRICED = "unpriced"


@dataclass(frozen=True, slots=True)
class Price:
    """The cost of one call.

    Attributes:
        cost_usd: Exact cost in USD; None when it is not known, which is never 0.
        origin: Where the price comes from, for the record's metadata: ``status`` is
            "priced", "estimated" (``assumed`` says on what), "partial" or "unpriced"
            (``reason`` says why, in a few words). The rest is described in
            ``docs/prices.md``.
    """

    cost_usd: Decimal | None
    origin: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def unpriced(cls, reason: str) -> Self:
        """Return the price of a call whose cost is not known."""
        return cls(None, {"status": UNPRICED, "reason": reason})


class UnpricedError(Exception):
    """The cost of a call is unknown; the text has the reason, in a few words."""
