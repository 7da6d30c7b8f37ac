"""A wrapped client is the client: its type, its errors, its concurrency."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import openai
import pytest

from receipt_label.testing import ProviderStub
from receipt_label.tracking import (
    AIUsageTracker,
    ResilientAIUsageTracker,
    ai_usage_context,
)
from support.memory_writer import MemoryWriter

QUESTION: list[Any] = [{"role": "user", "content": "How much was the bread?"}]
KINDS = [openai.OpenAI, openai.AsyncOpenAI, anthropic.Anthropic, anthropic.AsyncAnthropic]


def wrap(tracker: AIUsageTracker, client: Any) -> Any:
    is_openai = isinstance(client, (openai.OpenAI, openai.AsyncOpenAI))
    return tracker.wrap_openai(client) if is_openai else tracker.wrap_anthropic(client)


@pytest.mark.parametrize("kind", KINDS)
def test_the_copy_is_of_exactly_the_same_type_and_the_original_untouched(
    tracker: ResilientAIUsageTracker, kind: Callable[..., Any]
) -> None:
    original = kind(api_key="any", max_retries=7, timeout=3)
    attributes = dict(vars(original))
    wrapped = wrap(tracker, original)

    assert wrapped is not original
    assert type(wrapped) is type(original)
    assert vars(original) == attributes
    assert wrapped._client is original._client
    assert (wrapped.api_key, wrapped.max_retries, wrapped.timeout) == ("any", 7, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_wrapping_twice_changes_nothing(
    tracker: ResilientAIUsageTracker, kind: Callable[..., Any]
) -> None:
    once = wrap(tracker, kind(api_key="any"))
    assert wrap(tracker, once) is once
    assert wrap(tracker, copied := once.with_options(timeout=1)) is copied


def test_the_last_tracker_to_wrap_a_client_records_alone(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter, stub: ProviderStub
) -> None:
    other_writer = MemoryWriter()
    other = ResilientAIUsageTracker(other_writer)
    with openai.OpenAI(api_key="any", base_url=stub.openai_base_url) as plain:
        twice = AIUsageTracker.create_wrapped_openai_client(tracker.wrap_openai(plain), other)
        twice.with_options(timeout=5).chat.completions.create(model="gpt-4o", messages=QUESTION)

    assert (len(writer.records), len(other_writer.records)) == (0, 1)


@pytest.mark.parametrize("thing", [None, "client", object(), openai.OpenAI])
def test_what_is_no_client_is_refused(tracker: ResilientAIUsageTracker, thing: object) -> None:
    with pytest.raises(TypeError, match=r"accepted are openai\.OpenAI and openai\.AsyncOpenAI"):
        tracker.wrap_openai(thing)
    with pytest.raises(TypeError, match=r"accepted are anthropic\.Anthropic"):
        tracker.wrap_anthropic(thing)


def test_errors_are_the_sdks_own_and_recorded_without_payload(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter, stub: ProviderStub
) -> None:
    with openai.OpenAI(api_key="any", base_url=stub.openai_base_url) as plain:
        client = tracker.wrap_openai(plain)
        stub.fail_next(401)
        with pytest.raises(openai.AuthenticationError, match="was told to answer 401"):
            client.chat.completions.create(model="gpt-4o", messages=QUESTION)

    record = writer.only
    assert record.error == "AuthenticationError: HTTP 401 invalid_api_key"
    assert record.model == "gpt-4o"
    assert (record.total_tokens, record.cost_usd) == (None, None)
    assert record.metadata["provider_request_id"].startswith("req_")
    assert "bread" not in repr(record)
    assert tracker.get_stats().unpriced == 0


def test_retries_of_the_sdk_are_one_call(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter, stub: ProviderStub
) -> None:
    with openai.OpenAI(api_key="any", base_url=stub.openai_base_url) as plain:
        client = tracker.wrap_openai(plain)
        stub.fail_next(500, times=2)
        client.chat.completions.create(model="gpt-4o", messages=QUESTION)
        stub.fail_next(500, times=3)
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.create(model="gpt-4o", messages=QUESTION)

    good, bad = writer.records
    assert (good.error, good.metadata["retries"]) == (None, 2)
    assert bad.error == "InternalServerError: HTTP 500 server_error"
    assert bad.total_tokens is None


def test_a_refused_connection_is_recorded(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    with openai.OpenAI(api_key="any", base_url="http://127.0.0.1:9", max_retries=0) as plain:
        client = tracker.wrap_openai(plain)
        with pytest.raises(openai.APIConnectionError):
            client.chat.completions.create(model="gpt-4o", messages=QUESTION)
    assert writer.only.error == "APIConnectionError"


async def test_a_cancelled_call_is_recorded_and_stays_cancelled(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    with ProviderStub(latency=5) as slow:
        async with openai.AsyncOpenAI(api_key="any", base_url=slow.openai_base_url) as plain:
            client = tracker.wrap_openai(plain)
            call = asyncio.create_task(
                client.chat.completions.create(model="gpt-4o", messages=QUESTION)
            )
            await asyncio.sleep(0.05)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
    assert (writer.only.error, writer.only.total_tokens) == ("CancelledError", None)


async def test_a_coroutine_that_is_closed_half_way_breaks_nothing(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    async with openai.AsyncOpenAI(api_key="any", base_url="http://127.0.0.1:9") as plain:
        call = tracker.wrap_openai(plain).chat.completions.create(model="gpt-4o", messages=QUESTION)
        call.send(None)  # type: ignore[attr-defined]
        call.close()  # type: ignore[attr-defined]
    assert [record.error for record in writer.records] == ["GeneratorExit"]


def test_a_server_that_reuses_ids_loses_no_record(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter, stub: ProviderStub
) -> None:
    calls = 200
    for _ in range(calls):
        stub.answer_next("openai", id="chatcmpl-123")
    with openai.OpenAI(api_key="any", base_url=stub.openai_base_url) as plain:
        client = tracker.wrap_openai(plain)
        with ThreadPoolExecutor(8) as pool:
            list(
                pool.map(
                    lambda _: client.chat.completions.create(model="gpt-4o", messages=QUESTION),
                    range(calls),
                )
            )

    assert {record.request_id for record in writer.records} == {"chatcmpl-123"}
    assert len({record.key for record in writer.records}) == calls


async def test_twenty_tasks_have_twenty_job_ids(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter, stub: ProviderStub
) -> None:
    async with openai.AsyncOpenAI(api_key="any", base_url=stub.openai_base_url) as plain:
        client = tracker.wrap_openai(plain)

        async def run(job: int) -> str:
            with ai_usage_context("labeling", job_id=f"job-{job}"):
                reply = await client.chat.completions.create(model="gpt-4o", messages=QUESTION)
            return reply.id

        ids = await asyncio.gather(*(run(job) for job in range(20)))

    jobs = {record.request_id: record.job_id for record in writer.records}
    assert jobs == {request_id: f"job-{job}" for job, request_id in enumerate(ids)}


def test_threads_each_have_their_own_job_id(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter, stub: ProviderStub
) -> None:
    together = threading.Barrier(8)
    with anthropic.Anthropic(api_key="any", base_url=stub.anthropic_base_url) as plain:
        client = tracker.wrap_anthropic(plain)

        def run(job: int) -> tuple[str, str]:
            together.wait(timeout=10)
            with ai_usage_context("labeling", job_id=f"job-{job}"):
                reply = client.messages.create(
                    model="claude-haiku-4-5", max_tokens=9, messages=QUESTION
                )
            return reply.id, f"job-{job}"

        with ThreadPoolExecutor(8) as pool:
            expected = dict(pool.map(run, range(8)))

    assert {record.request_id: record.job_id for record in writer.records} == expected
