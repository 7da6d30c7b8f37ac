"""Runs the demo in this process: the calls through the scenario, then the verdict."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final, TextIO

from receipt_label.cli.demo.display import Display, Event, Snapshot, open_display
from receipt_label.cli.demo.report import compare
from receipt_label.cli.demo.scenario import PHASES, split_calls
from receipt_label.cli.demo.summary import format_summary
from receipt_label.cli.demo.workload import Workload
from receipt_label.cli.demo.world import World, open_world

if TYPE_CHECKING:
    from receipt_dynamo.utils.circuit_breaker import BreakerEvent
    from receipt_label.cli.demo.options import DemoOptions
    from receipt_label.cli.demo.report import Call

_WARM_UP_CALLS: Final = 80
_WARM_UP_SECONDS: Final = 1.0

_DRAIN_TIMEOUT: Final = 20.0
"""Seconds for the backlog to reach the table; then what is missing counts as lost."""

_DRAIN_STEP: Final = 0.1


def run_demo(options: DemoOptions, out: TextIO) -> int:
    """Run the demo in this process, in the environment that it has.

    Args:
        options: What was chosen.
        out: Where to show it.

    Returns:
        0 when every call has exactly one row, else 1.
    """
    out.write("Starting an embedded DynamoDB, its fault proxy and the providers' stub ...\n")
    out.flush()
    with open_world() as world:
        untracked = _warm_up(options, world)
        workload = Workload(world.tracked, options.threads, world.timer)
        with workload, open_display(out, os.environ, plain=options.plain) as display:
            _Performance(options, world, workload, display).play()
        calls = workload.calls
        comparison = compare(calls, world.read_rows())
    out.write(format_summary(comparison, calls, untracked))
    return 0 if comparison.is_clean else 1


def _warm_up(options: DemoOptions, world: World) -> list[Call]:
    """Make some calls without tracking: what the SDKs take by themselves."""
    with Workload(world.untracked, options.threads, world.timer) as workload:
        workload.run(_WARM_UP_CALLS, _WARM_UP_SECONDS, lambda: None)
    return workload.calls


class _Performance:
    """Plays the scenario, and keeps the display up to date."""

    def __init__(
        self, options: DemoOptions, world: World, workload: Workload, display: Display
    ) -> None:
        self._options = options
        self._world = world
        self._workload = workload
        self._display = display
        self._events: list[Event] = []
        self._start = time.monotonic()
        self._phase = PHASES[0].name

    def play(self) -> None:
        """Go through the phases, then wait until nothing is pending."""
        self._world.client.circuit_breaker.add_listener(self._note_breaker)
        for phase, calls in zip(PHASES, split_calls(self._options.calls), strict=True):
            self._phase = phase.name
            self._note(phase.change)
            phase.begin(self._world.proxy)
            self._workload.run(calls, self._options.seconds * phase.share, self._show)
        self._drain()

    def _drain(self) -> None:
        deadline = time.monotonic() + _DRAIN_TIMEOUT
        while not self._world.client.flush(_DRAIN_STEP):
            self._show()
            if time.monotonic() > deadline:
                self._note(f"gave up waiting after {_DRAIN_TIMEOUT:.0f} s")
                break
        self._note("every call is made, and what was accepted is settled")
        self._show()

    def _note_breaker(self, event: BreakerEvent) -> None:
        # Called by a sending thread; appending to a list is atomic.
        self._note(f"circuit breaker: {event.old.value} -> {event.new.value} ({event.reason})")

    def _note(self, text: str) -> None:
        self._events.append(Event(time.monotonic() - self._start, text))

    def _show(self) -> None:
        stats = self._world.client.get_stats()
        self._display.show(
            Snapshot(
                seconds=time.monotonic() - self._start,
                phase=self._phase,
                planned=self._options.calls,
                made=self._workload.count_done,
                delivered=stats.delivered,
                pending=stats.pending,
                throttled=stats.throttled,
                breaker=stats.circuit_breaker_state,
                slowest=self._workload.slowest,
                events=tuple(self._events),
            )
        )
