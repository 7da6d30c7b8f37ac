"""The arguments that several commands share."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Mapping
from typing import Any, Final

from receipt_dynamo.data.journal.directory import JournalDirectory
from receipt_dynamo.data.journal.places import find_directory, name_own_folder
from receipt_dynamo.errors import ReceiptDynamoError

DONE: Final = 0
SOMETHING_LEFT: Final = 1
BAD_ARGUMENTS: Final = 2
"""Exit statuses; each command's help says what the second one means for it."""


class CommandError(ReceiptDynamoError):
    """A command cannot be carried out as it was given; the message says why."""


def add_parser(
    commands: Any,
    name: str,
    *,
    summary: str,
    details: str,
    statuses: Mapping[int, str],
    example: str,
) -> argparse.ArgumentParser:
    """Add a command whose help lists its exit statuses and shows an example.

    Args:
        commands: What ``ArgumentParser.add_subparsers`` returned.
        name: Its name.
        summary: What it does, in a line of the list of commands.
        details: What it does, in its own help.
        statuses: What each exit status means.
        example: Its arguments, as one may give them.
    """
    means = "\n".join(f"  {status} {meaning}" for status, meaning in statuses.items())
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=details,
        epilog=f"exit status:\n{means}\n\nexample:\n  %(prog)s {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add ``--json`` and ``--quiet``."""
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--quiet", action="store_true", help="print only errors and what was asked for"
    )


def add_command(
    commands: Any, name: str, *, summary: str, details: str, something_left: str, example: str
) -> argparse.ArgumentParser:
    """Add a command for journals, with the arguments that all of them have.

    Args:
        commands: See :func:`add_parser`, as for ``name``, ``summary``, ``details`` and
            ``example``.
        name: Its name.
        summary: What it does, in a line.
        details: What it does.
        something_left: What exit status 1 means.
        example: Its arguments.
    """
    parser = add_parser(
        commands,
        name,
        summary=summary,
        details=details,
        statuses={
            DONE: "all is well",
            SOMETHING_LEFT: something_left,
            BAD_ARGUMENTS: "bad arguments, or files that cannot be read or written",
        },
        example=example,
    )
    parser.add_argument(
        "--journal-dir",
        metavar="DIR",
        help="the journals' directory; by default AI_USAGE_JOURNAL_DIR, else where a client "
        "of this user puts it",
    )
    add_output(parser)
    return parser


def add_table(parser: argparse.ArgumentParser) -> None:
    """Add ``--table``."""
    parser.add_argument(
        "--table", metavar="NAME", help="only journals for this table, named as it is configured"
    )


def find_journals(given: str | None) -> JournalDirectory:
    """Return the journals' directory, which need not exist when it is the default one.

    Args:
        given: ``--journal-dir``.

    Raises:
        CommandError: There is no such directory.
        OSError: It cannot be read.
    """
    if given is not None and not given:
        raise CommandError("--journal-dir is empty; accepted is a directory")
    path = find_directory(given)
    if path.name == name_own_folder() and not os.path.lexists(path):
        path = path.parent  # Whoever looks at another user's journals has no folder beside them.
    if path.exists():
        next(path.iterdir(), None)  # Says why it cannot be read; a search would find nothing.
    elif given is not None:
        raise CommandError(f"--journal-dir is {given}; there is no such directory")
    return JournalDirectory(path)


def read_seconds(text: str) -> float:
    """Return the seconds that ``text`` says.

    Raises:
        argparse.ArgumentTypeError: It is no finite number of 0 or more.
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}; accepted are seconds, 0 or more")
    return seconds
