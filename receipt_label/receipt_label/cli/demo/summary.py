"""The last thing that the demo shows: what the table holds, in plain text."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from decimal import Decimal

    from receipt_label.cli.demo.report import Call, Comparison

_HEADINGS: Final = ("service", "model", "rows", "input tokens", "output tokens", "cost in USD")
_TEXT_COLUMNS: Final = 2


def format_summary(comparison: Comparison, calls: Iterable[Call], untracked: Iterable[Call]) -> str:
    """Return the tables, the delays and the verdict as lines.

    Args:
        comparison: What became of the calls.
        calls: The calls, for their delays.
        untracked: Calls made without tracking, for comparison.
    """
    lines = [
        "",
        "Read back from DynamoDB:",
        "",
        *_align([_HEADINGS, *_format_costs(comparison)]),
        "",
        *_align(
            [
                ("calls made", str(comparison.calls)),
                ("rows found", str(comparison.rows)),
                ("lost", str(len(comparison.lost))),
                ("doubled", str(len(comparison.doubled))),
            ],
            text_columns=1,
        ),
        "",
        *_format_delays(_keep_answered(calls), _keep_answered(untracked)),
        "",
        *_format_verdict(comparison),
    ]
    return "\n".join(lines) + "\n"


def _format_costs(comparison: Comparison) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        (
            line.service,
            line.model,
            str(line.rows),
            str(line.input_tokens),
            str(line.output_tokens),
            _format_usd(line.cost_usd) + (f" + {line.unpriced} unpriced" if line.unpriced else ""),
        )
        for line in comparison.costs
    ]
    total = (
        "total",
        "",
        str(comparison.rows),
        str(sum(line.input_tokens for line in comparison.costs)),
        str(sum(line.output_tokens for line in comparison.costs)),
        _format_usd(comparison.total_usd),
    )
    return [*rows, total]


def _format_delays(calls: Sequence[Call], untracked: Sequence[Call]) -> list[str]:
    if not calls or not untracked:
        return ["No call succeeded."]
    slowest = max(call.seconds for call in calls)
    return [
        f"The slowest call took {_format_ms(slowest)}, as its caller saw it.",
        "What calls took beside waiting for the provider (the SDK's own work, and tracking):",
        "",
        *_align(
            [
                ("", "calls", "median", "worst"),
                ("without tracking", *_format_own_times(untracked)),
                ("with tracking", *_format_own_times(calls)),
            ],
            text_columns=1,
        ),
    ]


def _format_own_times(calls: Sequence[Call]) -> tuple[str, str, str]:
    own = [call.own_seconds for call in calls]
    return str(len(own)), _format_ms(median(own)), _format_ms(max(own))


def _keep_answered(calls: Iterable[Call]) -> list[Call]:
    return [call for call in calls if call.error is None]


def _format_verdict(comparison: Comparison) -> list[str]:
    if comparison.is_clean:
        return ["OK: every call has exactly one row."]
    return ["FAILED: calls and rows differ.", *comparison.list_differences()]


def _format_usd(amount: Decimal) -> str:
    return f"{amount:.6f}"


def _format_ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _align(rows: Sequence[Sequence[str]], text_columns: int = _TEXT_COLUMNS) -> list[str]:
    """Return lines with texts on the left of their column and numbers on the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if index < text_columns else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
