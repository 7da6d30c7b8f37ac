"""The stub against the real Anthropic SDK, sync and async, whole and streamed."""

from __future__ import annotations

from collections.abc import Iterator

import anthropic
import pytest
from anthropic.types import Message

from receipt_label.testing import ProviderStub

MODEL = "claude-haiku-4-5"
QUESTION = [{"role": "user", "content": "How much was the bread?"}]


@pytest.fixture
def client(stub: ProviderStub) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(
        api_key="any", base_url=stub.anthropic_base_url, max_retries=0
    ) as made:
        yield made


def test_a_message_has_the_shape_that_the_sdk_declares(client: anthropic.Anthropic) -> None:
    reply = client.messages.create(model=MODEL, max_tokens=100, messages=QUESTION)

    Message.model_validate(reply.to_dict(), strict=True)
    assert not reply.model_extra
    assert reply.id.startswith("msg_")
    assert reply.content[0].text == "You said: How much was the bread?"
    assert (reply.model, reply.stop_reason) == (MODEL, "end_turn")
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (6, 9)


def test_the_system_prompt_counts_and_the_limit_cuts(client: anthropic.Anthropic) -> None:
    reply = client.messages.create(model=MODEL, max_tokens=2, system="Be brief", messages=QUESTION)

    assert reply.content[0].text == "You said"
    assert reply.stop_reason == "max_tokens"
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (8, 2)


def test_a_stream_adds_up_to_the_reply(client: anthropic.Anthropic) -> None:
    with client.messages.stream(model=MODEL, max_tokens=100, messages=QUESTION) as stream:
        kinds = [event.type for event in stream]
        reply = stream.get_final_message()

    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"
    assert reply.content[0].text == "You said: How much was the bread?"
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (6, 9)


def test_errors_come_in_anthropics_form(stub: ProviderStub, client: anthropic.Anthropic) -> None:
    stub.fail_next(429)
    with pytest.raises(anthropic.RateLimitError) as limited:
        client.messages.create(model=MODEL, max_tokens=100, messages=QUESTION)
    assert limited.value.body["error"]["type"] == "rate_limit_error"
    assert limited.value.request_id == limited.value.body["request_id"]

    stub.fail_next(529)
    with pytest.raises(anthropic.APIStatusError) as overloaded:
        client.messages.create(model=MODEL, max_tokens=100, messages=QUESTION)
    assert overloaded.value.body["error"]["type"] == "overloaded_error"

    with pytest.raises(anthropic.NotFoundError) as unknown:
        client.models.list()
    assert unknown.value.body["error"]["type"] == "not_found_error"
    with pytest.raises(anthropic.BadRequestError, match="max_tokens: field required"):
        client.post("/v1/messages", body={"model": MODEL, "messages": []}, cast_to=object)


async def test_the_async_client_gets_the_same(stub: ProviderStub) -> None:
    async with anthropic.AsyncAnthropic(
        api_key="any", base_url=stub.anthropic_base_url, max_retries=0
    ) as client:
        reply = await client.messages.create(model=MODEL, max_tokens=100, messages=QUESTION)
        stream = await client.messages.create(
            model=MODEL, max_tokens=100, messages=QUESTION, stream=True
        )
        kinds = [event.type async for event in stream]

    assert reply.usage.output_tokens == 9
    assert kinds[-1] == "message_stop"
