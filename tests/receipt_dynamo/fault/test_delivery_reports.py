"""What became of each record: told once, with the truth, and whoever is told can harm nobody."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from typing import Any

import pytest

from receipt_dynamo import DeliveryEvent, DeliveryEventKind, DynamoClient, QueueFullError
from receipt_dynamo.data.delivery.reports import DeliveryReport, Fate
from receipt_dynamo.testing import FaultProxy, ServerErrorAfterApply, Throttle, UnprocessedItems
from support.faulty_table import balances, open_client, read_ids
from support.records import make_metrics


def test_a_delivered_record_is_reported_when_dynamodb_has_confirmed_it(
    proxy: FaultProxy, table: DynamoClient
) -> None:
    proxy.script(ServerErrorAfterApply(), Throttle(), UnprocessedItems(share=1.0))
    rows: list[list[str]] = []
    reports: list[DeliveryReport] = []

    def note(report: DeliveryReport) -> None:
        reports.append(report)
        rows.append(read_ids(table))

    (metric,) = make_metrics(1)
    with open_client(proxy, table) as client:
        assert client.put_ai_usage_metric(metric, on_settled=note)
        assert client.flush(timeout=60)
    assert reports == [DeliveryReport(metric.key, Fate.DELIVERED)]
    assert rows == [[metric.request_id]]


def test_a_future_ends_with_the_report(proxy: FaultProxy, table: DynamoClient) -> None:
    metrics = make_metrics(60)
    with open_client(proxy, table) as client:
        futures = [client.submit_ai_usage_metric(metric) for metric in metrics]
        reports = [future.result(timeout=60) for future in futures]
    assert reports == [DeliveryReport(metric.key, Fate.DELIVERED) for metric in metrics]
    assert not futures[0].cancel()


async def test_a_coroutine_awaits_the_report(proxy: FaultProxy, table: DynamoClient) -> None:
    (metric,) = make_metrics(1)
    async with open_client(proxy, table) as client:
        report = await asyncio.wrap_future(client.submit_ai_usage_metric(metric))
    assert report.fate is Fate.DELIVERED


def test_a_dead_record_is_reported_with_dynamodbs_reason_and_once(
    proxy: FaultProxy, table: DynamoClient
) -> None:
    """A redriven one is delivered or dies a second time: its caller was told already."""
    (poison,) = make_metrics(1)
    object.__setattr__(poison, "_stored_key", (poison.key[0], ""))
    reports: list[DeliveryReport] = []
    with open_client(proxy, table) as client:
        client.put_ai_usage_metric(poison, on_settled=reports.append)
        assert client.flush(timeout=60)
        assert client.redrive() == 1
        assert client.flush(timeout=60)
        assert client.get_stats().dead == 1
    (report,) = reports
    assert (report.key, report.fate) == (poison.key, Fate.DEAD)
    assert report.reason is not None
    assert "ValidationException" in report.reason


def test_what_was_replaced_by_a_later_write_is_reported_with_it(
    proxy: FaultProxy, table: DynamoClient
) -> None:
    proxy.down()
    client = open_client(proxy, table)
    futures = [
        client.submit_ai_usage_metric(make_metrics(1, latency_ms=number)[0]) for number in range(3)
    ]
    proxy.up()
    assert [future.result(timeout=60).fate for future in futures] == [Fate.DELIVERED] * 3
    assert client.close(timeout=60).delivered == 3
    (row,) = table.query_ai_usage_metrics_by_date("2026-03-01", "openai")
    assert row.latency_ms == 2


@pytest.mark.parametrize("durability", ["journal", "memory"])
def test_what_close_leaves_behind_is_reported_as_pending(
    durability: Any, proxy: FaultProxy, table: DynamoClient
) -> None:
    proxy.down()
    client = open_client(proxy, table, durability=durability, max_pending_records=10)
    futures = [client.submit_ai_usage_metric(metric) for metric in make_metrics(10)]
    report = client.close(timeout=0.2)
    assert {future.result(timeout=0).fate for future in futures} == {Fate.PENDING}
    assert report.pending == 10
    assert (report.on_disk, report.lost) == ((10, 0) if durability == "journal" else (0, 10))


def test_what_waits_on_disk_alone_is_reported_too(proxy: FaultProxy, table: DynamoClient) -> None:
    proxy.down()
    client = open_client(proxy, table, max_pending_records=5)
    futures = [client.submit_ai_usage_metric(metric) for metric in make_metrics(40)]
    assert client.get_stats().spilled > 0
    proxy.up()
    assert {future.result(timeout=60).fate for future in futures} == {Fate.DELIVERED}
    client.close(timeout=60)


def test_a_dropped_record_is_reported_as_dropped(proxy: FaultProxy, table: DynamoClient) -> None:
    proxy.down()
    client = open_client(
        proxy, table, durability="memory", overflow="drop_oldest", max_pending_records=2, senders=1
    )
    futures = [client.submit_ai_usage_metric(metric) for metric in make_metrics(6)]
    proxy.up()
    fates = [future.result(timeout=60).fate for future in futures]
    stats = client.get_stats()
    assert fates.count(Fate.DROPPED) == stats.dropped > 0
    assert fates.count(Fate.DELIVERED) == stats.delivered == 6 - stats.dropped
    client.close(timeout=0)


def test_a_refused_record_is_never_reported(proxy: FaultProxy, table: DynamoClient) -> None:
    reports: list[DeliveryReport] = []
    client = open_client(proxy, table)
    client.close(timeout=0)
    (metric,) = make_metrics(1)
    assert client.put_ai_usage_metric(metric, on_settled=reports.append) is False
    with pytest.raises(QueueFullError, match="stopped"):
        client.submit_ai_usage_metric(metric).result(timeout=0)
    assert reports == []


def test_a_callback_that_raises_harms_nobody_and_is_said_without_what_it_says(
    proxy: FaultProxy, table: DynamoClient, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(report: DeliveryReport) -> None:
        raise ValueError(f"a prompt about {report.key}")

    told = threading.Semaphore(0)
    with caplog.at_level(logging.DEBUG), open_client(proxy, table) as client:
        for number, metric in enumerate(make_metrics(50)):
            client.put_ai_usage_metric(
                metric, on_settled=fail if number % 2 else lambda report: told.release()
            )
        assert client.flush(timeout=60)
        assert client.get_stats().delivered == 50
    assert all(told.acquire(blocking=False) for _ in range(25))
    assert "a delivery listener raised ValueError" in caplog.text
    assert "prompt" not in caplog.text
    assert len(set(read_ids(table))) == 50


def test_a_listener_sees_every_kind_of_trouble_and_its_sums_are_the_figures(
    proxy: FaultProxy, table: DynamoClient
) -> None:
    """An exporter that only listens counts the same as one that polls."""
    told: list[DeliveryEvent] = []
    proxy.script(ServerErrorAfterApply(), Throttle(), UnprocessedItems(share=0.5))
    with open_client(proxy, table) as client:
        client.add_listener(told.append)
        client.batch_put_ai_usage_metrics(make_metrics(40))
        assert client.flush(timeout=60)
        stats = client.get_stats()
        client.remove_listener(told.append)
        client.put_ai_usage_metric(make_metrics(1, first=99)[0])
    sums = Counter[DeliveryEventKind]()
    for event in told:
        sums[event.kind] += event.records
    assert sums[DeliveryEventKind.DELIVERED] == stats.delivered == 40
    assert sums[DeliveryEventKind.THROTTLED] == stats.throttled > 0
    assert sums[DeliveryEventKind.FAILED] > 0
    assert balances(stats)
