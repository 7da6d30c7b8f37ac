"""A table whose index keys are in shards, through every query, on every engine."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from engines.fixtures import Engine
from receipt_dynamo import (
    AIUsageMetric,
    DynamoClient,
    InvalidItemError,
    ReadTally,
    UnreadableReplyError,
)
from receipt_dynamo.data.table.shards import ShardAnnouncer
from receipt_dynamo.entities.attribute_values import measure_item
from receipt_dynamo.testing import EmptyReply, ErrorReply, Fault, FaultProxy, Truncated
from support.usage_queries import FIRST, LAST, NOON, QUERIES, list_ids, make_metric

SHARDED = ("date", "service", "user", "environment", "costs")
META_KEY = {"PK": {"S": "AI_USAGE_META"}, "SK": {"S": "GSI_SHARDS"}}

every_query = pytest.mark.parametrize("ask", QUERIES.values(), ids=QUERIES)
each_fan_out = pytest.mark.parametrize("ask", [QUERIES[name] for name in SHARDED], ids=SHARDED)


def list_threads() -> list[str]:
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("dynamodb-query")]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert list_threads() == []


def write(client: DynamoClient, gsi_shards: int, metrics: list[AIUsageMetric]) -> None:
    boto3_client: Any = client._connection.client()
    writer = DynamoClient(client.table_name, client=boto3_client, gsi_shards=gsi_shards)
    assert writer.batch_put_ai_usage_metrics(metrics) == []


def make_day(first: int, count: int, **fields: Any) -> list[AIUsageMetric]:
    return [make_metric(number, **fields) for number in range(first, first + count)]


def read_meta(client: DynamoClient, raw: Any) -> Any:
    return raw.get_item(TableName=client.table_name, Key=META_KEY, ConsistentRead=True).get("Item")


MIXED = make_day(0, 36)


@pytest.fixture(scope="module")
def mixed(make_shared_table: Callable[[], DynamoClient]) -> DynamoClient:
    """A table that was written with 1 shard, then 4, then 2."""
    client = make_shared_table()
    for gsi_shards, part in ((1, MIXED[:12]), (4, MIXED[12:24]), (2, MIXED[24:])):
        write(client, gsi_shards, part)
    return client


@every_query
def test_a_table_written_with_1_then_4_then_2_shards_reads_right(
    mixed: DynamoClient, page_by_twos: Callable[..., DynamoClient], ask: Callable[..., Any]
) -> None:
    tally = ReadTally()
    found = list(ask(page_by_twos(mixed), tally=tally))
    assert sorted(found, key=lambda row: row.timestamp) == MIXED
    assert (tally.records, tally.other_items, tally.invalid) == (36, 0, 0)


def test_the_table_knows_the_most_shards_that_were_ever_written(
    client: DynamoClient, raw: Any
) -> None:
    write(client, 1, make_day(0, 9))
    assert read_meta(client, raw) is None
    for gsi_shards, most in ((4, 4), (2, 4), (7, 7), (7, 7)):
        write(client, gsi_shards, make_day(0, 9))
        assert read_meta(client, raw) == META_KEY | {
            "TYPE": {"S": "AIUsageMeta"},
            "gsiShards": {"N": str(most)},
        }


def test_of_announcements_at_once_the_largest_wins(client: DynamoClient, raw: Any) -> None:
    counts = (3, 9, 2, 7, 9, 5, 4, 8)
    ready = threading.Barrier(len(counts))

    def announce(count: int) -> None:
        announcer = ShardAnnouncer(client._connection, count)
        ready.wait()
        announcer.announce([1])

    with ThreadPoolExecutor(len(counts)) as pool:
        list(pool.map(announce, counts))
    assert read_meta(client, raw)["gsiShards"] == {"N": "9"}


def test_a_record_in_shard_0_needs_no_announcement(client: DynamoClient, raw: Any) -> None:
    write(client, 4, [make_metric(request_id="chatcmpl-5")])  # Its CRC-32 is a multiple of 4.
    assert read_meta(client, raw) is None


def test_a_record_that_moves_to_another_shard_is_there_once(client: DynamoClient) -> None:
    """The same key overwrites itself, whatever the number of shards was and is."""
    metrics = make_day(0, 12)
    for gsi_shards in (8, 1, 3, 8, 5):
        write(client, gsi_shards, metrics)
        assert sorted(list_ids(QUERIES["costs"](client))) == sorted(list_ids(metrics))


def test_shards_are_merged_in_the_documented_order(client: DynamoClient) -> None:
    services = ("b", "a", "a#1", "é", "\U0001f600")
    metrics = [
        make_metric(number, service=service, timestamp=NOON + timedelta(days=day))
        for number in range(3)
        for service in services
        for day in (2, 0, 1)
    ]
    write(client, 4, metrics)
    for name in ("costs", "user", "environment"):
        keys = [(row.timestamp.date(), row.service) for row in QUERIES[name](client)]
        assert len(keys) == len(metrics)
        assert keys == sorted(keys)
    of_one = list(client.query_ai_usage_metrics_by_service("a", FIRST, LAST))
    assert [row.timestamp.day for row in of_one] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert {row.service for row in of_one} == {"a"}
    of_other = list(client.query_ai_usage_metrics_by_service("a#1", FIRST, LAST))
    assert {row.service for row in of_other} == {"a#1"}
    sums = list(client.sum_ai_usage_costs_by_day(FIRST, LAST))
    assert [(each.day.day, each.service) for each in sums] == [
        (day, service) for day in (1, 2, 3) for service in sorted(services)
    ]
    assert {each.records for each in sums} == {3}


@each_fan_out
def test_a_limit_reads_one_page_of_each_shard_and_leaves_no_thread(
    mixed: DynamoClient, page_by_twos: Callable[..., DynamoClient], ask: Callable[..., Any]
) -> None:
    tally = ReadTally()
    assert len(list(ask(page_by_twos(mixed), limit=1, tally=tally))) == 1
    assert (tally.pages, tally.records) == (4, 1)
    assert list_threads() == []


@each_fan_out
def test_a_query_that_is_closed_early_reads_no_more(
    mixed: DynamoClient, page_by_twos: Callable[..., DynamoClient], ask: Callable[..., Any]
) -> None:
    queries: list[str] = []
    reader = page_by_twos(mixed)
    events = reader._connection.client().meta.events
    events.register("before-call.dynamodb.Query", lambda **_: queries.append("query"))
    tally = ReadTally()
    found = ask(reader, tally=tally)
    assert (queries, list_threads()) == ([], [])  # Nothing begins before it is consumed.
    for _ in range(6):
        next(found)
    found.close()
    assert list_threads() == []
    asked = len(queries)
    assert 4 <= asked <= 4 + 3 + 4  # One of each, those of 6 records, and one ahead of each.
    assert tally.pages == asked  # What was read ahead in vain is charged, and counted.
    assert list(found) == []
    assert len(queries) == asked


def test_a_page_is_read_ahead_while_another_is_consumed(
    mixed: DynamoClient, page_by_twos: Callable[..., DynamoClient]
) -> None:
    asked: list[str] = []
    ahead = threading.Event()

    def note(**_: object) -> None:
        asked.append("query")
        if len(asked) == 5:
            ahead.set()

    reader = page_by_twos(mixed)
    reader._connection.client().meta.events.register("before-call.dynamodb.Query", note)
    found = QUERIES["costs"](reader)
    next(found)
    assert len(asked) == 4
    next(found)  # The second of two on the page, and the next page is on its way.
    assert ahead.wait(30)
    found.close()


def test_a_query_that_is_dropped_ends_its_threads(mixed: DynamoClient) -> None:
    found = QUERIES["costs"](mixed)
    next(found)
    del found
    assert list_threads() == []


@each_fan_out
def test_the_number_of_shards_is_read_once_and_consistently(
    mixed: DynamoClient, raw: Any, ask: Callable[..., Any]
) -> None:
    requests: list[dict[str, Any]] = []
    raw.meta.events.register(
        "provide-client-params.dynamodb.GetItem", lambda params, **_: requests.append(params)
    )
    list(ask(DynamoClient(mixed.table_name, client=raw)))
    assert [(each["Key"], each["ConsistentRead"]) for each in requests] == [(META_KEY, True)]


def test_the_pages_of_many_shards_are_smaller(mixed: DynamoClient, raw: Any) -> None:
    """100 shards with pages of 1 MB, and one ahead of each, are more than a GB of memory."""
    limits: list[int | None] = []
    raw.meta.events.register(
        "provide-client-params.dynamodb.Query",
        lambda params, **_: limits.append(params.get("Limit")),
    )
    client = DynamoClient(mixed.table_name, client=raw)
    list(QUERIES["costs"](client))
    assert set(limits) == {2000}
    limits.clear()
    list(QUERIES["model"](client))
    assert limits == [None]


def test_a_damaged_number_of_shards_is_an_error_and_never_a_wrong_sum(
    client: DynamoClient, raw: Any
) -> None:
    for count in ({"N": "0"}, {"N": "101"}, {"N": "2.5"}, {"S": "4"}, {"NULL": True}, None):
        item = META_KEY if count is None else META_KEY | {"gsiShards": count}
        raw.put_item(TableName=client.table_name, Item=item)
        with pytest.raises(InvalidItemError, match="accepted are whole numbers from 1 to 100"):
            list(client.sum_ai_usage_costs_by_day(FIRST, LAST, skip_invalid=True))


# An old botocore takes a body that ends too soon for a connection that was closed.
UNREADABLE = (UnreadableReplyError, ConnectionClosedError)


@pytest.mark.parametrize("fault", [EmptyReply(), Truncated(full_length=True)], ids=repr)
def test_a_damaged_reply_is_never_taken_for_one_shard(
    engine: Engine, mixed: DynamoClient, fault: Fault
) -> None:
    """botocore hands out a damaged body as {}, as of an item that is not there."""
    with FaultProxy(engine.endpoint_url, seed=5) as proxy:
        reader = DynamoClient(mixed.table_name, "us-east-1", proxy.endpoint_url)
        proxy.script(fault, operations=("GetItem",))
        try:
            found = list(QUERIES["costs"](reader))
        except UNREADABLE:
            pass  # The engine sends a checksum.
        else:
            assert len(found) == len(MIXED)
        proxy.always(fault, operations=("GetItem", "BatchGetItem"))
        with pytest.raises(UNREADABLE):
            list(QUERIES["costs"](reader))


@each_fan_out
def test_an_engine_that_does_not_say_what_it_consumed_is_read_all_the_same(
    mixed: DynamoClient, client: DynamoClient, raw: Any, ask: Callable[..., Any]
) -> None:
    """That of "no such item" is then an empty document, as a damaged reply is."""
    raw.meta.events.register(
        "after-call.dynamodb.*", lambda parsed, **_: parsed.pop("ConsumedCapacity", None)
    )
    client.put_ai_usage_metric(make_metric())
    tally = ReadTally()
    assert len(list(ask(DynamoClient(client.table_name, client=raw), tally=tally))) == 1
    assert (tally.records, tally.read_units) == (1, 0)
    assert len(list(ask(DynamoClient(mixed.table_name, client=raw)))) == len(MIXED)


def test_the_read_units_are_those_of_the_documented_formula(
    start_engine: Callable[[str], Engine], table_name: str
) -> None:
    """Of what was read, not of what passed the filter; and one for the number of shards."""
    # The other engines do not count the bytes of a page.
    endpoint = start_engine("dynamodb-local").endpoint_url
    client = DynamoClient(table_name, "us-east-1", endpoint)
    client.create_table()
    metrics = [make_metric(number, metadata={"pad": "x" * number * 3_000}) for number in range(7)]
    write(client, 1, metrics)
    sizes = [measure_item(metric.to_dynamodb_item()) for metric in metrics]
    tally = ReadTally()
    list(QUERIES["model"](client, tally=tally))
    assert tally.read_units == Decimal(math.ceil(sum(sizes) / 4096)) / 2
    whole, filtered = ReadTally(), ReadTally()
    list(QUERIES["costs"](client, tally=whole))
    list(client.query_ai_usage_metrics_by_user("nobody", FIRST, LAST, tally=filtered))
    assert whole.read_units == filtered.read_units == 1 + Decimal(math.ceil(sum(sizes) / 4096)) / 2
    assert filtered.records == 0


def test_an_invalid_item_in_one_shard_is_skipped_and_counted(
    client: DynamoClient, raw: Any
) -> None:
    write(client, 4, make_day(0, 12))
    broken = make_metric(99).to_dynamodb_item(4) | {"costUSD": {"S": "?"}}
    raw.put_item(TableName=client.table_name, Item=broken)
    with pytest.raises(InvalidItemError, match="costUSD"):
        list(QUERIES["costs"](client))
    tally = ReadTally()
    assert len(list(QUERIES["costs"](client, tally=tally, skip_invalid=True))) == 12
    assert tally.invalid == 1


def test_one_shards_error_ends_the_query_and_stops_the_others(
    engine: Engine, mixed: DynamoClient
) -> None:
    with FaultProxy(engine.endpoint_url, seed=5) as proxy:
        reader = DynamoClient(mixed.table_name, "us-east-1", proxy.endpoint_url)
        denied = ErrorReply(status=400, code="AccessDeniedException", message="not this page")
        proxy.script(None, None, denied, operations=("Query",))
        with pytest.raises(ClientError, match="not this page"):
            list(QUERIES["costs"](reader))
        assert list_threads() == []
        assert len(proxy.requests) <= 5  # The number of shards, and a page of each at most.
        assert len(list(QUERIES["costs"](reader))) == 36
