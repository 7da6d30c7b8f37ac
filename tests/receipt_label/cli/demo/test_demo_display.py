"""What the demo shows: plain lines in a pipe and in CI, a live panel on a terminal."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from receipt_dynamo import CircuitBreakerState
from receipt_label.cli.demo.display import Event, LiveDisplay, PlainDisplay, Snapshot, open_display

START = Snapshot(
    seconds=0.0,
    phase="healthy",
    planned=1000,
    made=0,
    delivered=0,
    pending=0,
    throttled=0,
    breaker=CircuitBreakerState.CLOSED,
    slowest=0.0,
    events=(),
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_the_live_panel() -> None:
    assert isinstance(open_display(Terminal(), {}, plain=False), LiveDisplay)


@pytest.mark.parametrize(
    ("out", "variables", "plain"),
    [
        (io.StringIO(), {}, False),
        (Terminal(), {"CI": "true"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (Terminal(), {}, True),
    ],
)
def test_everything_else_gets_plain_lines(
    out: io.StringIO, variables: dict[str, str], *, plain: bool
) -> None:
    assert isinstance(open_display(out, variables, plain=plain), PlainDisplay)


def test_plain_lines_come_each_half_second() -> None:
    out = io.StringIO()
    with PlainDisplay(out) as display:
        for seconds in (0.0, 0.1, 0.4, 0.5, 0.9, 1.2):
            display.show(replace(START, seconds=seconds, made=int(seconds * 10)))

    assert [line[:9] for line in out.getvalue().splitlines()] == [
        "[  0.0 s]",
        "[  0.5 s]",
        "[  1.2 s]",
    ]
    assert "healthy" in out.getvalue()
    assert "calls    12 of 1000" in out.getvalue()


def test_each_event_is_written_once_and_at_once() -> None:
    out = io.StringIO()
    first, second = Event(0.1, "breaker: closed -> open"), Event(0.2, "breaker: open -> closed")
    with PlainDisplay(out) as display:
        for events in ((), (first,), (first, second), (first, second)):
            display.show(replace(START, seconds=0.2, events=events))

    assert [line for line in out.getvalue().splitlines() if "->" in line] == [
        "[  0.1 s] breaker: closed -> open",
        "[  0.2 s] breaker: open -> closed",
    ]


def test_the_live_panel_shows_numbers_and_the_latest_events(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    out = Terminal()
    events = tuple(Event(float(number), f"event {number}") for number in range(20))
    with LiveDisplay(out) as display:
        display.show(
            replace(START, phase="down", made=420, delivered=300, pending=120, events=events)
        )

    shown = out.getvalue()
    for expected in ("down", "420 of 1000", "300 of 1000", "120", "event 19"):
        assert expected in shown
    assert "event 9" not in shown
