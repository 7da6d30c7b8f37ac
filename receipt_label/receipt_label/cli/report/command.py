"""``receipt-usage report``: what the calls cost, by whom and when."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from receipt_dynamo import ReadTally
from receipt_dynamo.cli.arguments import (
    BAD_ARGUMENTS,
    DONE,
    SOMETHING_LEFT,
    CommandError,
    add_parser,
)
from receipt_dynamo.cli.files import open_output
from receipt_dynamo.cli.output import remark, say_json
from receipt_dynamo.cli.target import add_target, open_client
from receipt_label.cli.progress import describe_reading, show_progress
from receipt_label.cli.report.documents import to_document, write_csv
from receipt_label.cli.report.page import draw_page
from receipt_label.cli.report.terminal import print_report
from receipt_label.cli.selecting import add_selection, read_count, read_selection
from receipt_label.reporting.answer import ReportAnswer
from receipt_label.reporting.course import choose_step
from receipt_label.reporting.dimensions import DIMENSIONS, read_dimensions
from receipt_label.reporting.selection import Selection
from receipt_label.reporting.usage_report import Grouping, add_up
from receipt_label.tracking.stats import utc_now

if TYPE_CHECKING:
    from receipt_dynamo import DynamoClient

_DEFAULT_BY: Final = "service,model"
_TOP: Final = 20

_ON_PAGE: Final = ("service", "model", "operation", "user", "job", "environment")
_PARTS: Final = "service"


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command to what ``ArgumentParser.add_subparsers`` returned."""
    parser = add_parser(
        commands,
        "report",
        summary="see what the calls cost, by whom and when",
        details="Adds up the calls of a period: cost, calls, tokens, failures and duration,\n"
        "grouped as you say. Reads the narrowest index that has all of them, page by page,\n"
        "and keeps only the sums.",
        statuses={
            DONE: "all is well",
            SOMETHING_LEFT: "items of the table cannot be read as records; they are counted,\n"
            "    and left out",
            BAD_ARGUMENTS: "bad arguments, or the table cannot be read",
        },
        example="--table ai-usage --by user --since last-month --top 10\n"
        "  %(prog)s --table ai-usage --job nightly-42 --by day,model\n"
        "  %(prog)s --table ai-usage --since 2026-11 --html november.html",
    )
    add_target(parser)
    add_selection(parser)
    shown = parser.add_argument_group("output")
    shown.add_argument(
        "--by",
        metavar="NAMES",
        default=_DEFAULT_BY,
        help=f"group by these, with commas between them: {', '.join(DIMENSIONS)} (%(default)s)",
    )
    shown.add_argument(
        "--top",
        metavar="N",
        type=read_count,
        help="only the N costliest groups, and the others together; by default "
        f"{_TOP}, and all for --json and --csv",
    )
    shown.add_argument("--csv", action="store_true", help="print comma-separated values")
    shown.add_argument(
        "--html", metavar="FILE", help="write a page with charts; - is standard output"
    )
    return parser


def run(chosen: argparse.Namespace) -> int:
    """Carry the command out.

    Returns:
        0, or 1 when items were left out that are no whole records.

    Raises:
        CommandError: An argument cannot be used.
        OSError: The page cannot be written.
    """
    if sum((chosen.json, chosen.csv, chosen.html is not None)) > 1:
        raise CommandError("--json, --csv and --html exclude each other; accepted is one of them")
    now = utc_now()
    selection, by = read_selection(chosen, now), _read_by(chosen.by)
    client = open_client(chosen)
    if chosen.html is None:
        answer = _read(chosen, client, selection, [by], now)
        _SHOW[_name_form(chosen)](answer, by, chosen.top)
    else:
        # Opened before the table is read: a long read that cannot be written is in vain.
        with open_output(chosen.html) as stream:
            course = (choose_step(selection.period, now), _PARTS)
            answer = _read(chosen, client, selection, [course, *_list_on_page(by)], now)
            stream.write(draw_page(answer, course, _list_on_page(by), chosen.top or _TOP))
    remark(chosen, describe_reading(answer.tally))
    return SOMETHING_LEFT if answer.tally.invalid else DONE


def _read_by(text: str) -> Grouping:
    try:
        return read_dimensions(text)
    except ValueError as error:
        raise CommandError(str(error)) from None


def _list_on_page(by: Grouping) -> list[Grouping]:
    """Return the groupings that a page has: what was asked for, and the usual ones."""
    return list(dict.fromkeys([by, *((name,) for name in _ON_PAGE)]))


def _read(
    chosen: argparse.Namespace,
    client: DynamoClient,
    selection: Selection,
    groupings: Sequence[Grouping],
    now: datetime,
) -> ReportAnswer:
    tally = ReadTally()
    records = show_progress(selection.read(client, now.date(), tally), tally, quiet=chosen.quiet)
    report = add_up(records, groupings, selection.period.zone)
    return ReportAnswer(client.table_name, selection, report, tally, now)


def _name_form(chosen: argparse.Namespace) -> str:
    return "json" if chosen.json else "csv" if chosen.csv else "text"


_SHOW: Final[Mapping[str, Callable[[ReportAnswer, Grouping, int | None], None]]] = {
    "json": lambda answer, by, top: say_json(to_document(answer, by, top)),
    "csv": lambda answer, by, top: write_csv(answer, by, top, sys.stdout),
    "text": lambda answer, by, top: print_report(answer, by, top or _TOP, sys.stdout),
}
