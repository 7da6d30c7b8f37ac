"""A manager that is made delivers what dead processes left, before its first call."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from receipt_dynamo import AIUsageMetric, DynamoClient, ResilientDynamoClient
from receipt_label import ClientManager


@pytest.fixture
def shell(
    table: DynamoClient, moto_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> pytest.MonkeyPatch:
    monkeypatch.setenv("DYNAMODB_TABLE_NAME", table.table_name)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", moto_endpoint)
    monkeypatch.setenv("AI_USAGE_DURABILITY", "journal")
    return monkeypatch


def leave_a_record(table: DynamoClient) -> None:
    """Be a process that ends in an outage; it has never heard from DynamoDB."""
    client = ResilientDynamoClient(table.table_name, endpoint_url=table.target.endpoint_url)
    client._delivery.breaker.isolate()
    metric = AIUsageMetric("openai", "gpt-4o", "completion", datetime(2026, 3, 1, tzinfo=UTC))
    assert client.put_ai_usage_metric(metric)
    assert client.close(0).on_disk == 1


def count_rows(table: DynamoClient) -> int:
    return len(list(table.query_ai_usage_metrics_by_date("2026-03-01", "openai")))


def test_a_manager_that_is_made_delivers_what_a_dead_process_left(
    table: DynamoClient, shell: pytest.MonkeyPatch
) -> None:
    leave_a_record(table)
    with ClientManager.from_env() as manager:
        made = manager._dynamo.made
        assert isinstance(made, ResilientDynamoClient)
        assert made.flush(30)
    assert count_rows(table) == 1


@pytest.mark.parametrize(
    "variables", [{"AI_USAGE_DURABILITY": "memory"}, {"USE_RESILIENT_TRACKER": "false"}, {}]
)
def test_without_a_journal_or_with_nothing_left_nothing_is_made_before_it_is_needed(
    table: DynamoClient, shell: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    if variables:
        leave_a_record(table)
    for name, value in variables.items():
        shell.setenv(name, value)
    with ClientManager.from_env() as manager:
        assert manager._dynamo.made is None


def test_what_is_wrong_with_the_directory_is_not_the_managers_fault(
    shell: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    shell.setenv("AI_USAGE_JOURNAL_DIR", str(tmp_path / "file"))
    with ClientManager.from_env() as manager:
        assert manager._dynamo.made is None
