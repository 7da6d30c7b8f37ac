"""The console command ``receipt-usage``."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Final

from receipt_dynamo.cli.arguments import (
    BAD_ARGUMENTS,
    DONE,
    SOMETHING_LEFT,
    add_parser,
)
from receipt_dynamo.cli.command_line import add_journal, add_table, guard
from receipt_label.cli import completion, doctor
from receipt_label.cli.demo.launch import MissingExtraError, launch_demo
from receipt_label.cli.demo.options import DemoOptions
from receipt_label.cli.export import command as export_command
from receipt_label.cli.report import command as report_command

if TYPE_CHECKING:
    from collections.abc import Sequence

_DEMO: Final = """\
Drives the real OpenAI and Anthropic SDKs against a loopback stub of their APIs, while an
embedded DynamoDB is healthy, then throttles, then is down, then comes back. Needs no account
and no network. Reads the table back: every call must have exactly one row."""
_EXAMPLE: Final = """\
example:
  %(prog)s report --table ai-usage --since last-month"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: The arguments after the command's name; by default those of the process.

    Returns:
        The exit status: 0 for success, 1 when the demo lost or doubled a row, or the doctor
        or a journal command found something (see their help), 2 when a package is missing or
        a table cannot be read, 130 when interrupted.

    Raises:
        SystemExit: With 2 for bad arguments, with 0 for ``--help``.
    """
    parser = make_parser()
    chosen = parser.parse_args(argv)
    if "run" in chosen:
        status: int = chosen.run(chosen)
        return status
    try:
        return launch_demo(DemoOptions.from_namespace(chosen))
    except ValueError as error:
        parser.error(str(error))
    except MissingExtraError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="receipt-usage",
        description="Usage records of AI calls in DynamoDB.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    demo = add_parser(
        commands,
        "demo",
        summary="watch 1,000 calls become 1,000 rows while DynamoDB throttles and goes down",
        details=_DEMO,
        statuses={
            DONE: "every call has exactly one row",
            SOMETHING_LEFT: "a row is missing or doubled",
            BAD_ARGUMENTS: "bad arguments, or a package is missing",
        },
        example="--calls 200",
    )
    DemoOptions.add_arguments(demo)
    for module in (doctor, report_command, export_command):
        command = module.add(commands)
        command.set_defaults(run=guard(module.run, command))
    add_journal(commands)
    add_table(commands)
    shells = completion.add(commands)
    shells.set_defaults(run=guard(lambda chosen: completion.run(chosen, parser), shells))
    return parser


if __name__ == "__main__":
    sys.exit(main())
