"""Mutation testing of the three patterns: break each line of them, and see a test fail.

Run ``make mutants``, or ``python tests/mutants/run.py retry`` for one pattern. mutmut works on
a copy in ``.cache/mutants``; a mutant that hangs is killed by its time limit. The exit code is
1 when less than 90 % of a pattern's mutants are killed. ``survivors.md`` says of which
survivors we know that no test can tell them from the original.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".cache" / "mutants"
MUTMUT = str(Path(sys.executable).with_name("mutmut"))
UTILS = "receipt_dynamo/utils"
TESTS = "tests/receipt_dynamo/utils"
GOAL = 0.9
"""Share of the mutants of each pattern that must be killed."""
PROCESSES = 2
# The last one is an interrupt of a test's own that the mutant let out.
KILLED = {"killed", "timeout", "segfault", "check was interrupted by user"}

# The proofs that a lock is needed step through every line: too slow for a thousand mutants.
# Those of forks and of the end start Python anew, where mutmut does not follow; what a record
# costs is counted in steps, and those would be mutmut's own.
LEFT_OUT = "not without_the_lock and not in_atexit and not child and not costs"

CONFIGURATION = """\
[tool.mutmut]
source_paths = ["receipt_dynamo"]
only_mutate = {sources}
also_copy = ["tests"]
pytest_add_cli_args = ["-p", "no:cacheprovider", "-k", "{left_out}"]
pytest_add_cli_args_test_selection = {tests}
use_git_change_detection = false

[tool.pytest.ini_options]
pythonpath = ["tests"]
addopts = ["--import-mode=importlib"]
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "function"
filterwarnings = ["error"]
timeout = 10
timeout_method = "thread"
"""


@dataclass(frozen=True)
class Pattern:
    """A pattern: its modules and its test files, as glob patterns within their folders."""

    modules: tuple[str, ...]
    tests: str


PATTERNS = {
    "breaker": Pattern(("circuit_breaker.py", "breaker/*.py"), "test_circuit_breaker*.py"),
    "retry": Pattern(("retry_with_backoff.py", "retry/*.py", "backoff.py"), "test_retry*.py"),
    "queue": Pattern(("batch_queue.py", "batch/*.py"), "test_batch_queue*.py"),
}


def main(names: list[str]) -> int:
    """Test the patterns of ``names``, or all; return the exit code."""
    unknown = set(names) - PATTERNS.keys()
    if unknown:
        sys.stderr.write(f"unknown: {', '.join(unknown)}; accepted are {', '.join(PATTERNS)}\n")
        return 2
    reached = [_judge(name, PATTERNS[name]) for name in names or PATTERNS]
    return 0 if all(reached) else 1


def _judge(name: str, pattern: Pattern) -> bool:
    """Run mutmut on one pattern, print what it found, and return whether the goal is reached."""
    folder = WORK / name
    _make_folder(folder, pattern)
    _mutmut(folder, "run", "--max-children", str(PROCESSES))
    results = dict(_read_results(folder))
    total, killed = _count_by_module(results)
    share = killed.total() / total.total()
    sys.stdout.write(f"\n{'module':<24}{'mutants':>8}{'killed':>8}{'survived':>10}{'%':>7}\n")
    for module in sorted(total):
        sys.stdout.write(_format_row(module, total[module], killed[module]))
    sys.stdout.write(_format_row(name, total.total(), killed.total()))
    for mutant, status in results.items():
        if status not in KILLED:
            sys.stdout.write(f"\n{mutant}: {status}\n{_read_change(folder, mutant)}\n")
    sys.stdout.write(f"\n{name}: {share:.1%} killed, at least {GOAL:.0%} wanted\n")
    return share >= GOAL


def _make_folder(folder: Path, pattern: Pattern) -> None:
    """Copy what mutmut needs to ``folder``, with one package at the top as mutmut expects."""
    shutil.rmtree(folder, ignore_errors=True)
    no_caches = shutil.ignore_patterns("__pycache__")
    shutil.copytree(
        ROOT / "receipt_dynamo" / "receipt_dynamo", folder / "receipt_dynamo", ignore=no_caches
    )
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=no_caches)
    configuration = CONFIGURATION.format(
        sources=json.dumps([f"{UTILS}/{module}" for module in pattern.modules]),
        tests=json.dumps(
            [str(path.relative_to(folder)) for path in sorted((folder / TESTS).glob(pattern.tests))]
        ),
        left_out=LEFT_OUT,
    )
    (folder / "pyproject.toml").write_text(configuration, encoding="utf-8")


def _mutmut(folder: Path, *arguments: str) -> None:
    subprocess.run(
        [MUTMUT, *arguments],
        cwd=folder,
        env={**os.environ, "HYPOTHESIS_PROFILE": "mutants"},
        check=True,
    )


def _read_results(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield each mutant's name and status; a line of mutmut's is ``    name: status``."""
    command = [MUTMUT, "results", "--all", "true"]
    output = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
    for line in output.splitlines():
        mutant, _, status = line.strip().partition(": ")
        yield mutant, status


def _count_by_module(results: dict[str, str]) -> tuple[Counter[str], Counter[str]]:
    """Return the number of all mutants and of those killed, by module."""
    total: Counter[str] = Counter()
    killed: Counter[str] = Counter()
    for mutant, status in results.items():
        module = mutant.removeprefix("receipt_dynamo.utils.").rpartition(".")[0]
        total[module] += 1
        killed[module] += status in KILLED
    return total, killed


def _format_row(name: str, total: int, killed: int) -> str:
    return f"{name:<24}{total:>8}{killed:>8}{total - killed:>10}{killed / total:>7.1%}\n"


def _read_change(folder: Path, mutant: str) -> str:
    """Return the lines that ``mutant`` takes away and adds."""
    command = [MUTMUT, "show", mutant]
    output = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
    changed = [line for line in output.splitlines() if line.startswith(("-", "+"))]
    return "\n".join(line for line in changed if not line.startswith(("---", "+++")))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
