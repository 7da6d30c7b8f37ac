"""The exact sum of records."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from receipt_dynamo.entities.attribute_values import add_exactly

if TYPE_CHECKING:
    from receipt_dynamo.entities.ai_usage_metric import AIUsageMetric


@dataclass(slots=True)
class UsageSum:
    """A sum that grows record by record.

    Attributes:
        records: How many records.
        api_calls: Calls that they stand for.
        input_tokens: Tokens read, where it is known.
        output_tokens: Tokens written, where it is known.
        cost_usd: Exact sum of the known costs, in USD.
        errors: Records of calls that failed.
    """

    records: int = 0
    api_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    errors: int = 0

    def add(self, record: AIUsageMetric) -> None:
        """Add a record."""
        self.records += 1
        self.api_calls += record.api_calls
        self.input_tokens += record.input_tokens or 0
        self.output_tokens += record.output_tokens or 0
        self.errors += record.error is not None
        if record.cost_usd is not None:
            self.cost_usd = add_exactly(self.cost_usd, record.cost_usd)
