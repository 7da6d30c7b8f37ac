"""Whatever a server answers and whatever fails inside, the caller sees only the SDK."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import anthropic
import openai
import pytest

from receipt_label.pricing import PriceBook
from receipt_label.testing import ProviderStub
from receipt_label.tracking import ResilientAIUsageTracker
from support.memory_writer import MemoryWriter

from .sdks import OPENAI_HTTPX

QUESTION: list[Any] = [{"role": "user", "content": "How much was the bread?"}]


@pytest.fixture
def client(tracker: ResilientAIUsageTracker, stub: ProviderStub) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="any", base_url=stub.openai_base_url) as made:
        yield tracker.wrap_openai(made)


def ask(client: openai.OpenAI, stub: ProviderStub, **fields: Any) -> Any:
    stub.answer_next("openai", **fields)
    return client.chat.completions.create(model="gpt-4o", messages=QUESTION)


@pytest.mark.parametrize("usage", [None, {}, [], "none", 7])
def test_a_reply_without_usage_is_recorded_and_unpriced(
    client: openai.OpenAI,
    tracker: ResilientAIUsageTracker,
    writer: MemoryWriter,
    stub: ProviderStub,
    usage: Any,
) -> None:
    reply = ask(client, stub, usage=usage)

    assert reply.choices[0].message.content == "You said: How much was the bread?"
    assert (writer.only.request_id, writer.only.total_tokens) == (reply.id, None)
    assert writer.only.cost_usd is None
    assert tracker.get_stats().unpriced == 1
    assert tracker.get_stats().failed == 0


@pytest.mark.parametrize("count", [-5, "9", 1.5, True, [1], {"a": 1}])
def test_an_absurd_count_costs_that_field_alone(
    client: openai.OpenAI, writer: MemoryWriter, stub: ProviderStub, count: Any
) -> None:
    reply = ask(client, stub, usage={"prompt_tokens": 6, "completion_tokens": count})

    record = writer.only
    assert reply.usage.completion_tokens == count
    assert (record.input_tokens, record.output_tokens) == (6, None)
    assert record.metadata["invalid_fields"] == ["usage.completion_tokens"]
    assert record.cost_usd == Decimal("0.000015")
    assert record.metadata["pricing"]["status"] == "partial"


def test_a_count_beyond_what_dynamodb_holds_costs_that_field_alone(
    client: openai.OpenAI, writer: MemoryWriter, stub: ProviderStub
) -> None:
    ask(client, stub, usage={"prompt_tokens": 10**200, "completion_tokens": 1})
    assert writer.only.output_tokens == 1
    assert "input_tokens" in writer.only.metadata["invalid_fields"]


@pytest.mark.parametrize("model", [None, 7, "", ["gpt"], {}])
def test_a_model_that_is_no_name_is_the_one_asked_for(
    client: openai.OpenAI, writer: MemoryWriter, stub: ProviderStub, model: Any
) -> None:
    ask(client, stub, model=model)
    assert (writer.only.model, writer.only.total_tokens) == ("gpt-4o", 15)


@pytest.mark.parametrize("response_id", [None, 7, "", "\ud800"])
def test_an_id_that_is_none_is_replaced(
    client: openai.OpenAI, writer: MemoryWriter, stub: ProviderStub, response_id: Any
) -> None:
    ask(client, stub, id=response_id)
    assert len(writer.only.request_id) == 36


def test_an_endless_model_name_is_shortened_and_marked(
    client: openai.OpenAI, writer: MemoryWriter, stub: ProviderStub
) -> None:
    ask(client, stub, model="x" * 5_000)
    assert writer.only.model == "x" * 200
    assert writer.only.metadata["truncated"] is True
    assert writer.only.total_tokens == 15


def test_an_unknown_model_is_recorded_unpriced_and_counted(
    client: openai.OpenAI,
    tracker: ResilientAIUsageTracker,
    writer: MemoryWriter,
    stub: ProviderStub,
) -> None:
    ask(client, stub, model="gpt-4o-nonexistent-2030")

    assert writer.only.cost_usd is None
    assert writer.only.metadata["pricing"] == {"status": "unpriced", "reason": "unknown model"}
    assert tracker.get_stats().unpriced == 1


def test_null_usage_of_anthropic_is_recorded(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter, stub: ProviderStub
) -> None:
    stub.answer_next("anthropic", usage=None)
    with anthropic.Anthropic(api_key="any", base_url=stub.anthropic_base_url) as plain:
        reply = tracker.wrap_anthropic(plain).messages.create(
            model="claude-haiku-4-5", max_tokens=9, messages=QUESTION
        )
    assert (writer.only.request_id, writer.only.cost_usd) == (reply.id, None)


@pytest.mark.parametrize("cached", [400, None, -1, "x"])
def test_half_an_anthropic_usage_is_taken_as_far_as_it_goes(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter, stub: ProviderStub, cached: Any
) -> None:
    stub.answer_next("anthropic", usage={"cache_read_input_tokens": cached, "output_tokens": 3})
    with anthropic.Anthropic(api_key="any", base_url=stub.anthropic_base_url) as plain:
        tracker.wrap_anthropic(plain).messages.create(
            model="claude-haiku-4-5", max_tokens=9, messages=QUESTION
        )
    assert (writer.only.input_tokens, writer.only.output_tokens) == (None, 3)


class Broken(PriceBook):
    def price(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("price book is broken: sk-secret")


def test_a_tracker_that_fails_inside_does_not_raise_into_the_caller(
    writer: MemoryWriter, stub: ProviderStub, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = ResilientAIUsageTracker(writer, price_book=Broken())
    with openai.OpenAI(api_key="any", base_url=stub.openai_base_url) as plain:
        client = tracker.wrap_openai(plain)
        for _ in range(3):
            ask(client, stub)

    assert [record.total_tokens for record in writer.records] == [15, 15, 15]
    assert (tracker.get_stats().failed, tracker.get_stats().unpriced) == (3, 3)
    (line,) = caplog.messages
    assert "RuntimeError" in line
    assert "sk-secret" not in line


def test_a_client_that_raises_does_not_reach_the_caller(
    tracker: ResilientAIUsageTracker,
    client: openai.OpenAI,
    writer: MemoryWriter,
    stub: ProviderStub,
    caplog: pytest.LogCaptureFixture,
) -> None:
    writer.failure = OSError("no table")
    with caplog.at_level(logging.WARNING):
        reply = ask(client, stub)

    assert reply.usage.total_tokens == 15
    assert (tracker.get_stats().recorded, tracker.get_stats().failed) == (0, 1)


def test_a_full_queue_is_counted_as_refused(
    tracker: ResilientAIUsageTracker,
    client: openai.OpenAI,
    writer: MemoryWriter,
    stub: ProviderStub,
) -> None:
    writer.answer = False
    ask(client, stub)
    assert (tracker.get_stats().recorded, tracker.get_stats().refused) == (0, 1)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"null", b"7"])
def test_a_body_that_is_no_reply_is_recorded_as_unknown(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter, body: bytes
) -> None:
    def answer(request: object) -> Any:
        headers = {"content-type": "application/json"}
        return OPENAI_HTTPX.Response(200, content=body, headers=headers)

    http = OPENAI_HTTPX.Client(transport=OPENAI_HTTPX.MockTransport(answer))
    with openai.OpenAI(api_key="any", base_url="http://127.0.0.1:9", http_client=http) as plain:
        client = tracker.wrap_openai(plain)
        raw = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=QUESTION)

    assert raw.http_response.content == body
    assert (writer.only.model, writer.only.total_tokens) == ("gpt-4o", None)
    assert tracker.get_stats().failed == 0


def test_options_that_are_not_what_is_expected_pass_through(
    tracker: ResilientAIUsageTracker, client: openai.OpenAI, writer: MemoryWriter
) -> None:
    with pytest.raises(Exception) as caught:
        client.request(dict, None)  # type: ignore[call-overload]

    assert caught.type.__module__ != "receipt_label.watching.requests"
    assert (writer.records, tracker.get_stats().failed) == ([], 1)
