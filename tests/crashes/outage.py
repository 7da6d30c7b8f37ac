"""An outage in which DynamoDB refuses every connection, while records come in."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crashes.crash import Scene, await_line, end, say_go
from crashes.verdict import Verdict, compare
from engines.launch import Engine
from receipt_dynamo.data.delivery.pacing import FLOOR, STEP
from receipt_dynamo.data.delivery.sender import PROBE_RECORDS
from receipt_dynamo.testing import Fault, RequestEntry

RATE = 100
"""Records a second, of about 4 KB."""

MAX_PENDING_RECORDS = 500
"""Bound of the memory, in records."""

MEMORY_GROWTH = 12 * 1024 * 1024
"""Bytes by which the process may grow. What comes in within a minute takes twice as much."""

TOLERANCE = 0.5
"""Seconds between the moment for which a write was planned and its arrival, at most."""


def run_outage(
    engine: Engine, folder: Path, table_name: str, *, seconds: float, seed: int
) -> Verdict:
    """Have a process live through an outage; check its memory, its recovery, and the rows."""
    verdict = Verdict()
    with Scene(engine, folder, table_name, seed=seed).raised() as scene:
        try:
            _live_through(scene, verdict, seconds)
        except AssertionError as error:
            verdict.complaints.append(str(error))
        compare(verdict, scene.book, engine.endpoint_url, table_name)
    return verdict


def _live_through(scene: Scene, verdict: Verdict, seconds: float) -> None:
    arrivals: list[float] = []

    def note_arrival(_: int) -> Sequence[Fault]:
        arrivals.append(time.monotonic())
        return ()

    with scene.start(
        "live_through_an_outage",
        name="outage",
        rate=RATE,
        max_pending_records=MAX_PENDING_RECORDS,
    ) as process:
        await_line(process, "ready")
        before = _read_figures(process, 3)[-1]
        scene.proxy.down()
        during = _read_figures(process, math.ceil(seconds))
        seen = len(scene.proxy.requests)
        scene.proxy.schedule(note_arrival)
        scene.proxy.up()
        _read_figures(process, 3)  # Records go on coming in.
        say_go(process)
        after = json.loads(end(process, expected=0).splitlines()[-1])
    _check_bounds(verdict, before, during)
    _check_recovery(verdict, scene.proxy.requests[seen:], arrivals)
    verdict.expect(after["pending"] == 0, f"records are left: {after}")
    verdict.expect(after["refused"] == 0, f"records were refused: {after}")


def _read_figures(process: subprocess.Popen[str], seconds: int) -> list[dict[str, Any]]:
    """Return the figures that the process tells, once a second."""
    assert process.stdout is not None
    return [json.loads(line) for line in itertools.islice(process.stdout, seconds)]


def _check_bounds(
    verdict: Verdict, before: dict[str, Any], during: Sequence[dict[str, Any]]
) -> None:
    last = during[-1]
    growth = last["resident"] - before["resident"]
    most = max(figures["in_memory"] for figures in during)
    pending = last["pending"] - before["pending"]
    verdict.facts += f"; {pending} pending at its end, {most} of them in memory, "
    verdict.facts += f"which grew by {growth / 2**20:.1f} MiB"
    verdict.expect(growth < MEMORY_GROWTH, f"memory grew by {growth} bytes")
    verdict.expect(most <= MAX_PENDING_RECORDS, f"{most} records were in memory")
    verdict.expect(pending > 2 * MAX_PENDING_RECORDS, f"only {pending} records came in")


def _check_recovery(
    verdict: Verdict, requests: Sequence[RequestEntry], arrivals: Sequence[float]
) -> None:
    """Check that writes came back no faster than a pace that began at the floor allows."""
    probe = next(entry for entry in requests if entry.operation == "BatchWriteItem")
    verdict.expect(probe.items <= PROBE_RECORDS, f"the first write had {probe.items} records")
    in_a_second = sum(arrival < arrivals[0] + 1.0 for arrival in arrivals)
    verdict.facts += f"; {in_a_second} writes in the first second after it"
    planned = arrivals[0] - TOLERANCE
    early: list[int] = []
    for number, arrival in enumerate(arrivals):
        # Each write in full adds a step to the pace, from the floor on (pacing.Pacer).
        planned += 1 / (FLOOR + STEP * number) if number else 0.0
        if arrival < planned:
            early.append(number)
    verdict.expect(not early, f"{len(early)} writes came above the pace, such as {early[:3]}")
