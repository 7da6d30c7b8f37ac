"""How far a long read is."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from receipt_dynamo import AIUsageMetric, ReadTally
from receipt_label.cli.progress import show_progress
from support.command_runs import Terminal

RECORD = AIUsageMetric("openai", "gpt-4o", "completion", datetime(2026, 3, 1, tzinfo=UTC))


def read(count: int, tally: ReadTally) -> Iterator[AIUsageMetric]:
    for _ in range(count):
        tally.records += 1
        yield RECORD


def look_at(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have ``stream`` stand in for standard error; in the test itself, after pytest's own."""
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")


def test_a_terminal_is_told_how_many_records_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    tally, terminal = ReadTally(), Terminal()
    look_at(terminal, monkeypatch)
    assert sum(1 for _ in show_progress(read(1_200, tally), tally, quiet=False)) == 1_200
    assert "1,200 records read" in terminal.getvalue()


def test_it_goes_on_while_a_filter_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tally, terminal = ReadTally(), Terminal()
    look_at(terminal, monkeypatch)

    def read_for_nothing() -> Iterator[AIUsageMetric]:
        tally.read_units = Decimal(128)
        while "128 read units" not in terminal.getvalue():
            time.sleep(0.01)
        yield RECORD

    assert list(show_progress(read_for_nothing(), tally, quiet=False)) == [RECORD]


def test_what_is_shown_does_not_outlive_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cursor that it hides comes back."""
    tally, terminal = ReadTally(), Terminal()
    look_at(terminal, monkeypatch)
    shown = show_progress(read(5, tally), tally, quiet=False)
    next(shown)
    with pytest.raises(KeyboardInterrupt):
        shown.throw(KeyboardInterrupt)  # type: ignore[attr-defined]
    assert "\x1b[?25h" in terminal.getvalue()


@pytest.mark.parametrize("quiet", [True, False])
def test_nothing_is_said_where_nobody_looks(monkeypatch: pytest.MonkeyPatch, quiet: bool) -> None:
    stream = Terminal() if quiet else io.StringIO()
    look_at(stream, monkeypatch)
    tally = ReadTally()
    assert list(show_progress(read(2, tally), tally, quiet=quiet)) == [RECORD, RECORD]
    assert stream.getvalue() == ""
