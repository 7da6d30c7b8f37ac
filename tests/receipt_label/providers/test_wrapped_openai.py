"""Calls of the real OpenAI SDK through a wrapped client, over a real socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

from receipt_label.testing import ProviderStub
from receipt_label.tracking import ResilientAIUsageTracker
from support.memory_writer import MemoryWriter

from .sdks import OPENAI_HTTPX

QUESTION: list[Any] = [{"role": "user", "content": "How much was the bread?"}]
TOOL: Any = {
    "type": "function",
    "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}},
}


class Total(BaseModel):
    total: str


@pytest.fixture
def client(tracker: ResilientAIUsageTracker, stub: ProviderStub) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="any", base_url=stub.openai_base_url) as made:
        yield tracker.wrap_openai(made)


@pytest.fixture
async def async_client(
    tracker: ResilientAIUsageTracker, stub: ProviderStub
) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(api_key="any", base_url=stub.openai_base_url) as made:
        yield tracker.wrap_openai(made)


def answer_with_json(stub: ProviderStub, content: str, finish_reason: str = "stop") -> None:
    message = {"role": "assistant", "content": content, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}
    stub.answer_next("openai", choices=[choice])


def test_a_call_is_recorded_with_all_that_is_known(
    client: openai.OpenAI, writer: MemoryWriter
) -> None:
    before = datetime.now(UTC)
    reply = client.chat.completions.create(model="gpt-4o-2024-08-06", messages=QUESTION)

    record = writer.only
    assert (record.service, record.model) == ("openai", "gpt-4o-2024-08-06")
    assert (record.operation, record.request_id) == ("completion", reply.id)
    assert (record.input_tokens, record.output_tokens, record.total_tokens) == (6, 9, 15)
    # 6 x 2.50 and 9 x 10.00 USD a million.
    assert record.cost_usd == Decimal("0.000105")
    assert record.environment == "test"
    assert record.error is None
    assert before <= record.timestamp <= datetime.now(UTC)
    assert type(record.latency_ms) is int
    assert record.metadata["service_tier"] == "default"
    assert record.metadata["pricing"]["model"] == "gpt-4o"


async def test_an_async_call_is_recorded_after_the_await_with_tokens_and_duration(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    with ProviderStub(latency=0.05) as slow:
        async with openai.AsyncOpenAI(api_key="any", base_url=slow.openai_base_url) as plain:
            client = tracker.wrap_openai(plain)
            pending = client.chat.completions.create(model="gpt-4o", messages=QUESTION)
            assert writer.records == []
            reply = await pending

    record = writer.only
    assert (record.request_id, record.total_tokens) == (reply.id, 15)
    assert record.cost_usd == Decimal("0.000105")
    assert record.latency_ms is not None
    assert record.latency_ms >= 50


def test_the_timestamp_is_that_of_the_start(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    with (
        ProviderStub(latency=0.05) as slow,
        openai.OpenAI(api_key="any", base_url=slow.openai_base_url) as plain,
    ):
        tracker.wrap_openai(plain).chat.completions.create(model="gpt-4o", messages=QUESTION)
    end = datetime.now(UTC)

    assert (end - writer.only.timestamp).total_seconds() >= 0.05


def test_with_raw_response_is_recorded_and_left_unparsed(
    client: openai.OpenAI, writer: MemoryWriter
) -> None:
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=QUESTION)

    assert raw.http_response.json()["id"] == writer.only.request_id
    assert isinstance(raw.parse(), ChatCompletion)
    assert writer.only.total_tokens == 15


async def test_async_with_raw_response_is_recorded(
    async_client: openai.AsyncOpenAI, writer: MemoryWriter
) -> None:
    raw = await async_client.chat.completions.with_raw_response.create(
        model="gpt-4o", messages=QUESTION
    )
    assert raw.parse().id == writer.only.request_id


def test_parse_is_recorded(client: openai.OpenAI, writer: MemoryWriter, stub: ProviderStub) -> None:
    answer_with_json(stub, json.dumps({"total": "3.20"}))
    parsed = client.chat.completions.parse(model="gpt-4o", messages=QUESTION, response_format=Total)

    assert parsed.choices[0].message.parsed == Total(total="3.20")
    assert writer.only.request_id == parsed.id


def test_parsing_that_fails_is_recorded_with_what_was_billed(
    client: openai.OpenAI, writer: MemoryWriter, stub: ProviderStub
) -> None:
    answer_with_json(stub, '{"tot', finish_reason="length")
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(model="gpt-4o", messages=QUESTION, response_format=Total)

    assert writer.only.error == "LengthFinishReasonError"
    assert writer.only.total_tokens == 15
    assert writer.only.cost_usd == Decimal("0.000105")


def test_with_options_is_recorded_and_shares_the_http_client(
    client: openai.OpenAI, writer: MemoryWriter
) -> None:
    other = client.with_options(timeout=7, max_retries=0).copy(default_headers={"x-team": "a"})
    other.chat.completions.create(model="gpt-4o", messages=QUESTION)

    assert writer.only.total_tokens == 15
    assert (other.timeout, other.max_retries) == (7, 0)
    assert other._client is client._client


def test_positional_arguments_reach_the_sdk(client: openai.OpenAI, writer: MemoryWriter) -> None:
    reply: Any = client.post(
        "/chat/completions",
        cast_to=OPENAI_HTTPX.Response,
        body={"model": "gpt-4o", "messages": QUESTION},
    )
    models = client.models.with_raw_response

    assert reply.json()["id"] == writer.only.request_id
    with pytest.raises(openai.NotFoundError):
        models.retrieve("gpt-4o")
    assert len(writer.records) == 1


def test_tools_reach_the_server(client: openai.OpenAI, stub: ProviderStub) -> None:
    client.chat.completions.create(model="gpt-4o", messages=QUESTION, tools=[TOOL])
    assert stub.requests[-1].body["tools"] == [TOOL]


def test_the_request_is_the_same_as_without_tracking(
    client: openai.OpenAI, stub: ProviderStub
) -> None:
    """Nothing of ours, such as ``is_batch``, goes to the SDK or the server."""
    client.chat.completions.create(model="gpt-4o", messages=QUESTION, temperature=0)
    with openai.OpenAI(api_key="any", base_url=stub.openai_base_url) as plain:
        plain.chat.completions.create(model="gpt-4o", messages=QUESTION, temperature=0)

    tracked, bare = stub.requests
    assert tracked.body == bare.body
    assert tracked.headers.keys() == bare.headers.keys()


def test_cached_and_reasoning_tokens_are_kept_and_priced_once(
    client: openai.OpenAI, writer: MemoryWriter, stub: ProviderStub
) -> None:
    stub.answer_next(
        "openai",
        usage={
            "prompt_tokens": 1_000,
            "completion_tokens": 100,
            "total_tokens": 1_100,
            "prompt_tokens_details": {"cached_tokens": 400, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 30},
        },
    )
    client.chat.completions.create(model="gpt-4o", messages=QUESTION)

    record = writer.only
    assert (record.input_tokens, record.total_tokens) == (1_000, 1_100)
    assert record.metadata["usage"] == {"cached_tokens": 400, "reasoning_tokens": 30}
    # 600 x 2.50, 400 x 1.25 and 100 x 10.00 USD a million.
    assert record.cost_usd == Decimal("0.003")


def test_the_served_model_and_tier_decide_the_price(
    client: openai.OpenAI, writer: MemoryWriter, stub: ProviderStub
) -> None:
    stub.answer_next("openai", model="gpt-5-2025-08-07", service_tier="default")
    client.chat.completions.create(model="gpt-5", messages=QUESTION, service_tier="priority")

    record = writer.only
    assert (record.model, record.metadata["service_tier"]) == ("gpt-5-2025-08-07", "default")
    # 6 x 1.25 and 9 x 10.00 USD a million, the standard rates.
    assert record.cost_usd == Decimal("0.0000975")


def test_a_server_that_is_not_the_providers_own_is_named(
    client: openai.OpenAI, writer: MemoryWriter
) -> None:
    client.chat.completions.create(model="gpt-4o", messages=QUESTION)
    assert writer.only.metadata["server"] == "127.0.0.1"


def test_what_is_no_call_passes_and_is_counted(
    client: openai.OpenAI, tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    with pytest.raises(openai.NotFoundError):
        client.files.create(file=b"{}", purpose="batch")
    assert writer.records == []
    assert tracker.get_stats().untracked == 1


def test_a_get_request_is_no_call(client: openai.OpenAI, tracker: ResilientAIUsageTracker) -> None:
    with pytest.raises(openai.NotFoundError):
        client.models.list()
    assert tracker.get_stats().untracked == 0
