"""Every way of the SDKs to make a call, and every endpoint, gives one record."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import anthropic
import openai
import pytest
from pydantic import BaseModel

from receipt_label.testing import ProviderStub
from receipt_label.tracking import ResilientAIUsageTracker
from support.memory_writer import MemoryWriter

from .sdks import ANSWER, INPUT_TOKENS, OUTPUT_TOKENS, QUESTION, TEXT

CHAT: dict[str, Any] = {"model": "gpt-4o", "messages": QUESTION}
MESSAGE: dict[str, Any] = {"model": "claude-haiku-4-5", "max_tokens": 100, "messages": QUESTION}
TOKENS = (INPUT_TOKENS, OUTPUT_TOKENS)


class Total(BaseModel):
    total: str


@pytest.fixture
def gpt(tracker: ResilientAIUsageTracker, stub: ProviderStub) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="any", base_url=stub.openai_base_url) as bare:
        yield tracker.wrap_openai(bare, include_usage=True)


@pytest.fixture
def claude(tracker: ResilientAIUsageTracker, stub: ProviderStub) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(api_key="any", base_url=stub.anthropic_base_url) as bare:
        yield tracker.wrap_anthropic(bare)


def read_streaming_response(opened: Any, read: Callable[[Any], Any]) -> Any:
    with opened as response:
        return read(response)


GPT_WAYS: dict[str, Callable[[openai.OpenAI], Any]] = {
    "chat": lambda c: c.chat.completions.create(**CHAT),
    "raw": lambda c: c.chat.completions.with_raw_response.create(**CHAT).parse(),
    "raw stream": lambda c: list(
        c.chat.completions.with_raw_response.create(**CHAT, stream=True).parse()
    ),
    "streaming response parsed": lambda c: read_streaming_response(
        c.chat.completions.with_streaming_response.create(**CHAT), lambda r: r.parse()
    ),
    "streaming response read": lambda c: read_streaming_response(
        c.chat.completions.with_streaming_response.create(**CHAT), lambda r: r.read()
    ),
    "streaming response as text": lambda c: read_streaming_response(
        c.chat.completions.with_streaming_response.create(**CHAT),
        lambda r: "".join(r.iter_text()),
    ),
    "streaming response of a stream, lines": lambda c: read_streaming_response(
        c.chat.completions.with_streaming_response.create(**CHAT, stream=True),
        lambda r: list(r.iter_lines()),
    ),
    "streaming response of a stream, parsed": lambda c: read_streaming_response(
        c.chat.completions.with_streaming_response.create(**CHAT, stream=True),
        lambda r: list(r.parse()),
    ),
    "stream manager": lambda c: read_streaming_response(
        c.chat.completions.stream(**CHAT), lambda stream: stream.get_final_completion()
    ),
    "with options": lambda c: c.with_options(timeout=9, max_retries=1).chat.completions.create(
        **CHAT
    ),
    "by hand": lambda c: c.post("/chat/completions", body=CHAT, cast_to=object),
    "response": lambda c: c.responses.create(model="gpt-4o", input=TEXT),
    "response, stream manager": lambda c: read_streaming_response(
        c.responses.stream(model="gpt-4o", input=TEXT), lambda stream: stream.get_final_response()
    ),
}


@pytest.mark.parametrize("way", GPT_WAYS.values(), ids=GPT_WAYS.keys())
def test_each_way_to_call_openai_is_recorded(
    gpt: openai.OpenAI,
    stub: ProviderStub,
    writer: MemoryWriter,
    way: Callable[[openai.OpenAI], Any],
) -> None:
    result = way(gpt)

    assert result
    record = writer.only
    assert (record.input_tokens, record.output_tokens) == TOKENS
    assert record.cost_usd == Decimal("0.00018")
    assert record.request_id == stub.requests[-1].response_id
    assert record.error is None


CLAUDE_WAYS: dict[str, Callable[[anthropic.Anthropic], Any]] = {
    "message": lambda c: c.messages.create(**MESSAGE),
    "beta": lambda c: c.beta.messages.create(**MESSAGE, betas=["context-1m-2025-08-07"]),
    "raw": lambda c: c.messages.with_raw_response.create(**MESSAGE).parse(),
    "raw stream": lambda c: list(
        c.messages.with_raw_response.create(**MESSAGE, stream=True).parse()
    ),
    "streaming response": lambda c: read_streaming_response(
        c.messages.with_streaming_response.create(**MESSAGE), lambda r: r.parse()
    ),
    "streaming response of a stream": lambda c: read_streaming_response(
        c.messages.with_streaming_response.create(**MESSAGE, stream=True),
        lambda r: list(r.iter_lines()),
    ),
    "stream manager": lambda c: read_streaming_response(
        c.messages.stream(**MESSAGE), lambda stream: stream.get_final_message()
    ),
    "beta stream manager": lambda c: read_streaming_response(
        c.beta.messages.stream(**MESSAGE), lambda stream: stream.get_final_text()
    ),
    "text stream": lambda c: read_streaming_response(
        c.messages.stream(**MESSAGE), lambda stream: list(stream.text_stream)
    ),
    "with options": lambda c: c.with_options(timeout=9).messages.create(**MESSAGE),
}


@pytest.mark.parametrize("way", CLAUDE_WAYS.values(), ids=CLAUDE_WAYS.keys())
def test_each_way_to_call_anthropic_is_recorded(
    claude: anthropic.Anthropic,
    stub: ProviderStub,
    writer: MemoryWriter,
    way: Callable[[anthropic.Anthropic], Any],
) -> None:
    result = way(claude)

    assert result
    record = writer.only
    assert (record.input_tokens, record.output_tokens) == TOKENS
    assert record.cost_usd == Decimal("0.000087")
    assert record.request_id == stub.requests[-1].response_id


async def test_the_async_stream_managers(
    tracker: ResilientAIUsageTracker, stub: ProviderStub, writer: MemoryWriter
) -> None:
    async with openai.AsyncOpenAI(api_key="any", base_url=stub.openai_base_url) as bare:
        gpt = tracker.wrap_openai(bare, include_usage=True)
        async with gpt.chat.completions.stream(**CHAT) as stream:
            final = await stream.get_final_completion()
        assert final.choices[0].message.content == ANSWER
        async with gpt.chat.completions.with_streaming_response.create(**CHAT) as response:
            assert (await response.parse()).choices[0].message.content == ANSWER
    async with (
        anthropic.AsyncAnthropic(api_key="any", base_url=stub.anthropic_base_url) as plain,
        tracker.wrap_anthropic(plain).messages.stream(**MESSAGE) as message,
    ):
        assert await message.get_final_text() == ANSWER
    assert [(r.input_tokens, r.output_tokens) for r in writer.records] == [TOKENS] * 3


def test_parsed_replies_are_recorded(
    gpt: openai.OpenAI, stub: ProviderStub, writer: MemoryWriter
) -> None:
    content = '{"total": "9.98"}'
    message = {"role": "assistant", "content": content, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    stub.answer_next("openai", choices=[choice])
    parsed = gpt.chat.completions.parse(**CHAT, response_format=Total)
    assert parsed.choices[0].message.parsed == Total(total="9.98")
    assert writer.only.request_id == parsed.id


def test_embeddings_are_recorded(gpt: openai.OpenAI, writer: MemoryWriter) -> None:
    reply = gpt.embeddings.create(model="text-embedding-3-small", input="a")
    assert writer.only.operation == "embedding"
    assert (writer.only.input_tokens, writer.only.output_tokens) == (reply.usage.prompt_tokens, 0)
    assert writer.only.cost_usd == Decimal("0.00000002")  # Not rounded to nothing.


def test_images_by_tokens(gpt: openai.OpenAI, writer: MemoryWriter) -> None:
    gpt.images.generate(model="gpt-image-1", prompt="bread", n=2)
    assert (writer.only.operation, writer.only.model) == ("image_generation", "gpt-image-1")
    assert (writer.only.input_tokens, writer.only.output_tokens) == (2, 544)
    assert writer.only.cost_usd == Decimal("0.02177")  # 2 x 5 and 544 x 40 USD a million.


def test_images_by_the_piece(gpt: openai.OpenAI, writer: MemoryWriter) -> None:
    gpt.images.generate(model="dall-e-3", prompt="bread", size="1792x1024", quality="hd")
    assert (writer.only.model, writer.only.output_tokens) == ("dall-e-3", None)
    assert writer.only.metadata["images"] == 1
    assert writer.only.cost_usd == Decimal("0.12")


def test_speech_by_characters(gpt: openai.OpenAI, writer: MemoryWriter) -> None:
    sound = gpt.audio.speech.create(model="tts-1", voice="alloy", input="bread")
    assert sound.read() == b"ID3bread"
    assert (writer.only.operation, writer.only.model) == ("speech", "tts-1")
    assert writer.only.metadata["input_characters"] == 5
    assert writer.only.cost_usd == Decimal("0.000075")  # 15 USD a million.


def test_speech_that_is_streamed(gpt: openai.OpenAI, writer: MemoryWriter) -> None:
    with gpt.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input="bread"
    ) as response:
        assert b"".join(response.iter_bytes(2)) == b"ID3bread"
    assert writer.only.metadata["input_characters"] == 5
    assert "usage_status" not in writer.only.metadata


@pytest.mark.parametrize(
    ("model", "told", "cost"),
    [
        ("whisper-1", "audio_seconds", "0.0003"),  # 3 s of 0.006 USD a minute.
        ("gpt-4o-transcribe", "usage", "0.00023"),  # 30 of audio at 6, 5 at 10 USD a million.
    ],
)
def test_transcriptions_are_recorded(
    gpt: openai.OpenAI, writer: MemoryWriter, model: str, told: str, cost: str
) -> None:
    sound = ("a.mp3", io.BytesIO(b"ID3"))
    assert gpt.audio.transcriptions.create(model=model, file=sound).text == "You said something."
    assert (writer.only.operation, writer.only.model) == ("transcription", model)
    assert told in writer.only.metadata
    assert writer.only.cost_usd == Decimal(cost)


def test_moderations_are_recorded_and_free(gpt: openai.OpenAI, writer: MemoryWriter) -> None:
    gpt.moderations.create(input="bread")
    assert (writer.only.operation, writer.only.model) == ("moderation", "omni-moderation-latest")
    assert writer.only.cost_usd == 0  # It is free, and that is known.


def test_azure_through_the_same_wrapper(
    tracker: ResilientAIUsageTracker, stub: ProviderStub, writer: MemoryWriter
) -> None:
    endpoint = stub.openai_base_url.removesuffix("/v1")
    with openai.AzureOpenAI(
        api_key="any", azure_endpoint=endpoint, api_version="2025-04-01-preview"
    ) as bare:
        client = tracker.wrap_openai(bare)
        assert type(client) is openai.AzureOpenAI
        client.chat.completions.create(**CHAT)
    assert "/deployments/gpt-4o/" in stub.requests[0].path
    assert writer.only.metadata["server"] == "127.0.0.1"
    assert writer.only.output_tokens == OUTPUT_TOKENS


def test_an_endpoint_of_the_future_is_recorded_when_it_tells_its_usage(
    gpt: openai.OpenAI, stub: ProviderStub, writer: MemoryWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    from receipt_label.testing import provider_stub

    later = provider_stub._ENDPOINTS | {
        "/v1/thoughts/deep": provider_stub._ENDPOINTS["/v1/responses"]
    }
    monkeypatch.setattr(provider_stub, "_ENDPOINTS", later)
    gpt.post("/thoughts/deep", body={"model": "gpt-4o", "input": TEXT}, cast_to=object)
    assert writer.only.operation == "thoughts.deep"
    assert (writer.only.input_tokens, writer.only.output_tokens) == TOKENS


@pytest.mark.parametrize("read", [lambda r: r.parse(), lambda r: r.read()], ids=["parse", "read"])
def test_a_plain_body_that_is_cut_is_partial(
    gpt: openai.OpenAI, stub: ProviderStub, writer: MemoryWriter, read: Callable[[Any], Any]
) -> None:
    stub.cut_next(20)
    opened = gpt.with_options(max_retries=0).chat.completions.with_streaming_response.create(**CHAT)
    with pytest.raises(Exception, match=r"peer closed connection|Connection error"):
        read_streaming_response(opened, read)
    assert writer.only.metadata["usage_status"] == "partial"
    assert re.fullmatch(r"\w+Error", writer.only.error or "")


def test_tools_that_the_provider_ran_are_counted(
    gpt: openai.OpenAI, stub: ProviderStub, writer: MemoryWriter
) -> None:
    output = [
        {"type": "web_search_call", "id": "1", "action": {"type": "search", "query": "bread"}},
        {"type": "web_search_call", "id": "2", "action": {"type": "open_page", "url": "x"}},
        {"type": "file_search_call", "id": "3", "queries": []},
        {"type": "code_interpreter_call", "id": "4", "container_id": "c"},
        {"type": "code_interpreter_call", "id": "5", "container_id": "c"},
    ]
    stub.answer_next("openai", output=output)
    gpt.responses.create(model="gpt-4o", input=TEXT)
    counts = writer.only.metadata["usage"]
    assert counts == {"web_searches": 1, "file_searches": 1, "code_executions": 1}
