"""``journal redrive``: give dead letters another chance, once their cause is gone."""

from __future__ import annotations

import argparse
from typing import Any

from receipt_dynamo.cli.arguments import (
    DONE,
    SOMETHING_LEFT,
    add_command,
    add_table,
    find_journals,
)
from receipt_dynamo.cli.commands.abandoned import visit_abandoned
from receipt_dynamo.cli.commands.survey import JournalView, survey
from receipt_dynamo.cli.output import count_of, say, say_all, say_json
from receipt_dynamo.cli.progress import show_progress
from receipt_dynamo.data.journal.directory import HeldJournal
from receipt_dynamo.data.journal.peek import iterate
from receipt_dynamo.entities.item_key import Key
from receipt_dynamo.entities.stored_item import find_key


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command."""
    parser = add_command(
        commands,
        "redrive",
        summary="make dead letters of dead processes pending again",
        details="Makes dead letters pending again. The next process for the same table delivers\n"
        "them, or drain does. Journals of living processes are not touched: such a process\n"
        "has client.redrive() for its own.",
        something_left="dead letters are left in journals of living processes or in ones that\n"
        "    cannot be read, or none has the given key or reason",
        example="--key 'AI_USAGE#openai#gpt-4o' 'USAGE#2026-03-01T12:00:00+00:00#id-7'",
    )
    add_table(parser)
    parser.add_argument(
        "--key", nargs=2, metavar=("PK", "SK"), help="only the dead letter with this key"
    )
    parser.add_argument(
        "--reason", metavar="TEXT", help="only dead letters whose reason has this text in it"
    )
    return parser


def run(chosen: argparse.Namespace) -> int:
    """Carry the command out."""
    directory = find_journals(chosen.journal_dir)
    key = None if chosen.key is None else (chosen.key[0], chosen.key[1])
    visit = visit_abandoned(
        directory,
        lambda: [
            view for view in survey(directory, chosen.table) if view.counts.dead or view.trouble
        ],
        lambda held: _redrive(held, key, chosen),
    )
    redriven = sum(visit.results.values())
    living = {view.path.name: view.counts.dead for view in visit.living}
    if chosen.json:
        say_json({"redriven": redriven, "living": living, "troubles": visit.troubles})
    else:
        say(f"{count_of(redriven, 'dead letter')} made pending; drain delivers what is pending")
        say_all(visit.troubles)
        say_all(_mention(view) for view in visit.living)
    if key is not None or chosen.reason is not None:
        return DONE if redriven else SOMETHING_LEFT
    return SOMETHING_LEFT if visit.living or visit.troubles else DONE


def _redrive(held: HeldJournal, key: Key | None, chosen: argparse.Namespace) -> int:
    redriven = 0
    for row in show_progress(iterate(held.journal.read_dead), chosen, "dead letters read"):
        has_reason = chosen.reason is None or chosen.reason in (row.reason or "")
        if has_reason and (key is None or find_key(row.item) == key):
            redriven += held.journal.redrive(row) is not None
    return redriven


def _mention(view: JournalView) -> str:
    letters = count_of(view.counts.dead, "dead letter")
    return (
        f"{view.path.name}: {letters} not touched, because process {view.owner or '(id unknown)'} "
        "lives; there, call client.redrive()"
    )
