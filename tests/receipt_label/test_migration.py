"""What docs/migration.md says: earlier calls fail loudly, and there is a way back."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest

import receipt_label
from receipt_dynamo import AIUsageMetric, DynamoClient, ResilientDynamoClient
from receipt_dynamo.testing import FaultProxy
from receipt_label import (
    AIUsageTracker,
    ClientConfig,
    ClientManager,
    Environment,
    ResilientAIUsageTracker,
    ai_usage_context,
)
from receipt_label.cli.main import main
from receipt_label.testing import MemoryUsageClient
from support.command_runs import run_command
from support.inside_client import wait_for_proof
from support.plain_reader import read_plainly, scan_plainly

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def variables(table: DynamoClient, proxy: FaultProxy) -> dict[str, str]:
    """A service's, with its table behind the proxy."""
    return {
        "ENVIRONMENT": "test",
        "DYNAMODB_TABLE_NAME": table.table_name,
        "AWS_ENDPOINT_URL_DYNAMODB": proxy.endpoint_url,
        "AI_USAGE_DURABILITY": "journal",
    }


def record(manager: ClientManager, request_id: str) -> None:
    metric = AIUsageMetric(
        "openai",
        "gpt-4o",
        "completion",
        NOON,
        request_id=request_id,
        input_tokens=3,
        latency_ms=58,
        cost_usd="0.0000025",
    )
    assert manager.usage_tracker.record(metric)


@pytest.mark.parametrize(
    "switch", [{"USE_RESILIENT_TRACKER": "false"}, {"AI_USAGE_DURABILITY": "memory"}]
)
def test_after_the_way_back_a_plain_reader_reads_what_was_written_meanwhile(
    switch: dict[str, str],
    variables: dict[str, str],
    proxy: FaultProxy,
    table: DynamoClient,
    moto_endpoint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with ClientManager.from_env() as manager:
        record(manager, "delivered meanwhile")
        assert manager.usage_tracker.flush(60)
        assert isinstance(manager.dynamo, ResilientDynamoClient)
        wait_for_proof(manager.dynamo)
        proxy.down()
        record(manager, "left on disk")
        manager.close(0)
    proxy.up()

    for name, value in switch.items():
        monkeypatch.setenv(name, value)
    with ClientManager.from_env() as manager:
        record(manager, "after the switch")
    drain = ["journal", "drain", "--table", table.table_name]
    assert run_command(main, drain, capsys).status == 0

    rows = [read_plainly(item) for item in scan_plainly(table.table_name, moto_endpoint)]
    assert sorted(row["requestId"] for row in rows) == [
        "after the switch",
        "delivered meanwhile",
        "left on disk",
    ]
    assert {(row["inputTokens"], row["latencyMs"], row["costUSD"]) for row in rows} == {
        (3, 58, 0.0000025)
    }


def test_rows_that_another_writer_added_after_the_way_back_are_read_when_one_returns(
    table: DynamoClient, moto_endpoint: str
) -> None:
    """An earlier writer puts items by boto3 alone."""
    ours = AIUsageMetric("openai", "gpt-4o", "completion", NOON, request_id="ours")
    table.put_ai_usage_metric(ours)
    (item,) = scan_plainly(table.table_name, moto_endpoint)
    theirs: dict[str, Any] = {
        **item,
        "SK": {"S": "USAGE#2026-03-01T12:00:00#theirs"},
        "requestId": {"S": "theirs"},
        "timestamp": {"S": "2026-03-01T12:00:00"},
    }
    writer = boto3.client("dynamodb", "us-east-1", endpoint_url=moto_endpoint)
    writer.put_item(TableName=table.table_name, Item=theirs)
    writer.close()
    found = table.query_ai_usage_metrics_by_date("2026-03-01", "openai")
    assert {(metric.request_id, metric.timestamp) for metric in found} == {
        ("ours", NOON),
        ("theirs", NOON),
    }


def make_tracker() -> AIUsageTracker:
    return AIUsageTracker(MemoryUsageClient())


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: AIUsageTracker(MemoryUsageClient(), "my-test", "ann", True), "positional"),
        (lambda: AIUsageTracker(MemoryUsageClient(), track_to_file=True), "track_to_file"),
        (lambda: AIUsageTracker(MemoryUsageClient(), track_to_dynamo=True), "track_to_dynamo"),
        (lambda: ResilientAIUsageTracker(MemoryUsageClient(), log_file="x"), "log_file"),
        (lambda: ResilientAIUsageTracker(None, "my-test", track_to_dynamo=True), "track_to_dyn"),
        (lambda: ClientConfig(dynamo_table="my-test", track_usage=True), "track_usage"),
        (lambda: ClientConfig(dynamo_table="my-test", pinecone_host="x"), "pinecone_host"),
        (lambda: make_tracker().set_tracking_context("job-7"), "positional"),
        (lambda: make_tracker().track_github_claude_review(pr_number=7), "pr_number"),
        (lambda: make_tracker().track_github_claude_review(7, "claude-3-opus", 5_000), "output_t"),
        (lambda: ai_usage_context("labeling", None, Environment.TEST), "positional"),
        (lambda: AIUsageTracker.create_wrapped_openai_client(object(), object()), "tracker is of"),
    ],
)
def test_what_an_earlier_call_gives_and_is_gone_is_named(
    call: Callable[[], object], named: str
) -> None:
    with pytest.raises(TypeError, match=named):
        call()


def test_each_name_of_the_earlier_api_is_in_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "migration.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    names = set(re.findall(r"\w+", " ".join(rows)))
    assert {*receipt_label.__all__} - names <= NEW_NAMES
    assert {"AIUsageMetric", "DynamoClient", "ResilientDynamoClient"} <= names


NEW_NAMES = {
    "ConfigurationError",
    "Environment",
    "MissingPackageError",
    "bind_usage_context",
    "detect_environment",
}
"""What the earlier API did not have, or had elsewhere."""
