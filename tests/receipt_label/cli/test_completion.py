"""Completion, by the shells themselves: each loads its script as a user does, and is asked."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engines.install import are_required
from receipt_label.cli.main import main

# As bash calls it: the words so far, and which of them is to be completed.
ASK_BASH = """
source "$1"; shift
function=$(complete -p receipt-usage | sed 's/.*-F \\([^ ]*\\).*/\\1/')
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
"$function"
printf '%s\\n' "${COMPREPLY[@]}"
"""

# zsh completes only in its line editor: this begins with a line, completes it, and ends. What
# would be added to the line, or shown, goes through compadd.
ZSHRC = """
fpath=($SCRIPTS $fpath)
autoload -U compinit && compinit -D -u
compadd() {
  local -a matches
  if (( ! $@[(I)-[OAD]] )); then
    builtin compadd -O matches "$@"
    print -rl -- $matches >> $ANSWER
  fi
  builtin compadd "$@"
}
zle-line-init() {
  BUFFER=$LINE CURSOR=$#LINE
  zle complete-word
  print -r -- $BUFFER > $COMPLETED
  exit
}
zle -N zle-line-init
"""


def ask_bash(home: Path, folder: Path, words: tuple[str, ...]) -> set[str]:
    script = home / "_receipt-usage"
    answered = subprocess.run(
        ["bash", "--norc", "--noprofile", "-c", ASK_BASH, "bash", script, "receipt-usage", *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=folder,
    )
    assert answered.stderr == ""
    return {line.strip() for line in answered.stdout.splitlines()} - {""}


def ask_zsh(home: Path, folder: Path, words: tuple[str, ...]) -> set[str]:
    """Return what zsh offers for the last word; what it makes of the line is in `completed`."""
    answer = home / "answer"
    answer.write_text("")
    run_zsh(
        folder,
        {
            "ZDOTDIR": str(home),
            "SCRIPTS": str(home),
            "ANSWER": str(answer),
            "COMPLETED": str(home / "completed"),
            "LINE": " ".join(["receipt-usage", *words]),
        },
    )
    return set(answer.read_text().splitlines())


def run_zsh(folder: Path, variables: dict[str, str]) -> str:
    """Run an interactive zsh on a terminal of its own until it ends; return what it showed."""
    ours, its = pty.openpty()
    try:
        shell = subprocess.Popen(
            ["zsh", "-d", "-i"],  # -d: nothing of the machine's own configuration.
            stdin=its,
            stdout=its,
            stderr=its,
            start_new_session=True,
            cwd=folder,
            env={**os.environ, "TERM": "dumb", **variables},
        )
        os.close(its)
        with shell:
            shown = b"".join(iter(lambda: read_terminal(ours), b""))
            assert shell.wait(60) == 0, shown.decode()
    finally:
        os.close(ours)
    return shown.decode()


def read_terminal(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux: nobody has its other end open any more.
        return b""


ASK = {"bash": ask_bash, "zsh": ask_zsh}

Complete = Callable[..., set[str]]


@pytest.fixture(scope="module", params=ASK)
def shell(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if shutil.which(name) is None:
        report = pytest.fail if are_required() else pytest.skip
        report(f"{name} is not installed: its completion is not tried (apt install {name})")
    return name


@pytest.fixture(scope="module")
def home(shell: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that has the script for the shell, and the start file of zsh."""
    made = subprocess.run(
        [sys.executable, "-m", "receipt_label.cli.main", "completion", shell],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    path = tmp_path_factory.mktemp("home")
    (path / "_receipt-usage").write_text(made.stdout, encoding="utf-8")
    (path / ".zshrc").write_text(ZSHRC, encoding="utf-8")
    return path


@pytest.fixture
def complete(shell: str, home: Path, tmp_path: Path) -> Complete:
    """A function that returns what the shell offers for the last word, in ``tmp_path``."""
    return lambda *words: ASK[shell](home, tmp_path, words)


def test_a_shell_completes_commands_their_parts_and_options(complete: Complete) -> None:
    every = {"demo", "doctor", "export", "report", "journal", "table", "completion"}
    assert complete("") >= every
    assert complete("do") == {"doctor"}
    assert complete("table", "") >= {"create", "check", "template"}
    assert complete("table", "check", "--re") == {"--region"}
    assert complete("doctor", "--") >= {"--table", "--json", "--quiet", "--no-ttl"}
    assert complete("journal", "drain", "--adopt") == {"--adopt-unproven"}
    assert complete("report", "--json", "--cs") == {"--csv"}
    assert complete("completion", "") >= {"bash", "zsh"}


def test_a_shell_completes_files_and_directories(complete: Complete, tmp_path: Path) -> None:
    (tmp_path / "usage.html").touch()
    (tmp_path / "journals").mkdir()
    assert "usage.html" in complete("report", "--html", "us")
    found = complete("journal", "status", "--journal-dir", "")
    assert {name.rstrip("/") for name in found} == {"journals"}


@pytest.mark.parametrize("shell", ["zsh"], indirect=True)
def test_zsh_completes_the_line_itself(complete: Complete, home: Path, tmp_path: Path) -> None:
    complete("do")
    assert (home / "completed").read_text() == "receipt-usage doctor \n"


def test_zsh_shows_what_each_command_does_in_a_whole_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["completion", "zsh"]) == 0
    printed = capsys.readouterr().out
    assert "completion:'print a script for the shell'\"'\"'s completion'" in printed
    assert "drain:'deliver what dead processes left'" in printed


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
