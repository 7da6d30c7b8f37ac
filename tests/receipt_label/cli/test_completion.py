"""Completion, by the shell itself: the script is sourced, and its function called as bash does."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from receipt_label.cli.main import main

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")

# As bash calls it: the words so far, and which of them is to be completed.
ASK = """
source "$1"; shift
function=$(complete -p receipt-usage | sed 's/.*-F \\([^ ]*\\).*/\\1/')
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
"$function"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script for bash."""
    made = subprocess.run(
        [sys.executable, "-m", "receipt_label.cli.main", "completion", "bash"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    path = tmp_path_factory.mktemp("completion") / "receipt-usage"
    path.write_text(made.stdout, encoding="utf-8")
    return path


def complete(script: Path, *words: str, folder: Path | None = None) -> set[str]:
    """Return what bash offers for the last word."""
    answered = subprocess.run(
        ["bash", "--norc", "--noprofile", "-c", ASK, "bash", str(script), "receipt-usage", *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=folder,
    )
    assert answered.stderr == ""
    return {line.strip() for line in answered.stdout.splitlines()} - {""}


@needs_bash
def test_bash_completes_commands_their_parts_and_options(script: Path) -> None:
    assert {"demo", "doctor", "export", "report", "journal", "table", "completion"} <= complete(
        script, ""
    )
    assert complete(script, "do") == {"doctor"}
    assert {"create", "check", "template"} <= complete(script, "table", "")
    assert complete(script, "table", "check", "--re") == {"--region"}
    assert {"--table", "--json", "--quiet", "--no-ttl"} <= complete(script, "doctor", "--")
    assert complete(script, "journal", "drain", "--adopt") == {"--adopt-unproven"}
    assert complete(script, "completion", "") >= {"bash", "zsh"}


@needs_bash
def test_bash_completes_files_and_directories(script: Path, tmp_path: Path) -> None:
    (tmp_path / "usage.html").touch()
    (tmp_path / "journals").mkdir()
    assert "usage.html" in complete(script, "report", "--html", "us", folder=tmp_path)
    found = complete(script, "journal", "status", "--journal-dir", "", folder=tmp_path)
    assert {name.rstrip("/") for name in found} == {"journals"}


def test_zsh_gets_a_script_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zsh"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("#compdef receipt-usage")
    assert "--adopt-unproven" in printed


def test_a_shell_that_is_not_known_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["completion", "fish"])
    assert ended.value.code == 2
    assert "invalid choice: 'fish'" in capsys.readouterr().err


def test_without_shtab_it_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        "receipt-usage completion: error: completion needs the package shtab: "
        "pip install 'receipt-label[completion]'\n"
    )
