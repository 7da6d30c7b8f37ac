"""The table and what is in it, and the clock of the one who serves it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from receipt_dynamo import ReadTally
from receipt_dynamo.cli.clock import REFUSED_BY_AWS, WORTH_A_WARNING
from receipt_dynamo.cli.commands.table import describe_finding_in_json, list_commands, read_wishes
from receipt_dynamo.cli.output import count_of
from receipt_dynamo.data.table.check import find_differences
from receipt_dynamo.data.table.setup import look_at_table
from receipt_label.cli.doctor.findings import Finding, Level, Line, Patient
from receipt_label.cli.progress import show_progress
from receipt_label.pricing import UnpricedGroup, list_unpriced
from receipt_label.tracking.stats import utc_now


def check_table(patient: Patient) -> Finding:
    """Compare the table with the one that the records need."""
    connection = patient.connect()
    client = connection.client()
    view = look_at_table(client, connection.table_name)
    differences = find_differences(view, read_wishes(patient.chosen))
    lines = [
        Line(
            Level.ERROR if each.is_required else Level.WARNING,
            f"{each.says}; {each.advice}",
            tuple(list_commands(each, patient.chosen)),
        )
        for each in differences
    ]
    notes = tuple(f"note: {note}" for note in view.notes)
    status = view.table.get("TableStatus")
    where = f"{client.meta.region_name}, {count_of(len(differences), 'difference')} to what it"
    said = f"table {view.table['TableName']}: {status} in {where} should be"
    listed = [describe_finding_in_json(each, patient.chosen) for each in differences]
    return Finding((Line(Level.OK, said, notes), *lines), {"table_findings": listed})


def check_records(patient: Patient) -> Finding:
    """List the calls without a cost, by model and reason, and items that are no records."""
    client = patient.open_client()
    tally = ReadTally()
    # Until tomorrow: a client's clock may be ahead of this one.
    until = max(patient.since, utc_now().date() + timedelta(days=1))
    records = client.query_ai_usage_costs_by_date(
        patient.since, until, tally=tally, skip_invalid=True
    )
    groups = list_unpriced(show_progress(records, tally, quiet=patient.chosen.quiet))
    lines = [_describe_records(client.table_name, patient, tally, groups)]
    if tally.invalid:
        passed_over = f"{count_of(tally.invalid, 'item')} passed over"
        said = f"{passed_over}: of our type, but no whole record; look at who wrote it"
        lines.append(Line(Level.WARNING, said, tuple(tally.invalid_reasons)))
    document = {
        "table": client.table_name,
        "since": patient.since.isoformat(),
        "records": tally.records,
        "invalid": tally.invalid,
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
    return Finding(tuple(lines), document)


def _describe_records(
    table: str, patient: Patient, tally: ReadTally, groups: list[UnpricedGroup]
) -> Line:
    read = f"{count_of(tally.records, 'record')} since {patient.since}"
    unpriced = sum(group.count for group in groups)
    said = f"table {table}: {read}, {unpriced} without a known cost"
    if not groups:
        return Line(Level.OK, said)
    said += "; prices of your own: AI_USAGE_PRICE_FILE, see docs/prices.md"
    return Line(Level.WARNING, said, tuple(_list_groups(groups)))


def _list_groups(groups: list[UnpricedGroup]) -> Iterator[str]:
    for group in groups:
        yield (
            f"{group.count} of {group.service} {group.model}: {group.reason}, "
            f"last on {group.last_seen:%Y-%m-%d %H:%M} UTC"
        )


def check_clock(patient: Patient) -> Finding:
    """Compare this machine's clock with the ``Date`` of the table's last reply.

    A clock that is off by a minute is worth a warning, because records bear its time; beyond
    five minutes AWS refuses every request: see :mod:`receipt_dynamo.cli.clock`.
    """
    skew = patient.skew
    if skew is None:
        return Finding((), {"clock_skew_seconds": None})
    document = {"clock_skew_seconds": round(skew)}
    off = abs(skew)
    if off < WORTH_A_WARNING:
        return Finding((Line(Level.OK, "clock: as DynamoDB's"),), document)
    said = f"clock: {off:.0f} s {'ahead of' if skew > 0 else 'behind'} DynamoDB's; set it by NTP"
    if off < REFUSED_BY_AWS:
        return Finding((Line(Level.WARNING, said),), document)
    return Finding((Line(Level.ERROR, f"{said}: AWS refuses more than 5 minutes"),), document)
