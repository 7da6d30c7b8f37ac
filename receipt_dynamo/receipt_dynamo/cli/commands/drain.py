"""``journal drain``: deliver now what dead processes left."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from receipt_dynamo.cli.arguments import (
    DONE,
    SOMETHING_LEFT,
    CommandError,
    add_command,
    add_table,
    find_journals,
    read_seconds,
)
from receipt_dynamo.cli.commands.abandoned import visit_abandoned
from receipt_dynamo.cli.commands.survey import (
    JournalView,
    describe_target_in_json,
    list_troubles,
    mention_set_aside,
    name_target,
    survey,
)
from receipt_dynamo.cli.output import count_of, say_all, say_json
from receipt_dynamo.data.connection import Connection, SdkSettings, Target
from receipt_dynamo.data.endpoints import find_region
from receipt_dynamo.data.failures import FailureKind, classify_failure, summarize_failure
from receipt_dynamo.data.journal.directory import (
    HeldJournal,
    JournalDirectory,
    JournalTarget,
    describe_target,
)
from receipt_dynamo.data.resilient_dynamo_client import ResilientDynamoClient
from receipt_dynamo.data.table.evidence import (
    TABLE_ARN,
    Evidence,
    Standing,
    is_another_table,
)
from receipt_dynamo.data.table.identity import UnprovenTableError, prove_table

_PATIENCE: Final = 60.0


@dataclass(slots=True)
class Drained:
    """The outcome of draining the records for one table.

    Attributes:
        target: The table, as the dead processes had it configured.
        delivered: Records that DynamoDB has confirmed now.
        pending: Records that are left.
        dead: Dead letters that are left.
        why: Why records are left, by journal or in general.
    """

    target: JournalTarget
    delivered: int = 0
    pending: int = 0
    dead: int = 0
    why: tuple[str, ...] = ()


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command."""
    parser = add_command(
        commands,
        "drain",
        summary="deliver what dead processes left",
        details="Delivers the pending records in journals of dead processes, to the table,\n"
        "region and endpoint stored in each journal, with this shell's credentials. Living\n"
        "processes deliver their own records. Records are only sent where it is proven,\n"
        "by account, by credentials or by DynamoDB's own word, that the table is theirs.",
        something_left="records or dead letters are left in journals of dead processes, or\n"
        "    there are journals that cannot be read",
        example="--table ai-usage --timeout 120",
    )
    add_table(parser)
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=read_seconds,
        default=_PATIENCE,
        help="how long to try, for each table (%(default)g)",
    )
    parser.add_argument(
        "--adopt-unproven",
        action="store_true",
        help="deliver also the records of processes that ended before DynamoDB had named their "
        "table, with other credentials than this shell's or without any: you confirm that it is "
        "the one which now has that name",
    )
    parser.add_argument(
        "--region",
        metavar="REGION",
        help="with --adopt-unproven: the region for journals that name none; --table is the name "
        "for those that name no table",
    )
    return parser


def run(chosen: argparse.Namespace) -> int:
    """Carry the command out."""
    directory = find_journals(chosen.journal_dir)
    directory.sweep()
    if chosen.region and not chosen.adopt_unproven:
        raise CommandError("--region is for --adopt-unproven only: journals have their own")
    if chosen.adopt_unproven:
        _complete(directory, {"table_name": chosen.table, "region": chosen.region})
    left = list_abandoned(directory, chosen.table)
    drained = [
        drain_target(directory, target, chosen.timeout, adopt_unproven=chosen.adopt_unproven)
        for target in dict.fromkeys(view.target for view in left)
    ]
    views = survey(directory, chosen.table)
    troubles = [*list_troubles(views), *mention_set_aside(directory)]
    living = sum(not view.is_abandoned for view in views)
    if chosen.json:
        tables = [_describe_in_json(each) for each in drained]
        say_json({"tables": tables, "living_journals": living, "troubles": troubles})
    else:
        say_all(describe(drained, living))
        say_all(troubles)
    is_left = any(each.pending or each.dead for each in drained)
    return SOMETHING_LEFT if is_left or troubles else DONE


def _complete(directory: JournalDirectory, given: Mapping[str, str | None]) -> None:
    """Fill in what unproven journals lack, as the operator confirms it."""

    def lacks(view: JournalView) -> bool:
        noted = dict(view.noted)
        return any(word and not noted.get(name) for name, word in given.items())

    def complete(held: HeldJournal) -> int:
        noted = held.journal.read_target()
        words = {name: word for name, word in given.items() if word and not noted.get(name)}
        held.journal.replace_notes(noted | words)
        return 0

    def find() -> list[JournalView]:
        return [
            view
            for view in survey(directory)
            if view.is_abandoned and view.is_unproven and lacks(view)
        ]

    visit_abandoned(directory, find, complete)


def list_abandoned(
    directory: JournalDirectory, table: str | None, target: JournalTarget | None = None
) -> list[JournalView]:
    """Return the journals of dead processes that hold records."""
    return [
        view
        for view in survey(directory, table)
        if view.is_abandoned
        and (view.counts.pending or view.counts.dead)
        and (target is None or view.target == target)
    ]


def drain_target(
    directory: JournalDirectory, target: JournalTarget, timeout: float, *, adopt_unproven: bool
) -> Drained:
    """Deliver what dead processes left for one table.

    Args:
        directory: Where journals are.
        target: The table, as they had it configured.
        timeout: Seconds to try, at most.
        adopt_unproven: Whether the operator says that it is the table which has that name now.
    """
    drained = Drained(target)
    arn: str | None = None
    failure: str | None = None
    if any(view.counts.pending for view in list_abandoned(directory, None, target)):
        failure = _find_obstacle(target)
        if failure is None:
            arn, failure, is_hopeless = _prove(target)
            if arn is not None and adopt_unproven:
                _write_arn(directory, target, arn)
            if not is_hopeless:
                drained.delivered, last_error = deliver(directory, target, timeout)
                failure = last_error or failure
    left = list_abandoned(directory, None, target)
    drained.pending = sum(view.counts.pending for view in left)
    drained.dead = sum(view.counts.dead for view in left)
    drained.why = tuple(_explain(left, target, arn, failure))
    return drained


def _find_obstacle(target: JournalTarget) -> str | None:
    """Return why a client of this process would not be for the same table, or None."""
    if not target.table_name:
        return "the journal names no table; give it by --table, with --adopt-unproven"
    if find_region(target.table_name, target.region) is None:
        return "the journal names no region; give it by --region, with --adopt-unproven"
    if describe_target(_to_target(target)) == target:
        return None
    return (
        "this shell has a region or an endpoint in its environment or AWS profile, and the "
        "journals' processes had none: unset AWS_REGION, AWS_DEFAULT_REGION, AWS_ENDPOINT_URL, "
        "AWS_ENDPOINT_URL_DYNAMODB and AWS_PROFILE as far as they had not"
    )


def _to_target(target: JournalTarget) -> Target:
    return Target(target.table_name, target.region or None, target.endpoint_url or None)


def _prove(target: JournalTarget) -> tuple[str | None, str | None, bool]:
    """Return the table's ARN, or why it is unknown, and whether waiting is useless."""
    connection = Connection(
        _to_target(target), SdkSettings(total_max_attempts=1, connect_timeout=3, read_timeout=5)
    )
    try:
        return prove_table(connection), None, False
    except UnprovenTableError as error:
        return None, str(error), True
    except Exception as error:  # noqa: BLE001 - whatever it is, nothing is delivered unproven
        failure = f"DynamoDB does not say which table it is: {summarize_failure(error)}"
        is_hopeless = classify_failure(error) in {
            *(FailureKind.MISCONFIGURED, FailureKind.REFUSED, FailureKind.REJECTED)
        }
        return None, failure, is_hopeless


def _write_arn(directory: JournalDirectory, target: JournalTarget, arn: str) -> None:
    """Store the operator's confirmation of a table that no process could prove."""

    def note(held: HeldJournal) -> int:
        # What is proven stays as it is.
        if not is_another_table(Evidence.read(held.journal.read_target()), _name(target, arn)):
            held.journal.write_notes([(TABLE_ARN, arn)])
        return 0

    visit_abandoned(directory, lambda: list_abandoned(directory, None, target), note)


def _name(target: JournalTarget, arn: str) -> Evidence:
    return replace(Evidence.read(target.describe()), account=None, arn=arn)


def deliver(
    directory: JournalDirectory, target: JournalTarget, timeout: float
) -> tuple[int, str | None]:
    """Have a client adopt and deliver; return how many records, and its last failure."""
    client = ResilientDynamoClient(
        target.table_name,
        target.region or None,
        endpoint_url=target.endpoint_url or None,
        durability="journal",
        journal_dir=directory.path,
    )
    try:
        client.flush(timeout)
    finally:
        client.close(0)
    stats = client.get_stats()
    return stats.delivered, stats.last_error if stats.pending else None


def _explain(
    left: list[JournalView], target: JournalTarget, arn: str | None, failure: str | None
) -> Iterator[str]:
    if failure is not None:
        yield failure
    for view in left:
        if view.counts.pending:
            yield from _explain_one(view, None if arn is None else _name(target, arn), failure)


def _explain_one(view: JournalView, named: Evidence | None, failure: str | None) -> Iterator[str]:
    name, noted = view.path.name, view.evidence
    if named is not None and is_another_table(noted, named):
        of = noted.arn or f"account {noted.account}"
        yield f"{name} is for {of}, which is not {named.arn}: never delivered there"
    elif noted.standing is Standing.UNPROVEN:
        yield (
            f"{name} is unproven: its process had no credentials, and ended before DynamoDB said "
            "which table it is; --adopt-unproven takes your word for it"
        )
    elif noted.standing is Standing.ATTRIBUTED and named is not None and failure is None:
        yield (
            f"{name} is of other credentials than this shell's: use those, or --adopt-unproven "
            "takes your word that the table is the same"
        )
    elif failure is None:
        yield f"{name} was not delivered in time"


def _describe_in_json(drained: Drained) -> dict[str, Any]:
    return {
        **describe_target_in_json(drained.target),
        "delivered": drained.delivered,
        "pending": drained.pending,
        "dead": drained.dead,
        "why": list(drained.why),
    }


def describe(drained: list[Drained], living: int) -> Iterator[str]:
    """Say what was delivered and what is left, and why."""
    for each in drained:
        yield (
            f"{name_target(each.target)}: {each.delivered} delivered, "
            f"{each.pending} pending, {each.dead} dead"
        )
        for why in each.why:
            yield f"  {why}"
    if not drained:
        yield "dead processes left no records here"
    if living:
        journals = count_of(living, "journal")
        yield f"{journals} of living processes, which deliver what they hold themselves"
