"""The demo's display while it runs: a live panel on a terminal, else plain lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, Self, TextIO

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

    from receipt_dynamo import CircuitBreakerState

_LINE_EVERY: Final = 0.5
"""Seconds between two lines of the plain display."""

_REDRAW_EVERY: Final = 0.1
"""Seconds between two drawings of the live panel: drawing takes time from the calls."""

_SHOWN_EVENTS: Final = 10
_BAR_WIDTH: Final = 40
_STYLES: Final = {"healthy": "green", "throttled": "yellow", "down": "bold red", "back": "green"}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened once.

    Args:
        seconds: Since the demo's start.
        text: What happened.
    """

    seconds: float
    text: str

    def __str__(self) -> str:
        return f"[{self.seconds:5.1f} s] {self.text}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of the demo at one moment.

    Args:
        seconds: Since the demo's start.
        phase: What DynamoDB goes through.
        planned: Calls to be made in all.
        made: Calls that are over.
        delivered: Records that DynamoDB confirmed.
        pending: Records that wait for DynamoDB.
        throttled: How often a record came back because DynamoDB was short of capacity.
        breaker: State of the circuit breaker.
        slowest: Longest call so far, in seconds.
        events: All so far, oldest first.
    """

    seconds: float
    phase: str
    planned: int
    made: int
    delivered: int
    pending: int
    throttled: int
    breaker: CircuitBreakerState
    slowest: float
    events: Sequence[Event]


class Display(Protocol):
    """Shows snapshots between entry and exit."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc_info: object) -> None: ...

    def show(self, snapshot: Snapshot) -> None:
        """Show the state of the demo; called about twenty times a second, by one thread."""


def open_display(out: TextIO, variables: Mapping[str, str], *, plain: bool) -> Display:
    """Return a display for ``out``: live on a terminal, plain lines elsewhere and in CI.

    Args:
        out: Where to write.
        variables: The environment; ``CI`` and ``TERM=dumb`` mean plain lines.
        plain: True for plain lines in any case.
    """
    if plain or not out.isatty() or variables.get("CI") or variables.get("TERM") == "dumb":
        return PlainDisplay(out)
    return LiveDisplay(out)


class PlainDisplay:
    """A line each half second, and one for each event.

    Args:
        out: Where to write.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._next_line = 0.0
        self._events_shown = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._out.flush()

    def show(self, snapshot: Snapshot) -> None:
        """Write the events that are new, and at times a line of numbers."""
        for event in snapshot.events[self._events_shown :]:
            self._out.write(f"{event}\n")
        self._events_shown = len(snapshot.events)
        if snapshot.seconds >= self._next_line:
            self._next_line = snapshot.seconds + _LINE_EVERY
            self._out.write(
                f"[{snapshot.seconds:5.1f} s]   {snapshot.phase:9}  "
                f"calls {snapshot.made:5} of {snapshot.planned}  "
                f"delivered {snapshot.delivered:5}  waiting {snapshot.pending:4}  "
                f"breaker {snapshot.breaker.value}\n"
            )
            self._out.flush()


class LiveDisplay:
    """A panel that is drawn again and again in its place, by ``rich``.

    Args:
        out: A terminal.
    """

    def __init__(self, out: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(file=out), auto_refresh=False)
        self._next_drawing = 0.0

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._live.stop()

    def show(self, snapshot: Snapshot) -> None:
        """Draw the panel again, unless it was just drawn; the last one stays."""
        is_due = snapshot.seconds >= self._next_drawing
        if is_due:
            self._next_drawing = snapshot.seconds + _REDRAW_EVERY
        self._live.update(_draw_panel(snapshot), refresh=is_due)


def _draw_panel(snapshot: Snapshot) -> RenderableType:
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    numbers = Table.grid(padding=(0, 2))
    numbers.add_row("DynamoDB is", Text(snapshot.phase, style=_STYLES.get(snapshot.phase, "")))
    numbers.add_row("circuit breaker", snapshot.breaker.value)
    numbers.add_row("calls made", _draw_bar(snapshot.made, snapshot))
    numbers.add_row("rows delivered", _draw_bar(snapshot.delivered, snapshot))
    numbers.add_row("waiting for DynamoDB", str(snapshot.pending))
    numbers.add_row("sent back by throttling", str(snapshot.throttled))
    numbers.add_row("slowest call", f"{snapshot.slowest * 1000:.0f} ms")
    events = Text("\n".join(str(event) for event in snapshot.events[-_SHOWN_EVENTS:]), style="dim")
    return Panel(
        Group(numbers, Text(), events),
        title=f"receipt-usage demo, {snapshot.seconds:.1f} s",
        title_align="left",
    )


def _draw_bar(value: int, snapshot: Snapshot) -> RenderableType:
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        ProgressBar(total=snapshot.planned, completed=value, width=_BAR_WIDTH),
        f"{value} of {snapshot.planned}",
    )
    return bar
