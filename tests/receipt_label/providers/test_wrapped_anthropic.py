"""Calls of the real Anthropic SDK through a wrapped client, over a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import anthropic
import pytest
from anthropic.types import Message

from receipt_label.testing import ProviderStub
from receipt_label.tracking import ResilientAIUsageTracker
from support.memory_writer import MemoryWriter

ASK: Any = {
    "model": "claude-haiku-4-5",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "How much was the bread?"}],
}


@pytest.fixture
def client(tracker: ResilientAIUsageTracker, stub: ProviderStub) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(api_key="any", base_url=stub.anthropic_base_url) as made:
        yield tracker.wrap_anthropic(made)


@pytest.fixture
async def async_client(
    tracker: ResilientAIUsageTracker, stub: ProviderStub
) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(api_key="any", base_url=stub.anthropic_base_url) as made:
        yield tracker.wrap_anthropic(made)


def test_a_message_is_recorded_with_all_that_is_known(
    client: anthropic.Anthropic, writer: MemoryWriter
) -> None:
    reply = client.messages.create(**ASK)

    record = writer.only
    assert (record.service, record.model) == ("anthropic", "claude-haiku-4-5")
    assert (record.operation, record.request_id) == ("completion", reply.id)
    assert (record.input_tokens, record.output_tokens, record.total_tokens) == (6, 9, 15)
    # 6 x 1.00 and 9 x 5.00 USD a million.
    assert record.cost_usd == Decimal("0.000051")
    assert record.environment == "test"
    assert record.metadata["service_tier"] == "standard"


async def test_an_async_message_is_recorded(
    async_client: anthropic.AsyncAnthropic, writer: MemoryWriter
) -> None:
    reply = await async_client.messages.create(**ASK)
    assert (writer.only.request_id, writer.only.total_tokens) == (reply.id, 15)


def test_tokens_from_and_to_a_cache_are_part_of_the_input(
    client: anthropic.Anthropic, writer: MemoryWriter, stub: ProviderStub
) -> None:
    stub.answer_next(
        "anthropic",
        usage={
            "input_tokens": 200,
            "cache_read_input_tokens": 300,
            "cache_creation_input_tokens": 500,
            "cache_creation": {"ephemeral_5m_input_tokens": 300, "ephemeral_1h_input_tokens": 200},
            "output_tokens": 10,
        },
    )
    client.messages.create(**ASK)

    record = writer.only
    assert (record.input_tokens, record.total_tokens) == (1_000, 1_010)
    assert record.metadata["usage"] == {
        "cache_read_input_tokens": 300,
        "cache_creation_input_tokens": 500,
        "ephemeral_1h_input_tokens": 200,
    }
    # 200 x 1.00, 300 x 0.10, 300 x 1.25, 200 x 2.00 and 10 x 5.00 USD a million.
    assert record.cost_usd == Decimal("0.001055")


def test_with_raw_response_is_recorded(client: anthropic.Anthropic, writer: MemoryWriter) -> None:
    raw = client.messages.with_raw_response.create(**ASK)
    message = raw.parse()
    assert isinstance(message, Message)
    assert writer.only.request_id == message.id


async def test_async_with_raw_response_is_recorded(
    async_client: anthropic.AsyncAnthropic, writer: MemoryWriter
) -> None:
    raw = await async_client.messages.with_raw_response.create(**ASK)
    message = await raw.parse()
    assert writer.only.request_id == message.id


def test_the_beta_messages_are_recorded(client: anthropic.Anthropic, writer: MemoryWriter) -> None:
    reply = client.beta.messages.create(**ASK)
    assert (writer.only.request_id, writer.only.total_tokens) == (reply.id, 15)


def test_with_options_keeps_the_exact_type_and_the_tracking(
    client: anthropic.Anthropic, writer: MemoryWriter
) -> None:
    """The SDK drops credentials of a subclass in ``with_options``."""
    other = client.with_options(max_retries=0)
    other.messages.create(**ASK)

    assert type(client) is type(other) is anthropic.Anthropic
    assert writer.only.total_tokens == 15


def test_a_middleware_sees_the_call_and_one_record_is_made(
    client: anthropic.Anthropic, writer: MemoryWriter, stub: ProviderStub
) -> None:
    seen: list[str] = []

    def watch(request: Any, call_next: Any) -> Any:
        seen.append(request.options.url)
        return call_next(request)

    stub.fail_next(429)
    client.with_middleware(watch).messages.create(**ASK)

    assert seen == ["/v1/messages", "/v1/messages"]
    assert (writer.only.total_tokens, writer.only.metadata["retries"]) == (15, 1)


def test_a_reply_that_a_middleware_made_up_is_no_call(
    client: anthropic.Anthropic, tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    answered = client.with_middleware(lambda request, call_next: "from a cache")  # type: ignore[arg-type]

    assert answered.messages.create(**ASK) == "from a cache"
    assert writer.records == []
    assert tracker.get_stats().untracked == 1


def test_what_is_no_call_passes_and_is_counted(
    client: anthropic.Anthropic, tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    with pytest.raises(anthropic.NotFoundError):
        client.messages.count_tokens(model=ASK["model"], messages=ASK["messages"])
    assert writer.records == []
    assert tracker.get_stats().untracked == 1
