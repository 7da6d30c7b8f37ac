"""Every query, on every engine: pages, order, days, odd items, what was read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import ClientError

from engines.fixtures import Engine
from receipt_dynamo import (
    DailyCost,
    DynamoClient,
    InvalidItemError,
    MissingIndexError,
    ReadTally,
)
from support.usage_queries import FIRST, LAST, NOON, QUERIES, list_ids, make_metric

every_query = pytest.mark.parametrize("ask", QUERIES.values(), ids=QUERIES)


SEVEN = [make_metric(number) for number in range(7)]


@pytest.fixture(scope="module")
def seven(make_shared_table: Callable[[], DynamoClient]) -> DynamoClient:
    client = make_shared_table()
    assert client.batch_put_ai_usage_metrics(SEVEN) == []
    return client


@every_query
def test_a_query_reads_every_page_and_tallies_it(
    seven: DynamoClient, page_by_twos: Callable[..., DynamoClient], ask: Callable[..., Any]
) -> None:
    """One page of a query taken for the whole."""
    tally = ReadTally()
    assert sorted(ask(page_by_twos(seven), tally=tally), key=lambda row: row.timestamp) == SEVEN
    assert tally.records == 7
    assert tally.pages >= 4
    assert tally.read_units >= 2  # Half a unit for each page, and for an empty one perhaps.
    assert (tally.other_items, tally.invalid) == (0, 0)


@every_query
def test_a_limit_ends_the_query_and_its_reading(
    seven: DynamoClient, page_by_twos: Callable[..., DynamoClient], ask: Callable[..., Any]
) -> None:
    tally = ReadTally()
    assert len(list(ask(page_by_twos(seven), tally=tally, limit=3))) == 3
    assert tally.records == 3
    assert tally.pages <= 3  # The batch query reads an empty page of GSI3 first.


def put_items(client: DynamoClient, *items: Any) -> None:
    boto3_client: Any = client._connection.client()
    for item in items:
        boto3_client.put_item(TableName=client.table_name, Item=item)


@pytest.fixture(scope="module")
def odd(make_shared_table: Callable[[], DynamoClient]) -> DynamoClient:
    """Other types, unknown attributes, and only the attributes that every item has."""
    client = make_shared_table()
    rich, bare, other = (make_metric(number).to_dynamodb_item() for number in range(3))
    rich |= {"rollupOf": {"SS": ["x"]}, "GSI5PK": {"S": "?"}, "blob": {"B": b"\x00"}}
    del bare["apiCalls"]
    other["TYPE"] = {"S": "Rollup"}
    put_items(client, rich, bare, other)
    return client


@every_query
def test_odd_items_are_passed_over_or_read(odd: DynamoClient, ask: Callable[..., Any]) -> None:
    tally = ReadTally()
    assert sorted(list_ids(ask(odd, tally=tally))) == ["id-0", "id-1"]
    assert (tally.records, tally.other_items, tally.invalid) == (2, 1, 0)


@pytest.fixture(scope="module")
def damaged(make_shared_table: Callable[[], DynamoClient]) -> DynamoClient:
    client = make_shared_table()
    items = [make_metric(number).to_dynamodb_item() for number in range(9)]
    for item in items[:7]:
        item["inputTokens"] = {"S": "a secret of somebody's"}
    put_items(client, *items)
    return client


@every_query
def test_an_invalid_item_ends_the_query_or_is_skipped_and_counted(
    damaged: DynamoClient, ask: Callable[..., Any]
) -> None:
    """A generator that has raised is dead: the skipping is inside of it."""
    with pytest.raises(InvalidItemError, match="inputTokens"):
        list(ask(damaged))
    tally = ReadTally()
    assert sorted(list_ids(ask(damaged, tally=tally, skip_invalid=True))) == ["id-7", "id-8"]
    assert (tally.records, tally.invalid, len(tally.invalid_reasons)) == (2, 7, 5)
    for reason in tally.invalid_reasons:
        assert "AI_USAGE#openai#gpt-4o" in reason
        assert "inputTokens" in reason
        assert "secret" not in reason


@pytest.fixture(scope="module")
def negative(make_shared_table: Callable[[], DynamoClient]) -> DynamoClient:
    client = make_shared_table()
    items = [make_metric(number, cost_usd=1).to_dynamodb_item() for number in range(9)]
    for item in items[:7]:
        item |= {"costUSD": {"N": "-1"}, "latencyMs": {"N": "-1"}}
    put_items(client, *items)
    return client


@every_query
def test_a_negative_figure_is_unknown_and_counted_and_ends_no_query(
    negative: DynamoClient, ask: Callable[..., Any]
) -> None:
    """An earlier writer used -1 for "failed"."""
    tally = ReadTally()
    costs = {row.request_id: row.cost_usd for row in ask(negative, tally=tally)}
    assert costs == {f"id-{number}": None if number < 7 else 1 for number in range(9)}
    assert (tally.records, tally.invalid, tally.negative) == (9, 0, 7)
    assert len(tally.negative_reasons) == 5
    for reason in tally.negative_reasons:
        assert "AI_USAGE#openai#gpt-4o" in reason
        assert "a negative costUSD, latencyMs, taken as unknown" in reason


def test_a_negative_cost_is_unpriced_in_a_sum(negative: DynamoClient) -> None:
    tally = ReadTally()
    (total,) = negative.sum_ai_usage_costs_by_day(FIRST, LAST, tally=tally)
    assert (total.cost_usd, total.records, total.unpriced) == (2, 9, 7)
    assert tally.negative == 7


def test_an_environment_in_the_metadata_alone_is_found(client: DynamoClient) -> None:
    def write(number: int, own: Any, metadata: Any) -> None:
        item = make_metric(number, environment=None).to_dynamodb_item()
        put_items(client, {**item, **own, **metadata})

    def said(environment: Any) -> dict[str, Any]:
        return {"metadata": {"M": {"environment": environment, "x": {"N": "1"}}}}

    write(0, {}, said({"S": "staging"}))
    write(1, {"environment": {"NULL": True}}, said({"S": "staging"}))
    write(2, {"environment": {"S": "staging"}}, said({"S": "production"}))
    write(3, {"environment": {"S": "production"}}, said({"S": "staging"}))
    write(4, {}, said({"N": "1"}))
    write(5, {}, {"metadata": {"L": [{"S": "staging"}]}})
    write(6, {}, {})
    found = list(QUERIES["environment"](client))
    assert sorted(list_ids(found)) == ["id-0", "id-1", "id-2"]
    assert {row.environment for row in found} == {"staging"}
    assert len(list(QUERIES["environment"](client, limit=2))) == 2


def test_a_missing_table_is_dynamodbs_own_error(engine: Engine) -> None:
    client = DynamoClient("no-such-test-table", "us-east-1", engine.endpoint_url)
    for ask in QUERIES.values():
        found = ask(client)  # Nothing is asked before it is consumed.
        with pytest.raises(ClientError, match="ResourceNotFoundException"):
            next(found)


INDEX_OF = {
    "service": "GSI1",
    "user": "GSI2",
    "environment": "GSI2",
    "costs": "GSI2",
    "job": "GSI3",
    "batch": "GSI3",
}


def test_a_missing_index_is_named(engine: Engine, table_name: str, raw: Any) -> None:
    raw.create_table(
        TableName=table_name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": "S"} for name in ("PK", "SK")
        ],
        KeySchema=[
            {"AttributeName": "PK", "KeyType": "HASH"},
            {"AttributeName": "SK", "KeyType": "RANGE"},
        ],
    )
    client = DynamoClient(table_name, "us-east-1", engine.endpoint_url)
    for name, index in INDEX_OF.items():
        with pytest.raises(MissingIndexError, match=index):
            list(QUERIES[name](client))


def test_one_tally_adds_up_several_queries(seven: DynamoClient) -> None:
    tally = ReadTally()
    for ask in QUERIES.values():
        list(ask(seven, tally=tally))
    assert tally.records == 7 * len(QUERIES)


def test_a_model_is_found_under_naive_and_aware_times_to_the_last_microsecond(
    client: DynamoClient, raw: Any
) -> None:
    """Naive and aware timestamps mixed in one sort key."""
    day = datetime(2026, 3, 1)
    moments = [
        day,
        day + timedelta(hours=12),
        day + timedelta(hours=12, microseconds=1),
        day + timedelta(days=1, microseconds=-1),
    ]
    expected = []
    for number, moment in enumerate(moments):
        for zone, letter in ((None, "naive"), (UTC, "aware")):
            request_id = f"{number}#{letter}#\U0010ffff\x01~"
            item = make_metric(request_id=request_id).to_dynamodb_item()
            text = moment.replace(tzinfo=zone).isoformat()
            item |= {"SK": {"S": f"USAGE#{text}#{request_id}"}, "timestamp": {"S": text}}
            raw.put_item(TableName=client.table_name, Item=item)
            expected.append(request_id)
    for moment in (day - timedelta(microseconds=1), day + timedelta(days=1)):
        client.put_ai_usage_metric(make_metric(timestamp=moment, request_id="another day's"))
    client.put_ai_usage_metric(make_metric(model="gpt-4o-mini"))
    client.put_ai_usage_metric(make_metric(service="openai#gpt-4o", model="x"))
    found = client.query_ai_usage_metrics_by_model("OpenAI", "gpt-4o", FIRST, FIRST)
    assert list_ids(found) == expected
    three_days = client.query_ai_usage_metrics_by_model("openai", "gpt-4o", "2026-02-28", LAST)
    assert list_ids(three_days) == ["another day's", *expected, "another day's"]


@pytest.mark.parametrize("name", ["job", "batch"])
def test_the_days_of_a_job_and_of_a_batch_filter(client: DynamoClient, name: str) -> None:
    ends = [NOON.replace(hour=0), NOON.replace(hour=23, minute=59, second=59, microsecond=999_999)]
    moments = [ends[0] - timedelta(microseconds=1), *ends, ends[1] + timedelta(microseconds=1)]
    for number, moment in enumerate(moments):
        client.put_ai_usage_metric(make_metric(number, timestamp=moment))
        if name == "batch":
            client.put_ai_usage_metric(make_metric(10 + number, timestamp=moment, job_id=None))
    found = list_ids(QUERIES[name](client, start_date=FIRST, end_date=FIRST))
    assert found == (["id-1", "id-2"] if name == "job" else ["id-11", "id-12", "id-1", "id-2"])


def test_users_and_environments_are_not_mixed_up(client: DynamoClient) -> None:
    client.put_ai_usage_metric(make_metric(1, user_id="v", environment="staging"))
    client.put_ai_usage_metric(make_metric(2, user_id="u", environment="production"))
    client.put_ai_usage_metric(make_metric(3, user_id=None, environment=None))
    client.put_ai_usage_metric(make_metric(4, timestamp=NOON + timedelta(days=3)))
    assert list_ids(QUERIES["user"](client)) == ["id-2"]
    assert list_ids(QUERIES["environment"](client)) == ["id-1"]


def test_the_order_of_each_query_is_as_documented(client: DynamoClient) -> None:
    services = ("b", "a", "a#b", "é", "\U0001f600")
    metrics = [
        make_metric(service=service, timestamp=NOON + timedelta(days=day, seconds=second))
        for day in (2, 0, 1)
        for service in services
        for second in (1, 0)
    ]
    assert client.batch_put_ai_usage_metrics(metrics) == []
    for name in ("costs", "user", "environment"):
        keys = [(row.timestamp.date(), row.service) for row in QUERIES[name](client)]
        assert len(keys) == 30
        assert keys == sorted(keys)
    by_service = client.query_ai_usage_metrics_by_service("a", FIRST, LAST)
    days = [row.timestamp.date() for row in by_service]
    assert days == sorted(days)
    oldest_first = [
        client.query_ai_usage_metrics_by_model("a", "gpt-4o", FIRST, LAST),
        client.query_ai_usage_metrics_by_job("j"),
        client.query_ai_usage_metrics_by_batch("b"),
    ]
    for records in oldest_first:
        times = [row.timestamp for row in records]
        assert len(times) > 5
        assert times == sorted(times)


def test_a_day_is_utcs_whatever_the_callers_zone(seven: DynamoClient) -> None:
    """A day's date computed in the caller's zone: in Tokyo it is the 2nd, on the 1st of UTC."""
    tokyo, honolulu = timezone(timedelta(hours=9)), timezone(timedelta(hours=-10))
    first = datetime(2026, 3, 2, 1, tzinfo=tokyo)  # 2026-03-01, 16:00 UTC
    second = datetime(2026, 3, 1, 20, tzinfo=honolulu)  # 2026-03-02, 06:00 UTC
    for day, records in ((first, 7), (second, 0)):
        counts = {
            len(list(seven.query_ai_usage_metrics_by_date(day, "openai"))),
            len(list(seven.query_ai_usage_metrics_by_model("openai", "gpt-4o", day, day))),
            len(list(seven.query_ai_usage_metrics_by_job("j", start_date=day, end_date=day))),
            len(list(seven.query_ai_usage_metrics_by_user("u", day, day))),
            sum(each.records for each in seven.sum_ai_usage_costs_by_day(day, day)),
        }
        assert counts == {records}


def test_costs_are_summed_by_day_and_service_exactly(client: DynamoClient) -> None:
    """Floats summed; sums rounded at the 28 digits of the caller's context."""
    tiny, huge = Decimal("1E-37"), Decimal(10**12)
    next_day = NOON + timedelta(days=1)
    metrics = [
        make_metric(1, cost_usd=tiny, input_tokens=3, output_tokens=4),
        make_metric(2, cost_usd=huge, api_calls=5, error="TimeoutError"),
        make_metric(3, input_tokens=10),
        make_metric(4, service="anthropic", cost_usd=0),
        make_metric(5, cost_usd="0.1", timestamp=next_day),
        make_metric(6, cost_usd="0.2", timestamp=next_day),
    ]
    assert client.batch_put_ai_usage_metrics(metrics) == []
    tally = ReadTally()
    openai = DailyCost(
        date(2026, 3, 1),
        "openai",
        cost_usd=Decimal(f"{huge}.{'0' * 36}1"),
        records=3,
        api_calls=7,
        input_tokens=13,
        output_tokens=4,
        unpriced=1,
        errors=1,
    )
    anthropic = DailyCost(date(2026, 3, 1), "anthropic", records=1, api_calls=1)
    later = DailyCost(date(2026, 3, 2), "openai", Decimal("0.3"), records=2, api_calls=2)
    assert list(client.sum_ai_usage_costs_by_day(FIRST, LAST, tally=tally)) == [
        anthropic,
        openai,
        later,
    ]
    assert tally.records == 6
    one_service = client.sum_ai_usage_costs_by_day(FIRST, LAST, service="OpenAI")
    assert list(one_service) == [openai, later]


def test_services_of_earlier_writers_in_capitals_are_summed_as_one(
    client: DynamoClient, raw: Any
) -> None:
    items = [make_metric(number).to_dynamodb_item() for number in range(3)]
    items[1] |= {"service": {"S": "OpenAI"}, "GSI2SK": {"S": f"COST#{FIRST}#OpenAI"}}
    items[2] |= {"service": {"S": "Zed"}, "GSI2SK": {"S": f"COST#{FIRST}#Zed"}}
    for item in (*items, make_metric(3, service="anthropic").to_dynamodb_item()):
        raw.put_item(TableName=client.table_name, Item=item)
    sums = client.sum_ai_usage_costs_by_day(FIRST, LAST)
    assert [(each.service, each.records) for each in sums] == [
        ("anthropic", 1),
        ("openai", 2),
        ("zed", 1),
    ]


def test_a_sum_never_holds_more_than_a_day(
    client: DynamoClient, page_by_twos: Callable[..., DynamoClient]
) -> None:
    """Every row of a month loaded into memory for a sum."""
    metrics = [
        make_metric(number, timestamp=NOON + timedelta(days=day))
        for day in range(3)
        for number in range(4)
    ]
    assert client.batch_put_ai_usage_metrics(metrics) == []
    tally = ReadTally()
    sums = page_by_twos(client).sum_ai_usage_costs_by_day(FIRST, LAST, tally=tally)
    assert tally.pages == 0
    next(sums)
    assert tally.pages == 3
    sums.close()
    assert tally.pages == 3


def test_an_item_of_our_type_of_no_day_is_invalid_in_a_sum(client: DynamoClient, raw: Any) -> None:
    item = make_metric(1).to_dynamodb_item() | {"GSI2SK": {"S": "COST#2026-03-01x#openai"}}
    raw.put_item(TableName=client.table_name, Item=item)
    item = make_metric(2).to_dynamodb_item() | {"GSI2SK": {"S": "COST#2026-03-0x#openai"}}
    raw.put_item(TableName=client.table_name, Item=item)
    with pytest.raises(InvalidItemError, match="2026-03-0x"):
        list(client.sum_ai_usage_costs_by_day(FIRST, "2026-04-09"))
    tally = ReadTally()
    sums = client.sum_ai_usage_costs_by_day(FIRST, "2026-04-09", tally=tally, skip_invalid=True)
    assert [total.records for total in sums] == [1]
    assert (tally.records, tally.invalid) == (1, 1)
