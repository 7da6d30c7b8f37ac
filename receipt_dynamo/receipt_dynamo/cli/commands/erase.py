"""``journal erase``: delete a person's records, down to the last byte."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import chain
from typing import Any, Final

from receipt_dynamo.cli.arguments import (
    DONE,
    SOMETHING_LEFT,
    CommandError,
    add_command,
    find_journals,
)
from receipt_dynamo.cli.commands.abandoned import visit_abandoned
from receipt_dynamo.cli.commands.survey import JournalView, mention_set_aside, survey
from receipt_dynamo.cli.output import count_of, say, say_all, say_json
from receipt_dynamo.data.journal.file import JournalError
from receipt_dynamo.data.journal.journal import Journal, JournalRow
from receipt_dynamo.data.journal.peek import iterate, peek
from receipt_dynamo.entities.stored_item import read_item, read_text

_USER_ID: Final = "userId"


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command."""
    parser = add_command(
        commands,
        "erase",
        summary="delete a user's records from the journals of dead processes",
        details="Deletes every record of a user, pending or dead, from the journals of dead\n"
        "processes, undelivered, so that no byte stays in these files, nor of records that\n"
        "were delivered from there before. It does not reach DynamoDB, the journals of living\n"
        "processes, damaged journals that were set aside, exports, or a disk's snapshots.",
        something_left="there are journals that it could not reach: of living processes (stop\n"
        "    them and run it again), set aside (delete them by hand), or unreadable",
        example="--user-id user-42",
    )
    parser.add_argument("--user-id", metavar="ID", required=True, help="the records' user_id")
    return parser


def run(chosen: argparse.Namespace) -> int:
    """Carry the command out."""
    user_id: str = chosen.user_id
    if not user_id:
        raise CommandError("--user-id is empty; accepted is the records' user_id")
    directory = find_journals(chosen.journal_dir)
    directory.sweep()
    visit = visit_abandoned(
        directory, lambda: survey(directory), lambda held: _erase(held.journal, user_id)
    )
    erased = sum(visit.results.values())
    living = {view.path.name: _count(view, user_id) for view in visit.living}
    set_aside = directory.count_set_aside()
    if chosen.json:
        say_json(
            {"erased": erased, "living": living, "set_aside": set_aside, "troubles": visit.troubles}
        )
    else:
        say(f"{count_of(erased, 'record')} erased")
        say_all(visit.troubles)
        say_all(_mention(view, living[view.path.name]) for view in visit.living)
        say_all(f"{line}: delete by hand" for line in mention_set_aside(directory))
    return SOMETHING_LEFT if living or set_aside or visit.troubles else DONE


def _erase(journal: Journal, user_id: str) -> int:
    seqs = _find(journal, user_id)
    # Even when there are none: it may hold bytes of delivered records.
    journal.erase(seqs)
    return len(seqs)


def _find(journal: Journal, user_id: str) -> list[int]:
    rows: Iterator[JournalRow] = chain(iterate(journal.read_pending), iterate(journal.read_dead))
    return [row.seq for row in rows if _belongs_to(row, user_id)]


def _belongs_to(row: JournalRow, user_id: str) -> bool:
    item = read_item(row.item) if row.is_whole else None
    if item is None:
        # Damaged: only its bytes can say whose it is.
        return user_id.encode() in row.item
    return read_text(item, _USER_ID) == user_id


def _count(view: JournalView, user_id: str) -> int | None:
    """Return how many of the user's records a living process's journal holds; None if unknown."""
    try:
        with peek(view.path) as journal:
            return len(_find(journal, user_id))
    except JournalError:
        return None


def _mention(view: JournalView, count: int | None) -> str:
    held = "may hold records" if count is None else f"holds {count_of(count, 'record')}"
    return (
        f"{view.path.name}: not touched, because process {view.owner or '(id unknown)'} lives; "
        f"it {held} of this user, and may hold bytes of delivered ones"
    )
