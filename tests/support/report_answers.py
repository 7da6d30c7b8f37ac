"""Answers of reports that no table was asked for: what is drawn depends on the sums alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from receipt_dynamo import AIUsageMetric, ReadTally
from receipt_label.reporting.answer import ReportAnswer
from receipt_label.reporting.period import read_period
from receipt_label.reporting.selection import Selection
from receipt_label.reporting.usage_report import Grouping, add_up
from support.report_records import make_report_records

MADE_AT = datetime(2026, 4, 4, 6, 30, tzinfo=UTC)
COURSE: Grouping = ("day", "service")

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style></title><svg onload=alert(1)>",
    "\x1b[2J\x1b]0;owned\x07",
    "right\u202etfel",
    '=HYPERLINK("http://x")',
    "javascript:alert(1)",
    "&lt;b&gt; 'quoted' \u0000",
)
"""Names as only an enemy gives them."""


def answer(records: Sequence[AIUsageMetric], groupings: Sequence[Grouping]) -> ReportAnswer:
    """Return the answer to a question after ``records``."""
    period = read_period("2026-03-26", "2026-04-03", now=MADE_AT)
    report = add_up(records, groupings, period.zone)
    tally = ReadTally(records=len(records), read_units=Decimal("12.5"))
    return ReportAnswer("ai-usage", Selection(period=period), report, tally, MADE_AT)


def make_usual_records() -> list[AIUsageMetric]:
    """Return 200 records of ten days."""
    return make_report_records(200, seed=1)


def make_hostile_records() -> list[AIUsageMetric]:
    """Return a record for each hostile name, which has it in every field."""
    return [
        AIUsageMetric(
            name,
            name,
            name,
            MADE_AT - timedelta(days=number % 5 + 1),
            cost_usd=number + 1,
            user_id=name,
            job_id=name,
            environment=name,
        )
        for number, name in enumerate(HOSTILE)
    ]
