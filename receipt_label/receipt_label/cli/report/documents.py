"""A report for programs: JSON and CSV, with every digit."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final, TextIO

from receipt_label.cli.amounts import name_others
from receipt_label.reporting.answer import ReportAnswer
from receipt_label.reporting.sums import Sums
from receipt_label.reporting.usage_report import Grouping

_NUMBERS: Final = (
    "records",
    "api_calls",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "unpriced",
    "estimated",
    "partial",
    "errors",
    "mean_latency_ms",
)

# A program that calculates tables takes a text that begins so for a formula, and runs it.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def to_document(answer: ReportAnswer, by: Grouping, top: int | None) -> dict[str, Any]:
    """Return a report as JSON can hold it; amounts of money are texts, and exact.

    Args:
        answer: What was found.
        by: The grouping that is shown.
        top: How many of the costliest groups; None is all.
    """
    period, tally = answer.selection.period, answer.tally
    ranking = answer.report.rank(by, top)
    return {
        "table": answer.table,
        "since": None if period.start is None else period.start.isoformat(),
        "until": None if period.end is None else period.end.isoformat(),
        "timezone": str(period.zone),
        "filters": answer.selection.filters,
        "by": list(by),
        "groups": [
            {**dict(zip(by, group.key, strict=True)), **_describe(group.sums)}
            for group in ranking.groups
        ],
        "rest": {"groups": ranking.left_out, **_describe(ranking.rest)},
        "total": _describe(answer.report.total),
        "read": {
            "records": tally.records,
            "other_items": tally.other_items,
            "invalid": tally.invalid,
            "invalid_reasons": list(tally.invalid_reasons),
            "negative": tally.negative,
            "negative_reasons": list(tally.negative_reasons),
            "read_units": format(tally.read_units, "f"),
        },
    }


def write_csv(answer: ReportAnswer, by: Grouping, top: int | None, stream: TextIO) -> None:
    """Write the groups of a report as CSV (RFC 4180), with a line of names first.

    A name that a program for tables would take for a formula gets an apostrophe before it.

    Args:
        answer: What was found.
        by: The grouping that is shown.
        top: How many of the costliest groups, and the others in one line; None is all.
        stream: Where to write.
    """
    ranking = answer.report.rank(by, top)
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*by, *_NUMBERS])
    for group in ranking.groups:
        writer.writerow([*map(_quote, group.key), *_list_numbers(group.sums)])
    if ranking.left_out:
        writer.writerow([*name_others(ranking), *_list_numbers(ranking.rest)])


def _quote(value: str | None) -> str:
    text = value or ""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _describe(sums: Sums) -> dict[str, Any]:
    return dict(zip(_NUMBERS, _list_numbers(sums), strict=True))


def _list_numbers(sums: Sums) -> Iterable[Any]:
    return [_to_plain(getattr(sums, name)) for name in _NUMBERS]


def _to_plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")
    return round(value, 3) if isinstance(value, float) else value
