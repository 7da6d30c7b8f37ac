"""``receipt-usage completion``: what a shell needs to complete commands and options."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Any, Final

from receipt_dynamo.cli.arguments import BAD_ARGUMENTS, DONE, add_parser
from receipt_label.errors import MissingPackageError

SHELLS: Final = ("bash", "zsh")


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command to what ``ArgumentParser.add_subparsers`` returned."""
    parser = add_parser(
        commands,
        "completion",
        summary="print a script for the shell's completion",
        details="Prints a script that completes commands, options and files. Needs the package\n"
        "shtab: pip install 'receipt-label[completion]'. For bash, in ~/.bashrc:\n\n"
        '  eval "$(receipt-usage completion bash)"\n\n'
        "For zsh, into a file _receipt-usage in a directory of $fpath.",
        statuses={DONE: "printed", BAD_ARGUMENTS: "bad arguments, or shtab is not installed"},
        example="bash > ~/.local/share/bash-completion/completions/receipt-usage",
    )
    parser.add_argument("shell", choices=SHELLS, help="which shell")
    return parser


def run(chosen: argparse.Namespace, program: argparse.ArgumentParser) -> int:
    """Carry the command out.

    Args:
        chosen: Its arguments.
        program: The parser of the whole command line.

    Raises:
        MissingPackageError: shtab is not installed.
    """
    try:
        import shtab
    except ImportError:
        raise MissingPackageError(
            "completion needs the package shtab: pip install 'receipt-label[completion]'"
        ) from None
    kinds = {"DIR": shtab.DIRECTORY, "FILE": shtab.FILE}
    for parser in list_parsers(program):
        for action in parser._actions:  # noqa: SLF001 - argparse has no public list of them
            if isinstance(action.metavar, str) and action.metavar in kinds:
                action.complete = kinds[action.metavar]  # type: ignore[attr-defined]
            if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
                _describe_by_summaries(action)
    sys.stdout.write(shtab.complete(program, shell=chosen.shell))
    return DONE


def list_parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield a parser and those of all commands below it."""
    yield parser
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for part in action.choices.values():
                yield from list_parsers(part)


def _describe_by_summaries(commands: Any) -> None:
    """Have each command described by its summary: shtab takes a description's first line."""
    for listed in commands._choices_actions:  # noqa: SLF001
        commands.choices[listed.dest].description = listed.help
