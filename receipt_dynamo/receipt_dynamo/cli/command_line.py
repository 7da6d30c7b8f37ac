"""The command line of ``python -m receipt_dynamo``, a part of which others can take over."""

from __future__ import annotations

import argparse
import logging
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from receipt_dynamo.cli.arguments import BAD_ARGUMENTS, SOMETHING_LEFT
from receipt_dynamo.cli.commands import (
    dead,
    discard,
    drain,
    erase,
    export,
    redrive,
    rehome,
    status,
    table,
    watch,
)
from receipt_dynamo.cli.explain import explain_failure, is_from_boto3
from receipt_dynamo.cli.output import make_printable, say
from receipt_dynamo.cli.target import find_table
from receipt_dynamo.errors import ReceiptDynamoError

_JOURNAL: Final = """\
Records that DynamoDB has not confirmed yet are in journals on disk, one for each process.
These commands look into them, and finish what dead processes left."""

_TABLE: Final = """\
The records are in one DynamoDB table with four indexes. These commands make it, and say
what a table that exists lacks."""

_EXAMPLE: Final = "example:\n  %(prog)s {}"

_INTERRUPTED: Final = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: The arguments; by default those of the process.

    Returns:
        The exit status: 0 when all is well, 1 when something is left or was found as the
        command's help says, 2 for bad arguments and files that cannot be used, 130 when
        interrupted.

    Raises:
        SystemExit: With 2 for bad arguments, with 0 for ``--help``.
    """
    chosen = make_parser().parse_args(argv)
    status: int = chosen.run(chosen)
    return status


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="python -m receipt_dynamo",
        description="Operations on what delivers usage records, and on their table.",
        epilog=_EXAMPLE.format("table check --table ai-usage"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_journal(commands)
    add_table(commands)
    return parser


def add_journal(commands: Any) -> None:
    """Add the command ``journal`` to those of a command line.

    Args:
        commands: What ``ArgumentParser.add_subparsers`` returned. With the command chosen,
            the parsed arguments have ``run``, which takes them and returns the exit status.
    """
    journal = commands.add_parser(
        "journal",
        help="look into the journals, and deliver what is left",
        description=_JOURNAL,
        epilog=_EXAMPLE.format("status --table ai-usage"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parts = journal.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (status, drain, watch, dead, redrive, rehome, export, discard, erase):
        parser = module.add(parts)
        parser.set_defaults(run=guard(module.run, parser))


def add_table(commands: Any) -> None:
    """Add the command ``table`` to those of a command line, as :func:`add_journal` does."""
    parent = commands.add_parser(
        "table",
        help="make the table that holds the records, or check it",
        description=_TABLE,
        epilog=_EXAMPLE.format("create --table ai-usage"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parts = parent.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add, run in (
        (table.add_create, table.run_create),
        (table.add_check, table.run_check),
        (table.add_template, table.run_template),
    ):
        parser = add(parts)
        parser.set_defaults(run=guard(run, parser))


def guard(
    run: Callable[[argparse.Namespace], int], parser: argparse.ArgumentParser
) -> Callable[[argparse.Namespace], int]:
    """Turn what a user can meet with into a line and an exit status.

    Args:
        run: Carries a command out.
        parser: Of the command; its name stands before an error.
    """

    def guarded(chosen: argparse.Namespace) -> int:
        try:
            with _log_to_stderr(is_quiet=getattr(chosen, "quiet", False)):
                exit_status = run(chosen)
            sys.stdout.flush()
        except BrokenPipeError:
            # Who reads our output has seen enough. Python would fail again while it exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return SOMETHING_LEFT
        except KeyboardInterrupt:
            return _INTERRUPTED
        except Exception as error:
            said = _explain(error, chosen)
            if said is None:
                raise
            say(f"{parser.prog}: error: {said}", to=sys.stderr)
            return BAD_ARGUMENTS
        return exit_status

    return guarded


def _explain(error: Exception, chosen: argparse.Namespace) -> str | None:
    """Return what a user can do something about; None when the program is at fault."""
    if is_from_boto3(error):  # Asked first: some of these are an OSError too.
        return explain_failure(error, find_table(chosen))
    if isinstance(error, ReceiptDynamoError | OSError | sqlite3.Error):
        return str(error)
    return None


class _PrintableFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return make_printable(super().format(record))


@contextmanager
def _log_to_stderr(*, is_quiet: bool) -> Iterator[None]:
    """Show what the package logs, safe against what the messages of others hold."""
    logger = logging.getLogger("receipt_dynamo")
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.ERROR if is_quiet else logging.NOTSET)
    handler.setFormatter(_PrintableFormatter("%(message)s"))
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
