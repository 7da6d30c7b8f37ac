"""The question and the sums: everything that a report shows comes from here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from receipt_label.reporting.selection import Selection
from receipt_label.reporting.usage_report import UsageReport

if TYPE_CHECKING:
    from receipt_dynamo import ReadTally


@dataclass(frozen=True, slots=True)
class ReportAnswer:
    """A report with its question.

    Attributes:
        table: The table that was read.
        selection: Which records.
        report: Their sums.
        tally: What was read for them.
        made_at: When, an aware time.
    """

    table: str
    selection: Selection
    report: UsageReport
    tally: ReadTally
    made_at: datetime

    @property
    def title(self) -> str:
        """The table, the period and the filters."""
        filters = self.selection.filters.items()
        return ", ".join(
            [
                f"{self.table}: {self.selection.period}",
                *[f"{name.replace('_', '-')} {value}" for name, value in filters],
            ]
        )
