"""Each job's calls are booked on that job: many at once, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import openai
import pytest

from receipt_dynamo import DynamoClient, ResilientDynamoClient
from receipt_label import ResilientAIUsageTracker, ai_usage_context, bind_usage_context
from receipt_label.testing import ProviderStub
from support.memory_writer import MemoryWriter

ASK: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Bread?"}]}


@pytest.fixture
def tracker(table: DynamoClient, moto_endpoint: str) -> Iterator[ResilientAIUsageTracker]:
    """A tracker that delivers into a table; ``table`` reads what is really there."""
    client = ResilientDynamoClient(
        table.table_name, "us-east-1", endpoint_url=moto_endpoint, durability="memory"
    )
    with client:
        yield ResilientAIUsageTracker(client)


def read_jobs(tracker: ResilientAIUsageTracker, table: DynamoClient) -> dict[str, str | None]:
    assert tracker.flush(60)
    rows = list(table.query_ai_usage_metrics_by_date(datetime.now(UTC).date(), "openai"))
    jobs = {row.request_id: row.job_id for row in rows}
    assert len(jobs) == len(rows)
    return jobs


async def test_a_thousand_tasks_each_on_its_own_job(
    writer: MemoryWriter, stub: ProviderStub
) -> None:
    """All are inside of their blocks before the first call; a context of the thread would fail."""
    tracker = ResilientAIUsageTracker(writer)
    all_inside = asyncio.Barrier(1_000)
    limits = openai.DEFAULT_CONNECTION_LIMITS.__class__(max_connections=8)
    http = openai.DefaultAsyncHttpxClient(limits=limits, timeout=60)
    plain = openai.AsyncOpenAI(api_key="any", base_url=stub.openai_base_url, http_client=http)
    client = tracker.wrap_openai(plain)

    async def work(job: str) -> tuple[str, str]:
        with ai_usage_context("labeling", job_id=job):
            await all_inside.wait()
            reply = await client.chat.completions.create(**ASK)
        return reply.id, job

    async with plain:
        booked = await asyncio.gather(*(work(f"job-{number}") for number in range(1_000)))

    assert {record.request_id: record.job_id for record in writer.records} == dict(booked)
    assert len(writer.records) == 1_000


@pytest.mark.parametrize("bound", [False, True], ids=["block-in-thread", "bound-to-the-caller"])
def test_a_hundred_threads_each_on_its_own_job(
    tracker: ResilientAIUsageTracker, table: DynamoClient, stub: ProviderStub, bound: bool
) -> None:
    def ask(_: str) -> str:
        reply: Any = client.chat.completions.create(**ASK)
        return str(reply.id)

    def ask_in_block(job: str) -> str:
        with ai_usage_context("labeling", job_id=job):
            return ask(job)

    def submit(pool: ThreadPoolExecutor, job: str) -> Future[str]:
        if not bound:
            return pool.submit(ask_in_block, job)
        with ai_usage_context("labeling", job_id=job):
            return pool.submit(bind_usage_context(ask), job)

    jobs = [f"job-{number}" for number in range(100)]
    with (
        openai.OpenAI(api_key="any", base_url=stub.openai_base_url) as plain,
        ThreadPoolExecutor(100) as pool,
    ):
        client = tracker.wrap_openai(plain)
        futures = [submit(pool, job) for job in jobs]
        ids = [future.result() for future in futures]

    assert read_jobs(tracker, table) == dict(zip(ids, jobs, strict=True))
