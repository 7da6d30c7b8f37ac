"""The processes of a crash: one that is killed, one that comes after it, one under load.

Run it with a plan in JSON. Production code knows nothing of this: the step at which a
process is killed is a real method, wrapped here.
"""

from __future__ import annotations

import faulthandler
import importlib
import itertools
import json
import os
import random
import resource
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any

from crashes.matrix import Step
from receipt_dynamo import AIUsageMetric, ResilientDynamoClient
from receipt_dynamo.data import resilient_dynamo_client
from receipt_dynamo.data.journal import journal
from support.inside_client import wait_for_proof

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
PATIENCE = 60.0

SURVIVED = 3
"""Exit status of a process that was to be killed, and never came to the step."""


def kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait()  # The signal may reach another thread first.


def arm(step: Step, delay: float) -> None:
    """Have this process killed at the step; ``delay`` is in seconds, for one "during" it."""
    assert step.method is not None
    module, _, name = step.method.partition(":")
    class_name, _, method = name.rpartition(".")
    owner: Any = importlib.import_module(f"receipt_dynamo.data.{module}")
    if class_name:
        owner = getattr(owner, class_name)
    is_of_class = isinstance(vars(owner)[method], classmethod)
    wrapped = kill_around(getattr(owner, method), step, delay)
    setattr(owner, method, staticmethod(wrapped) if is_of_class else wrapped)


def kill_around(real: Callable[..., Any], step: Step, delay: float) -> Callable[..., Any]:
    calls = itertools.count(1)

    @wraps(real)
    def do_and_die(*args: Any, **kwargs: Any) -> Any:
        if next(calls) != step.nth:
            return real(*args, **kwargs)
        if step.moment == "before":
            kill_this_process()
        if step.moment == "during":
            threading.Timer(delay, kill_this_process).start()
        try:
            return real(*args, **kwargs)
        finally:
            kill_this_process()

    return do_and_die


def damage_the_journal() -> None:
    """Have SQLite say of the next append what it says of a file that is no database."""
    with tempfile.NamedTemporaryFile() as garbage:
        garbage.write(b"garbage" * 1000)
        garbage.flush()
        try:
            sqlite3.connect(garbage.name).execute("SELECT * FROM sqlite_master")
        except sqlite3.DatabaseError as error:
            verdict = error

    def append(*_: Any) -> int:
        raise verdict

    journal.Journal.append = append  # type: ignore[assignment]


class Book:
    """Notes on disk what is put and what was accepted. A kill loses nothing of it.

    What was written is with the system; only a loss of power could take it back.
    """

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def put(self, client: ResilientDynamoClient, name: str, **more: Any) -> None:
        """Put a record: announced before, noted as accepted once ``put`` has returned True."""
        number = int(name.rpartition("-")[2])
        metric = AIUsageMetric(
            "openai",
            "gpt-4o",
            "completion",
            START + timedelta(seconds=number),
            request_id=name,
            **more,
        )
        self._note("put", name)
        if client.put_ai_usage_metric(metric):
            self._note("accepted", name)

    def _note(self, what: str, name: str) -> None:
        os.write(self._file, f"{what} {name}\n".encode())


class Process:
    """What the plan says."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = plan
        self._book = Book(plan["book"])

    def open_client(self, **settings: Any) -> ResilientDynamoClient:
        # A stalled reply must not take seconds, and checkpoints must come often.
        resilient_dynamo_client._READ_TIMEOUT = 2.0  # type: ignore[misc]
        journal.CHECKPOINT_COMMITS = 20  # type: ignore[misc]
        defaults = {
            "batch_flush_interval": 0.02,
            "max_retry_attempts": 2,
            "retry_base_delay": 0.01,
            "circuit_breaker_timeout": 0.05,
        }
        return ResilientDynamoClient(
            self._plan["table"],
            "us-east-1",
            endpoint_url=self._plan["endpoint"],
            journal_dir=self._plan["journal_dir"],
            durability="journal",
            **{**defaults, **settings},
        )

    def be_killed(self) -> int:
        """Put records until the step comes."""
        step = Step(**self._plan["step"])
        if step.from_start:
            self._arm(step)
        # Whoever leaves records behind must not deliver them.
        client = self.open_client(batch_flush_interval=self._plan["flush_interval"], senders=2)
        if not step.from_start:
            self._put(client, 0)
            assert client.flush(PATIENCE)
            wait_for_proof(client)
            tell("ready")
            sys.stdin.readline()
            self._arm(step)
        for number in range(1, step.records + 1):
            self._put(client, number)
        if step.damages:
            assert client.flush(PATIENCE)
            damage_the_journal()
            self._put(client, step.records + 1)
        client.flush(PATIENCE)
        client.close()
        return SURVIVED

    def _arm(self, step: Step) -> None:
        if step.method is not None:
            arm(step, self._plan["delay"])

    def _put(self, client: ResilientDynamoClient, number: int) -> None:
        self._book.put(client, f"{self._plan['name']}-{number}")

    def deliver_what_is_left(self) -> int:
        """Deliver what dead processes left, and tell what came of it."""
        client = self.open_client()
        is_all = client.flush(self._plan["patience"])
        stats, report = client.get_stats(), client.close()
        tell(
            json.dumps(
                {
                    "flushed": is_all,
                    "report": asdict(report),
                    "stats": {
                        name: getattr(stats, name)
                        for name in (
                            "accepted",
                            "adopted",
                            "delivered",
                            "pending",
                            "dead",
                            "dropped",
                        )
                    },
                }
            )
        )
        return 0

    def put_under_load(self) -> int:
        """Put in four threads, in bursts, until the end comes."""
        client = self.open_client()
        dice = random.Random(self._plan["seed"])
        tell("ready")
        for thread, seed in enumerate(dice.choices(range(1_000_000), k=4)):
            name = f"{self._plan['name']}-{thread}"
            work = (client, name, random.Random(seed))
            threading.Thread(target=self._put_bursts, args=work, daemon=True).start()
        sys.stdin.readline()
        return SURVIVED

    def _put_bursts(self, client: ResilientDynamoClient, name: str, dice: random.Random) -> None:
        numbers = itertools.count()
        while True:
            for number in itertools.islice(numbers, dice.randint(1, 30)):
                self._book.put(client, f"{name}-{number}")
            time.sleep(dice.random())

    def live_through_an_outage(self) -> int:
        """Put records at a steady rate until told to stop; tell the figures each second."""
        client = self.open_client(
            max_pending_records=self._plan["max_pending_records"],
            circuit_breaker_timeout=1.0,
            retry_base_delay=0.1,
        )
        stopped = threading.Event()

        def put_steadily() -> None:
            end = time.monotonic()
            for number in itertools.count():
                self._book.put(client, f"{self._plan['name']}-{number}", metadata=METADATA)
                end += 1 / self._plan["rate"]
                if stopped.wait(max(0.0, end - time.monotonic())):
                    return

        def tell_figures() -> None:
            while not stopped.wait(1.0):
                tell(json.dumps(measure(client)))

        threads = [threading.Thread(target=work) for work in (put_steadily, tell_figures)]
        for thread in threads:
            thread.start()
        tell("ready")
        sys.stdin.readline()
        stopped.set()
        for thread in threads:
            thread.join()
        client.flush(4 * PATIENCE)
        tell(json.dumps(measure(client)))
        return 0


METADATA = {"note": "x" * 3000}


def measure(client: ResilientDynamoClient) -> dict[str, Any]:
    stats = client.get_stats()
    return {
        "accepted": stats.accepted,
        "delivered": stats.delivered,
        "in_memory": stats.pending - stats.spilled,
        "pending": stats.pending,
        "refused": sum(stats.refused.values()),
        "resident": read_resident_bytes(),
    }


def read_resident_bytes() -> int:
    """Return how much memory this process has taken at most."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    # What hangs is to be seen, before whoever waits for this process gives up.
    faulthandler.dump_traceback_later(1.5 * PATIENCE)
    plan = json.loads(sys.argv[1])
    return int(getattr(Process(plan), plan["task"])())


if __name__ == "__main__":
    sys.exit(main())
