"""A report on a terminal, as it is printed."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from receipt_dynamo import AIUsageMetric, ReadTally
from receipt_dynamo.cli.output import make_printable
from receipt_label.cli.amounts import format_usd
from receipt_label.cli.report.terminal import draw_bar, print_report
from receipt_label.reporting.usage_report import Grouping
from support.command_runs import Terminal
from support.report_answers import HOSTILE, answer, make_hostile_records, make_usual_records

GOLDEN = Path(__file__).parent / "golden"
NOON = datetime(2026, 3, 28, 12, tzinfo=UTC)


def print_usual(by: Grouping, top: int = 20, stream: io.StringIO | None = None) -> str:
    out = io.StringIO() if stream is None else stream
    print_report(answer(make_usual_records(), [by]), by, top, out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "by", "top"),
    [
        ("service_model", ("service", "model"), 20),
        ("user_top_1", ("user",), 1),
        ("day_operation", ("day", "operation"), 20),
        ("pull_request", ("pull-request",), 20),
    ],
)
def test_the_plain_report_is_that_of_the_golden_file(name: str, by: Grouping, top: int) -> None:
    """Compare the two by eye before a golden file is changed."""
    assert print_usual(by, top) == (GOLDEN / f"{name}.txt").read_text("utf-8")


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_the_report_on_a_terminal_is_that_of_the_golden_file(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("COLORTERM", raising=False)
    printed = print_usual(("service", "model"), stream=Terminal())
    assert printed == (GOLDEN / f"terminal_{columns}.txt").read_text("utf-8")
    assert "\x1b[1m" in printed


def test_a_terminal_without_colours_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b[3" not in print_usual(("service",), stream=Terminal())


def test_stored_names_cannot_steer_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    out = io.StringIO()
    by = ("model",)
    found = answer(make_hostile_records(), [by])
    asked = replace(found.selection, user="\x1b[2J")
    print_report(replace(found, selection=asked), by, 20, out)
    printed = out.getvalue()
    assert all(char.isprintable() or char == "\n" for char in printed)
    for name in HOSTILE:
        assert make_printable(name) in printed
    assert "[bold]" not in printed


def test_a_name_that_looks_like_markup_is_shown_as_it_is() -> None:
    record = AIUsageMetric("openai", "[red]gpt[/red] :smile:", "completion", NOON)
    out = io.StringIO()
    print_report(answer([record], [("model",)]), ("model",), 20, out)
    assert "[red]gpt[/red] :smile:" in out.getvalue()


def test_a_stream_that_cannot_show_bars_gets_none() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors="replace")
    print_report(answer(make_usual_records(), [("user",)]), ("user",), 20, stream)
    stream.flush()
    assert b"cost USD" in raw.getvalue()


def test_no_records_are_said_to_be_none() -> None:
    out = io.StringIO()
    print_report(answer([], [("user",)]), ("user",), 20, out)
    assert out.getvalue() == "ai-usage: 2026-03-26 to 2026-04-03 (UTC)\nno records\n"


def test_what_the_sums_leave_out_is_said() -> None:
    tally = ReadTally(records=1, invalid=2, invalid_reasons=["the item with PK 'x\x1b' is odd"])
    found = replace(answer([], [("user",)]), tally=tally)
    out = io.StringIO()
    print_report(found, ("user",), 20, out)
    assert "2 items left out, which cannot be read:\n  the item with PK 'x\\x1b' is odd" in (
        out.getvalue()
    )


@pytest.mark.parametrize(
    ("amount", "places", "text"),
    [
        ("0", 4, "0.0000"),
        ("0.00001", 4, "<0.0001"),
        ("0.00005", 4, "<0.0001"),
        ("0.00015", 4, "0.0002"),
        ("1234.565", 2, "1,234.56"),
        ("1E+30", 2, "1,000,000,000,000,000,000,000,000,000,000.00"),
        ("1E-130", 4, "<0.0001"),
    ],
)
def test_what_is_rounded_is_never_shown_as_nothing(amount: str, places: int, text: str) -> None:
    assert format_usd(Decimal(amount), places) == text


@pytest.mark.parametrize(
    ("amount", "largest", "bar"),
    [
        (0, 8, ""),
        (8, 8, "█" * 20),
        (4, 8, "█" * 10),
        (1, 160, "▏"),
        (1, 10**9, "▏"),
        (7, 160, "▉"),
        (0, 0, ""),
    ],
)
def test_bars_are_drawn_in_eighths(amount: int, largest: int, bar: str) -> None:
    assert draw_bar(Decimal(amount), Decimal(largest), 20) == bar
