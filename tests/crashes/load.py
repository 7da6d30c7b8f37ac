"""Processes under load, killed at moments of chance, each leaving its journal to the next."""

from __future__ import annotations

import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

from crashes.crash import PATIENCE, Scene, await_line, end, list_files
from crashes.matrix import FAULTS
from crashes.verdict import Verdict, check_successor, compare, count_left
from engines.launch import Engine
from receipt_dynamo.testing import Stall

LONGEST_WAIT = 0.8
"""Seconds from one process's first record to the death of the one before, at most."""

SHARE = 0.03
"""Of the writes that meet each of the faults."""


def run_random_kills(
    engine: Engine, folder: Path, table_name: str, *, kills: int, seed: int
) -> Verdict:
    """Kill processes that put records in four threads; have one more deliver the rest.

    Two live at a time: what the living holds must not be taken from it.
    What a process left that was killed before DynamoDB had named the table is taken over as well.
    """
    verdict = Verdict()
    with Scene(engine, folder, table_name, seed=seed).raised() as scene:
        try:
            for fault in FAULTS.values():
                scene.proxy.always(fault, SHARE / 3 if isinstance(fault, Stall) else SHARE)
            _live_and_die(scene, verdict, kills)
            scene.proxy.heal()
            scene.proxy.script(*FAULTS.values())
            left = count_left(scene.directory)
            verdict.expect(not left.unproven, f"{left.unproven} records are unproven")
            check_successor(verdict, scene.succeed(4 * PATIENCE), left.known)
            files = list_files(scene.directory)
            verdict.expect(not files, f"files are left behind: {files}")
        except AssertionError as error:
            verdict.complaints.append(str(error))
        compare(verdict, scene.book, engine.endpoint_url, table_name)
    return verdict


def _live_and_die(scene: Scene, verdict: Verdict, kills: int) -> None:
    """Kill one process after the other, each a moment after the next one has begun."""
    with ExitStack() as lives:
        older: subprocess.Popen[str] | None = None
        for number in range(kills + 1):
            younger = None
            if number < kills:
                younger = scene.start("put_under_load", name=f"life-{number}", seed=number)
                lives.callback(younger.communicate)
                lives.callback(younger.kill)
                await_line(younger, "ready")
                time.sleep(scene.dice.random() * LONGEST_WAIT)
            if older is not None:
                older.kill()
                end(older, expected=-signal.SIGKILL)
                verdict.kills += 1
            older = younger
