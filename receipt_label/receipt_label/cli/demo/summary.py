"""The last thing that the demo shows: the report, what became of the calls, and the verdict."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final, TextIO

from receipt_label.cli.report.terminal import open_console, print_report

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.table import Table

    from receipt_label.cli.demo.verdict import Comparison, MadeCall
    from receipt_label.reporting.answer import ReportAnswer

REPORTED_BY: Final = ("service", "model")
_TOP: Final = 20


def print_summary(
    answer: ReportAnswer,
    comparison: Comparison,
    calls: Iterable[MadeCall],
    untracked: Iterable[MadeCall],
    stream: TextIO,
) -> None:
    """Print the report, the delays and the verdict.

    Args:
        answer: What the table holds, added up by :data:`REPORTED_BY`.
        comparison: What became of the calls.
        calls: The calls, for their delays.
        untracked: Calls made without tracking, for comparison.
        stream: Where to print.
    """
    console = open_console(stream)
    console.print("\nRead back from DynamoDB, as receipt-usage report shows it:\n")
    print_report(answer, REPORTED_BY, _TOP, stream)
    console.print(_align(_list_counts(comparison)))
    console.print(*_describe_delays(_keep_answered(calls), _keep_answered(untracked)), sep="\n")
    console.print()
    console.print(*_list_verdict(comparison), sep="\n", soft_wrap=True)


def _list_counts(comparison: Comparison) -> list[tuple[str, ...]]:
    return [
        ("calls made", str(comparison.calls)),
        ("rows found", str(comparison.rows)),
        ("lost", str(len(comparison.lost))),
        ("doubled", str(len(comparison.doubled))),
    ]


def _describe_delays(
    calls: Sequence[MadeCall], untracked: Sequence[MadeCall]
) -> Iterator[str | Table]:
    yield ""
    if not calls or not untracked:
        yield "No call succeeded."
        return
    slowest = max(call.seconds for call in calls)
    yield f"The slowest call took {_format_ms(slowest)}, as its caller saw it."
    yield "What calls took beside waiting for the provider (the SDK's own work, and tracking):"
    yield ""
    yield _align(
        [
            ("", "calls", "median", "worst"),
            ("without tracking", *_format_own_times(untracked)),
            ("with tracking", *_format_own_times(calls)),
        ]
    )


def _format_own_times(calls: Sequence[MadeCall]) -> tuple[str, str, str]:
    own = [call.own_seconds for call in calls]
    return str(len(own)), _format_ms(median(own)), _format_ms(max(own))


def _keep_answered(calls: Iterable[MadeCall]) -> list[MadeCall]:
    return [call for call in calls if call.error is None]


def _list_verdict(comparison: Comparison) -> list[str]:
    if comparison.is_clean:
        return ["OK: every call has exactly one row."]
    return ["FAILED: calls and rows differ.", *comparison.list_differences()]


def _format_ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _align(rows: Sequence[Sequence[str]]) -> Table:
    """Return a table whose first column is of names, and the others of numbers."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2, 0, 0))
    for number in range(len(rows[0])):
        table.add_column(justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    return table
