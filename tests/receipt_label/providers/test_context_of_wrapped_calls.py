"""What a block says reaches the records of every provider's calls, and changes no price."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import anthropic
import openai
import pytest

from engines.memory_writer import MemoryWriter
from receipt_dynamo import AIUsageMetric
from receipt_label import ResilientAIUsageTracker, ai_usage_context, batch_ai_usage_context
from receipt_label.testing import ProviderStub

QUESTION: list[Any] = [{"role": "user", "content": "How much was the bread?"}]
KINDS = [openai.OpenAI, openai.AsyncOpenAI, anthropic.Anthropic, anthropic.AsyncAnthropic]


@pytest.fixture(params=KINDS)
async def call(
    request: pytest.FixtureRequest, tracker: ResilientAIUsageTracker, stub: ProviderStub
) -> AsyncIterator[Callable[[], Any]]:
    """A call of one of the SDKs, whose result may have to be awaited."""
    is_openai = "openai" in request.param.__module__
    url = stub.openai_base_url if is_openai else stub.anthropic_base_url
    plain = request.param(api_key="any", base_url=url)
    wrapped: Any = (tracker.wrap_openai if is_openai else tracker.wrap_anthropic)(plain)
    if is_openai:
        yield lambda: wrapped.chat.completions.create(model="gpt-4o", messages=QUESTION)
    else:
        yield lambda: wrapped.messages.create(
            model="claude-haiku-4-5", max_tokens=100, messages=QUESTION
        )
    if inspect.isawaitable(closing := plain.close()):
        await closing


async def make(call: Callable[[], Any], writer: MemoryWriter) -> AIUsageMetric:
    if inspect.isawaitable(result := call()):
        await result
    return writer.records[-1]


async def test_job_batch_pull_request_and_user_are_lost_for_no_provider(
    call: Callable[[], Any], writer: MemoryWriter
) -> None:
    with ai_usage_context("labeling", job_id="job", batch_id="batch", github_pr=12, user_id="ann"):
        record = await make(call, writer)

    assert (record.job_id, record.batch_id, record.github_pr) == ("job", "batch", 12)
    assert (record.user_id, record.environment) == ("ann", "test")


async def test_a_batch_block_does_not_halve_the_price_of_ordinary_calls(
    call: Callable[[], Any], writer: MemoryWriter
) -> None:
    outside = await make(call, writer)
    with batch_ai_usage_context("batch-7"):
        inside = await make(call, writer)

    assert inside.batch_id == "batch-7"
    assert inside.cost_usd == outside.cost_usd
    assert inside.cost_usd
