"""The command: run the checks, and report what they found."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterable
from datetime import date
from typing import Any, Final

from receipt_dynamo import ReceiptDynamoError
from receipt_dynamo.cli.arguments import BAD_ARGUMENTS, DONE, SOMETHING_LEFT, add_parser
from receipt_dynamo.cli.commands.table import add_table_options
from receipt_dynamo.cli.explain import explain_failure, is_from_boto3
from receipt_dynamo.cli.findings import Finding, Level, describe
from receipt_dynamo.cli.output import count_of, say_all, say_json
from receipt_dynamo.cli.target import add_target
from receipt_label.cli.doctor.checks import Check, CheckContext, CheckResult
from receipt_label.cli.doctor.configuration import (
    check_configuration,
    check_environment,
    check_price_file,
)
from receipt_label.cli.doctor.journals import check_disk, check_journals
from receipt_label.cli.doctor.machine import (
    check_packages,
    check_price_data,
    check_python,
)
from receipt_label.cli.doctor.secrets import SecretMask
from receipt_label.cli.doctor.table import (
    check_clock,
    check_records,
    check_table,
    check_writing,
)
from receipt_label.reporting.period import read_first_day
from receipt_label.tracking.stats import utc_now

DEFAULT_SINCE: Final = "7d"

_CHECKS: Final[tuple[Check, ...]] = (
    check_configuration,
    check_environment,
    check_price_file,
    check_table,
    check_writing,
    check_records,
    check_clock,  # After those that have DynamoDB reply.
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
    add_table_options(parser)
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
    context = CheckContext(chosen, dict(os.environ))
    results = examine(context, _CHECKS)
    findings = _name_checks(results)
    counts = Counter(finding.level for finding in findings)
    mask = SecretMask(context.variables)
    if chosen.json:
        say_json(mask.hide_in(_describe_in_json(results, findings, counts)))
    else:
        shown = [each for each in findings if not chosen.quiet or each.level is not Level.OK]
        say_all(mask.hide(line) for finding in shown for line in describe(finding))
        if not chosen.quiet:
            say_all([_sum_up(counts)])
    if counts[Level.ERROR]:
        return BAD_ARGUMENTS
    return SOMETHING_LEFT if counts[Level.WARNING] else DONE


def _name_checks(results: list[CheckResult]) -> dict[Finding, str]:
    """Return the findings with the check that each is of.

    What keeps several checks from the table is there once.
    """
    named: dict[Finding, str] = {}
    for check, result in zip(_CHECKS, results, strict=True):
        for finding in result.findings:
            named.setdefault(finding, check.__name__.removeprefix("check_"))
    return named


def examine(context: CheckContext, checks: Iterable[Check]) -> list[CheckResult]:
    """Return what the checks found, one after the other; none stops the others."""
    return [_examine(context, check) for check in checks]


def _examine(context: CheckContext, check: Check) -> CheckResult:
    try:
        return check(context)
    except Exception as error:  # noqa: BLE001 - what it is, a finding says
        return CheckResult((Finding(Level.ERROR, _explain(error, context, check)),))


def _explain(error: Exception, context: CheckContext, check: Check) -> str:
    if is_from_boto3(error):
        return explain_failure(error, context.table_name)
    if isinstance(error, ReceiptDynamoError | OSError):
        return str(error)
    # A mistake of ours, whose words might say anything.
    return f"{check.__name__} failed with {type(error).__name__}; please report this"


def _describe_in_json(
    results: list[CheckResult], findings: dict[Finding, str], counts: Counter[Level]
) -> dict[str, Any]:
    parts = {name: part for result in results for name, part in result.document.items()}
    checks = [
        {
            "check": check,
            "level": finding.level.value,
            "says": finding.line,
            "details": list(finding.details),
        }
        for finding, check in findings.items()
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
