"""The console command: its arguments, its exit status, and packages that are missing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from receipt_label.cli.demo.launch import find_missing
from receipt_label.cli.demo.options import DemoOptions
from receipt_label.cli.main import main

BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
        return None

sys.meta_path.insert(0, Blocker())
from receipt_label.cli.main import main
sys.exit(main({arguments!r}))
"""


def run_without(blocked: set[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in an interpreter that cannot import the ``blocked`` packages."""
    return subprocess.run(
        [sys.executable, "-c", BLOCKER.format(blocked=blocked, arguments=list(arguments))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["dance"], "invalid choice: 'dance'"),
        (["demo", "--calls", "0"], "calls is 0; accepted are 1 to 100000"),
        (["demo", "--calls", "many"], "invalid int value: 'many'"),
        (["demo", "--threads", "65"], "threads is 65; accepted are 1 to 64"),
        (["demo", "--seconds", "0"], "seconds is 0.0; accepted are numbers above 0, up to 3600"),
        (["demo", "--seconds", "nan"], "seconds is nan; accepted are numbers above 0"),
        (["demo", "--loud"], "unrecognized arguments: --loud"),
    ],
)
def test_bad_arguments_are_named_and_exit_with_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_help_says_what_the_exit_status_means(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--help"])

    assert ended.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "0 every call has exactly one row" in shown
    assert "(1000)" in shown


def test_the_options_survive_the_way_to_the_child_process() -> None:
    from argparse import ArgumentParser

    parser = ArgumentParser()
    DemoOptions.add_arguments(parser)
    options = DemoOptions(calls=7, threads=2, seconds=0.5, plain=True)

    assert DemoOptions.from_namespace(parser.parse_args(options.to_arguments())) == options
    assert DemoOptions.from_namespace(parser.parse_args([])) == DemoOptions()


def test_missing_packages_are_named_with_the_way_to_install_them() -> None:
    ended = run_without({"flask", "moto"}, "demo")

    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr == (
        "receipt-usage: error: the demo needs flask, moto: pip install 'receipt-label[demo]'\n"
    )


def test_help_needs_none_of_the_demos_packages() -> None:
    ended = run_without({"anthropic", "flask", "moto", "openai", "rich"}, "--help")

    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_journal_commands_of_receipt_dynamo_are_here_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["journal", "status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["journals"] == []
    with pytest.raises(SystemExit) as ended:
        main(["journal", "drain", "--help"])
    assert ended.value.code == 0
    assert "receipt-usage journal drain --table" in capsys.readouterr().out


def test_packages_are_looked_for_by_name() -> None:
    assert find_missing(["sys", "no_such_package_anywhere", "json"]) == ["no_such_package_anywhere"]
