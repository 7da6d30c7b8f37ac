"""What many calls come to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from functools import reduce
from typing import TYPE_CHECKING

from receipt_dynamo.support import add_exactly
from receipt_label.pricing.unpriced import find_reason

if TYPE_CHECKING:
    from receipt_dynamo import AIUsageMetric


def sum_exactly(amounts: Iterable[Decimal]) -> Decimal:
    """Return the sum of ``amounts``, rounded to nothing."""
    return reduce(add_exactly, amounts, Decimal(0))


@dataclass(slots=True)
class Sums:
    """Sums over records.

    Attributes:
        records: How many records.
        api_calls: Calls that they stand for.
        input_tokens: Tokens read, where it is known.
        output_tokens: Tokens written, where it is known.
        cost_usd: Exact sum of the known costs, in USD.
        unpriced: Records without a cost that must have had one: the cost is a lower bound.
        estimated: Records whose price rests on an assumption.
        partial: Records whose reply had only some of the counts.
        errors: Records of calls that failed.
        latency_ms: Duration of the calls that have one, in milliseconds.
        timed: How many have one.
    """

    records: int = 0
    api_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    unpriced: int = 0
    estimated: int = 0
    partial: int = 0
    errors: int = 0
    latency_ms: Decimal = Decimal(0)
    timed: int = 0

    def add(self, record: AIUsageMetric) -> None:
        """Add a record."""
        self.records += 1
        self.api_calls += record.api_calls
        self.input_tokens += record.input_tokens or 0
        self.output_tokens += record.output_tokens or 0
        if record.cost_usd is None:
            self.unpriced += find_reason(record) is not None
        else:
            self.cost_usd = add_exactly(self.cost_usd, record.cost_usd)
            status = _read_status(record)
            self.estimated += status == "estimated"
            self.partial += status == "partial"
        self.errors += record.error is not None
        if record.latency_ms is not None:
            self.latency_ms = add_exactly(self.latency_ms, Decimal(record.latency_ms))
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
        return float(self.latency_ms / self.timed) if self.timed else None


def _read_status(record: AIUsageMetric) -> object:
    pricing = record.metadata.get("pricing")
    return pricing.get("status") if isinstance(pricing, Mapping) else None
