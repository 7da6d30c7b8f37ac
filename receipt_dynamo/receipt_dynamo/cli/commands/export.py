"""``journal export``: the records themselves, as JSON Lines."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from receipt_dynamo.cli.arguments import (
    DONE,
    SOMETHING_LEFT,
    add_command,
    add_table,
    find_journals,
)
from receipt_dynamo.cli.commands.survey import (
    JournalView,
    describe_target_in_json,
    list_troubles,
    survey,
)
from receipt_dynamo.cli.files import STANDARD_OUTPUT, open_new_output
from receipt_dynamo.cli.output import count_of, say, say_json, to_json
from receipt_dynamo.cli.progress import show_progress
from receipt_dynamo.data.journal.file import JournalError
from receipt_dynamo.data.journal.journal import Journal, JournalRow
from receipt_dynamo.data.journal.peek import iterate, peek
from receipt_dynamo.entities.stored_item import read_item


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command."""
    parser = add_command(
        commands,
        "export",
        summary="write the records as JSON Lines",
        details="Writes the records, each on a line with its journal, table and state, to a new\n"
        "file that only this user can read. Living processes' journals are read as well, and\n"
        "go on meanwhile. The items hold what a record says, user ids and errors too.",
        something_left="a journal cannot be read, or an item in it (it is left out)",
        example="--dead dead-letters.jsonl",
    )
    add_table(parser)
    parser.add_argument("--pending", action="store_true", help="only pending records")
    parser.add_argument("--dead", action="store_true", help="only dead letters")
    parser.add_argument("file", metavar="FILE", help="a new file; - is standard output")
    return parser


@dataclass(frozen=True, slots=True)
class _States:
    pending: bool
    dead: bool


def run(chosen: argparse.Namespace) -> int:
    """Carry the command out."""
    views = survey(find_journals(chosen.journal_dir), chosen.table)
    states = _States(
        pending=chosen.pending or not chosen.dead, dead=chosen.dead or not chosen.pending
    )
    troubles = list(list_troubles(views))
    written = 0
    with open_new_output(chosen.file) as output:
        for view in views:
            try:
                lines = _list_lines(view, states, troubles)
                for line in show_progress(lines, chosen, "records exported"):
                    output.write(f"{line}\n")
                    written += 1
            except JournalError as error:
                if view.path.exists():  # Else it was delivered in between.
                    troubles.append(f"{view.path.name}: {error}")
    _report(chosen, written, troubles)
    return SOMETHING_LEFT if troubles else DONE


def _report(chosen: argparse.Namespace, written: int, troubles: list[str]) -> None:
    is_to_stdout = chosen.file == STANDARD_OUTPUT
    if chosen.json and not is_to_stdout:
        say_json({"exported": written, "file": chosen.file, "troubles": troubles})
        return
    stream = sys.stderr if is_to_stdout else sys.stdout
    for line in troubles:
        say(line, to=stream)
    say(f"{count_of(written, 'record')} exported", to=stream)


def _list_lines(view: JournalView, states: _States, troubles: list[str]) -> Iterator[str]:
    if view.trouble is not None:
        return
    with peek(view.path, keeps_index=view.is_abandoned) as journal:
        for row in _list_rows(journal, states):
            item = read_item(row.item) if row.is_whole else None
            if item is None:
                troubles.append(f"{view.path.name}: record {row.seq} is damaged and left out")
            else:
                yield to_json(_describe(view, row, item))


def _list_rows(journal: Journal, states: _States) -> Iterator[JournalRow]:
    if states.pending:
        yield from iterate(journal.read_pending)
    if states.dead:
        yield from iterate(journal.read_dead)


def _describe(view: JournalView, row: JournalRow, item: dict[str, Any]) -> dict[str, Any]:
    is_dead = row.reason is not None
    return {
        "journal": view.path.name,
        **describe_target_in_json(view.target),
        "state": "dead" if is_dead else "pending",
        **({"reason": row.reason, "attempts": row.attempts} if is_dead else {}),
        "item": item,
    }
