"""The sums of many calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from functools import reduce
from typing import TYPE_CHECKING

from receipt_dynamo.support import UsageSum, add_exactly
from receipt_label.pricing.unpriced import find_reason

if TYPE_CHECKING:
    from receipt_dynamo import AIUsageMetric


def sum_exactly(amounts: Iterable[Decimal]) -> Decimal:
    """Return the sum of ``amounts``, rounded to nothing."""
    return reduce(add_exactly, amounts, Decimal(0))


@dataclass(slots=True)
class Sums(UsageSum):
    """Sums over records, with how sure they are.

    Attributes:
        unpriced: Records without a cost that must have had one: the cost is a lower bound.
        estimated: Records whose price rests on an assumption.
        partial: Records whose reply had only some of the counts.
        latency_ms: Duration of the calls that have one, in milliseconds.
        timed: The number of calls that have one.
    """

    unpriced: int = 0
    estimated: int = 0
    partial: int = 0
    latency_ms: int = 0
    timed: int = 0

    def add(self, record: AIUsageMetric) -> None:
        """Add a record."""
        UsageSum.add(self, record)  # Not super(): a dataclass with slots is made anew.
        if record.cost_usd is None:
            self.unpriced += find_reason(record) is not None
        else:
            status = _read_status(record)
            self.estimated += status == "estimated"
            self.partial += status == "partial"
        if record.latency_ms is not None:
            self.latency_ms += record.latency_ms
            self.timed += 1

    def merge(self, other: Sums) -> None:
        """Add what ``other`` holds."""
        for each in fields(self):
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            total = add_exactly(mine, theirs) if isinstance(mine, Decimal) else mine + theirs
            setattr(self, each.name, total)

    @property
    def mean_latency_ms(self) -> float | None:
        """Mean duration of a call in milliseconds; None when no record has one."""
        return self.latency_ms / self.timed if self.timed else None


def _read_status(record: AIUsageMetric) -> object:
    pricing = record.metadata.get("pricing")
    return pricing.get("status") if isinstance(pricing, Mapping) else None
