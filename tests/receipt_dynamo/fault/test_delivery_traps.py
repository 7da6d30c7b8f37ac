"""Traps that others' writers fell into, over the wire; spools' are in test_journal_traps."""

from __future__ import annotations

import logging
import re
import threading
from dataclasses import dataclass, field, replace
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest
from moto import mock_aws

from receipt_dynamo import CircuitBreakerState, DynamoClient, ResilientDynamoClient
from receipt_dynamo.testing import (
    Answer,
    ErrorReply,
    Exchange,
    Fault,
    FaultProxy,
    LostReply,
    Reply,
    Request,
    Stall,
)
from support.faulty_table import balances, open_client, read_ids
from support.records import make_metrics

REQUEST_LIMIT = 16 * 1024 * 1024
"""Bytes of a BatchWriteItem, at most (Amazon DynamoDB API Reference)."""


@dataclass(frozen=True)
class Listening(Fault):
    """Every request passes, and is kept."""

    requests: list[Request] = field(default_factory=list)

    def answer(self, exchange: Exchange) -> Answer:
        self.requests.append(exchange.request)
        return Answer(exchange.forward(None))

    def read_batches(self) -> list[list[dict[str, Any]]]:
        return [
            [write["PutRequest"]["Item"] for write in writes]
            for request in self.requests
            for writes in request.document["RequestItems"].values()
        ]


def test_what_the_client_calls_exists_and_stores() -> None:
    """The first attempt called methods that only its mocks had, and stored nothing."""
    with mock_aws():
        table = DynamoClient("test-table", "us-east-1")
        table.create_table()
        metrics = make_metrics(30)
        with ResilientDynamoClient("test-table", "us-east-1", batch_flush_interval=0.0) as client:
            assert client.batch_put_ai_usage_metrics(metrics) == []
        items = boto3.client("dynamodb", "us-east-1").scan(TableName="test-table")["Items"]
    assert sorted(item["requestId"]["S"] for item in items) == sorted(
        metric.request_id for metric in metrics
    )


def test_no_caller_ever_sends(
    proxy: FaultProxy, table: DynamoClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere the 25th caller pays for the batch, its retries and their sleeps."""
    senders: set[int] = set()
    client = open_client(proxy, table, batch_size=25)
    send = client._delivery._sender.send

    def note(batch: Any) -> Any:
        senders.add(threading.get_ident())
        return send(batch)

    monkeypatch.setattr(client._delivery._sender, "send", note)
    proxy.script(ErrorReply(500, "InternalServerError"), ErrorReply(500, "InternalServerError"))
    client.batch_put_ai_usage_metrics(make_metrics(200))
    assert client.flush(timeout=60)
    client.close(timeout=60)
    assert senders
    assert threading.get_ident() not in senders


def test_an_open_breaker_and_exhausted_attempts_keep_every_record(
    proxy: FaultProxy, table: DynamoClient
) -> None:
    """Elsewhere the batch is skipped with a print, or dropped after the third attempt."""
    opened = threading.Event()
    with open_client(proxy, table, max_retry_attempts=1, circuit_breaker_threshold=3) as client:
        client.circuit_breaker.add_listener(lambda event: opened.set())
        proxy.always(ErrorReply(500, "InternalServerError"))
        client.batch_put_ai_usage_metrics(make_metrics(120))
        assert opened.wait(30)
        stats = client.get_stats()
        assert (stats.pending, stats.delivered, stats.dead, stats.dropped) == (120, 0, 0, 0)
        proxy.heal()
        assert client.flush(timeout=60)
        assert client.get_stats().delivered == 120
    assert len(set(read_ids(table))) == 120


def test_close_does_not_abandon_the_batch_in_flight(proxy: FaultProxy, table: DynamoClient) -> None:
    """Elsewhere close joins the thread for a second, and what it was sending is gone."""
    proxy.always(Stall(60))
    client = open_client(proxy, table)
    client.batch_put_ai_usage_metrics(make_metrics(10))
    assert proxy.wait_for_requests(1)
    report = client.close(timeout=0.1)
    assert (report.delivered, report.on_disk, report.lost) == (0, 10, 0)
    proxy.heal()
    with open_client(proxy, table) as next_process:
        assert next_process.flush(timeout=60)
    assert len(read_ids(table)) == len(set(read_ids(table))) == 10


def test_a_lost_reply_is_not_taken_for_a_failure_of_its_own_success(
    proxy: FaultProxy, table: DynamoClient
) -> None:
    """A conditional put that is sent again finds its own row, and fails: ours has no condition."""
    listening = Listening()
    proxy.script(LostReply(), LostReply(), listening)
    with open_client(proxy, table) as client:
        client.batch_put_ai_usage_metrics(make_metrics(3))
        assert client.flush(timeout=60)
        stats = client.get_stats()
        assert (stats.delivered, stats.dead) == (3, 0)
    assert all(b"Condition" not in request.body for request in listening.requests)
    assert len(read_ids(table)) == 3


def test_no_batch_has_more_than_25_items_and_no_key_twice(
    proxy: FaultProxy, table: DynamoClient
) -> None:
    """botocore's validation lets 26 items through."""
    listening = Listening()
    proxy.down()
    client = open_client(proxy, table)
    client.batch_put_ai_usage_metrics(make_metrics(130))
    client.batch_put_ai_usage_metrics(make_metrics(130, latency_ms=7))
    proxy.always(listening)
    proxy.up()
    assert client.close(timeout=60).delivered == 260
    batches = listening.read_batches()
    assert max(map(len, batches)) <= 25
    for batch in batches:
        keys = [(item["PK"]["S"], item["SK"]["S"]) for item in batch]
        assert len(set(keys)) == len(keys)
    rows = table.query_ai_usage_metrics_by_date("2026-03-01", "openai")
    assert [row.latency_ms for row in rows] == [7] * 130


def test_a_batch_of_the_largest_non_ascii_items_is_not_too_large_for_the_wire(
    proxy: FaultProxy, table: DynamoClient
) -> None:
    r"""25 items near 400 KB are 10 MB, and 30 MB as ``\uXXXX``: refused with 413."""
    listening = Listening()
    proxy.always(listening)
    text = "\N{SNOWMAN}" * 130_000  # 390,000 bytes in UTF-8, 780,000 when escaped
    with open_client(proxy, table) as client:
        client.batch_put_ai_usage_metrics(make_metrics(25, error=text))
        assert client.flush(timeout=100)
        assert client.get_stats().delivered == 25
    assert max(len(request.body) for request in listening.requests) < REQUEST_LIMIT
    assert sum(map(len, listening.read_batches())) == 25


def test_an_item_over_400_kb_is_refused_at_the_door_and_its_neighbours_are_sent(
    proxy: FaultProxy, table: DynamoClient
) -> None:
    """In a batch it has DynamoDB reject the 24 others."""
    with open_client(proxy, table) as client:
        client.batch_put_ai_usage_metrics(make_metrics(12))
        with pytest.raises(ValueError, match="409600"):
            client.put_ai_usage_metric(make_metrics(1, first=99, error="x" * 420_000)[0])
        client.batch_put_ai_usage_metrics(make_metrics(12, first=12))
        assert client.flush(timeout=60)
        stats = client.get_stats()
        assert (stats.accepted, stats.delivered, stats.dead) == (24, 24, 0)
        assert balances(stats)
    assert len(read_ids(table)) == 24


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:dynamodb:us-east-1:123456789012:table/test-table",
        "arn:aws:dynamodb:us-east-1:999999999999:table/test-table",
    ],
)
def test_a_prepared_body_goes_where_the_tables_arn_says(
    arn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the table in the parameters, the rules for endpoints do not see its account."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB"):
        monkeypatch.delenv(name, raising=False)
    urls: list[str] = []

    class StoppedError(Exception):
        pass

    def stop(request: AWSPreparedRequest, **_: object) -> None:
        urls.append(request.url)
        raise StoppedError

    plain = boto3.client("dynamodb", "us-east-1")
    plain.meta.events.register("before-send.dynamodb.*", stop)
    with pytest.raises(StoppedError):
        plain.batch_write_item(
            RequestItems={arn: [{"PutRequest": {"Item": {"PK": {"S": "a"}, "SK": {"S": "b"}}}}]}
        )
    client = ResilientDynamoClient(arn, "us-east-1", durability="memory", batch_flush_interval=0.0)
    sent = threading.Event()

    def note(request: AWSPreparedRequest, **_: object) -> None:
        sent.set()
        stop(request)

    writer = client._delivery._sender._writer._connection.client()
    writer.meta.events.register("before-send.dynamodb.*", note)
    client.put_ai_usage_metric(make_metrics(1)[0])
    assert sent.wait(30)
    client.close(timeout=0)
    assert urls[1] == urls[0]


def test_a_service_starts_when_dynamodb_is_down_and_waits_for_it(
    proxy: FaultProxy, table: DynamoClient
) -> None:
    """Elsewhere the constructor describes the table, and the service does not start."""
    proxy.down()
    client = open_client(proxy, table)
    assert client.put_ai_usage_metric(make_metrics(1)[0])
    proxy.up()
    assert client.close(timeout=60).delivered == 1


def test_nothing_of_a_record_is_in_logs_errors_or_figures_whatever_happens(
    proxy: FaultProxy, table: DynamoClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Prompts, users and keys reach the table and the journal, and nothing that others read."""
    words = ["canary-prompt", "canary-user", "canary-job"]
    metrics = make_metrics(
        20, user_id="canary-user", job_id="canary-job", metadata={"prompt": "canary-prompt"}
    )
    poison = make_metrics(1, first=99, user_id="canary-user", error="canary-prompt")[0]
    object.__setattr__(poison, "_stored_key", (poison.key[0], ""))
    said: list[str] = []
    logging.getLogger("receipt_dynamo").setLevel(logging.DEBUG)
    try:
        proxy.script(
            ErrorReply(500, "InternalServerError", "no"),
            LostReply(),
            ErrorReply(400, "AccessDeniedException", "no"),
        )
        client = open_client(proxy, table)
        client.add_listener(lambda event: said.append(repr(event)))
        client.circuit_breaker.add_listener(lambda event: said.append(repr(event)))
        client.batch_put_ai_usage_metrics([*metrics, poison])
        client.flush(timeout=1)
        said += [repr(client.get_stats()), repr(client)]
        said.append(repr(client.close(timeout=0.1)))
    finally:
        logging.getLogger("receipt_dynamo").setLevel(logging.NOTSET)
    own = [record for record in caplog.records if record.name.startswith("receipt_")]
    assert own
    said += [record.getMessage() + str(record.exc_info) + str(record.__dict__) for record in own]
    assert not [text for text in said for word in words if re.search(word, text)]


def test_a_constant_share_of_throttles_neither_starves_nor_opens_the_breaker(
    proxy: FaultProxy, table: DynamoClient
) -> None:
    """A pace without a floor went to nothing; a breaker that counts throttles stopped for 30 s."""
    proxy.always(ErrorReply(400, "ProvisionedThroughputExceededException"), share=0.3)
    with open_client(proxy, table, circuit_breaker_threshold=1) as client:
        client.batch_put_ai_usage_metrics(make_metrics(200))
        assert client.flush(timeout=100)
        assert client.circuit_breaker.state is CircuitBreakerState.CLOSED
        assert client.get_stats().throttled > 0
    assert len(set(read_ids(table))) == 200


@dataclass(frozen=True)
class FailForText(Fault):
    """A request with this text in it is answered by this status, or not at all."""

    text: bytes
    status: int | None

    def answer(self, exchange: Exchange) -> Answer:
        if self.text not in exchange.request.body:
            return Answer(exchange.forward(None))
        if self.status is None:
            return Answer(None, reset=True)
        return Answer(Reply(self.status, (("Content-Type", "text/html"),), b"<html>no</html>"))


@pytest.mark.parametrize("senders", [1, 2])
@pytest.mark.parametrize("status", [403, 500, 502, None])
def test_a_record_that_something_on_the_way_refuses_stops_nobody(
    proxy: FaultProxy, table: DynamoClient, status: int | None, senders: int
) -> None:
    """A proxy takes a text for an attack, a policy is about the keys of a record."""
    proxy.always(FailForText(b'"bad-', status))
    bad, *good = make_metrics(81)
    bad = replace(bad, request_id="bad-1")
    with open_client(proxy, table, senders=senders) as client:
        assert client.batch_put_ai_usage_metrics([*good[:30], bad, *good[30:]]) == []
        delivered = threading.Event()
        client.add_listener(lambda _: delivered.set())
        while client.get_stats().delivered < 80:
            assert delivered.wait(30)
            delivered.clear()
        assert client.get_stats().pending == 1
        assert not client.dead_letters()
        proxy.heal()
        client.close(60)
        assert (client.get_stats().delivered, client.get_stats().pending) == (81, 0)
    assert balances(client.get_stats())
