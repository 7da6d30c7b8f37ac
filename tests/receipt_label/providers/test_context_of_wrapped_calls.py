"""What a block says reaches the record of every call, whoever records it, and changes no price."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import anthropic
import openai
import pytest

from receipt_dynamo import AIUsageMetric
from receipt_label import ResilientAIUsageTracker, ai_usage_context, batch_ai_usage_context
from receipt_label.testing import ProviderStub
from support.memory_writer import MemoryWriter

QUESTION: list[Any] = [{"role": "user", "content": "How much was the bread?"}]

Recorder = Callable[[ResilientAIUsageTracker, ProviderStub], Awaitable[Any]]
REPLY = {"usage": {"prompt_tokens": 6, "completion_tokens": 9}, "model": "gpt-4o"}


def wrap_openai(kind: type[Any]) -> Recorder:
    async def call(tracker: ResilientAIUsageTracker, stub: ProviderStub) -> None:
        plain = kind(api_key="any", base_url=stub.openai_base_url)
        wrapped = tracker.wrap_openai(plain)
        await settle(wrapped.chat.completions.create(model="gpt-4o", messages=QUESTION))
        await settle(plain.close())

    return call


def wrap_anthropic(kind: type[Any]) -> Recorder:
    async def call(tracker: ResilientAIUsageTracker, stub: ProviderStub) -> None:
        plain = kind(api_key="any", base_url=stub.anthropic_base_url)
        wrapped = tracker.wrap_anthropic(plain)
        asked = {"model": "claude-haiku-4-5", "max_tokens": 100, "messages": QUESTION}
        await settle(wrapped.messages.create(**asked))
        await settle(plain.close())

    return call


async def settle(result: Any) -> None:
    if inspect.isawaitable(result):
        await result


def decorate(name: str, *arguments: Any) -> Recorder:
    async def call(tracker: ResilientAIUsageTracker, stub: ProviderStub) -> None:
        decorator = getattr(tracker, name)
        (decorator(*arguments) if arguments else decorator)(lambda: REPLY)()

    return call


async def record(tracker: ResilientAIUsageTracker, stub: ProviderStub) -> None:
    tracker.record(AIUsageMetric("openai", "gpt-4o", "completion", datetime.now(UTC)))


async def review(tracker: ResilientAIUsageTracker, stub: ProviderStub) -> None:
    # The pull request is an argument of its own there.
    tracker.track_github_claude_review(12, "claude-haiku-4-5", 100, 10)


PROVIDERS: dict[str, Recorder] = {
    "openai": wrap_openai(openai.OpenAI),
    "openai-async": wrap_openai(openai.AsyncOpenAI),
    "anthropic": wrap_anthropic(anthropic.Anthropic),
    "anthropic-async": wrap_anthropic(anthropic.AsyncAnthropic),
}
EVERYBODY: dict[str, Recorder] = {
    **PROVIDERS,
    "completion": decorate("track_openai_completion"),
    "embedding": decorate("track_openai_embedding"),
    "message": decorate("track_anthropic_completion"),
    "places": decorate("track_google_places", "nearby_search"),
    "record": record,
    "review": review,
}


@pytest.fixture(params=EVERYBODY.values(), ids=EVERYBODY.keys())
def make_call(request: pytest.FixtureRequest) -> Recorder:
    recorder: Recorder = request.param
    return recorder


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("job_id", "job"),
        ("batch_id", "batch"),
        ("github_pr", 12),
        ("user_id", "ann"),
        ("environment", "staging"),
    ],
)
async def test_no_field_of_the_context_is_lost_for_any_provider(
    make_call: Recorder,
    tracker: ResilientAIUsageTracker,
    writer: MemoryWriter,
    stub: ProviderStub,
    field: str,
    value: Any,
) -> None:
    """``github_pr`` and ``batch_id`` reached the records of some providers only."""
    said: dict[str, Any] = {field: value}
    with ai_usage_context("labeling", **said, shop="Lidl"):
        await make_call(tracker, stub)
    tracker.set_tracking_context(**said)
    await make_call(tracker, stub)

    in_block, by_default = writer.records
    assert (getattr(in_block, field), getattr(by_default, field)) == (value, value)
    assert in_block.metadata["shop"] == "Lidl"
    assert in_block.metadata["operation_type"] == "labeling"


async def test_the_environment_is_filled_in_every_record(
    make_call: Recorder,
    tracker: ResilientAIUsageTracker,
    writer: MemoryWriter,
    stub: ProviderStub,
) -> None:
    await make_call(tracker, stub)
    assert writer.only.environment == "test"


@pytest.mark.parametrize("make", PROVIDERS.values(), ids=PROVIDERS.keys())
async def test_a_batch_block_does_not_halve_the_price_of_ordinary_calls(
    make: Recorder, tracker: ResilientAIUsageTracker, writer: MemoryWriter, stub: ProviderStub
) -> None:
    await make(tracker, stub)
    with batch_ai_usage_context("batch-7"):
        await make(tracker, stub)

    outside, inside = writer.records
    assert inside.batch_id == "batch-7"
    assert inside.cost_usd == outside.cost_usd
    assert inside.cost_usd
