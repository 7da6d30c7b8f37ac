"""No record is sent into a shard that readers do not know of, whatever becomes of the news."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from receipt_dynamo import (
    CircuitBreakerState,
    DeliveryEvent,
    DeliveryEventKind,
    DynamoClient,
)
from receipt_dynamo.data.batch_write import accept_prepared_bodies
from receipt_dynamo.data.connection import Connection, SdkSettings
from receipt_dynamo.data.delivery.backlog import PendingRecord
from receipt_dynamo.data.delivery.sender import ConnectionWriter
from receipt_dynamo.entities.wire_form import find_shard
from receipt_dynamo.testing import (
    EmptyReply,
    ErrorReply,
    FaultProxy,
    LostReply,
    Reset,
    ServerErrorAfterApply,
    Stall,
    Throttle,
    Truncated,
)
from support.faulty_table import balances, open_client
from support.programs import Program
from support.records import make_metrics

NEWS = ("UpdateItem",)
"""The request that tells readers how many shards there are; nothing else makes it."""

NO = ErrorReply(400, "AccessDeniedException", "no dynamodb:UpdateItem for you")
MISSHAPEN = ErrorReply(400, "ValidationException", "The provided key element does not match")


def list_operations(proxy: FaultProxy) -> list[str]:
    operations = ("UpdateItem", "BatchWriteItem", "PutItem")
    return [each.operation for each in proxy.requests if each.operation in operations]


def read_ids(table: DynamoClient) -> set[str]:
    return {row.request_id for row in table.query_ai_usage_costs_by_date("2026-03-01")}


def read_count(table: DynamoClient) -> int:
    key = {"PK": {"S": "AI_USAGE_META"}, "SK": {"S": "GSI_SHARDS"}}
    reply: Any = table._connection.client().get_item(TableName=table.table_name, Key=key)
    return int(reply["Item"]["gsiShards"]["N"]) if "Item" in reply else 1


IDS = {metric.request_id for metric in make_metrics(30)}


@pytest.mark.parametrize(
    "fault",
    [
        Throttle(),
        ServerErrorAfterApply(),
        LostReply(),
        Reset(),
        Truncated(full_length=True),
        EmptyReply(),
    ],
    ids=repr,
)
def test_a_fault_of_the_announcement_loses_nothing_and_sends_nothing_before_it(
    fault: Any, proxy: FaultProxy, table: DynamoClient
) -> None:
    proxy.script(fault, fault, operations=NEWS)
    with open_client(proxy, table, gsi_shards=4, senders=1) as client:
        client.batch_put_ai_usage_metrics(make_metrics(30))
        assert client.flush(timeout=60)
        stats = client.get_stats()
    assert (stats.delivered, stats.pending, stats.dead) == (30, 0, 0)
    assert balances(stats)
    assert list_operations(proxy)[:4] == ["UpdateItem"] * 3 + ["BatchWriteItem"]
    assert read_count(table) == 4
    assert read_ids(table) == IDS


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Throttle(), DeliveryEventKind.THROTTLED),
        (ErrorReply(500, "InternalServerError"), DeliveryEventKind.FAILED),
        (NO, DeliveryEventKind.MISCONFIGURED),
        (MISSHAPEN, DeliveryEventKind.MISCONFIGURED),
    ],
    ids=["throttled", "outage", "access denied", "table of another form"],
)
def test_while_the_announcement_fails_the_records_wait_and_none_is_sent(
    fault: Any, kind: DeliveryEventKind, proxy: FaultProxy, table: DynamoClient
) -> None:
    """Its failure is the batch's, of its own kind, and no record's: none becomes a dead letter."""
    events: list[DeliveryEvent] = []
    proxy.always(fault, operations=NEWS)
    client = open_client(proxy, table, gsi_shards=4)
    client.add_listener(events.append)
    client.batch_put_ai_usage_metrics(make_metrics(30))
    assert proxy.wait_for_requests(1, operations=NEWS)
    assert not client.flush(timeout=0.2)
    stats = client.get_stats()
    assert (stats.pending, stats.delivered, stats.dead, stats.dropped) == (30, 0, 0, 0)
    report = client.close(timeout=0.2)
    assert (report.delivered, report.on_disk, report.lost) == (0, 30, 0)
    assert kind in {event.kind for event in events}
    if kind is not DeliveryEventKind.FAILED:
        assert client.circuit_breaker.state is CircuitBreakerState.CLOSED
    assert set(list_operations(proxy)) == {"UpdateItem"}
    proxy.heal()
    with open_client(proxy, table) as next_process:  # With one shard.
        assert next_process.flush(timeout=60)
    assert read_count(table) == 4
    assert read_ids(table) == IDS


def test_the_log_says_why_the_number_of_shards_cannot_be_noted(
    proxy: FaultProxy, table: DynamoClient, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.always(MISSHAPEN, operations=NEWS)
    client = open_client(proxy, table, gsi_shards=4)
    client.batch_put_ai_usage_metrics(make_metrics(30))
    client.close(timeout=1)
    assert "the number of shards cannot be written: ValidationException: The" in caplog.text


def test_shards_are_announced_once_in_a_process(proxy: FaultProxy, table: DynamoClient) -> None:
    with open_client(proxy, table, gsi_shards=4, senders=1) as client:
        for first in range(0, 120, 30):
            client.batch_put_ai_usage_metrics(make_metrics(30, first))
            assert client.flush(timeout=60)
    assert list_operations(proxy).count("UpdateItem") == 1
    with open_client(proxy, table) as client:
        client.batch_put_ai_usage_metrics(make_metrics(30, 200))
        assert client.flush(timeout=60)
    assert list_operations(proxy).count("UpdateItem") == 1  # One shard is no news.
    assert len(read_ids(table)) == 150


def test_put_does_not_wait_for_the_announcement(proxy: FaultProxy, table: DynamoClient) -> None:
    proxy.always(Stall(60), operations=NEWS)
    client = open_client(proxy, table, gsi_shards=4)
    for metric in make_metrics(30):
        assert client.put_ai_usage_metric(metric)
    assert proxy.wait_for_requests(1, operations=NEWS)
    assert client.get_stats().pending == 30
    proxy.heal()
    assert client.close(timeout=60).delivered == 30


@pytest.mark.parametrize("write", ["put", "batch"])
def test_a_plain_client_writes_nothing_when_its_announcement_fails(
    write: str, proxy: FaultProxy, table: DynamoClient
) -> None:
    proxy.always(NO, operations=NEWS)
    client = DynamoClient(table.table_name, "us-east-1", proxy.endpoint_url, gsi_shards=4)
    in_shard_1 = next(each for each in make_metrics(30) if find_shard(each.request_id, 4) == 1)
    with pytest.raises(ClientError, match="UpdateItem for you"):
        if write == "put":
            client.put_ai_usage_metric(in_shard_1)
        else:
            client.batch_put_ai_usage_metrics([in_shard_1])
    assert list_operations(proxy) == ["UpdateItem"]
    proxy.heal()
    client.put_ai_usage_metric(in_shard_1)
    client.put_ai_usage_metric(in_shard_1)
    assert list_operations(proxy)[1:] == ["UpdateItem", "PutItem", "PutItem"]
    assert read_count(table) == 4
    assert read_ids(table) == {in_shard_1.request_id}


@pytest.fixture
def writer(proxy: FaultProxy, table: DynamoClient) -> ConnectionWriter:
    target = DynamoClient(table.table_name, "us-east-1", proxy.endpoint_url).target
    settings = SdkSettings(total_max_attempts=1, parameter_validation=False)
    return ConnectionWriter(Connection(target, settings, prepare=accept_prepared_bodies))


def make_records(gsi_shards: int) -> list[PendingRecord]:
    return [
        PendingRecord(metric.key, metric.to_dynamodb_json(gsi_shards))
        for metric in make_metrics(20)
    ]


def test_a_writer_announces_the_shards_of_others_whose_records_it_sends(
    writer: ConnectionWriter, proxy: FaultProxy, table: DynamoClient
) -> None:
    """Of adopted journals, and of dead letters that come back: their bytes say it."""
    records = make_records(9)
    highest = max(find_shard(each.request_id, 9) for each in make_metrics(20))
    assert writer.write(records) == set()
    assert read_count(table) == highest + 1 > 5
    assert len(read_ids(table)) == 20


def test_a_table_that_was_missing_is_told_anew(
    writer: ConnectionWriter, proxy: FaultProxy, table: DynamoClient
) -> None:
    """A table that was deleted and made again has lost the number with everything else."""
    writer.write(make_records(4))
    writer.write(make_records(4))
    assert list_operations(proxy).count("UpdateItem") == 1
    writer.renew()  # As after every misconfiguration.
    writer.write(make_records(4))
    assert list_operations(proxy).count("UpdateItem") == 2


def test_a_process_killed_before_it_announced_leaves_that_to_the_one_that_adopts(
    tmp_path: Path, proxy: FaultProxy, table: DynamoClient
) -> None:
    killed = Program(
        tmp_path / "program.py",
        table,
        """
        client = open_client(gsi_shards=8, batch_flush_interval=60)
        put(client, 24)
        wait_for_proof(client)
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        proxy.endpoint_url,
    ).run()
    assert killed.returncode == -9, killed.stderr
    assert read_count(table) == 1
    with open_client(proxy, table) as successor:
        assert successor.flush(timeout=60)
        assert successor.get_stats().adopted == 24
    shards = {find_shard(f"id-{number}", 8) for number in range(24)}
    assert read_count(table) == max(shards) + 1
    assert list_operations(proxy)[0] == "UpdateItem"
    assert len(read_ids(table)) == 24


FORKED = """
client = open_client(gsi_shards=4, batch_flush_interval=0.02)
put(client, 30)
assert client.flush(60)
begun = DynamoClient(TABLE, "us-east-1", ENDPOINT).query_ai_usage_costs_by_date("2026-03-01")
next(begun)

def check():
    put(client, 30, first=100)
    assert client.flush(60)
    plain = DynamoClient(TABLE, "us-east-1", ENDPOINT)
    assert len(list(plain.query_ai_usage_costs_by_date("2026-03-01"))) == 60
    try:
        list(begun)
    except ReceiptDynamoError as error:
        assert "begun before a fork" in str(error), error
    else:
        raise AssertionError("a query of another process went on")

end_well(run_child(check))
assert len(list(begun)) == 29  # The parent's goes on.
client.close()
"""


def test_a_forked_child_announces_anew_and_begins_its_own_queries(
    tmp_path: Path, proxy: FaultProxy, table: DynamoClient
) -> None:
    body = f"from receipt_dynamo import ReceiptDynamoError\n{FORKED}"
    program = Program(tmp_path / "program.py", table, body, proxy.endpoint_url)
    done = program.run()
    assert done.returncode == 0, done.stderr
    assert list_operations(proxy).count("UpdateItem") >= 2  # Of the parent, and of the child.
    assert len(read_ids(table)) == 60
