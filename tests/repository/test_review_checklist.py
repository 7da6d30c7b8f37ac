"""The checklist asks about each class of fault, and the commands that it names can be run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "review_checklist.md").read_text(encoding="utf-8")
BASH_BLOCK = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)
TARGET = re.compile(r"^([a-z-]+):", re.MULTILINE)
TEST = re.compile(r"^(?:(?:async )?def (?=test_)|(?=Test\w+ = ))(\w+)", re.MULTILINE)

COMMANDS = [
    shlex.split(line) for block in BASH_BLOCK.findall(PAGE) for line in block.splitlines() if line
]
PYTEST = [words[1:] for words in COMMANDS if words[0] == ".venv/bin/pytest"]
MAKE = [words[1:] for words in COMMANDS if words[0] == "make"]


def list_tests(path: Path) -> list[str]:
    files = [path] if path.is_file() else path.rglob("test_*.py")
    return [name for file in files for name in TEST.findall(file.read_text(encoding="utf-8"))]


def test_each_command_is_one_that_is_looked_at_here() -> None:
    assert len(PYTEST) > 10
    assert len(PYTEST) + len(MAKE) == len(COMMANDS)


@pytest.mark.parametrize("words", PYTEST, ids=" ".join)
def test_the_tests_that_a_command_runs_exist(words: list[str]) -> None:
    paths, _, pattern = " ".join(words).partition(" -k ")
    for path in paths.split():
        assert [name for name in list_tests(ROOT / path) if pattern in name], path


@pytest.mark.parametrize("targets", MAKE, ids=" ".join)
def test_the_targets_of_make_exist(targets: list[str]) -> None:
    assert set(targets) <= set(TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8")))


def test_each_group_of_questions_has_a_command_that_answers_them() -> None:
    groups = re.split(r"^##+ ", PAGE, flags=re.MULTILINE)[1:]
    asked = [group for group in groups if "- [ ]" in group]
    assert len(asked) > 8
    assert all(BASH_BLOCK.search(group) for group in asked)


def test_the_equation_counts_what_was_adopted() -> None:
    assert "`accepted + adopted == delivered + pending + dead + dropped`" in PAGE
