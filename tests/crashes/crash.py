"""One crash: processes that are killed, one that comes after them, and the verdict."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from crashes.faults import KillBeforeReply
from crashes.matrix import FAULTS, LEFT_BEHIND, Case, Step
from crashes.verdict import Verdict, check_successor, compare, count_left
from engines.launch import Engine
from receipt_dynamo import DynamoClient
from receipt_dynamo.data.journal.directory import JournalDirectory
from receipt_dynamo.testing import Fault, FaultProxy

PROGRAM = Path(__file__).with_name("victim.py")
PATIENCE = 120.0
LONGEST_DELAY = 0.003
"""Seconds into a step "during" which a process is killed, at most."""


class Scene:
    """A table behind a fault proxy, a journal directory, and the processes that use them."""

    def __init__(self, engine: Engine, folder: Path, table_name: str, *, seed: int) -> None:
        self.engine = engine
        self.table_name = table_name
        self.book = folder / "book"
        self.directory = JournalDirectory(folder / "journal")
        self.proxy = FaultProxy(engine.endpoint_url, seed=seed)
        self.dice = random.Random(seed)

    @contextmanager
    def raised(self) -> Iterator[Scene]:
        """Make the table, and have the proxy run."""
        table = DynamoClient(self.table_name, "us-east-1", self.engine.endpoint_url)
        table.create_table()
        with self.proxy:
            yield self

    def start(self, task: str, **plan: Any) -> subprocess.Popen[str]:
        """Start a process."""
        plan |= {
            "task": task,
            "table": self.table_name,
            "endpoint": self.proxy.endpoint_url,
            "journal_dir": str(self.directory.path),
            "book": str(self.book),
        }
        return subprocess.Popen(
            [sys.executable, str(PROGRAM), json.dumps(plan)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(PROGRAM.parents[1])},
        )

    def kill_at(self, step: Step, name: str, faults: list[Fault], interval: float = 0.02) -> None:
        """Have a process come to a step that kills it.

        Raises:
            AssertionError: It did not come there.
        """
        delay = self.dice.random() * LONGEST_DELAY
        if not step.is_reachable:
            self.proxy.down()
        with self.start(
            "be_killed", name=name, step=asdict(step), delay=delay, flush_interval=interval
        ) as process:
            if step.from_start:
                self.proxy.script(*faults)
            else:
                await_line(process, "ready")
                if step.method is None:
                    faults = [KillBeforeReply(faults[0], process.kill)]
                self.proxy.script(*faults)
                say_go(process)
            end(process, expected=-signal.SIGKILL)
        if not step.is_reachable:
            self.proxy.up()

    def succeed(self, patience: float = 60.0) -> dict[str, Any]:
        """Have a process deliver what is left, in so many seconds; return what it tells."""
        with self.start("deliver_what_is_left", patience=patience) as process:
            out = end(process, expected=0, patience=patience + PATIENCE)
            told: dict[str, Any] = json.loads(out)
            return told


def say_go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def await_line(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    if process.stdout.readline() != f"{line}\n":
        process.kill()
        raise AssertionError(f"the process never was {line}: {process.communicate()[1][-2000:]}")


def end(process: subprocess.Popen[str], *, expected: int, patience: float = PATIENCE) -> str:
    """Wait for the process's end; return what it wrote."""
    try:
        out, err = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(f"the process hangs: {process.communicate()[1][-2000:]}") from None
    if process.returncode != expected:
        raise AssertionError(f"status {process.returncode}, expected {expected}: {err[-2000:]}")
    return out


def list_files(directory: JournalDirectory) -> list[str]:
    """Return which files are there, but for lock files: one without a journal locks nothing."""
    files = (path for path in directory.path.iterdir() if path.is_file())
    return [path.name for path in files if path.suffix != ".lock"]


def run_case(engine: Engine, folder: Path, table_name: str, *, case: Case, seed: int) -> Verdict:
    """Kill a process at the case's step under its fault; have another one deliver the rest."""
    verdict, fault = Verdict(), FAULTS[case.fault]
    with Scene(engine, folder, table_name, seed=seed).raised() as scene:
        try:
            if case.step.follows_another:
                scene.kill_at(LEFT_BEHIND, "left", [], interval=60.0)
            # For both of its senders so often that a batch goes back to the queue.
            scene.kill_at(case.step, "victim", [fault] * 4)
            left = count_left(scene.directory)
            verdict.expect(not left.unproven, f"{left.unproven} records are unproven")
            scene.proxy.heal()
            scene.proxy.script(fault)  # The next process meets it, too.
            check_successor(verdict, scene.succeed(), left.known)
            files = list_files(scene.directory)
            verdict.expect(not files, f"files are left behind: {files}")
        except AssertionError as error:
            verdict.complaints.append(str(error))
        verdict.kills += case.step.kills
        compare(verdict, scene.book, engine.endpoint_url, table_name)
    verdict.complaints = [f"{case}: {complaint}" for complaint in verdict.complaints]
    if verdict.lost or verdict.doubled or verdict.unknown:
        verdict.complaints.append(f"{case}: {verdict}")
    return verdict
