"""``receipt-usage doctor``: look at the records of a table, and say what is wrong with them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final, TypeAlias

from receipt_dynamo import AIUsageMetric, DynamoClient
from receipt_dynamo.commands.arguments import DONE, SOMETHING_LEFT
from receipt_dynamo.commands.output import count_of, say_all, say_json
from receipt_dynamo.commands.target import add_target, open_client
from receipt_label.environment import explain_environment
from receipt_label.pricing import list_unpriced
from receipt_label.tracking.tracker_stats import utc_now

DEFAULT_SINCE: Final = "7d"

_DAYS: Final = re.compile(r"(\d{1,4})d")

_DETAILS: Final = """\
Reads the records of a table and says in which environment this shell would write to it and
why, and which calls have no cost because their price is not known."""
_EPILOG: Final = """\
exit status:
  0 all is well
  1 there are warnings
  2 bad arguments, or the table cannot be read

example:
  %(prog)s --table ai-usage --since 30d"""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        lines: For people.
        document: The same for programs, by the names of its parts.
        is_warning: Whether somebody has to do something about it.
    """

    lines: tuple[str, ...]
    document: dict[str, Any]
    is_warning: bool = False


@dataclass(frozen=True, slots=True)
class Patient:
    """What is looked at.

    Attributes:
        table_name: The table.
        since: First day whose records are read.
        records: The records; they are read from the table as they are asked for, once.
    """

    table_name: str
    since: date
    records: Iterator[AIUsageMetric]


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command to what ``ArgumentParser.add_subparsers`` returned."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "doctor",
        help="look at the records of a table, and say what is wrong with them",
        description=_DETAILS,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_target(parser)
    parser.add_argument(
        "--since",
        metavar="DAY",
        type=_read_since,
        default=DEFAULT_SINCE,
        help="first day: a date such as 2026-11-01, or 30d for the last 30 days (%(default)s)",
    )
    return parser


def run(chosen: argparse.Namespace) -> int:
    """Carry the command out.

    Returns:
        0, or 1 when there are warnings.

    Raises:
        CommandError: No table is named, or no client can be made.
    """
    findings = examine(_find_patient(chosen))
    warnings = sum(finding.is_warning for finding in findings)
    if chosen.json:
        parts = {name: part for finding in findings for name, part in finding.document.items()}
        say_json({**parts, "warnings": warnings})
    else:
        say_all(line for finding in findings for line in finding.lines)
        say_all([count_of(warnings, "warning") if warnings else "all is well"])
    return SOMETHING_LEFT if warnings else DONE


def examine(patient: Patient) -> list[Finding]:
    """Return what the checks found, one after the other."""
    return [check(patient) for check in _CHECKS]


def check_environment(patient: Patient) -> Finding:
    """Say in which environment this shell would write to the table."""
    explained = explain_environment(patient.table_name)
    environment = explained.environment.value
    return Finding(
        (f"environment: {environment}, because {explained.because}",),
        {"environment": {"name": environment, "because": explained.because}},
        is_warning=explained.is_unknown,
    )


def check_prices(patient: Patient) -> Finding:
    """List the calls without a cost, by model and reason."""
    counter = _Counter(patient.records)
    groups = list_unpriced(counter)
    unpriced = sum(group.count for group in groups)
    read = f"{count_of(counter.count, 'record')} since {patient.since}"
    lines = [f"table {patient.table_name}: {read}, {unpriced} without a known cost"]
    lines += [
        f"  {group.count} of {group.service} {group.model}: {group.reason}, "
        f"last on {group.last_seen:%Y-%m-%d %H:%M} UTC"
        for group in groups
    ]
    if groups:
        lines.append("  prices of your own: AI_USAGE_PRICE_FILE, see docs/prices.md")
    document = {
        "table": patient.table_name,
        "since": patient.since.isoformat(),
        "records": counter.count,
        "unpriced": [
            {
                "service": group.service,
                "model": group.model,
                "reason": group.reason,
                "count": group.count,
                "last_seen": group.last_seen.isoformat(),
            }
            for group in groups
        ],
    }
    return Finding(tuple(lines), document, is_warning=bool(groups))


Check: TypeAlias = Callable[[Patient], Finding]

_CHECKS: Final[tuple[Check, ...]] = (check_environment, check_prices)


class _Counter:
    """Counts records while they are read."""

    def __init__(self, records: Iterable[AIUsageMetric]) -> None:
        self.count = 0
        self._records = records

    def __iter__(self) -> Iterator[AIUsageMetric]:
        for record in self._records:
            self.count += 1
            yield record


def _find_patient(chosen: argparse.Namespace) -> Patient:
    client = open_client(chosen)
    return Patient(client.table_name, chosen.since, _read_records(client, chosen.since))


def _read_records(client: DynamoClient, since: date) -> Iterator[AIUsageMetric]:
    # Until tomorrow: a client's clock may be ahead of this one.
    until = utc_now().date() + timedelta(days=1)
    return client.query_ai_usage_costs_by_date(since, max(since, until))


def _read_since(text: str) -> date:
    if (days := _DAYS.fullmatch(text)) is not None:
        return utc_now().date() - timedelta(days=int(days[1]))
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"since is {text!r}; accepted are a date such as 2026-11-01, and 1d to 9999d"
        ) from None
