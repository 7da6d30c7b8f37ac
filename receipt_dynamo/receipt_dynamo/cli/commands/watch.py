"""``journal watch``: deliver what dead processes leave, again and again."""

from __future__ import annotations

import argparse
import signal
import sys
from typing import Any, Final

from receipt_dynamo.cli.arguments import (
    DONE,
    CommandError,
    add_command,
    add_table,
    find_journals,
    read_seconds,
)
from receipt_dynamo.cli.commands.drain import describe, drain_target, list_abandoned
from receipt_dynamo.cli.output import say_all

_INTERVAL: Final = 5.0
_PATIENCE: Final = 10.0
"""Seconds for each table in each round: less than a platform waits before it kills."""


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command."""
    parser = add_command(
        commands,
        "watch",
        summary="deliver what dead processes leave, until SIGTERM",
        details="Looks for the journals of dead processes again and again, and delivers them as\n"
        "drain does, until SIGTERM or Ctrl-C. For beside workers that end as soon as their\n"
        "job is done.",
        something_left="never",
        example="--table ai-usage --interval 5",
    )
    add_table(parser)
    parser.add_argument(
        "--interval",
        metavar="SECONDS",
        type=read_seconds,
        default=_INTERVAL,
        help="between two looks (%(default)g)",
    )
    return parser


def run(chosen: argparse.Namespace) -> int:
    """Carry the command out."""
    if sys.platform == "win32":
        raise CommandError("watch needs leases of journals, which Windows does not have")
    ends = {signal.SIGTERM, signal.SIGINT}
    # Blocked and waited for: so they end the first process of a container too, which ignores
    # what it has no handler for, and never in the middle of a round.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    try:
        said: list[str] = []
        while signal.sigtimedwait(ends, chosen.interval) is None:
            said = _look(chosen, said)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return DONE


def _look(chosen: argparse.Namespace, said: list[str]) -> list[str]:
    """Deliver what there is; say what is new, and return what was said."""
    directory = find_journals(chosen.journal_dir)
    directory.sweep()
    targets = {
        view.target: None for view in list_abandoned(directory, chosen.table) if view.counts.pending
    }
    drained = [
        drain_target(directory, target, _PATIENCE, adopt_unproven=False) for target in targets
    ]
    lines = list(describe(drained, 0)) if drained else []
    if lines != said and not chosen.quiet:
        say_all(lines)
        sys.stdout.flush()
    return lines
