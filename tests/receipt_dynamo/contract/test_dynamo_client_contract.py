"""DynamoClient through its public API, on every engine."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from engines.fixtures import Engine
from receipt_dynamo import (
    AIUsageMetric,
    DynamoClient,
    MissingIndexError,
    RetryExhaustedError,
    UnreadableReplyError,
)
from receipt_dynamo.data.table.schema import describe_table
from receipt_dynamo.entities.attribute_values import measure_item
from receipt_dynamo.testing import (
    Corrupt,
    EmptyReply,
    ErrorReply,
    Fault,
    FaultProxy,
    Truncated,
    UnprocessedItems,
    WrongChecksum,
)
from receipt_dynamo.utils.retry.policy import no_waits

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def make_metric(number: int = 0, **fields: Any) -> AIUsageMetric:
    arguments = {
        "service": "openai",
        "model": "gpt-4o",
        "operation": "completion",
        "timestamp": NOON + timedelta(milliseconds=number),
        "request_id": f"id-{number}",
    } | fields
    return AIUsageMetric(**arguments)


def write(client: DynamoClient, *metrics: AIUsageMetric) -> None:
    assert client.batch_put_ai_usage_metrics(metrics) == []


def test_create_table_may_be_called_again(client: DynamoClient, raw: Any) -> None:
    client.create_table()
    table = raw.describe_table(TableName=client.table_name)["Table"]
    assert table["TableStatus"] == "ACTIVE"
    indexes = {index["IndexName"] for index in table["GlobalSecondaryIndexes"]}
    assert indexes == {"GSI1", "GSI2", "GSI3", "GSI4"}


def test_what_is_put_is_got(client: DynamoClient) -> None:
    metric = make_metric(
        cost_usd="0.00000000000000000001",
        job_id="j",
        batch_id="b",
        metadata={"empty": {}, "list": [], "text": "", "none": None, "n": [10**37, "äöü 🎉"]},
    )
    client.put_ai_usage_metric(metric)
    got = client.get_ai_usage_metric("OpenAI", "gpt-4o", metric.timestamp, metric.request_id)
    assert got == metric


def test_get_returns_none_for_a_record_that_is_not_stored(client: DynamoClient) -> None:
    assert client.get_ai_usage_metric("openai", "gpt-4o", NOON, "nobody") is None


ASKED: list[datetime | str] = [
    NOON,
    NOON.replace(tzinfo=None),
    NOON.astimezone(timezone(timedelta(hours=9))),
    "2026-03-01T12:00:00+00:00",
    "2026-03-01T05:00:00-07:00",
    "2026-03-01T12:00:00Z",
    "2026-03-01 12:00:00.000",
]


@pytest.mark.parametrize(
    "stored",
    [
        "2026-03-01T12:00:00",
        "2026-03-01T12:00:00Z",
        "2026-03-01T12:00:00.000Z",
        "2026-03-01T05:00:00-07:00",
        "2026-03-01T05:00:00.000000-07:00",
        "2026-03-01T17:45:00+05:45",
        "2026-03-02T02:00:00+14:00",
        "2026-03-01T00:00:00-12:00",
    ],
)
def test_get_finds_a_record_under_each_form_of_its_time(
    client: DynamoClient, raw: Any, stored: str
) -> None:
    item = make_metric().to_dynamodb_item()
    item["SK"] = {"S": f"USAGE#{stored}#id-0"}
    item["timestamp"] = {"S": stored}
    raw.put_item(TableName=client.table_name, Item=item)
    for asked in (*ASKED, stored):
        got = client.get_ai_usage_metric("openai", "gpt-4o", asked, "id-0")
        assert got is not None
        assert (got.timestamp, got.key[1]) == (NOON, item["SK"]["S"])
    assert client.get_ai_usage_metric("openai", "gpt-4o", stored, "id-1") is None
    client.put_ai_usage_metric(got)
    assert len(list(client.query_ai_usage_metrics_by_date("2026-03-01", "openai"))) == 1


def test_get_takes_what_the_record_takes(client: DynamoClient) -> None:
    """A record strips its names: what was written by a name is found by it."""
    names = (" OpenAI ", " gpt-4o", NOON)
    client.put_ai_usage_metric(AIUsageMetric(*names[:2], "o", NOON, request_id="id-0 "))
    assert client.get_ai_usage_metric(*names, "id-0 ") is not None


def test_get_reads_a_bounded_number_of_keys_and_no_more_than_it_needs(
    client: DynamoClient, raw: Any
) -> None:
    asked: list[int] = []
    raw.meta.events.register("before-call.dynamodb.GetItem", lambda **_: asked.append(1))
    raw.meta.events.register(
        "provide-client-params.dynamodb.BatchGetItem",
        lambda params, **_: asked.append(len(params["RequestItems"][client.table_name]["Keys"])),
    )
    through = DynamoClient(client.table_name, client=raw)
    client.put_ai_usage_metric(make_metric())
    assert through.get_ai_usage_metric("openai", "gpt-4o", NOON, "id-0") is not None
    assert asked == [1]
    for moment, expected in (
        (NOON, [1, 100, 100, 100, 20]),
        (NOON.replace(microsecond=1), [1, 100, 6]),
    ):
        asked.clear()
        assert through.get_ai_usage_metric("openai", "gpt-4o", moment, "nobody") is None
        assert asked == expected


def test_get_asks_again_for_what_a_reply_leaves_out(client: DynamoClient, raw: Any) -> None:
    """A reply to BatchGetItem may be of some of the keys only."""
    item = make_metric().to_dynamodb_item() | {"SK": {"S": "USAGE#2026-03-01T12:00:00#id-0"}}
    raw.put_item(TableName=client.table_name, Item=item)
    wanted: list[Any] = []

    def leave_out(parsed: dict[str, Any], **_: object) -> None:
        if len(wanted) == 1:
            keys = wanted[0][client.table_name]["Keys"][:1]  # The naive one.
            parsed |= {"Responses": {}, "UnprocessedKeys": {client.table_name: {"Keys": keys}}}

    raw.meta.events.register(
        "provide-client-params.dynamodb.BatchGetItem",
        lambda params, **_: wanted.append(params["RequestItems"]),
    )
    raw.meta.events.register("after-call.dynamodb.BatchGetItem", leave_out)
    through = DynamoClient(client.table_name, client=raw)
    with no_waits():
        assert through.get_ai_usage_metric("openai", "gpt-4o", NOON, "id-0") is not None
    assert [len(each[client.table_name]["Keys"]) for each in wanted] == [100, 1]


def test_keys_that_are_always_left_out_are_an_error_and_not_no_such_record(
    client: DynamoClient, raw: Any
) -> None:
    def leave_out(parsed: dict[str, Any], **_: object) -> None:
        keys = [{"PK": {"S": "a"}, "SK": {"S": "b"}}]
        parsed |= {"Responses": {}, "UnprocessedKeys": {client.table_name: {"Keys": keys}}}

    raw.meta.events.register("after-call.dynamodb.BatchGetItem", leave_out)
    through = DynamoClient(client.table_name, client=raw)
    with no_waits(), pytest.raises(RetryExhaustedError):
        through.get_ai_usage_metric("openai", "gpt-4o", NOON, "id-0")


@pytest.mark.parametrize("code", ["AccessDeniedException", "UnknownOperationException"])
def test_get_reads_earlier_keys_one_by_one_where_it_may_not_ask_for_many(
    client: DynamoClient, engine: Engine, raw: Any, code: str
) -> None:
    """Roles that were made before, and engines that do not know BatchGetItem."""
    item = make_metric().to_dynamodb_item() | {"SK": {"S": "USAGE#2026-03-01T05:00:00-07:00#id-0"}}
    raw.put_item(TableName=client.table_name, Item=item)
    with FaultProxy(engine.endpoint_url) as proxy:
        through = DynamoClient(client.table_name, "us-east-1", proxy.endpoint_url)
        proxy.always(
            ErrorReply(status=400, code=code, message="not this"), operations=["BatchGetItem"]
        )
        found = through.get_ai_usage_metric("openai", "gpt-4o", NOON, "id-0")
        assert found is not None
        assert found.key[1] == item["SK"]["S"]


# An old botocore takes a body that ends too soon for a connection that was closed.
UNREADABLE = (UnreadableReplyError, ConnectionClosedError)


@pytest.mark.parametrize(
    "fault",
    [Truncated(full_length=True), EmptyReply(), Corrupt(), WrongChecksum()],
    ids=repr,
)
def test_a_damaged_reply_is_never_taken_for_no_such_record(
    client: DynamoClient, engine: Engine, fault: Fault
) -> None:
    client.put_ai_usage_metric(make_metric())
    with FaultProxy(engine.endpoint_url) as proxy:
        through = DynamoClient(client.table_name, "us-east-1", proxy.endpoint_url)
        proxy.script(fault, operations=["GetItem"])
        try:
            found = through.get_ai_usage_metric("openai", "gpt-4o", NOON, "id-0")
        except UNREADABLE:
            pass  # The engine sends a checksum.
        else:
            assert found == make_metric()
        proxy.always(fault, operations=["GetItem", "BatchGetItem"])
        with pytest.raises(UNREADABLE):
            through.get_ai_usage_metric("openai", "gpt-4o", NOON, "id-0")


def test_numbers_at_dynamodbs_limits_are_stored(client: DynamoClient) -> None:
    metric = make_metric(
        metadata={"n": [float("1e-130"), 10**125, int("9" * 38), float("-1e125"), 0]}
    )
    client.put_ai_usage_metric(metric)
    assert list(client.query_ai_usage_metrics_by_date(NOON, "openai")) == [metric]


def test_nesting_at_dynamodbs_limit_is_stored(client: DynamoClient) -> None:
    document: dict[str, Any] = {"leaf": 1}
    for _ in range(30):
        document = {"x": document}
    metric = make_metric(metadata=document)
    client.put_ai_usage_metric(metric)
    assert list(client.query_ai_usage_metrics_by_date(NOON, "openai")) == [metric]


def test_an_item_of_exactly_400_kb_is_stored(client: DynamoClient, engine: Engine) -> None:
    limit = 405_000 if engine.name == "moto" else 400 * 1024  # moto's own bound is lower
    room = limit - measure_item(make_metric().to_dynamodb_item())
    metric = make_metric(error="x" * (room - len("error")))
    assert measure_item(metric.to_dynamodb_item()) == limit
    client.put_ai_usage_metric(metric)
    assert list(client.query_ai_usage_metrics_by_date(NOON, "openai")) == [metric]


def test_a_batch_of_more_than_25_and_repeated_keys_is_legal(client: DynamoClient) -> None:
    """26 items in one request are refused, and so is one key twice."""
    metrics = [make_metric(number) for number in range(60)]
    write(client, *metrics, *[make_metric(number, api_calls=2) for number in range(5)])
    rows = sorted(
        client.query_ai_usage_metrics_by_date(NOON, "openai"), key=lambda row: row.timestamp
    )
    assert [row.request_id for row in rows] == [metric.request_id for metric in metrics]
    assert [row.api_calls for row in rows] == [2] * 5 + [1] * 55


def test_unprocessed_items_are_mapped_back(engine: Engine, table_name: str) -> None:
    with FaultProxy(engine.endpoint_url, seed=3) as proxy:
        client = DynamoClient(table_name, "us-east-1", proxy.endpoint_url)
        client.create_table()
        proxy.script(UnprocessedItems(count=4))
        metrics = [make_metric(number) for number in range(10)]
        left_out = client.batch_put_ai_usage_metrics(metrics)
        assert len(left_out) == 4
        assert set(left_out) <= set(metrics)
        rows = set(client.query_ai_usage_metrics_by_date(NOON, "openai"))
        assert rows == set(metrics) - set(left_out)


def test_a_query_reads_page_after_page_to_the_end(client: DynamoClient) -> None:
    """One page of a query taken for the whole: a page ends at 1 MB."""
    metrics = [make_metric(number, metadata={"pad": "x" * 90_000}) for number in range(30)]
    for metric in metrics:
        client.put_ai_usage_metric(metric)
    assert len(list(client.query_ai_usage_metrics_by_date(NOON, "openai"))) == 30
    assert len(list(client.query_ai_usage_costs_by_date(NOON, limit=17))) == 17


def test_a_sum_over_many_rows_holds_one_page_at_a_time(client: DynamoClient, raw: Any) -> None:
    """Every row of a month in memory for a sum: pages are read as they are consumed."""
    for number in range(30):
        client.put_ai_usage_metric(make_metric(number, metadata={"pad": "x" * 90_000}))
    queries: list[str] = []
    raw.meta.events.register("before-call.dynamodb.Query", lambda **_: queries.append("query"))
    found = DynamoClient(client.table_name, client=raw).query_ai_usage_costs_by_date(NOON)
    assert queries == []
    next(found)
    assert len(queries) == 1
    assert len(list(found)) == 29
    assert len(queries) > 2


def test_dates_are_utc_days_and_ranges_include_both_ends(client: DynamoClient) -> None:
    last_moment = datetime(2026, 3, 1, 23, 59, 59, 999_999, tzinfo=UTC)
    write(
        client,
        make_metric(1, timestamp=last_moment),
        make_metric(2, timestamp=last_moment + timedelta(microseconds=1)),
        make_metric(3, timestamp=last_moment + timedelta(days=2)),
        make_metric(4, service="anthropic", timestamp=last_moment),
    )

    def ids(start: Any, end: Any) -> list[str]:
        found = client.query_ai_usage_metrics_by_service("OPENAI", start, end)
        return [row.request_id for row in found]

    assert ids("2026-03-01", "2026-03-01") == ["id-1"]
    assert ids(date(2026, 3, 1), date(2026, 3, 2)) == ["id-1", "id-2"]
    assert ids(NOON, NOON + timedelta(days=2)) == ["id-1", "id-2", "id-3"]
    costs = client.query_ai_usage_costs_by_date("2026-03-01")
    assert {row.service for row in costs} == {"openai", "anthropic"}


def test_queries_by_job_and_by_batch(client: DynamoClient) -> None:
    write(
        client,
        make_metric(1, job_id="j"),
        make_metric(2, job_id="j", batch_id="b"),
        make_metric(3, batch_id="b"),
        make_metric(4),
    )
    by_job = client.query_ai_usage_metrics_by_job("j")
    by_batch = client.query_ai_usage_metrics_by_batch("b")
    assert [row.request_id for row in by_job] == ["id-1", "id-2"]
    assert {row.request_id for row in by_batch} == {"id-2", "id-3"}
    assert list(client.query_ai_usage_metrics_by_job("nobody")) == []


def test_a_table_without_gsi4_falls_back_to_a_date_range(
    engine: Engine, table_name: str, raw: Any, caplog: pytest.LogCaptureFixture
) -> None:
    schema: Any = describe_table(table_name)
    schema["GlobalSecondaryIndexes"] = schema["GlobalSecondaryIndexes"][:3]
    schema["AttributeDefinitions"] = [
        definition
        for definition in schema["AttributeDefinitions"]
        if not definition["AttributeName"].startswith("GSI4")
    ]
    raw.create_table(**schema)
    client = DynamoClient(table_name, "us-east-1", engine.endpoint_url)
    write(client, make_metric(1, job_id="j", batch_id="b"), make_metric(2, batch_id="b"))
    with pytest.raises(MissingIndexError, match="GSI4"):
        list(client.query_ai_usage_metrics_by_batch("b"))
    found = client.query_ai_usage_metrics_by_batch(
        "b", start_date="2026-03-01", end_date="2026-03-01"
    )
    assert [row.request_id for row in found] == ["id-2", "id-1"]  # Each of them once.
    assert "has no index GSI4" in caplog.text


def test_rows_of_other_types_are_passed_over(client: DynamoClient, raw: Any) -> None:
    other = make_metric(9).to_dynamodb_item() | {"TYPE": {"S": "Rollup"}}
    raw.put_item(TableName=client.table_name, Item=other)
    write(client, make_metric(1))
    rows = client.query_ai_usage_metrics_by_date(NOON, "openai")
    assert [row.request_id for row in rows] == ["id-1"]


def test_an_unknown_table_is_boto3s_own_error(engine: Engine) -> None:
    client = DynamoClient("no-such-test-table", "us-east-1", engine.endpoint_url)
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        client.put_ai_usage_metric(make_metric())


def test_a_boto3_client_can_be_injected(client: DynamoClient, raw: Any) -> None:
    injected = DynamoClient(client.table_name, client=raw)
    injected.put_ai_usage_metric(make_metric())
    assert list(client.query_ai_usage_metrics_by_date(NOON, "openai")) == [make_metric()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("yesterday", "openai"), "'yesterday'; accepted are a date and 'YYYY-MM-DD'"),
        ((7, "openai"), "accepted are a date and 'YYYY-MM-DD'"),
    ],
)
def test_a_bad_date_is_named(client: DynamoClient, arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match="date") as caught:
        client.query_ai_usage_metrics_by_date(*arguments)
    assert message in str(caught.value)


def test_a_bad_range_and_a_bad_limit_are_named(client: DynamoClient) -> None:
    with pytest.raises(ValueError, match="start_date 2026-03-02 is after end_date 2026-03-01"):
        client.query_ai_usage_metrics_by_service("openai", "2026-03-02", "2026-03-01")
    with pytest.raises(ValueError, match="limit is 0"):
        client.query_ai_usage_metrics_by_job("j", limit=0)


def test_a_page_that_botocore_did_not_read_has_the_same_records(
    client: DynamoClient, raw: Any
) -> None:
    """Our own clients read a page's JSON themselves; one that is injected is as it was given."""
    metrics = [
        make_metric(
            number,
            cost_usd=f"{number}E-120",
            user_id='Zoë \u2028 \U0001f600 \\ "quoted" \x00',
            metadata={"nested": [{"a": None, "b": [True, "1e-07", 10**37]}], "empty": {"x": []}},
        )
        for number in range(3)
    ]
    write(client, *metrics)
    raw.put_item(
        TableName=client.table_name,
        Item=metrics[0].to_dynamodb_item()
        | {"SK": {"S": "USAGE#binary"}, "unknown": {"B": b"\xff"}, "requestId": {"S": "binary"}},
    )
    injected = DynamoClient(client.table_name, client=raw)
    day = NOON.date()
    ours = list(client.query_ai_usage_metrics_by_date(day, "openai"))
    assert ours == list(injected.query_ai_usage_metrics_by_date(day, "openai"))
    found = {each.request_id: each for each in ours}
    assert found.pop("binary").cost_usd == metrics[0].cost_usd
    assert found == {metric.request_id: metric for metric in metrics}


@pytest.mark.parametrize(
    "fault",
    [Truncated(), Corrupt(), Corrupt(at=40, mask=1), WrongChecksum(), EmptyReply()],
    ids=repr,
)
def test_a_damaged_page_is_an_error_and_not_an_empty_one(
    client: DynamoClient, engine: Engine, fault: Fault
) -> None:
    """The trap: botocore hands out a damaged reply as an empty one, and a sum is too small."""
    write(client, make_metric())
    with FaultProxy(engine.endpoint_url) as proxy:
        through = DynamoClient(client.table_name, "us-east-1", proxy.endpoint_url)
        proxy.always(fault, operations=["Query"])
        with pytest.raises(UnreadableReplyError):
            list(through.query_ai_usage_metrics_by_date(NOON.date(), "openai"))
        proxy.heal()
        assert len(list(through.query_ai_usage_metrics_by_date(NOON.date(), "openai"))) == 1
