"""Every fault of the proxy, over real sockets: no row lost, none doubled, the law holds."""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import Any

import pytest

from receipt_dynamo import (
    CircuitBreakerState,
    DeliveryEvent,
    DeliveryEventKind,
    DynamoClient,
    QueueFullError,
)
from receipt_dynamo.testing import (
    Corrupt,
    EmptyReply,
    ErrorReply,
    FaultProxy,
    Latency,
    LostReply,
    Reset,
    ServerErrorAfterApply,
    Stall,
    Throttle,
    Truncated,
    UnprocessedItems,
    WrongChecksum,
)
from support.faulty_table import balances, open_client, read_ids
from support.records import make_metrics

WRITES = ("BatchWriteItem",)
FAULTS = [
    Latency(0.02),
    Throttle(),
    UnprocessedItems(share=0.5),
    UnprocessedItems(share=1.0),
    ErrorReply(status=500, code="InternalServerError", message="no"),
    ErrorReply(status=503, code="ServiceUnavailable", message="no"),
    ServerErrorAfterApply(),
    LostReply(),
    Reset(),
    Truncated(),
    Corrupt(),
    WrongChecksum(),
    EmptyReply(),
]


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
def test_a_fault_on_the_first_writes_loses_and_doubles_nothing(
    fault: Any, proxy: FaultProxy, table: DynamoClient
) -> None:
    proxy.script(fault, fault, fault)
    metrics = make_metrics(60)
    with open_client(proxy, table) as client:
        for metric in metrics:
            assert client.put_ai_usage_metric(metric)
            assert balances(client.get_stats())
        assert client.flush(timeout=60)
        stats = client.get_stats()
    assert (stats.delivered, stats.pending, stats.dead) == (60, 0, 0)
    assert sorted(read_ids(table)) == sorted(metric.request_id for metric in metrics)


@pytest.mark.parametrize(
    "fault",
    [Truncated(), Truncated(full_length=True), Corrupt(), WrongChecksum(), EmptyReply()],
    ids=repr,
)
def test_a_reply_that_proves_nothing_is_followed_by_another_send(
    fault: Any, proxy: FaultProxy, table: DynamoClient
) -> None:
    proxy.script(fault)
    with open_client(proxy, table) as client:
        client.put_ai_usage_metric(*make_metrics(1))
        assert client.flush(timeout=60)
    sent = [entry.faults for entry in proxy.requests if entry.operation == "BatchWriteItem"]
    assert sent == [(fault,), ()]


def test_a_constant_share_of_faults_of_every_kind_loses_nothing(
    proxy: FaultProxy, table: DynamoClient
) -> None:
    for fault in FAULTS[2:]:
        proxy.always(fault, share=0.04)
    with open_client(proxy, table) as client:
        client.batch_put_ai_usage_metrics(make_metrics(300))
        assert client.flush(timeout=90)
        assert client.get_stats().delivered == 300
    assert sorted(read_ids(table)) == sorted(metric.request_id for metric in make_metrics(300))


def test_breaker_open_keeps_the_batch_and_delivers_it_after_the_outage(
    proxy: FaultProxy, table: DynamoClient
) -> None:
    changes: list[CircuitBreakerState] = []
    opened = threading.Event()
    with open_client(proxy, table, circuit_breaker_threshold=2) as client:

        def note(event: Any) -> None:
            changes.append(client.circuit_breaker.state)
            opened.set()

        client.circuit_breaker.add_listener(note)
        proxy.down()
        client.batch_put_ai_usage_metrics(make_metrics(100))
        assert opened.wait(30)
        assert not client.flush(timeout=0.3)
        stats = client.get_stats()
        assert (stats.pending, stats.dead, stats.dropped) == (100, 0, 0)
        proxy.up()
        assert client.flush(timeout=60)
        assert client.circuit_breaker.state is CircuitBreakerState.CLOSED
    assert len(read_ids(table)) == len(set(read_ids(table))) == 100


def test_put_returns_while_dynamodb_stalls(proxy: FaultProxy, table: DynamoClient) -> None:
    """The 25th caller does not pay for the batch: 1,000 puts while no reply ever comes."""
    proxy.always(Stall(60))
    client = open_client(proxy, table)
    assert client.batch_put_ai_usage_metrics(make_metrics(1_000)) == []
    assert client.get_stats().delivered == 0
    proxy.heal()
    assert client.close(timeout=60).pending == 0
    assert len(read_ids(table)) == 1_000


def test_unprocessed_items_do_not_open_the_breaker(proxy: FaultProxy, table: DynamoClient) -> None:
    proxy.script(*[UnprocessedItems(share=1.0)] * 6)
    with open_client(proxy, table, circuit_breaker_threshold=1) as client:
        events: list[object] = []
        client.circuit_breaker.add_listener(events.append)
        client.batch_put_ai_usage_metrics(make_metrics(25))
        assert client.flush(timeout=60)
        assert events == []
        assert client.get_stats().throttled >= 25


def test_retries_do_not_multiply(proxy: FaultProxy, table: DynamoClient) -> None:
    """Ours times the SDK's: max_retry_attempts are wire attempts."""
    proxy.always(ErrorReply(status=500, code="InternalServerError", message="no"))
    client = open_client(
        proxy, table, max_retry_attempts=3, circuit_breaker_threshold=3, circuit_breaker_timeout=60
    )
    opened = threading.Event()
    client.circuit_breaker.add_listener(lambda event: opened.set())
    client.put_ai_usage_metric(make_metrics(1)[0])
    assert opened.wait(30)
    assert not client.flush(timeout=0.2)
    assert len([entry for entry in proxy.requests if entry.operation in WRITES]) == 3
    proxy.heal()
    client.close(timeout=0)


def test_a_poison_record_among_good_ones_over_the_wire(
    proxy: FaultProxy, table: DynamoClient
) -> None:
    """moto refuses an empty sort key: only that record becomes a dead letter."""
    good = make_metrics(24)
    poison = make_metrics(1, first=99)[0]
    object.__setattr__(poison, "_stored_key", (poison.key[0], ""))
    with open_client(proxy, table) as client:
        client.batch_put_ai_usage_metrics([*good[:10], poison, *good[10:]])
        assert client.flush(timeout=60)
        stats = client.get_stats()
        assert (stats.delivered, stats.dead) == (24, 1)
        (letter,) = client.dead_letters()
        assert letter.metric.request_id == poison.request_id
        assert "ValidationException" in letter.reason
        assert letter.attempts >= 1
        assert client.redrive() == 1
        assert balances(client.get_stats())
        client.flush(timeout=60)
        assert client.get_stats().dead == 1
    assert sorted(read_ids(table)) == sorted(metric.request_id for metric in good)


def test_a_full_queue_refuses_counts_and_loses_nothing(
    proxy: FaultProxy, table: DynamoClient
) -> None:
    proxy.down()
    client = open_client(proxy, table, max_pending_records=50, durability="memory")
    metrics = make_metrics(60)
    refused = client.batch_put_ai_usage_metrics(metrics)
    assert refused == metrics[50:]
    assert client.get_stats().refused == {"full": 10}
    proxy.up()
    assert client.close(timeout=60).delivered == 50
    assert len(read_ids(table)) == 50


@pytest.mark.parametrize("durability", ["journal", "memory"])
@pytest.mark.parametrize("overflow", ["refuse", "drop_oldest"])
def test_whoever_looks_meanwhile_sees_accounts_that_hold_and_only_grow(
    proxy: FaultProxy, table: DynamoClient, durability: str, overflow: str
) -> None:
    """Accepted was seen to shrink while the queue refused, and would be below delivered."""
    client = open_client(
        proxy,
        table,
        durability=durability,
        overflow=overflow,
        max_pending_records=3,
        journal_max_bytes=3_000,
        batch_flush_interval=0.0,
    )
    seen = [client.get_stats()]
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            seen.append(client.get_stats())

    def put(first: int) -> None:
        client.batch_put_ai_usage_metrics(make_metrics(200, first))

    watcher = threading.Thread(target=look)
    putters = [threading.Thread(target=put, args=(first,)) for first in (0, 200)]
    for thread in (watcher, *putters):
        thread.start()
    for thread in putters:
        thread.join()
    assert client.flush(timeout=60)
    ended.set()
    watcher.join()
    for earlier, later in pairwise(seen):
        assert balances(later)
        assert 0 <= later.pending <= later.accepted
        assert earlier.accepted <= later.accepted
        assert earlier.delivered <= later.delivered
        assert earlier.dropped <= later.dropped
    report, last = client.close(timeout=60), client.get_stats()
    assert last.accepted + sum(last.refused.values()) == 400
    assert report.delivered == last.accepted - last.dropped == len(read_ids(table))


def test_strict_mode_raises_at_the_bound(proxy: FaultProxy, table: DynamoClient) -> None:
    proxy.down()
    client = open_client(proxy, table, max_pending_records=3, overflow="raise", durability="memory")
    with pytest.raises(QueueFullError, match="bound"):
        client.batch_put_ai_usage_metrics(make_metrics(10))
    proxy.up()
    assert client.close(timeout=60).delivered == 3


def test_drop_oldest_counts_what_it_drops(proxy: FaultProxy, table: DynamoClient) -> None:
    proxy.down()
    client = open_client(
        proxy, table, max_pending_records=200, overflow="drop_oldest", durability="memory"
    )
    assert client.batch_put_ai_usage_metrics(make_metrics(260)) == []
    stats = client.get_stats()
    assert stats.accepted == 260
    assert stats.dropped == 60
    assert balances(stats)
    proxy.up()
    assert client.close(timeout=60).delivered == 200


def test_close_reports_what_is_left_and_refuses_what_comes_later(
    proxy: FaultProxy, table: DynamoClient, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.down()
    client = open_client(proxy, table)
    client.batch_put_ai_usage_metrics(make_metrics(7))
    report = client.close(timeout=0.3)
    assert (report.delivered, report.pending, report.dead) == (0, 7, 0)
    assert "7 records were not delivered" in caplog.text
    assert client.put_ai_usage_metric(make_metrics(1)[0]) is False
    assert client.get_stats().refused == {"stopped": 1}
    assert client.close(timeout=0) == report


def test_missing_credentials_are_said_once_and_records_kept(
    proxy: FaultProxy,
    table: DynamoClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    client = open_client(proxy, table)  # 20 records are one batch: nothing waits for its pause
    held = threading.Semaphore(0)

    def note(event: DeliveryEvent) -> None:
        if event.kind is DeliveryEventKind.MISCONFIGURED:
            held.release(event.records)

    client.add_listener(note)
    client.batch_put_ai_usage_metrics(make_metrics(20))
    for _ in range(20):
        assert held.acquire(timeout=60)
    while client.get_stats().in_flight:  # until the queue pauses as well
        client.flush(timeout=0.05)
    assert client.get_stats().pending == 20
    # Where the records came in two batches, the second one waits long enough for its own line.
    said = [each for each in caplog.records if "cannot be written: NoCred" in each.getMessage()]
    assert len(said) == 1
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    assert client.close(timeout=30).pending == 0
    assert len(read_ids(table)) == 20


@pytest.mark.parametrize("thing", [None, {"service": "openai"}, "metric"])
def test_only_records_are_accepted(proxy: FaultProxy, table: DynamoClient, thing: Any) -> None:
    with (
        open_client(proxy, table) as client,
        pytest.raises(TypeError, match="accepted is AIUsageMetric"),
    ):
        client.put_ai_usage_metric(thing)


def test_many_threads_put_at_once_and_every_row_is_there(
    proxy: FaultProxy, table: DynamoClient
) -> None:
    proxy.always(UnprocessedItems(share=0.2))
    start = threading.Barrier(8)
    with open_client(proxy, table) as client:

        def put(worker: int) -> None:
            start.wait()
            for metric in make_metrics(50, first=worker * 50):
                client.put_ai_usage_metric(metric)

        threads = [threading.Thread(target=put, args=(worker,)) for worker in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.flush(timeout=60)
        assert client.get_stats().delivered == 400
    assert len(read_ids(table)) == len(set(read_ids(table))) == 400
