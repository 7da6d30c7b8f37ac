"""The command: run the checks, and report what they found."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any, Final

from receipt_dynamo import ReceiptDynamoError
from receipt_dynamo.cli.arguments import BAD_ARGUMENTS, DONE, SOMETHING_LEFT, add_parser
from receipt_dynamo.cli.commands.table import add_wishes
from receipt_dynamo.cli.explain import explain_failure, is_from_boto3
from receipt_dynamo.cli.output import count_of, say_all, say_json
from receipt_dynamo.cli.target import add_target
from receipt_label.cli.doctor.configuration import (
    check_configuration,
    check_environment,
    check_price_file,
)
from receipt_label.cli.doctor.findings import Check, Finding, Level, Line, Patient
from receipt_label.cli.doctor.journals import check_disk, check_journals
from receipt_label.cli.doctor.machine import (
    check_packages,
    check_price_data,
    check_python,
)
from receipt_label.cli.doctor.secrets import SecretMask
from receipt_label.cli.doctor.table import check_clock, check_records, check_table
from receipt_label.reporting.period import read_first_day
from receipt_label.tracking.stats import utc_now

DEFAULT_SINCE: Final = "7d"

_CHECKS: Final[tuple[Check, ...]] = (
    check_configuration,
    check_environment,
    check_price_file,
    check_table,
    check_records,
    check_clock,  # After the two that have DynamoDB reply.
    check_journals,
    check_disk,
    check_python,
    check_packages,
    check_price_data,
)


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command to what ``ArgumentParser.add_subparsers`` returned."""
    parser = add_parser(
        commands,
        "doctor",
        summary="look at configuration, table, journals and packages, and say what is wrong",
        details="Says of each thing whether it is ok, worth a warning or an error, and what to\n"
        "do: variables, environment, table and indexes, calls without a known cost, clock,\n"
        "journals of this user, Python and packages. Changes nothing and shows no secrets.",
        statuses={
            DONE: "all is well",
            SOMETHING_LEFT: "there are warnings",
            BAD_ARGUMENTS: "there are errors, or bad arguments",
        },
        example="--table ai-usage --since 30d",
    )
    add_target(parser)
    add_wishes(parser)
    parser.add_argument(
        "--since",
        metavar="DAY",
        type=_read_since,
        default=DEFAULT_SINCE,
        help="first UTC day whose records are read, as report's --since (%(default)s)",
    )
    return parser


def run(chosen: argparse.Namespace) -> int:
    """Carry the command out.

    Returns:
        0, 1 when there are warnings, or 2 when there are errors.
    """
    patient = Patient(chosen, dict(os.environ))
    findings = examine(patient, _CHECKS)
    lines = _name_lines(findings)
    counts = Counter(line.level for line in lines)
    mask = SecretMask(patient.variables)
    if chosen.json:
        say_json(mask.hide_in(_describe_in_json(findings, lines, counts)))
    else:
        shown = [line for line in lines if not chosen.quiet or line.level is not Level.OK]
        say_all(mask.hide(text) for line in shown for text in _describe(line))
        if not chosen.quiet:
            say_all([_sum_up(counts)])
    if counts[Level.ERROR]:
        return BAD_ARGUMENTS
    return SOMETHING_LEFT if counts[Level.WARNING] else DONE


def _name_lines(findings: list[Finding]) -> dict[Line, str]:
    """Return the lines with the check that each is of; what keeps several from the table, once."""
    named: dict[Line, str] = {}
    for check, finding in zip(_CHECKS, findings, strict=True):
        for line in finding.lines:
            named.setdefault(line, check.__name__.removeprefix("check_"))
    return named


def examine(patient: Patient, checks: Iterable[Check]) -> list[Finding]:
    """Return what the checks found, one after the other; none stops the others."""
    return [_examine(patient, check) for check in checks]


def _examine(patient: Patient, check: Check) -> Finding:
    try:
        return check(patient)
    except Exception as error:  # noqa: BLE001 - what it is, a line says
        return Finding((Line(Level.ERROR, _explain(error, patient, check)),))


def _explain(error: Exception, patient: Patient, check: Check) -> str:
    if is_from_boto3(error):
        return explain_failure(error, patient.table_name)
    if isinstance(error, ReceiptDynamoError | OSError):
        return str(error)
    # A mistake of ours, whose words might say anything.
    return f"{check.__name__} failed with {type(error).__name__}; please report this"


def _describe(line: Line) -> Iterator[str]:
    yield f"{line.level}: {line.says}"
    yield from (f"  {detail}" for detail in line.details)


def _describe_in_json(
    findings: list[Finding], lines: dict[Line, str], counts: Counter[Level]
) -> dict[str, Any]:
    parts = {name: part for finding in findings for name, part in finding.document.items()}
    checks = [
        {
            "check": check,
            "level": line.level.value,
            "says": line.says,
            "details": list(line.details),
        }
        for line, check in lines.items()
    ]
    return {
        **parts,
        "checks": checks,
        "warnings": counts[Level.WARNING],
        "errors": counts[Level.ERROR],
    }


def _sum_up(counts: Counter[Level]) -> str:
    bad = [count_of(counts[each], each.value) for each in (Level.ERROR, Level.WARNING)]
    return ", ".join(bad) if counts[Level.ERROR] or counts[Level.WARNING] else "all is well"


def _read_since(text: str) -> date:
    try:
        return read_first_day(text, now=utc_now())
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
