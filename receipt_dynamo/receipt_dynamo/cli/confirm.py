"""Ask before something is done that cannot be undone."""

from __future__ import annotations

import argparse
import sys

from receipt_dynamo.cli.arguments import CommandError
from receipt_dynamo.cli.output import say

_YES = frozenset({"y", "yes"})


def add_yes(parser: argparse.ArgumentParser) -> None:
    """Add ``--yes``."""
    parser.add_argument("--yes", action="store_true", help="do not ask")


def is_confirmed(chosen: argparse.Namespace, question: str) -> bool:
    """Return whether the user agrees, by ``--yes`` or on the terminal.

    Args:
        chosen: The parsed arguments of a command that has :func:`add_yes`.
        question: What is asked.

    Raises:
        CommandError: The input is no terminal.
    """
    if chosen.yes:
        return True
    if not sys.stdin.isatty():
        raise CommandError("nobody is there to say yes; give --yes")
    say(f"{question} [y/N]", to=sys.stderr)
    return sys.stdin.readline().strip().lower() in _YES
