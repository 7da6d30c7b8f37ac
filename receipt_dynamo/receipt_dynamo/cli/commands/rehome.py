"""``journal rehome``: send records whose table was wrong to the right one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Any, Final

from receipt_dynamo.cli.arguments import (
    DONE,
    SOMETHING_LEFT,
    CommandError,
    add_command,
    find_journals,
    read_seconds,
)
from receipt_dynamo.cli.commands.abandoned import Visit, visit_abandoned
from receipt_dynamo.cli.commands.drain import deliver
from receipt_dynamo.cli.commands.survey import JournalView, name_target, survey
from receipt_dynamo.cli.confirm import add_yes, is_confirmed
from receipt_dynamo.cli.explain import explain_failure, is_from_boto3
from receipt_dynamo.cli.output import count_of, remark, say, say_all, say_json
from receipt_dynamo.data.connection import Connection, SdkSettings, Target
from receipt_dynamo.data.journal.directory import (
    HeldJournal,
    JournalDirectory,
    JournalTarget,
    describe_target,
)
from receipt_dynamo.data.journal.file import MADE_AT
from receipt_dynamo.data.table.check import check_keys
from receipt_dynamo.data.table.evidence import TABLE_ARN

_PATIENCE: Final = 60.0
_FROM: Final = "rehomed_from"
_OF_PROCESS: Final = "process"


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command."""
    parser = add_command(
        commands,
        "rehome",
        summary="send records whose table was wrong to the right one",
        details="Makes the records that dead processes left for one table records for another,\n"
        "and delivers them. DynamoDB has to show the other table first, with the keys that\n"
        "records need. The plan is printed, and nothing is done before you agree.\n"
        "Dead letters go along; redrive makes them pending. Journals of living processes are\n"
        "not touched: stop the service, or start it with the right table, and run it then.",
        something_left="you did not agree, or records are left: of living processes, of journals\n"
        "    that cannot be read, or not delivered in time",
        example="--from old-usage --to ai-usage --region eu-west-1",
    )
    parser.add_argument(
        "--from",
        dest="wrong",
        metavar="TABLE",
        required=True,
        help="name or ARN of the table that was wrong, as it is in the journals",
    )
    parser.add_argument(
        "--to", dest="right", metavar="TABLE", required=True, help="name or ARN of the right one"
    )
    parser.add_argument(
        "--region", metavar="REGION", help="of the right one; by default as a client finds it"
    )
    parser.add_argument(
        "--endpoint-url",
        metavar="URL",
        help="of the right one; by default as a client finds it",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=read_seconds,
        default=_PATIENCE,
        help="how long to try to deliver (%(default)g)",
    )
    add_yes(parser)
    return parser


def run(chosen: argparse.Namespace) -> int:
    """Carry the command out."""
    if not chosen.wrong or not chosen.right:
        raise CommandError("--from or --to is empty; accepted is a table's name or ARN")
    directory = find_journals(chosen.journal_dir)
    directory.sweep()
    right, arn = _prove(Target(chosen.right, chosen.region or None, chosen.endpoint_url or None))
    views = _find(directory, chosen.wrong, arn)
    living = [view for view in views if not view.is_abandoned]
    if not any(view.is_abandoned for view in views):
        return _report(chosen, arn, Visit(living=living), delivered=0, left=[])
    for line in _announce([view for view in views if view.is_abandoned], right, arn):
        remark(chosen, line)
    if not is_confirmed(chosen, "send them there?"):
        say("nothing was changed", to=sys.stderr)
        return SOMETHING_LEFT
    visit = visit_abandoned(
        directory,
        lambda: [view for view in _find(directory, chosen.wrong, arn) if view.is_abandoned],
        lambda held: _rehome(held, right, arn),
    )
    delivered, _ = deliver(directory, right, chosen.timeout)
    left = [view for view in survey(directory) if view.is_abandoned and view.arn == arn]
    visit.living += living
    return _report(chosen, arn, visit, delivered=delivered, left=left)


def _prove(target: Target) -> tuple[JournalTarget, str]:
    """Return the right table and its ARN, by DynamoDB's own word.

    Raises:
        CommandError: It does not show the table, or that cannot hold the records.
    """
    connection = Connection(target, SdkSettings(total_max_attempts=2, connect_timeout=3.0))
    try:
        table = connection.client().describe_table(TableName=target.table_name)["Table"]
    except Exception as error:
        if not is_from_boto3(error):
            raise
        raise CommandError(explain_failure(error, target.table_name)) from None
    for finding in check_keys(table):
        raise CommandError(f"records cannot go to table {target.table_name}: {finding.says}")
    return describe_target(target), table["TableArn"]


def _find(directory: JournalDirectory, wrong: str, right_arn: str) -> list[JournalView]:
    """Return the journals that hold records for the wrong table."""
    return [
        view
        for view in survey(directory)
        if (view.counts.pending or view.counts.dead)
        and view.arn != right_arn
        and wrong in {view.target.table_name, view.evidence.bare_name, view.arn}
    ]


def _announce(views: list[JournalView], right: JournalTarget, arn: str) -> Iterator[str]:
    for view in views:
        held = f"{count_of(view.counts.pending, 'record')}, "
        held += count_of(view.counts.dead, "dead letter")
        yield f"{view.path.name}: {held} for {view.arn or name_target(view.target)}"
    yield f"will be for {name_target(right)}, which is {arn}, and be delivered there"


def _rehome(held: HeldJournal, right: JournalTarget, arn: str) -> int:
    noted = held.journal.read_target()
    wrong = noted.get(TABLE_ARN) or noted.get("table_name", "")
    kept = {name: value for name, value in noted.items() if name in (_OF_PROCESS, MADE_AT)}
    held.journal.replace_notes({**right.describe(), TABLE_ARN: arn, **kept, _FROM: wrong})
    return held.counts.pending + held.counts.dead


def _report(
    chosen: argparse.Namespace, arn: str, visit: Visit, *, delivered: int, left: list[JournalView]
) -> int:
    rehomed = sum(visit.results.values())
    pending = sum(view.counts.pending for view in left)
    dead = sum(view.counts.dead for view in left)
    if chosen.json:
        say_json(
            {
                "arn": arn,
                "rehomed": rehomed,
                "delivered": delivered,
                "pending": pending,
                "dead": dead,
                "living": {view.path.name: view.counts.pending for view in visit.living},
                "troubles": visit.troubles,
            }
        )
    else:
        said = f"{delivered} delivered, {pending} pending, {dead} dead"
        say(f"{count_of(rehomed, 'record')} rehomed to {arn}: {said}")
        say_all(visit.troubles)
        say_all(_mention(view) for view in visit.living)
    return SOMETHING_LEFT if pending or dead or visit.living or visit.troubles else DONE


def _mention(view: JournalView) -> str:
    return (
        f"{view.path.name}: {count_of(view.counts.pending, 'record')} not touched, because process "
        f"{view.owner or '(id unknown)'} lives; end it first"
    )
