"""``journal discard``: delete dead letters that an export holds."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from receipt_dynamo.cli.arguments import (
    DONE,
    SOMETHING_LEFT,
    CommandError,
    add_command,
    add_table,
    find_journals,
)
from receipt_dynamo.cli.commands.abandoned import visit_abandoned
from receipt_dynamo.cli.commands.survey import JournalView, survey
from receipt_dynamo.cli.confirm import add_yes, is_confirmed
from receipt_dynamo.cli.output import count_of, say, say_all, say_json
from receipt_dynamo.cli.progress import show_progress
from receipt_dynamo.data.journal.file import JournalError
from receipt_dynamo.data.journal.journal import Journal, JournalRow
from receipt_dynamo.data.journal.peek import iterate, peek
from receipt_dynamo.entities.stored_item import read_item

_DELETED_AT_ONCE: Final = 500


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command."""
    parser = add_command(
        commands,
        "discard",
        summary="delete dead letters that an export holds",
        details="Deletes dead letters from the journals of dead processes, undelivered: those\n"
        "that FILE holds, and no others. Asks before. Damaged dead letters are in no export,\n"
        "and stay. Journals of living processes are not touched.",
        something_left="dead letters are left that FILE does not hold, or in journals of living\n"
        "    processes or ones that cannot be read, or the answer was no",
        example="--exported dead-letters.jsonl",
    )
    add_table(parser)
    parser.add_argument(
        "--exported", metavar="FILE", required=True, help="what 'journal export --dead' wrote"
    )
    add_yes(parser)
    return parser


def run(chosen: argparse.Namespace) -> int:
    """Carry the command out."""
    exported = _read_export(chosen)
    directory = find_journals(chosen.journal_dir)

    def find_views() -> list[JournalView]:
        views = survey(directory, chosen.table)
        return [view for view in views if view.counts.dead or view.trouble]

    found = sum(_count_exported(view, exported) for view in find_views())
    question = (
        f"Delete {count_of(found, 'dead letter')}, which {chosen.exported} holds and which "
        "DynamoDB never took?"
    )
    if found and not is_confirmed(chosen, question):
        return SOMETHING_LEFT
    visit = visit_abandoned(
        directory, find_views, lambda held: _discard(held.journal, exported, chosen)
    )
    discarded = sum(visit.results.values())
    living = {view.path.name: view.counts.dead for view in visit.living}
    left = sum(view.counts.dead for view in survey(directory, chosen.table) if view.is_abandoned)
    if chosen.json:
        say_json(
            {"discarded": discarded, "left": left, "living": living, "troubles": visit.troubles}
        )
    else:
        say(f"{count_of(discarded, 'dead letter')} deleted")
        say_all(visit.troubles)
        if left:
            say(f"{count_of(left, 'dead letter')} left, which {chosen.exported} does not hold")
        say_all(_mention(view) for view in visit.living)
    return SOMETHING_LEFT if left or living or visit.troubles else DONE


def _read_export(chosen: argparse.Namespace) -> set[bytes]:
    """Return the marks of the dead letters in an export.

    Raises:
        CommandError: The file is none.
        OSError: It cannot be read.
    """
    marks = set()
    with Path(chosen.exported).open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                document = json.loads(line)
                if document["state"] == "dead":
                    marks.add(_mark(document["item"]))
            except (ValueError, KeyError, TypeError):
                raise CommandError(
                    f"--exported is {chosen.exported}, whose line {number} is no record; accepted "
                    "is a file that 'journal export' wrote"
                ) from None
    return marks


def _mark(item: dict[str, Any]) -> bytes:
    """Return a hash that identifies the item."""
    return hashlib.sha256(json.dumps(item, sort_keys=True).encode()).digest()


def _find_exported(journal: Journal, exported: set[bytes]) -> Iterator[JournalRow]:
    for row in iterate(journal.read_dead):
        item = read_item(row.item) if row.is_whole else None
        if item is not None and _mark(item) in exported:
            yield row


def _count_exported(view: JournalView, exported: set[bytes]) -> int:
    if not view.is_abandoned or view.trouble is not None:
        return 0
    try:
        with peek(view.path, keeps_index=True) as journal:
            return sum(1 for _ in _find_exported(journal, exported))
    except JournalError:
        return 0


def _discard(journal: Journal, exported: set[bytes], chosen: argparse.Namespace) -> int:
    found = show_progress(_find_exported(journal, exported), chosen, "dead letters found")
    seqs = [row.seq for row in found]
    for start in range(0, len(seqs), _DELETED_AT_ONCE):
        journal.delete(seqs[start : start + _DELETED_AT_ONCE])
    return len(seqs)


def _mention(view: JournalView) -> str:
    letters = count_of(view.counts.dead, "dead letter")
    return (
        f"{view.path.name}: {letters} not touched, because process {view.owner or '(id unknown)'} "
        "lives; end it and run this again"
    )
