"""The table and what is in it, and the clock of the one who serves it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from receipt_dynamo import ReadTally
from receipt_dynamo.cli.clock import REFUSED_BY_AWS, WORTH_A_WARNING
from receipt_dynamo.cli.commands.table import (
    compare,
    describe_finding_in_json,
    judge,
    need_not_be_seen,
    read_expected_options,
)
from receipt_dynamo.cli.explain import explain_failure
from receipt_dynamo.cli.findings import Finding, Level
from receipt_dynamo.cli.output import count_of
from receipt_dynamo.cli.permission import IN_BATCHES, ONE_BY_ONE, find_denials, is_denied
from receipt_label.cli.doctor.checks import CheckContext, CheckResult
from receipt_label.cli.progress import show_progress
from receipt_label.pricing import UnpricedGroup, list_unpriced
from receipt_label.tracking.stats import utc_now

_WITHOUT: Final = {
    IN_BATCHES: (Level.ERROR, "a service with them keeps its records and delivers none"),
    ONE_BY_ONE: (Level.OK, "needed only where USE_RESILIENT_TRACKER is false"),
}
"""How bad it is that records may not be written in this way, and why."""


def check_table(context: CheckContext) -> CheckResult:
    """Compare the table with the one that the records need."""
    connection = context.connect()
    client = connection.client()
    view, differences = compare(connection, read_expected_options(context.chosen))
    unseen = [each for each in differences if need_not_be_seen(each)]
    differences = [each for each in differences if each not in unseen]
    findings = [judge(each, context.chosen) for each in differences]
    findings += [Finding(Level.OK, each.says, "a service need not see it") for each in unseen]
    notes = tuple(f"note: {note}" for note in view.notes)
    status = view.table.get("TableStatus")
    where = f"{client.meta.region_name}, {count_of(len(differences), 'difference')} to what it"
    said = f"table {view.table['TableName']}: {status} in {where} should be"
    listed = [describe_finding_in_json(each, context.chosen) for each in differences]
    return CheckResult(
        (Finding(Level.OK, said, details=notes), *findings), {"table_findings": listed}
    )


def check_writing(context: CheckContext) -> CheckResult:
    """Say whether these credentials may write records, as a service must; nothing is written."""
    connection = context.connect()
    table = connection.table_name
    denials = find_denials(connection.client(), table)
    document = {"may_write": IN_BATCHES not in denials}
    if not denials:
        said = f"table {table}: these credentials may write records"
        return CheckResult((Finding(Level.OK, said),), document)
    if len(denials) == len(_WITHOUT) and _may_read(context):
        said = f"table {table}: these credentials may read records, and may not write any"
        return CheckResult((Finding(Level.OK, said, "a service needs a writer's role"),), document)
    findings = (
        Finding(_WITHOUT[way][0], explain_failure(denial, table), _WITHOUT[way][1])
        for way, denial in denials.items()
    )
    return CheckResult(tuple(findings), document)


def _may_read(context: CheckContext) -> bool:
    try:
        next(iter(context.open_client().query_ai_usage_costs_by_date(context.since)), None)
    except Exception as error:
        if is_denied(error):
            return False
        raise
    return True


def check_records(context: CheckContext) -> CheckResult:
    """List the calls without a cost, by model and reason, and items that are no records."""
    try:
        return _read_records(context)
    except Exception as error:
        if not is_denied(error):
            raise
        denied = explain_failure(error, context.table_name)
        said = f"the records were not looked at, which a service need not do: {denied}"
        return CheckResult((Finding(Level.OK, said),))


def _read_records(context: CheckContext) -> CheckResult:
    client = context.open_client()
    tally = ReadTally()
    # Until tomorrow: a client's clock may be ahead of this one.
    until = max(context.since, utc_now().date() + timedelta(days=1))
    records = client.query_ai_usage_costs_by_date(
        context.since, until, tally=tally, skip_invalid=True
    )
    groups = list_unpriced(show_progress(records, tally, quiet=context.chosen.quiet))
    findings = [_describe_records(client.table_name, context, tally, groups)]
    if tally.invalid:
        passed_over = f"{count_of(tally.invalid, 'item')} passed over"
        said = f"{passed_over}: of our type, but no whole record"
        reasons = tuple(tally.invalid_reasons)
        findings.append(Finding(Level.WARNING, said, "look at who wrote it", reasons))
    if tally.negative:
        said = f"{count_of(tally.negative, 'record')} with a negative figure, taken as unknown"
        reasons = tuple(tally.negative_reasons)
        findings.append(Finding(Level.WARNING, said, details=reasons))
    document = {
        "table": client.table_name,
        "since": context.since.isoformat(),
        "records": tally.records,
        "invalid": tally.invalid,
        "negative": tally.negative,
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
    return CheckResult(tuple(findings), document)


def _describe_records(
    table: str, context: CheckContext, tally: ReadTally, groups: list[UnpricedGroup]
) -> Finding:
    read = f"{count_of(tally.records, 'record')} since {context.since}"
    unpriced = sum(group.count for group in groups)
    said = f"table {table}: {read}, {unpriced} without a known cost"
    if not groups:
        return Finding(Level.OK, said)
    advice = "give your own prices: AI_USAGE_PRICE_FILE, see docs/prices.md"
    return Finding(Level.WARNING, said, advice, tuple(_list_groups(groups)))


def _list_groups(groups: list[UnpricedGroup]) -> Iterator[str]:
    for group in groups:
        yield (
            f"{group.count} of {group.service} {group.model}: {group.reason}, "
            f"last on {group.last_seen:%Y-%m-%d %H:%M} UTC"
        )


def check_clock(context: CheckContext) -> CheckResult:
    """Compare this machine's clock with the ``Date`` of the table's last reply.

    A clock that is off by a minute is worth a warning, because records bear its time; beyond
    five minutes AWS refuses every request: see :mod:`receipt_dynamo.cli.clock`.
    """
    skew = context.skew
    if skew is None:
        return CheckResult((), {"clock_skew_seconds": None})
    document = {"clock_skew_seconds": round(skew)}
    off = abs(skew)
    if off < WORTH_A_WARNING:
        return CheckResult((Finding(Level.OK, "clock: as DynamoDB's"),), document)
    said = f"clock: {off:.0f} s {'ahead of' if skew > 0 else 'behind'} DynamoDB's"
    if off < REFUSED_BY_AWS:
        finding = Finding(Level.WARNING, said, "set it by NTP")
    else:
        advice = "set it by NTP: AWS refuses more than 5 minutes"
        finding = Finding(Level.ERROR, said, advice)
    return CheckResult((finding,), document)
