"""Runs the demo in this process: the calls through the scenario, then the verdict."""

from __future__ import annotations

import os
import time
from datetime import UTC
from typing import TYPE_CHECKING, Final, TextIO

from receipt_dynamo import ReadTally
from receipt_label.cli.demo.display import Display, Event, Snapshot, open_display
from receipt_label.cli.demo.scenario import PHASES, split_calls
from receipt_label.cli.demo.setup import TABLE_NAME, DemoSetup, start_all
from receipt_label.cli.demo.summary import REPORTED_BY, print_summary
from receipt_label.cli.demo.verdict import compare
from receipt_label.cli.demo.workload import Workload
from receipt_label.reporting.answer import ReportAnswer
from receipt_label.reporting.usage_report import add_up
from receipt_label.tracking.stats import utc_now

if TYPE_CHECKING:
    from receipt_dynamo import BreakerEvent
    from receipt_label.cli.demo.options import DemoOptions
    from receipt_label.cli.demo.verdict import MadeCall

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
    with start_all() as setup:
        untracked = _warm_up(options, setup)
        workload = Workload(setup.tracked, options.threads, setup.timer)
        with workload, open_display(out, os.environ, plain=options.plain) as display:
            _ScenarioRun(options, setup, workload, display).go_through_phases()
        calls = workload.calls
        tally = ReadTally()
        rows = setup.read_rows(tally)
        report = add_up(rows, [REPORTED_BY], UTC)
        answer = ReportAnswer(TABLE_NAME, setup.selection, report, tally, utc_now())
    comparison = compare(calls, rows)
    print_summary(answer, comparison, calls, untracked, out)
    return 0 if comparison.is_clean else 1


def _warm_up(options: DemoOptions, setup: DemoSetup) -> list[MadeCall]:
    """Make some calls without tracking: what the SDKs take by themselves."""
    with Workload(setup.untracked, options.threads, setup.timer) as workload:
        workload.run(_WARM_UP_CALLS, _WARM_UP_SECONDS, lambda: None)
    return workload.calls


class _ScenarioRun:
    """One run of the scenario, which keeps the display up to date."""

    def __init__(
        self, options: DemoOptions, setup: DemoSetup, workload: Workload, display: Display
    ) -> None:
        self._options = options
        self._setup = setup
        self._workload = workload
        self._display = display
        self._events: list[Event] = []
        self._start = time.monotonic()
        self._phase = PHASES[0].name

    def go_through_phases(self) -> None:
        """Make the calls of each phase, then wait until nothing is pending."""
        self._setup.client.circuit_breaker.add_listener(self._on_breaker_change)
        for phase, calls in zip(PHASES, split_calls(self._options.calls), strict=True):
            self._phase = phase.name
            self._add_event(phase.change)
            phase.begin(self._setup.proxy)
            self._workload.run(calls, self._options.seconds * phase.share, self._show)
        self._drain()

    def _drain(self) -> None:
        deadline = time.monotonic() + _DRAIN_TIMEOUT
        while not self._setup.client.flush(_DRAIN_STEP):
            self._show()
            if time.monotonic() > deadline:
                self._add_event(f"gave up waiting after {_DRAIN_TIMEOUT:.0f} s")
                break
        self._add_event("every call is made, and what was accepted is settled")
        self._show()

    def _on_breaker_change(self, event: BreakerEvent) -> None:
        # Called by a sending thread; appending to a list is atomic.
        self._add_event(f"circuit breaker: {event.old.value} -> {event.new.value} ({event.reason})")

    def _add_event(self, text: str) -> None:
        self._events.append(Event(time.monotonic() - self._start, text))

    def _show(self) -> None:
        stats = self._setup.client.get_stats()
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
