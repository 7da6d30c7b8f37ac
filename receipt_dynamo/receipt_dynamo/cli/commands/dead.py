"""``journal dead``: which records DynamoDB rejected for good, and why."""

from __future__ import annotations

import argparse
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
    name_target,
    survey,
)
from receipt_dynamo.cli.output import count_of, describe_bytes, say_all, say_json
from receipt_dynamo.data.journal.file import JournalError
from receipt_dynamo.data.journal.peek import iterate, peek
from receipt_dynamo.entities.stored_item import find_key


@dataclass(frozen=True, slots=True)
class DeadLetterView:
    """A dead letter without its contents.

    Attributes:
        view: Its journal.
        key: PK and SK; None when the item cannot be read.
        reason: DynamoDB's answer.
        attempts: How often it was sent.
        size: In bytes.
    """

    view: JournalView
    key: tuple[str, str] | None
    reason: str
    attempts: int
    size: int


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command."""
    parser = add_command(
        commands,
        "dead",
        summary="list the records that DynamoDB rejected for good",
        details="Lists the dead letters: key, DynamoDB's reason, attempts and size, of living\n"
        "processes' journals too. What a record says is not shown; see export.",
        something_left="there are dead letters, or journals that cannot be read",
        example="--table ai-usage",
    )
    add_table(parser)
    return parser


def run(chosen: argparse.Namespace) -> int:
    """Carry the command out."""
    views = survey(find_journals(chosen.journal_dir), chosen.table)
    letters = [letter for view in views for letter in _list_letters(view)]
    troubles = list(list_troubles(views))
    if chosen.json:
        listed = [_describe_in_json(letter) for letter in letters]
        say_json({"dead": listed, "troubles": troubles})
    else:
        say_all(_describe(letters))
        say_all(troubles)
    return SOMETHING_LEFT if letters or troubles else DONE


def _list_letters(view: JournalView) -> Iterator[DeadLetterView]:
    if not view.counts.dead:
        return
    try:
        with peek(view.path, keeps_index=view.is_abandoned) as journal:
            for row in iterate(journal.read_dead):
                key = find_key(row.item) if row.is_whole else None
                yield DeadLetterView(view, key, row.reason or "", row.attempts, len(row.item))
    except JournalError:
        if view.path.exists():  # Else it was redriven and delivered in between.
            raise


def _describe_in_json(letter: DeadLetterView) -> dict[str, Any]:
    return {
        "journal": letter.view.path.name,
        **describe_target_in_json(letter.view.target),
        "living": not letter.view.is_abandoned,
        "pk": letter.key and letter.key[0],
        "sk": letter.key and letter.key[1],
        "reason": letter.reason,
        "attempts": letter.attempts,
        "bytes": letter.size,
    }


def _describe(letters: list[DeadLetterView]) -> Iterator[str]:
    for letter in letters:
        yield "{} {}".format(*letter.key) if letter.key else "(unreadable item)"
        yield f"  for {name_target(letter.view.target)}, in {letter.view.path.name}"
        sent = count_of(letter.attempts, "attempt")
        yield f"  after {sent}, {describe_bytes(letter.size)}: {letter.reason}"
    yield count_of(len(letters), "dead letter")
