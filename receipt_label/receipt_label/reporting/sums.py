"""What many calls come to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact
from typing import TYPE_CHECKING, Final

from receipt_label.pricing.unpriced import find_reason

if TYPE_CHECKING:
    from receipt_dynamo import AIUsageMetric

# DynamoDB's numbers have 38 digits between 1E-130 and 9.9E+125: a sum of them has up to 256,
# and as many more as the number of rows has. Python's own 28 would round it.
_EXACT: Final = Context(prec=300, traps=[Inexact])


def add_exactly(amounts: Iterable[Decimal]) -> Decimal:
    """Return the sum of ``amounts``, rounded to nothing."""
    total = Decimal(0)
    for amount in amounts:
        total = _EXACT.add(total, amount)
    return total


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
        partial: Records whose reply told only some of the counts.
        errors: Records of calls that failed.
        latency_ms: Duration of those calls that tell it, in milliseconds.
        timed: How many tell it.
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
            self.cost_usd = _EXACT.add(self.cost_usd, record.cost_usd)
            status = _read_status(record)
            self.estimated += status == "estimated"
            self.partial += status == "partial"
        self.errors += record.error is not None
        if record.latency_ms is not None:
            self.latency_ms = _EXACT.add(self.latency_ms, Decimal(record.latency_ms))
            self.timed += 1

    def merge(self, other: Sums) -> None:
        """Add what ``other`` holds."""
        for name in ("records", "api_calls", "input_tokens", "output_tokens", "unpriced"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("estimated", "partial", "errors", "timed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.cost_usd = _EXACT.add(self.cost_usd, other.cost_usd)
        self.latency_ms = _EXACT.add(self.latency_ms, other.latency_ms)

    @property
    def mean_latency_ms(self) -> float | None:
        """Mean duration of a call in milliseconds; None when no record tells one."""
        return float(self.latency_ms / self.timed) if self.timed else None


def _read_status(record: AIUsageMetric) -> object:
    pricing = record.metadata.get("pricing")
    return pricing.get("status") if isinstance(pricing, Mapping) else None
