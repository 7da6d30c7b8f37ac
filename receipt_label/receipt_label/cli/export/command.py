"""``receipt-usage export``: the records themselves, as JSON Lines."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING, Any

from receipt_dynamo import ReadTally
from receipt_dynamo.cli.arguments import (
    BAD_ARGUMENTS,
    DONE,
    SOMETHING_LEFT,
    CommandError,
    add_parser,
)
from receipt_dynamo.cli.files import STANDARD_OUTPUT
from receipt_dynamo.cli.output import count_of, remark, say_json
from receipt_dynamo.cli.target import add_target, open_client
from receipt_label.cli.export.file import Checkpoint, ExportFile
from receipt_label.cli.progress import describe_reading, show_progress
from receipt_label.cli.selecting import add_selection, list_given, read_selection
from receipt_label.reporting.selection import Selection
from receipt_label.tracking.stats import utc_now
from receipt_label.tracking.usage_log import to_line

if TYPE_CHECKING:
    from receipt_dynamo import AIUsageMetric, DynamoClient


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command to what ``ArgumentParser.add_subparsers`` returned."""
    parser = add_parser(
        commands,
        "export",
        summary="write the records as JSON Lines",
        details="Writes the records of a period, one JSON object to a line, oldest day first, in\n"
        "the form of the usage log (AI_USAGE_LOG_FILE). Day by day into FILE.part, which becomes\n"
        "FILE at the end: what was interrupted goes on with --resume where the last whole day\n"
        "ended. Only this user can read the file.",
        statuses={
            DONE: "all is well",
            SOMETHING_LEFT: "items of the table cannot be read as records; they are counted,\n"
            "    and left out",
            BAD_ARGUMENTS: "bad arguments, or the table cannot be read, or the file not written",
        },
        example="--table ai-usage --since last-month november.jsonl\n"
        "  %(prog)s --table ai-usage --resume november.jsonl",
    )
    add_target(parser)
    add_selection(parser)
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with an export to FILE that was interrupted, of the records that it began with",
    )
    parser.add_argument("file", metavar="FILE", help="a new file; - is standard output")
    return parser


def run(chosen: argparse.Namespace) -> int:
    """Carry the command out.

    Returns:
        0, or 1 when items were left out that are no whole records.

    Raises:
        CommandError: An argument cannot be used.
        OSError: The file cannot be written.
    """
    if chosen.resume and (given := list_given(chosen)):
        raise CommandError(f"--resume excludes {given[0]}: it goes on with what was begun")
    client, tally = open_client(chosen), ReadTally()
    if chosen.file == STANDARD_OUTPUT:
        _print(chosen, client, tally)
    else:
        exported = _export(chosen, client, tally)
        if chosen.json:
            document = {"exported": exported, "file": chosen.file, "invalid": tally.invalid}
            say_json(document)
        else:
            remark(chosen, f"{count_of(exported, 'record')} in {chosen.file}")
    remark(chosen, describe_reading(tally))
    for reason in tally.invalid_reasons:
        remark(chosen, f"left out: {reason}")
    for reason in tally.negative_reasons:
        remark(chosen, reason)
    return SOMETHING_LEFT if tally.invalid else DONE


def _print(chosen: argparse.Namespace, client: DynamoClient, tally: ReadTally) -> None:
    if chosen.resume:
        raise CommandError("--resume needs a FILE; what was printed cannot be gone on with")
    now = utc_now()
    selection = read_selection(chosen, now)
    for record in _read(chosen, client, selection, now.date(), tally):
        sys.stdout.write(to_line(record).decode())


def _export(chosen: argparse.Namespace, client: DynamoClient, tally: ReadTally) -> int:
    file = ExportFile(chosen.file)
    if chosen.resume:
        checkpoint = file.resume(client.table_name)
    else:
        now = utc_now()
        selection = read_selection(chosen, now)
        checkpoint = Checkpoint(client.table_name, selection, now.date())
        file.begin(checkpoint)
    today = checkpoint.today
    try:
        for part in checkpoint.selection.split_by_day(today)[checkpoint.parts :]:
            records = _read(chosen, client, part, today, tally)
            checkpoint = file.append(checkpoint, records)
    except BaseException:
        held = count_of(checkpoint.records, "record")
        remark(chosen, f"{file.part} holds {held} of whole days; --resume goes on with it")
        raise
    file.finish()
    return checkpoint.records


def _read(
    chosen: argparse.Namespace,
    client: DynamoClient,
    selection: Selection,
    today: date,
    tally: ReadTally,
) -> Iterator[AIUsageMetric]:
    return show_progress(selection.read(client, today, tally), tally, quiet=chosen.quiet)
