"""The whole demo, as a user runs it: in a process of its own, with whatever shell there is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SMALL = ("--calls=60", "--threads=4", "--seconds=2", "--plain")
LONG_OUTAGE = ("--calls=60", "--threads=4", "--seconds=10", "--plain")

# What a developer's shell may hold, and what would break boto3 or the SDKs.
HOSTILE_SHELL = {
    "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
    "AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:9",
    "AWS_PROFILE": "nonexistent",
    "ENVIRONMENT": "production",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "OPENAI_BASE_URL": "http://127.0.0.1:9",
    "TRACK_AI_USAGE": "false",
    "http_proxy": "http://127.0.0.1:9",
}

SABOTAGE = """
import sys
from receipt_label.cli.demo.options import DemoOptions
from receipt_label.cli.demo.run import run_demo
from receipt_label.cli.demo.setup import DemoSetup

read_rows = DemoSetup.read_rows

def read_after_sabotage(setup, tally):
    row, other = read_rows(setup, tally)[:2]
    table = setup.reader._connection.client()
    name = setup.reader.table_name
    {sabotage}
    return read_rows(setup, tally)

DemoSetup.read_rows = read_after_sabotage
sys.exit(run_demo(DemoOptions(calls=8, threads=2, seconds=0.4, plain=True), sys.stdout))
"""

DELETE_A_ROW = """\
table.delete_item(TableName=name, Key={"PK": {"S": row.key[0]}, "SK": {"S": row.key[1]}})"""

DOUBLE_A_ROW = """\
table.put_item(TableName=name, Item=row.to_dynamodb_item() | {"SK": {"S": row.key[1] + "x"}})"""


def run_command(
    *arguments: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def bare_shell() -> dict[str, str]:
    """The least that a process needs to start Python."""
    return {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}


def test_in_a_hostile_shell_every_call_has_exactly_one_row() -> None:
    shell = bare_shell() | HOSTILE_SHELL
    ended = run_command("-m", "receipt_label.cli.main", "demo", *SMALL, env=shell)

    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    assert re.search(r"calls made +60\nrows found +60\nlost +0\ndoubled +0\n", ended.stdout)
    assert re.search(r"total +60 +\d+ +\d+ +0\.\d\d +0\.0\d*[1-9]", ended.stdout)
    assert "without a known price" not in ended.stdout
    assert ended.stdout.endswith("OK: every call has exactly one row.\n")


def test_nothing_of_the_demo_stays_in_the_users_home(tmp_path: Path) -> None:
    """A journal of the demo's in the user's own directory would be there for real services."""
    for name in ("home", "state", "temp"):
        (tmp_path / name).mkdir()
    shell = bare_shell() | {
        "HOME": str(tmp_path / "home"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "TMPDIR": str(tmp_path / "temp"),
    }
    ended = run_command("-m", "receipt_label.cli.main", "demo", *SMALL, env=shell)

    assert ended.returncode == 0, ended.stdout
    assert [path for folder in tmp_path.iterdir() for path in folder.iterdir()] == []


def test_the_breaker_opens_in_the_outage_and_closes_after_it() -> None:
    ended = run_command("-m", "receipt_label.cli.main", "demo", *LONG_OUTAGE, env=bare_shell())

    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    down, back = (ended.stdout.index(text) for text in ("is down", "is back"))
    opened = ended.stdout.index("closed -> open")
    assert down < opened < back < ended.stdout.rindex("half_open -> closed")


@pytest.mark.parametrize(
    ("sabotage", "difference"),
    [
        (DELETE_A_ROW, "lost (a call without a row): 1: "),
        (DOUBLE_A_ROW, "doubled (a call with several rows): 1: "),
    ],
)
def test_a_row_changed_behind_its_back_makes_the_demo_fail(sabotage: str, difference: str) -> None:
    ended = run_command("-c", SABOTAGE.format(sabotage=sabotage))

    assert ended.returncode == 1, ended.stderr
    assert "FAILED: calls and rows differ." in ended.stdout
    assert difference in ended.stdout
