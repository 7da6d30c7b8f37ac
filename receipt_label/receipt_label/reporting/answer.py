"""What was asked for and what was found: all that a report shows comes from here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from receipt_dynamo.cli.output import count_of
from receipt_label.reporting.amounts import format_count
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

    @property
    def notes(self) -> list[str]:
        """A line for each thing that the sums rest on, or leave out."""
        return list(self._list_notes())

    def _list_notes(self) -> Iterator[str]:
        total, tally = self.report.total, self.tally
        if total.unpriced:
            yield (
                f"{count_of(total.unpriced, 'record')} without a known price: the cost is at "
                "least this; receipt-usage doctor says which"
            )
        if total.estimated:
            yield f"{count_of(total.estimated, 'record')} with an estimated price"
        if total.partial:
            yield f"{count_of(total.partial, 'record')} with only some of the counts"
        if tally.invalid:
            yield f"{count_of(tally.invalid, 'item')} left out, which cannot be read:"
            yield from (f"  {reason}" for reason in tally.invalid_reasons)
        if tally.negative:
            yield f"{count_of(tally.negative, 'record')} with a negative figure, taken as unknown:"
            yield from (f"  {reason}" for reason in tally.negative_reasons)


def describe_reading(tally: ReadTally) -> str:
    """Return what was read."""
    records = f"{format_count(tally.records)} {'record' if tally.records == 1 else 'records'} read"
    units = tally.read_units.normalize()
    if not units:  # The engine does not say.
        return records
    return f"{records}, {units:f} read {'unit' if units == 1 else 'units'}"
