"""docs/commands.md, written from the parsers; run this file to write it anew."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from receipt_dynamo.cli.command_line import make_parser as make_journal_parser
from receipt_label.cli.completion import list_parsers
from receipt_label.cli.main import make_parser

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"

INTRODUCTION = """\
# Commands

`receipt-usage` comes with receipt-label. `journal` and `table` are also below
`python -m receipt_dynamo`, which needs receipt-dynamo alone. This page is written from the commands
themselves, by `python tests/support/commands_page.py`.

* Which table: `--table`, else `DYNAMODB_TABLE_NAME`. Where: `--region` and `--endpoint-url`, else
  as boto3 finds it. As whom: boto3's credentials; see [permissions](permissions.md).
* `--json` prints one JSON document. `--quiet` prints only errors and what was asked for: no
  remarks, no progress, no warnings of the log. Results go to standard output, everything else to
  standard error.
* Whatever is wrong with arguments, credentials, network or table is one line and status 2, never a
  traceback. Ctrl-C is status 130, a closed pipe 1.
* What names and messages hold that a terminal would obey (control characters, reversed writing) is
  shown escaped.

## Completion

```bash
pip install 'receipt-label[completion]'                 # brings shtab
eval "$(receipt-usage completion bash)"                 # in ~/.bashrc
receipt-usage completion zsh > ~/.zfunc/_receipt-usage  # a directory of zsh's $fpath
```
"""


def write_page() -> str:
    """Return the page."""
    programs = [each for each in list_parsers(make_parser()) if not list_parts(each)]
    return INTRODUCTION + "".join(f"\n{write_command(each)}" for each in programs)


def write_command(parser: argparse.ArgumentParser) -> str:
    lines = [f"## {parser.prog}", "", " ".join((parser.description or "").split()), ""]
    lines += ["| argument | |", "|---|---|", *list_arguments(parser), ""]
    lines += ["| status | means |", "|---|---|"]
    lines += [f"| {status} | {escape(means)} |" for status, means in read_statuses(parser)]
    lines += ["", "```bash", *read_examples(parser), "```", ""]
    return "\n".join(lines)


def list_arguments(parser: argparse.ArgumentParser) -> Iterator[str]:
    formatter = parser._get_formatter()
    for action in parser._actions:
        if not isinstance(action, argparse._HelpAction):
            told = escape(formatter._expand_help(action))
            yield f"| {escape(name_argument(action))} | {told} |"


def name_argument(action: argparse.Action) -> str:
    words = action.metavar if isinstance(action.metavar, tuple) else [action.metavar or ""]
    if not action.metavar and action.nargs != 0:
        words = [",".join(action.choices) if action.choices else action.dest.upper()]
    value = " ".join(words) if action.nargs != 0 else ""
    names = ", ".join(f"`{name}`" for name in action.option_strings)
    return " ".join(filter(None, (names, value and f"`{value}`")))


def read_statuses(parser: argparse.ArgumentParser) -> list[tuple[str, str]]:
    """Return what a command's help says of each exit status."""
    text = (parser.epilog or "").partition("exit status:\n")[2].partition("\n\n")[0]
    found: list[tuple[str, str]] = []
    for line in text.splitlines():
        status, _, means = line.strip().partition(" ")
        if status.isdigit() and line.startswith("  ") and not line.startswith("   "):
            found.append((status, means))
        else:
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}")
    return found


def read_examples(parser: argparse.ArgumentParser) -> list[str]:
    """Return the command lines after "example:" in a command's help."""
    text = (parser.epilog or "").partition("example:\n")[2]
    return [line.strip().replace("%(prog)s", parser.prog) for line in text.splitlines() if line]


def list_parts(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Return the commands directly below one."""
    return list(list_parsers(parser))[1:]


def escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


PROGRAMS = (make_parser, make_journal_parser)

if __name__ == "__main__":
    PAGE.write_text(write_page(), encoding="utf-8")
