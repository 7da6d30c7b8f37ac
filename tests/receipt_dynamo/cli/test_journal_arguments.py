"""Bad arguments and closed pipes: one line, an exit status, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from receipt_dynamo.data.journal.directory import JournalDirectory
from support.command_runs import Ended
from support.left_journals import make_journal

Run = Callable[..., Ended]

COMMANDS = ("status", "drain", "dead", "redrive", "export", "discard", "erase")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["dance"], "invalid choice: 'dance'"),
        (["status", "--journal-dir", ""], "--journal-dir is empty"),
        (["status", "--journal-dir", "/no/such"], "/no/such; there is no such directory"),
        (["status", "--journal-dir", __file__], "Not a directory"),
        (["drain", "--timeout", "soon"], "'soon'; accepted are seconds, 0 or more"),
        (["drain", "--timeout", "-1"], "'-1'; accepted are seconds, 0 or more"),
        (["drain", "--timeout", "inf"], "'inf'; accepted are seconds, 0 or more"),
        (["drain", "--timeout", "nan"], "'nan'; accepted are seconds, 0 or more"),
        (["redrive", "--key", "only-pk"], "--key: expected 2 arguments"),
        (["export"], "FILE"),
        (["discard"], "--exported"),
        (["discard", "--exported", "/no/such/file"], "/no/such/file"),
        (["discard", "--exported", __file__], "line 1 is no record"),
        (["erase"], "--user-id"),
        (["erase", "--user-id", ""], "--user-id is empty"),
    ],
)
def test_bad_arguments_are_named_and_exit_with_2(
    arguments: list[str], message: str, run: Run
) -> None:
    ended = run(*arguments)
    assert (ended.status, ended.out) == (2, "")
    assert message in ended.err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_and_the_exit_statuses(command: str, run: Run) -> None:
    ended = run(command, "--help")
    assert ended.status == 0
    assert f"python -m receipt_dynamo journal {command} " in ended.out.partition("example:")[2]
    for status in (0, 1, 2):
        assert f"\n  {status} " in ended.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_can_print_json_and_be_told_where(command: str, run: Run) -> None:
    shown = run(command, "--help").out
    assert "--json" in shown
    assert "--journal-dir" in shown


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="modes of POSIX")
def test_a_directory_that_everybody_can_write_to_is_not_trusted(
    run: Run, directory: JournalDirectory
) -> None:
    """What somebody else put there would be delivered as ours."""
    make_journal(directory, pending=1, dead=1)
    directory.path.chmod(0o777)
    for command in (["redrive"], ["erase", "--user-id", "someone"]):
        ended = run(*command)
        assert ended.status == 2
        assert "can be written by every user" in ended.err


def test_it_runs_as_a_module_and_a_closed_pipe_is_no_traceback(
    directory: JournalDirectory,
) -> None:
    for _ in range(20):
        make_journal(directory, pending=1)
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [sys.executable, "-m", "receipt_dynamo", "journal", "status"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (1, "")


def test_names_that_a_terminal_cannot_write_are_escaped(directory: JournalDirectory) -> None:
    other = directory.path.with_name("jöurnal")
    other.mkdir(mode=0o700)
    ended = subprocess.run(
        [sys.executable, "-m", "receipt_dynamo", "journal", "status", "--journal-dir", str(other)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii:strict"},
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert Path(other).name.encode("ascii", "backslashreplace").decode() in ended.stdout
