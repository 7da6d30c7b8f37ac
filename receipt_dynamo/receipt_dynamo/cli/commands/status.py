"""``journal status``: the journals, their records, and the processes that own them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
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
    judge_journals,
    name_target,
    survey,
)
from receipt_dynamo.cli.findings import Finding, describe
from receipt_dynamo.cli.output import (
    count_of,
    describe_age,
    describe_bytes,
    say_all,
    say_json,
)
from receipt_dynamo.data.journal.directory import JournalDirectory
from receipt_dynamo.data.table.evidence import Standing


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command."""
    parser = add_command(
        commands,
        "status",
        summary="show the journals, what they hold, and which process owns each",
        details="Shows each journal: its table, whether DynamoDB has proven which one that is,\n"
        "whether a living process owns it, and how many records it holds. Changes nothing,\n"
        "disturbs no process, and never shows what a record says.",
        something_left="something needs you: a dead process left records, a living one has kept\n"
        "    one for 5 minutes, or there are dead letters or journals that cannot be read",
        example="--table ai-usage --json",
    )
    add_table(parser)
    return parser


def run(chosen: argparse.Namespace) -> int:
    """Carry the command out."""
    directory = find_journals(chosen.journal_dir)
    views = survey(directory, chosen.table)
    findings = judge_journals(directory, views)
    if chosen.json:
        say_json(_describe_in_json(directory, views))
    else:
        say_all(_describe(directory, views, findings))
    return SOMETHING_LEFT if findings else DONE


def _describe_in_json(directory: JournalDirectory, views: list[JournalView]) -> dict[str, Any]:
    return {
        "directory": str(directory.path),
        "journals": [view.to_json() for view in views],
        "pending": sum(view.counts.pending for view in views),
        "dead": sum(view.counts.dead for view in views),
        "set_aside": directory.count_set_aside(),
    }


def _describe(
    directory: JournalDirectory, views: list[JournalView], findings: list[Finding]
) -> Iterator[str]:
    yield f"{count_of(len(views), 'journal')} in {directory.path}"
    for view in views:
        if view.trouble is None:
            yield from _describe_one(view)
    for finding in findings:
        yield from describe(finding)
    pending = sum(view.counts.pending for view in views)
    dead = sum(view.counts.dead for view in views)
    yield f"in all: {pending} pending, {count_of(dead, 'dead letter')}"


def _describe_one(view: JournalView) -> Iterator[str]:
    counts = view.counts
    yield f"{view.path.name}"
    yield f"  for {name_target(view.target)}"
    yield f"  {_describe_standing(view)}"
    yield f"  {_describe_owner(view)}"
    yield (
        f"  {counts.pending} pending, {count_of(counts.dead, 'dead letter')}, "
        f"{describe_bytes(counts.bytes)}, last changed {describe_age(view.age)} ago"
    )
    if view.oldest is not None:
        yield f"  the oldest pending record has waited for {describe_age(view.oldest)}"


def _describe_standing(view: JournalView) -> str:
    evidence = view.evidence
    if evidence.standing is Standing.PROVEN:
        return f"proven to be {evidence.arn}"
    if evidence.standing is Standing.UNPROVEN:
        return "unproven: no credentials were found, and DynamoDB has not named the table"
    account = f"account {evidence.account}" if evidence.account else "the same credentials"
    return f"DynamoDB has not named the table yet; a process with {account} may take it over"


def _describe_owner(view: JournalView) -> str:
    if view.is_abandoned:
        return "its process is dead"
    return f"owned by living process {view.owner or '(id unknown)'}"
