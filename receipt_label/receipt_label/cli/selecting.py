"""The arguments that say which records a command is about."""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import Final

from receipt_dynamo.cli.arguments import CommandError
from receipt_label.reporting.period import read_period, read_zone
from receipt_label.reporting.selection import Selection

_DEFAULT_SINCE: Final = "7d"

_FILTERS: Final = {
    "service": "of this provider",
    "model": "that this model served",
    "operation": "of this kind, such as completion",
    "user": "on behalf of this user",
    "job": "of this job",
    "batch": "of this batch",
    "environment": "of this deployment",
}


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Add the period and the filters."""
    period = parser.add_argument_group("period")
    period.add_argument(
        "--since",
        metavar="WHEN",
        help="first day or time: 2026-11-01, 2026-11 (that month), 2026-11-01T08:30, 7d (today "
        "and six days before), 4w, 24h, today, yesterday, this-week, last-week, this-month, "
        f"last-month, this-year, last-year; by default {_DEFAULT_SINCE}, and for a job or a "
        "batch all of it",
    )
    period.add_argument(
        "--until",
        metavar="WHEN",
        help="last day or time, included; by default the end of a month or a named span that "
        "--since names, else none",
    )
    period.add_argument(
        "--timezone",
        metavar="NAME",
        default="UTC",
        help="time zone of days and hours, such as Europe/Berlin (%(default)s)",
    )
    filters = parser.add_argument_group("filters", "only calls with all of these")
    for name, meaning in _FILTERS.items():
        filters.add_argument(f"--{name}", metavar="NAME", help=f"calls {meaning}")
    filters.add_argument(
        "--pull-request", metavar="NUMBER", type=read_count, help="calls for this pull request"
    )


def read_selection(chosen: argparse.Namespace, now: datetime) -> Selection:
    """Return what the arguments select.

    Args:
        chosen: The parsed arguments.
        now: An aware time.

    Raises:
        CommandError: One cannot be read; the message names it, its value and what is accepted.
    """
    values = {name: getattr(chosen, name) for name in _FILTERS}
    for name, value in values.items():
        if value == "":
            raise CommandError(f"--{name} is empty; accepted is a name")
    is_whole_life = values["job"] is not None or values["batch"] is not None
    since = chosen.since or (None if is_whole_life else _DEFAULT_SINCE)
    try:
        period = read_period(since, chosen.until, zone=read_zone(chosen.timezone), now=now)
    except ValueError as error:
        raise CommandError(str(error)) from None
    return Selection(period=period, pull_request=chosen.pull_request, **values)


def list_given(chosen: argparse.Namespace) -> list[str]:
    """Return the options for a period and filters that are given."""
    names = ("since", "until", *_FILTERS, "pull_request")
    given = [name for name in names if getattr(chosen, name) is not None]
    return [f"--{name.replace('_', '-')}" for name in given]


def read_count(text: str) -> int:
    """Return the whole number that ``text`` says.

    Raises:
        argparse.ArgumentTypeError: It is none of 1 or more.
    """
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r}; accepted are whole numbers of 1 or more")
    return int(text)
