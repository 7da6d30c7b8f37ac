"""``journal dead``: which records DynamoDB rejected for good, and why."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

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
from receipt_dynamo.cli.progress import show_progress
from receipt_dynamo.data.journal.file import JournalError
from receipt_dynamo.data.journal.journal import JournalRow
from receipt_dynamo.data.journal.peek import iterate, peek
from receipt_dynamo.entities.stored_item import read_item, read_text

_VARIES: Final = re.compile(r"\S*\d\S*")
"""What differs in one reason from record to record: words with sizes, numbers, ids."""

_UNREADABLE: Final = "(unreadable item)"


@dataclass(frozen=True, slots=True)
class DeadLetterView:
    """A dead letter without its contents.

    Attributes:
        view: Its journal.
        key: PK and SK; None when the item cannot be read.
        timestamp: The record's own time; None if it cannot be read.
        reason: DynamoDB's answer.
        attempts: How often it was sent.
        size: In bytes.
    """

    view: JournalView
    key: tuple[str, str] | None
    timestamp: str | None
    reason: str
    attempts: int
    size: int

    @property
    def key_in_words(self) -> str:
        """The key for people."""
        return "{} {}".format(*self.key) if self.key else _UNREADABLE


@dataclass(slots=True)
class Group:
    """Dead letters of one table with the same reason, but for numbers in it.

    Attributes:
        example: The first of them.
        count: How many.
        first: The earliest time of one, or None.
        last: The latest.
    """

    example: DeadLetterView
    count: int = 0
    first: str | None = None
    last: str | None = None

    def add(self, letter: DeadLetterView) -> None:
        """Count one more."""
        self.count += 1
        times = [each for each in (self.first, self.last, letter.timestamp) if each]
        if times:
            self.first, self.last = min(times), max(times)


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command."""
    parser = add_command(
        commands,
        "dead",
        summary="show the records that DynamoDB rejected for good, by reason",
        details="Shows the dead letters, of living processes' journals too, by DynamoDB's reason:\n"
        "how many, the times of the first and the last, and the key of one. With --all it lists\n"
        "each: key, reason, attempts and size. --json has both. What a record says is not shown;\n"
        "see export.",
        something_left="there are dead letters, or journals that cannot be read",
        example="--table ai-usage",
    )
    add_table(parser)
    parser.add_argument("--all", action="store_true", help="list each dead letter")
    return parser


def run(chosen: argparse.Namespace) -> int:
    """Carry the command out."""
    views = survey(find_journals(chosen.journal_dir), chosen.table)
    found = (letter for view in views for letter in _list_letters(view))
    letters = list(show_progress(found, chosen, "dead letters read"))
    groups = group_letters(letters)
    troubles = list(list_troubles(views))
    if chosen.json:
        say_json(
            {
                "dead": [_describe_in_json(letter) for letter in letters],
                "groups": [_describe_group_in_json(group) for group in groups],
                "troubles": troubles,
            }
        )
    else:
        say_all(_describe(letters) if chosen.all else _describe_groups(groups))
        say_all([count_of(len(letters), "dead letter")])
        say_all(troubles)
    return SOMETHING_LEFT if letters or troubles else DONE


def group_letters(letters: Iterable[DeadLetterView]) -> list[Group]:
    """Return the dead letters by table and reason, the largest group first."""
    groups: dict[tuple[str, str], Group] = {}
    for letter in letters:
        like = (letter.view.target.table_name, _VARIES.sub("#", letter.reason))
        groups.setdefault(like, Group(letter)).add(letter)
    return sorted(groups.values(), key=lambda group: -group.count)


def _list_letters(view: JournalView) -> Iterator[DeadLetterView]:
    if not view.counts.dead:
        return
    try:
        with peek(view.path, keeps_index=view.is_abandoned) as journal:
            for row in iterate(journal.read_dead):
                yield _look_at(view, row)
    except JournalError:
        if view.path.exists():  # Else it was redriven and delivered in between.
            raise


def _look_at(view: JournalView, row: JournalRow) -> DeadLetterView:
    item = (read_item(row.item) if row.is_whole else None) or {}
    pk, sk = read_text(item, "PK"), read_text(item, "SK")
    key = None if pk is None or sk is None else (pk, sk)
    timestamp = read_text(item, "timestamp")
    return DeadLetterView(view, key, timestamp, row.reason or "", row.attempts, len(row.item))


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


def _describe_group_in_json(group: Group) -> dict[str, Any]:
    example = group.example
    return {
        **describe_target_in_json(example.view.target),
        "reason": example.reason,
        "count": group.count,
        "first": group.first,
        "last": group.last,
        "pk": example.key and example.key[0],
        "sk": example.key and example.key[1],
    }


def _describe_groups(groups: list[Group]) -> Iterator[str]:
    for group in groups:
        yield f"{count_of(group.count, 'dead letter')}: {group.example.reason}"
        times = f", of {group.first} to {group.last}" if group.first else ""
        yield f"  for {name_target(group.example.view.target)}{times}"
        yield f"  such as {group.example.key_in_words}"


def _describe(letters: list[DeadLetterView]) -> Iterator[str]:
    for letter in letters:
        yield letter.key_in_words
        yield f"  for {name_target(letter.view.target)}, in {letter.view.path.name}"
        sent = count_of(letter.attempts, "attempt")
        yield f"  after {sent}, {describe_bytes(letter.size)}: {letter.reason}"
