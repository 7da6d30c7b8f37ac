"""Every query against a plain list: any rows, any number of shards over time, any page size."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receipt_dynamo import AIUsageMetric, DailyCost, DynamoClient, ReadTally

FIRST_DAY = date(2026, 3, 1)
DAYS = 4

SERVICES = ("a", "a#1", "b")
_numbers = itertools.count(1)


@dataclass
class Reader:
    """A boto3 client whose pages have as many items as it is told."""

    client: Any
    page_size: int = 1

    def limit(self, params: dict[str, Any], **_: object) -> dict[str, Any]:
        return {**params, "Limit": self.page_size}


@pytest.fixture(scope="module")
def reader(moto_endpoint: str) -> Iterator[Reader]:
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    reader = Reader(boto3.client("dynamodb", "us-east-1", endpoint_url=moto_endpoint, **keys))
    reader.client.meta.events.register("provide-client-params.dynamodb.Query", reader.limit)
    yield reader
    reader.client.close()


@st.composite
def records(draw: st.DrawFn) -> AIUsageMetric:
    """Records of few keys, so that later ones replace earlier ones."""
    number = draw(st.integers(0, 30))
    minutes = number * 197 % (DAYS * 24 * 60)
    one_of = st.sampled_from
    return AIUsageMetric(
        SERVICES[number % 3],
        f"model-{number % 2}",
        "chat",
        datetime(2026, 3, 1, tzinfo=UTC) + timedelta(minutes=minutes, microseconds=number % 2),
        request_id=f"id#{number}",
        input_tokens=draw(one_of((None, 0, 7))),
        cost_usd=draw(one_of((None, "0", "0.1", "1E-30", "123456789012345.5"))),
        user_id=draw(one_of((None, "u", "v"))),
        environment=draw(one_of((None, "staging"))),
        job_id=draw(one_of((None, "j"))),
        batch_id=draw(one_of((None, "b"))),
        error=draw(one_of((None, "TimeoutError"))),
    )


histories = st.lists(
    st.tuples(st.sampled_from((1, 2, 3, 8, 11)), st.lists(records(), max_size=25)), max_size=4
)
"""The numbers of shards that a table was written with, and what."""


@st.composite
def ranges(draw: st.DrawFn) -> tuple[date, date]:
    first, last = sorted(draw(st.tuples(*[st.integers(-1, DAYS)] * 2)))
    return FIRST_DAY + timedelta(days=first), FIRST_DAY + timedelta(days=last)


@dataclass(frozen=True)
class Question:
    """A query, which records it is to find, and in which order."""

    ask: Callable[..., Any]
    matches: Callable[[AIUsageMetric], bool]
    order: Callable[[AIUsageMetric], Any]


def day_of(record: AIUsageMetric) -> date:
    return record.timestamp.date()


def make_questions(first: date, last: date) -> dict[str, Question]:
    def is_in(record: AIUsageMetric) -> bool:
        return first <= day_of(record) <= last

    def by_day(record: AIUsageMetric) -> Any:
        return day_of(record), record.service

    def by_time(record: AIUsageMetric) -> Any:
        return record.timestamp

    return {
        "service": Question(
            lambda client, **kw: client.query_ai_usage_metrics_by_service("A", first, last, **kw),
            lambda record: record.service == "a" and is_in(record),
            day_of,
        ),
        "costs": Question(
            lambda client, **kw: client.query_ai_usage_costs_by_date(first, last, **kw),
            is_in,
            by_day,
        ),
        "user": Question(
            lambda client, **kw: client.query_ai_usage_metrics_by_user("u", first, last, **kw),
            lambda record: record.user_id == "u" and is_in(record),
            by_day,
        ),
        "environment": Question(
            lambda client, **kw: client.query_ai_usage_metrics_by_environment(
                "staging", first, last, **kw
            ),
            lambda record: record.environment == "staging" and is_in(record),
            by_day,
        ),
        "model": Question(
            lambda client, **kw: client.query_ai_usage_metrics_by_model(
                "a#1", "model-1", first, last, **kw
            ),
            lambda record: (record.service, record.model) == ("a#1", "model-1") and is_in(record),
            by_time,
        ),
        "job": Question(
            lambda client, **kw: client.query_ai_usage_metrics_by_job(
                "j", start_date=first, end_date=last, **kw
            ),
            lambda record: record.job_id == "j" and is_in(record),
            by_time,
        ),
        "batch": Question(
            lambda client, **kw: client.query_ai_usage_metrics_by_batch(
                "b", start_date=first, end_date=last, **kw
            ),
            lambda record: record.batch_id == "b" and is_in(record),
            lambda record: (record.job_id is not None, record.timestamp),
        ),
    }


def sum_plainly(found: list[AIUsageMetric]) -> list[DailyCost]:
    """Sum as a person would, in whole units of the 30th decimal place."""
    sums = []
    for day, service in sorted({(day_of(each), each.service) for each in found}):
        own = [each for each in found if (day_of(each), each.service) == (day, service)]
        units = sum(int((each.cost_usd or Decimal(0)).scaleb(30)) for each in own)
        sums.append(
            DailyCost(
                day,
                service,
                Decimal((0, tuple(map(int, str(units))), -30)),
                records=len(own),
                api_calls=len(own),
                input_tokens=sum(each.input_tokens or 0 for each in own),
                unpriced=sum(each.cost_usd is None for each in own),
                errors=sum(each.error is not None for each in own),
            )
        )
    return sums


@settings(
    max_examples=settings.default.max_examples // 4,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    history=histories,
    days=ranges(),
    page_size=st.sampled_from((1, 2, 7, 1000)),
    limit=st.integers(1, 30),
)
def test_queries_find_what_a_plain_list_has_in_the_documented_order(
    reader: Reader,
    history: list[tuple[int, list[AIUsageMetric]]],
    days: tuple[date, date],
    page_size: int,
    limit: int,
) -> None:
    name = f"test-table-model-{next(_numbers)}"
    DynamoClient(name, client=reader.client).create_table()
    rows: dict[tuple[str, str], AIUsageMetric] = {}
    for gsi_shards, written in history:
        writer = DynamoClient(name, client=reader.client, gsi_shards=gsi_shards)
        assert writer.batch_put_ai_usage_metrics(written) == []
        rows |= {record.key: record for record in written}
    reader.page_size = page_size
    client = DynamoClient(name, client=reader.client)
    for question in make_questions(*days).values():
        expected = [record for record in rows.values() if question.matches(record)]
        tally = ReadTally()
        found = list(question.ask(client, tally=tally))
        assert Counter(found) == Counter(expected)
        order = sorted(map(question.order, expected))
        assert list(map(question.order, found)) == order
        assert (tally.records, tally.other_items, tally.invalid) == (len(expected), 0, 0)
        first_ones = list(question.ask(client, limit=limit))
        assert list(map(question.order, first_ones)) == order[:limit]
        assert set(first_ones) <= set(expected)
    in_range = [record for record in rows.values() if days[0] <= day_of(record) <= days[1]]
    assert list(client.sum_ai_usage_costs_by_day(*days)) == sum_plainly(in_range)
    of_one = [record for record in in_range if record.service == "a#1"]
    assert list(client.sum_ai_usage_costs_by_day(*days, service="a#1")) == sum_plainly(of_one)
