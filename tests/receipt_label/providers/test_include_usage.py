"""Streams of chats tell their usage when they are asked to, and who asks is the caller's choice."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from receipt_label.testing import ProviderStub
from receipt_label.tracking import ResilientAIUsageTracker
from support.memory_writer import MemoryWriter

from .sdks import ANSWER, OUTPUT_TOKENS, QUESTION

ASK: dict[str, Any] = {"model": "gpt-4o", "messages": QUESTION, "stream": True}
ASKED = {"include_usage": True}


@pytest.fixture
def own_url(stub: ProviderStub, monkeypatch: pytest.MonkeyPatch) -> str:
    """A URL of OpenAI's own host, which leads to the stub."""
    look_up = socket.getaddrinfo

    def look_up_here(host: Any, *args: Any, **kwargs: Any) -> Any:
        is_own = host in {"api.openai.com", b"api.openai.com"}
        return look_up("127.0.0.1" if is_own else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look_up_here)
    return stub.openai_base_url.replace("127.0.0.1", "api.openai.com")


@pytest.fixture
def own(own_url: str, tracker: ResilientAIUsageTracker) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="any", base_url=own_url) as bare:
        yield tracker.wrap_openai(bare)


@pytest.fixture
def other(stub: ProviderStub, tracker: ResilientAIUsageTracker) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="any", base_url=stub.openai_base_url) as bare:
        yield tracker.wrap_openai(bare)


def test_openais_own_server_is_asked_and_the_caller_does_not_see_it(
    own: openai.OpenAI, own_url: str, stub: ProviderStub, writer: MemoryWriter
) -> None:
    fixed = {"id": "chatcmpl-1", "created": 1}
    stub.answer_next("openai", **fixed)
    stub.answer_next("openai", **fixed)
    with openai.OpenAI(api_key="any", base_url=own_url) as bare:
        expected = list(bare.chat.completions.create(**ASK))
    shown = list(own.chat.completions.create(**ASK))

    assert shown == expected
    assert "stream_options" not in stub.requests[0].body
    assert stub.requests[1].body["stream_options"] == ASKED
    assert writer.only.output_tokens == OUTPUT_TOKENS
    assert "server" not in writer.only.metadata


def test_the_lines_of_a_raw_stream_do_not_show_it_either(
    own: openai.OpenAI, writer: MemoryWriter
) -> None:
    with own.chat.completions.with_streaming_response.create(**ASK) as response:
        lines = list(response.iter_lines())
    assert lines[-2:] == ["data: [DONE]", ""]
    assert not any("prompt_tokens" in line for line in lines)
    assert writer.only.output_tokens == OUTPUT_TOKENS


async def test_an_async_client_is_no_different(
    own_url: str, tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    async with openai.AsyncOpenAI(api_key="any", base_url=own_url) as bare:
        stream = await tracker.wrap_openai(bare).chat.completions.create(**ASK)
        chunks = [chunk async for chunk in stream]
    assert all(chunk.choices for chunk in chunks)
    assert writer.only.output_tokens == OUTPUT_TOKENS


def test_the_stream_manager_is_no_different(own: openai.OpenAI, writer: MemoryWriter) -> None:
    ask = {name: value for name, value in ASK.items() if name != "stream"}
    with own.chat.completions.stream(**ask) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content == ANSWER
    assert final.usage is None
    assert writer.only.output_tokens == OUTPUT_TOKENS


def test_who_asked_for_the_usage_sees_it(own: openai.OpenAI, writer: MemoryWriter) -> None:
    *_, last = own.chat.completions.create(**ASK, stream_options=ASKED)
    assert last.usage.completion_tokens == OUTPUT_TOKENS
    assert writer.only.output_tokens == OUTPUT_TOKENS


@pytest.mark.parametrize(
    "choice",
    [
        {"stream_options": {"include_usage": False}},
        {"extra_body": {"stream_options": {"include_usage": False}}},
    ],
    ids=["argument", "extra body"],
)
def test_include_usage_is_not_added_where_the_caller_declined_it(
    own: openai.OpenAI, stub: ProviderStub, writer: MemoryWriter, choice: dict[str, Any]
) -> None:
    chunks = list(own.chat.completions.create(**ASK, **choice))
    assert stub.requests[0].body["stream_options"] == {"include_usage": False}
    assert all(chunk.usage is None for chunk in chunks)
    # It is whole, and nobody knows what it cost.
    assert (writer.only.output_tokens, writer.only.cost_usd) == (None, None)
    assert "usage_status" not in writer.only.metadata


def test_other_options_are_kept(
    own: openai.OpenAI, stub: ProviderStub, writer: MemoryWriter
) -> None:
    options: Any = {"include_obfuscation": False}
    list(own.chat.completions.create(**ASK, stream_options=options))
    assert stub.requests[0].body["stream_options"] == {**options, **ASKED}
    assert options == {"include_obfuscation": False}


def test_servers_that_refuse_stream_options_are_not_asked(
    other: openai.OpenAI, stub: ProviderStub, writer: MemoryWriter
) -> None:
    list(other.chat.completions.create(**ASK))
    assert "stream_options" not in stub.requests[0].body
    assert (writer.only.output_tokens, writer.only.error) == (None, None)


def test_other_servers_are_asked_on_request_alone(
    other: openai.OpenAI,
    own_url: str,
    stub: ProviderStub,
    tracker: ResilientAIUsageTracker,
    writer: MemoryWriter,
) -> None:
    asking = tracker.wrap_openai(other, include_usage=True)
    assert asking is not other
    assert tracker.wrap_openai(asking, include_usage=True) is asking
    assert all(chunk.choices for chunk in asking.chat.completions.create(**ASK))
    assert writer.only.output_tokens == OUTPUT_TOKENS
    with openai.OpenAI(api_key="any", base_url=own_url) as bare:
        list(tracker.wrap_openai(bare, include_usage=False).chat.completions.create(**ASK))
    assert "stream_options" not in stub.requests[-1].body


def test_a_plain_call_is_not_asked(own: openai.OpenAI, stub: ProviderStub) -> None:
    own.chat.completions.create(model="gpt-4o", messages=QUESTION)
    assert "stream_options" not in stub.requests[0].body


def test_a_value_that_include_usage_does_not_take_is_refused(
    tracker: ResilientAIUsageTracker,
) -> None:
    with pytest.raises(TypeError, match="include_usage is of type str; accepted are bool and None"):
        tracker.wrap_openai(openai.OpenAI(api_key="any"), include_usage="yes")  # type: ignore[arg-type]
