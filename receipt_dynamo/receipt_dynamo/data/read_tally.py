"""Count what a query read, beside the records that it returned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from receipt_dynamo.entities.ai_usage_metric import AIUsageMetric

MOST_REASONS: Final = 5
"""The number of texts of invalid items to keep: a table may hold millions of them."""


@dataclass(slots=True)
class ReadTally:
    """The figures of queries; each query adds to them while it is consumed.

    One tally may be given to several queries, one after the other or in turns, but not to
    queries that several threads consume at once.

    Attributes:
        pages: Replies to ``Query``. DynamoDB ends a page at 1 MB.
        records: Records that were returned, or added to a sum.
        other_items: Items of other types, which are skipped.
        invalid: Items of our type that are not whole records, passed over because of
            ``skip_invalid``.
        invalid_reasons: Why, of the first 5: the item's key and what is wrong.
        negative: Records with a negative figure, which is taken as unknown: earlier writers used
            -1 for "failed".
        negative_reasons: Which figures, of the first 5: the item's key and the attributes.
        read_units: Read request units that DynamoDB says it charged, those of pages that
            were read ahead and not used included. DynamoDB Local says the same; moto says 1
            for each page, and ministack 0.5, whatever the page holds.
    """

    pages: int = 0
    records: int = 0
    other_items: int = 0
    invalid: int = 0
    invalid_reasons: list[str] = field(default_factory=list)
    negative: int = 0
    negative_reasons: list[str] = field(default_factory=list)
    read_units: Decimal = Decimal(0)

    def count_page(self, reply: Mapping[str, Any]) -> None:
        """Count one reply to a query, and what it cost."""
        self.pages += 1
        self.count_units(reply)

    def count_units(self, reply: Mapping[str, Any]) -> None:
        """Count what a reply cost."""
        units = reply.get("ConsumedCapacity", {}).get("CapacityUnits", 0)
        self.read_units += Decimal(str(units))  # A float, of whole and half units.

    def count_invalid(self, error: Exception) -> None:
        """Count one item that is not a whole record."""
        self.invalid += 1
        if len(self.invalid_reasons) < MOST_REASONS:
            self.invalid_reasons.append(str(error))

    def count_negative(self, record: AIUsageMetric) -> None:
        """Count one record, if it has a negative figure."""
        if not record.negative_figures:
            return
        self.negative += 1
        if len(self.negative_reasons) < MOST_REASONS:
            names = ", ".join(record.negative_figures)
            pk, sk = record.key
            self.negative_reasons.append(
                f"the item with PK {pk!r} and SK {sk!r} has a negative {names}, taken as unknown"
            )
