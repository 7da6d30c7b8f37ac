"""Run crashes, and print what came of them.

Ends with status 1 when a record was lost or doubled, when a process was not killed where it
was to be, or when an engine is missing.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from crashes.crash import run_case
from crashes.load import run_random_kills
from crashes.matrix import ENGINES, choose_spread, list_all_cases
from crashes.outage import run_outage
from crashes.verdict import Verdict
from engines.launch import Engine, MissingEngineError, launch

Job = tuple[str, str, Callable[[Engine, Path, str], Verdict]]
"""What it is, on which engine, and how it is run: in a folder and with a table of its own."""

WORKERS = 3  # Crashes wait more than they work, and an outage hardly works at all.
OUTAGE_SECONDS = 60.0
SPREAD_KILLS = 40
RANDOM_KILLS = {"spread": 10, "matrix": 100}

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


def list_jobs(what: str, seed: int) -> Iterator[Job]:
    """Yield what is to be run, the longest first."""
    if what in {"spread", "outage"}:
        outage = partial(run_outage, seconds=OUTAGE_SECONDS, seed=seed)
        yield f"an outage of {OUTAGE_SECONDS:.0f} s", ENGINES[0], outage
    if kills := RANDOM_KILLS.get(what):
        for engine in ENGINES:
            under_load = partial(run_random_kills, kills=kills, seed=seed)
            yield "random moments under load", engine, under_load
    cases = {"spread": choose_spread(SPREAD_KILLS), "matrix": list_all_cases()}.get(what, [])
    for number, case in enumerate(cases):
        crash = partial(run_case, case=case, seed=seed + number)
        yield f"{case.step.name} / {case.fault}", case.engine, crash


def run_all(jobs: list[Job], engines: dict[str, Engine], scratch: Path) -> Verdict:
    """Run the jobs, some at a time, and print a line of each."""
    total = Verdict()

    def run_one(number: int) -> tuple[str, Verdict]:
        name, engine, crash = jobs[number]
        folder = scratch / str(number)
        folder.mkdir()
        return f"{name} / {engine}", crash(engines[engine], folder, f"test-table-crash-{number}")

    with ThreadPoolExecutor(WORKERS) as pool:
        for done in as_completed([pool.submit(run_one, number) for number in range(len(jobs))]):
            name, verdict = done.result()
            say(f"{'ok ' if verdict.is_good else 'BAD'} {name}: {verdict}")
            for complaint in verdict.complaints:
                say(f"    {complaint}")
            total.add(verdict)
    return total


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Run what is chosen; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("spread", "matrix", "outage"))
    parser.add_argument("--seed", type=int, default=1, help="of all that is left to chance")
    parser.add_argument("--only", default="", help="run only jobs whose line has this in it")
    chosen = parser.parse_args()
    for name in [name for name in os.environ if name.startswith(("AWS_", "AI_USAGE_"))]:
        del os.environ[name]
    os.environ.update(ENVIRONMENT)
    jobs = [
        job for job in list_jobs(chosen.what, chosen.seed) if chosen.only in " / ".join(job[:2])
    ]
    began = time.monotonic()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crashes-")))
        try:
            engines = {name: stack.enter_context(launch(name)) for name in ENGINES}
        except MissingEngineError as error:
            sys.stderr.write(f"{error}\n")
            return 1
        total = run_all(jobs, engines, scratch)
    say(f"{len(jobs)} runs, seed {chosen.seed}, {time.monotonic() - began:.0f} s: {total}")
    return 0 if jobs and total.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
