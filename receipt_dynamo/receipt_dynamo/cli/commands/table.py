"""``table create``, ``table check`` and ``table template``: the table that holds the records."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from receipt_dynamo.cli.arguments import (
    BAD_ARGUMENTS,
    DONE,
    SOMETHING_LEFT,
    CommandError,
    add_parser,
)
from receipt_dynamo.cli.findings import Finding, Level, describe
from receipt_dynamo.cli.output import remark, say_all, say_json
from receipt_dynamo.cli.target import (
    Connection,
    add_target,
    find_table,
    open_connection,
    require_table,
)
from receipt_dynamo.data.table.check import (
    UNKNOWN,
    Fix,
    TableFinding,
    TableOptions,
    TableView,
    find_differences,
)
from receipt_dynamo.data.table.setup import Remarks, look_at_table, make_table
from receipt_dynamo.data.table.template import make_template
from receipt_dynamo.entities.wire_form import EXPIRY_ATTRIBUTE
from receipt_dynamo.utils.secrets import hide_passwords

RETENTION_VARIABLE: Final = "AI_USAGE_RETENTION_DAYS"
"""Where it is set, records hold when they expire."""

_STATUSES: Final = {
    DONE: "the table is as it should be",
    SOMETHING_LEFT: "it works, and something that is advised is missing or different",
    BAD_ARGUMENTS: "something that is required is missing or different, or bad arguments,\n"
    "    or the table cannot be reached",
}


def add_create(commands: Any) -> argparse.ArgumentParser:
    """Add the command ``create``."""
    parser = add_parser(
        commands,
        "create",
        summary="make the table with its indexes",
        details="Makes the table with its four indexes, on demand, waits until it is active, and\n"
        f"turns on time to live (attribute {EXPIRY_ATTRIBUTE}) and point-in-time recovery. A\n"
        "table that exists is not changed: it is checked, as 'check' does.",
        statuses=_STATUSES,
        example="--table ai-usage --region eu-central-1 --tag team=search",
    )
    add_target(parser)
    add_table_options(parser)
    _add_options_for_new_tables(parser)
    return parser


def add_check(commands: Any) -> argparse.ArgumentParser:
    """Add the command ``check``."""
    parser = add_parser(
        commands,
        "check",
        summary="say what is missing or different in a table",
        details="Compares a table with the one that the records need: keys, indexes, capacity,\n"
        "point-in-time recovery, and time to live where AI_USAGE_RETENTION_DAYS is set. Changes\n"
        "nothing. Of each difference it says whether it must or should be otherwise, and prints\n"
        "the AWS CLI's commands for that.",
        statuses=_STATUSES,
        example="--table ai-usage --json",
    )
    add_target(parser)
    add_table_options(parser)
    return parser


def add_template(commands: Any) -> argparse.ArgumentParser:
    """Add the command ``template``."""
    parser = add_parser(
        commands,
        "template",
        summary="print the table as a CloudFormation template",
        details="Prints what 'create' makes as a CloudFormation template, in JSON. Reaches no\n"
        "network. The stack's parameter TableName is --table by default; a table outlives its\n"
        "stack.",
        statuses={DONE: "printed", BAD_ARGUMENTS: "bad arguments"},
        example="--table ai-usage > ai-usage.json",
    )
    parser.add_argument(
        "--table", metavar="NAME", help="name of the table; by default DYNAMODB_TABLE_NAME"
    )
    parser.set_defaults(quiet=True)
    add_table_options(parser)
    _add_options_for_new_tables(parser)
    return parser


def add_table_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say what a table need not have."""
    parser.add_argument(
        "--no-ttl", action="store_true", help="time to live is not wanted: records stay for ever"
    )
    parser.add_argument(
        "--no-pitr", action="store_true", help="point-in-time recovery is not wanted"
    )


def _add_options_for_new_tables(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--deletion-protection", action="store_true", help="the table cannot be deleted"
    )
    parser.add_argument(
        "--tag",
        metavar="KEY=VALUE",
        action="append",
        type=_read_tag,
        default=[],
        help="a tag of the table; may be given again",
    )


def _read_tag(text: str) -> tuple[str, str]:
    key, found, value = text.partition("=")
    if not key or not found:
        raise argparse.ArgumentTypeError(f"tag is {text!r}; accepted is KEY=VALUE")
    return key, value


def need_not_be_seen(finding: TableFinding) -> bool:
    """Return whether these credentials may not see a part that whoever writes need not see."""
    return finding.code == UNKNOWN and "AccessDeniedException" in finding.says


def read_table_options(chosen: argparse.Namespace) -> TableOptions:
    """Return what a new table should have, by the arguments of :func:`add_table_options`."""
    return TableOptions(
        expires=not chosen.no_ttl,
        recovers=not chosen.no_pitr,
        is_protected=getattr(chosen, "deletion_protection", False),
        tags=dict(getattr(chosen, "tag", ())),
    )


def read_expected_options(chosen: argparse.Namespace) -> TableOptions:
    """Return what a table that exists should have: time to live for records that expire only."""
    options = read_table_options(chosen)
    records_expire = bool(os.environ.get(RETENTION_VARIABLE, "").strip())
    return replace(options, expires=options.expires and records_expire)


def run_create(chosen: argparse.Namespace) -> int:
    """Carry ``create`` out."""
    connection = open_connection(chosen)
    options = read_table_options(chosen)
    remark(chosen, f"making table {connection.table_name}, unless it exists")
    remarks = make_table(connection.client(), connection.table_name, options)
    expected = read_expected_options(chosen) if remarks is None else options
    view, findings = compare(connection, expected)
    return _report(chosen, view, findings, _Made(remarks))


def run_check(chosen: argparse.Namespace) -> int:
    """Carry ``check`` out."""
    connection = open_connection(chosen)
    view, findings = compare(connection, read_expected_options(chosen))
    return _report(chosen, view, findings, None)


def compare(connection: Connection, options: TableOptions) -> tuple[TableView, list[TableFinding]]:
    """Return what DynamoDB says of a table, and how that differs from what it should be."""
    view = look_at_table(connection.client(), connection.table_name)
    return view, find_differences(view, options)


def run_template(chosen: argparse.Namespace) -> int:
    """Carry ``template`` out."""
    table = require_table(chosen)
    if table.startswith("arn:"):
        raise CommandError(f"table is {table}; accepted is a name, a stack chooses the account")
    say_json(make_template(table, read_table_options(chosen)))
    return DONE


@dataclass(frozen=True, slots=True)
class _Made:
    """What ``create`` did: what it could not turn on, or None when the table was there."""

    remarks: Remarks | None


def _report(
    chosen: argparse.Namespace,
    view: TableView,
    findings: list[TableFinding],
    made: _Made | None,
) -> int:
    remarks = (made and made.remarks) or Remarks()
    notes = [*remarks.refusals, *dict.fromkeys([*remarks.notes, *view.notes])]
    if chosen.json:
        created = {} if made is None else {"created": made.remarks is not None}
        say_json({**_describe_in_json(chosen, view, findings, notes), **created})
    else:
        if not chosen.quiet:
            say_all(_introduce(view, made))
        for finding in findings:
            say_all(describe(judge(finding, chosen), _name_level(finding)))
        if not chosen.quiet:
            say_all([*(f"note: {note}" for note in notes), _sum_up(findings)])
    if any(finding.is_required for finding in findings):
        return BAD_ARGUMENTS
    return SOMETHING_LEFT if findings else DONE


def _introduce(view: TableView, made: _Made | None) -> Iterator[str]:
    name = view.table["TableName"]
    if made is not None:
        done = "exists; nothing was changed" if made.remarks is None else "is made"
        yield f"table {name} {done}"
    indexes = view.table.get("GlobalSecondaryIndexes") or ()
    names = ", ".join(sorted(index["IndexName"] for index in indexes)) or "none"
    yield f"table {name}: {view.table.get('TableStatus')}, indexes: {names}"


def judge(finding: TableFinding, chosen: argparse.Namespace) -> Finding:
    """Return a difference as commands show what they find.

    Args:
        finding: The difference.
        chosen: See :func:`list_commands`.
    """
    level = Level.ERROR if finding.is_required else Level.WARNING
    commands = list_commands(finding, chosen)
    return Finding(level, finding.says, finding.advice, tuple(commands))


def list_commands(finding: TableFinding, chosen: argparse.Namespace) -> list[str]:
    """Return the commands of the AWS CLI that heal a finding, one after the other.

    Args:
        finding: It.
        chosen: The arguments. Table, region and endpoint are named as they are here: an ARN
            may be of another region.
    """
    table = find_table(chosen)
    named = {} if table is None else {"TableName": table}
    return [
        Fix(fix.operation, {**fix.parameters, **named}).to_cli(_list_options(chosen))
        for fix in finding.fixes
    ]


def _list_options(chosen: argparse.Namespace) -> Sequence[str]:
    given = {"--region": chosen.region, "--endpoint-url": chosen.endpoint_url}
    return [
        word for option, value in given.items() if value for word in (option, hide_passwords(value))
    ]


def _describe_in_json(
    chosen: argparse.Namespace, view: TableView, findings: list[TableFinding], notes: list[str]
) -> dict[str, Any]:
    return {
        "table": view.table["TableName"],
        "arn": view.table.get("TableArn"),
        "status": view.table.get("TableStatus"),
        "findings": [describe_finding_in_json(finding, chosen) for finding in findings],
        "notes": notes,
    }


def describe_finding_in_json(finding: TableFinding, chosen: argparse.Namespace) -> dict[str, Any]:
    """Return what was found for a JSON document."""
    return {
        "code": finding.code,
        "subject": finding.subject,
        "level": _name_level(finding),
        "says": finding.says,
        "advice": finding.advice,
        "commands": list_commands(finding, chosen),
    }


def _name_level(finding: TableFinding) -> str:
    return "required" if finding.is_required else "advised"


def _sum_up(findings: list[TableFinding]) -> str:
    required = sum(finding.is_required for finding in findings)
    if not findings:
        return "all is well"
    return f"{required} required, {len(findings) - required} advised"
