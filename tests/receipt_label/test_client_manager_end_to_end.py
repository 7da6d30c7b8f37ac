"""The whole way: variables, real SDK clients, a provider's API, a table, all over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest

from receipt_dynamo import AIUsageMetric, DynamoClient
from receipt_label import ClientManager, ai_usage_context
from receipt_label.testing import ProviderStub

REGION = "us-east-1"
MESSAGES: Any = [{"role": "user", "content": "How much was the bread?"}]


@pytest.fixture
def stub() -> Iterator[ProviderStub]:
    with ProviderStub() as running:
        yield running


@pytest.fixture
def shell(
    table: DynamoClient, stub: ProviderStub, moto_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> pytest.MonkeyPatch:
    """Set what a service's deployment sets."""
    monkeypatch.setenv("DYNAMODB_TABLE_NAME", table.table_name)
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", moto_endpoint)
    monkeypatch.setenv("OPENAI_API_KEY", "any-1")
    monkeypatch.setenv("OPENAI_BASE_URL", stub.openai_base_url)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "any-2")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", stub.anthropic_base_url)
    monkeypatch.setenv("BATCH_FLUSH_INTERVAL", "0.1")
    monkeypatch.setenv("USER_ID", "user-1")
    return monkeypatch


def read_rows(table: DynamoClient) -> dict[str, AIUsageMetric]:
    today = datetime.now(UTC).date()
    rows = list(table.query_ai_usage_costs_by_date(today, today))
    by_id = {row.request_id: row for row in rows}
    assert len(by_id) == len(rows)
    return by_id


def call_all_sync(manager: ClientManager) -> list[str]:
    chat = manager.openai.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
    message = manager.anthropic.messages.create(
        model="claude-haiku-4-5", max_tokens=100, messages=MESSAGES
    )
    return [chat.id, message.id]


async def call_all_async(manager: ClientManager) -> list[str]:
    chat, message = await asyncio.gather(
        manager.async_openai.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES),
        manager.async_anthropic.messages.create(
            model="claude-haiku-4-5", max_tokens=100, messages=MESSAGES
        ),
    )
    return [chat.id, message.id]


async def test_each_call_is_one_priced_row(shell: pytest.MonkeyPatch, table: DynamoClient) -> None:
    async with ClientManager.from_env() as manager:
        with ai_usage_context("receipt-scan", job_id="job-7"):
            ids = call_all_sync(manager)
        ids += await call_all_async(manager)
    rows = read_rows(table)
    assert rows.keys() == set(ids)
    assert [rows[id_].job_id for id_ in ids] == ["job-7", "job-7", None, None]
    for row in rows.values():
        assert (row.user_id, row.environment) == ("user-1", "test")
        assert row.cost_usd is not None
        assert row.cost_usd > 0


def test_straight_through_the_row_is_there_when_the_call_returns(
    shell: pytest.MonkeyPatch, table: DynamoClient
) -> None:
    shell.setenv("USE_RESILIENT_TRACKER", "false")
    with ClientManager.from_env() as manager:
        ids = call_all_sync(manager)
        assert read_rows(table).keys() == set(ids)


def test_with_tracking_off_calls_work_and_leave_no_row(
    shell: pytest.MonkeyPatch, table: DynamoClient, stub: ProviderStub
) -> None:
    shell.setenv("TRACK_AI_USAGE", "false")
    with ClientManager.from_env() as manager:
        call_all_sync(manager)
    assert len(stub.requests) == 2
    assert read_rows(table) == {}


@pytest.mark.parametrize("environment", ["production", "staging", "development", "ci"])
def test_trap_the_environment_is_in_every_record(
    environment: str, shell: pytest.MonkeyPatch, stub: ProviderStub, moto_endpoint: str
) -> None:
    """The trap: the record's `environment` is never filled."""
    table = DynamoClient(f"receipts-{environment}", REGION, moto_endpoint)
    table.create_table()
    shell.setenv("ENVIRONMENT", environment)
    shell.setenv("DYNAMODB_TABLE_NAME", table.table_name)
    with ClientManager.from_env() as manager:
        ids = call_all_sync(manager)
    rows = read_rows(table)
    assert rows.keys() == set(ids)
    expected = "cicd" if environment == "ci" else environment
    assert {row.environment for row in rows.values()} == {expected}


def test_an_injected_boto3_client_delivers_resiliently_in_production(
    shell: pytest.MonkeyPatch, moto_endpoint: str
) -> None:
    table = DynamoClient("receipts-injected", REGION, moto_endpoint)
    table.create_table()
    injected = boto3.session.Session().client(
        "dynamodb", region_name=REGION, endpoint_url=moto_endpoint
    )
    shell.delenv("AWS_ENDPOINT_URL_DYNAMODB")
    shell.setenv("ENVIRONMENT", "production")
    shell.setenv("DYNAMODB_TABLE_NAME", table.table_name)
    with ClientManager.from_env(dynamo_client=injected) as manager:
        ids = call_all_sync(manager)
    assert read_rows(table).keys() == set(ids)
    assert injected.list_tables()["TableNames"]
