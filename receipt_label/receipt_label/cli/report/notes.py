"""Notes on a report: estimates that it rests on, and records that it leaves out."""

from __future__ import annotations

from collections.abc import Iterator

from receipt_dynamo.cli.output import count_of
from receipt_label.reporting.answer import ReportAnswer


def list_notes(answer: ReportAnswer) -> list[str]:
    """Return a line for each thing that the sums rest on, or leave out."""
    return list(_list_notes(answer))


def _list_notes(answer: ReportAnswer) -> Iterator[str]:
    total, tally = answer.report.total, answer.tally
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
