"""Traps that other trackers fell into, between the SDKs and the record."""

from __future__ import annotations

import contextlib
import gc
import gzip
import json
import os
import threading
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from receipt_dynamo import DynamoClient
from receipt_label.testing import ProviderStub
from receipt_label.tracking import AIUsageTracker, ResilientAIUsageTracker
from receipt_label.watching.responses import tap_response
from support.memory_writer import MemoryWriter

from .sdks import CHAT, MESSAGE, OPENAI_HTTPX, OUTPUT_TOKENS, QUESTION, Streaming


class Notes:
    """Takes down what a tap tells."""

    is_over = False

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.ends: list[BaseException | None] = []

    def feed(self, chunk: bytes) -> bytes:
        self.chunks.append(chunk)
        return chunk

    def take_rest(self) -> bytes:
        return b"-"

    def end(self, error: BaseException | None = None) -> None:
        self.ends.append(error)

    def abandon(self) -> None:
        self.end()

    async def aend(self, error: BaseException | None = None) -> None:
        self.end(error)


@pytest.fixture
def undisturbed() -> Iterator[None]:
    """No garbage collection."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("undisturbed")
def test_a_dropped_response_is_noticed_without_the_garbage_collector() -> None:
    """The Anthropic SDK counts on it to give a dropped stream's connection back."""
    notes = Notes()
    response = OPENAI_HTTPX.Response(200, content=iter([b"a"]))
    tap_response(response, notes)
    assert isinstance(response, OPENAI_HTTPX.Response)
    del response
    assert notes.ends == [None]


def test_a_tapped_response_is_of_its_own_class_again_when_it_is_closed() -> None:
    notes = Notes()
    response = OPENAI_HTTPX.Response(200, content=iter([b"a", b"b"]))
    tap_response(response, notes)
    assert response.read() == b"ab-"
    assert type(response) is OPENAI_HTTPX.Response
    assert (notes.chunks, response.is_closed) == ([b"a", b"b"], True)


def test_the_sdks_own_spans_and_our_record_are_one_call_each(
    tracker: ResilientAIUsageTracker, stub: ProviderStub, writer: MemoryWriter
) -> None:
    """The Anthropic SDK watches streams as well, for OpenTelemetry."""
    tracing = pytest.importorskip("anthropic._tracing", reason="older SDKs have no spans")
    ends: list[str] = []

    class Observer:
        def begin(self) -> None:
            ends.append("begin")

        def item(self, item: object) -> None: ...

        def end(self, how: str, error: BaseException | None = None) -> None:
            ends.append(how)

    with anthropic.Anthropic(api_key="any", base_url=stub.anthropic_base_url) as bare:
        stream = MESSAGE.ask(tracker.wrap_anthropic(bare))
        body = tracing.span_ending_stream(stream.response.stream, tracing.FirstEnd(Observer()))
        stream.response.stream = body
        list(stream)
    assert ends == ["begin", "read"]
    assert writer.only.output_tokens == OUTPUT_TOKENS


def test_a_subclass_would_break_the_sdks_exact_type_check(
    tracker: ResilientAIUsageTracker, stub: ProviderStub, writer: MemoryWriter
) -> None:
    with anthropic.Anthropic(api_key="any", base_url=stub.anthropic_base_url) as bare:
        client = tracker.wrap_anthropic(bare).with_options(max_retries=0)
        assert type(client) is anthropic.Anthropic
        client.messages.create(model="claude-haiku-4-5", max_tokens=9, messages=QUESTION)
    assert writer.only.output_tokens == 9


def answer_compressed(request: object) -> Any:
    usage = {"prompt_tokens": 3, "completion_tokens": 4}
    events = [
        {"id": "chatcmpl-1", "choices": [{"index": 0, "delta": {"content": "brød"}}]},
        {"id": "chatcmpl-1", "choices": [], "usage": usage},
    ]
    lines = "".join(f"data: {json.dumps(event, ensure_ascii=False)}\n\n" for event in events)
    body = gzip.compress((lines + "data: [DONE]\n\n").encode())
    return OPENAI_HTTPX.Response(
        200,
        headers={"content-type": "text/event-stream", "content-encoding": "gzip"},
        content=(body[place : place + 1] for place in range(len(body))),
    )


def test_a_compressed_stream_in_single_bytes_is_read_to_its_end(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    """Its last bytes are decoded after the response has closed itself."""
    http = OPENAI_HTTPX.Client(transport=OPENAI_HTTPX.MockTransport(answer_compressed))
    with openai.OpenAI(api_key="any", base_url="http://127.0.0.1:9", http_client=http) as bare:
        stream = CHAT.ask(tracker.wrap_openai(bare, include_usage=True))
        (chunk,) = stream
    assert chunk.choices[0].delta.content == "brød"
    assert (writer.only.input_tokens, writer.only.output_tokens) == (3, 4)
    assert "usage_status" not in writer.only.metadata


@pytest.mark.parametrize("streaming", [CHAT, MESSAGE], ids=["chat", "message"])
def test_a_stream_that_another_thread_closes_is_recorded_once(
    tracker: ResilientAIUsageTracker,
    stub: ProviderStub,
    writer: MemoryWriter,
    streaming: Streaming,
) -> None:
    held = stub.hold_next(streaming.first_words)
    with streaming.open(stub) as bare:
        stream = streaming.ask(streaming.wrap(tracker, bare))
        has_begun = threading.Event()

        def read() -> None:
            with contextlib.suppress(Exception):  # Whatever the SDK makes of it.
                for _ in stream:
                    has_begun.set()

        def close() -> None:
            with contextlib.suppress(Exception):
                stream.close()

        reader = threading.Thread(target=read)
        reader.start()
        assert has_begun.wait(30)
        closer = threading.Thread(target=close)
        closer.start()
        held.set()
        reader.join(30)
        closer.join(30)
    assert len(writer.records) == 1


def test_a_stream_that_the_sdk_refuses_to_make_is_recorded_once(
    tracker: ResilientAIUsageTracker, stub: ProviderStub, writer: MemoryWriter
) -> None:
    body = {"model": "gpt-4o", "messages": QUESTION, "stream": True}
    with openai.OpenAI(api_key="any", base_url=stub.openai_base_url) as bare:
        with pytest.raises(Exception, match="type argument") as raised:
            tracker.wrap_openai(bare).post(
                "/chat/completions",
                cast_to=object,
                body=body,
                stream=True,
                stream_cls=openai.Stream,
            )
        error = type(raised.value).__name__
        del raised  # Its traceback holds the response.
        gc.collect()
    assert writer.only.error == error


def test_a_forked_child_leaves_an_open_stream_to_its_parent(
    tracker: ResilientAIUsageTracker,
    stub: ProviderStub,
    writer: MemoryWriter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with MESSAGE.open(stub) as bare:
        stream = MESSAGE.ask(MESSAGE.wrap(tracker, bare))
        parent = os.getpid()
        monkeypatch.setattr("receipt_label.watching.request_calls.os.getpid", lambda: parent + 1)
        stream.close()
    assert writer.records == []


def test_a_finalizer_does_not_write_straight_through(
    stub: ProviderStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may run inside of a lock of boto3's, in the thread that holds it."""
    written: list[str | None] = []
    table = DynamoClient("test-usage", region="us-east-1")
    monkeypatch.setattr(
        table, "put_ai_usage_metric", lambda metric: written.append(metric.request_id)
    )
    tracker = AIUsageTracker(table)
    with MESSAGE.open(stub) as bare:
        client = MESSAGE.wrap(tracker, bare)
        for settle in (tracker.flush, tracker.close, lambda: list(MESSAGE.ask(client))):
            stub.hold_next(0)
            stream = MESSAGE.ask(client)
            before = list(written)
            del stream
            gc.collect()
            assert written == before
            settle()
            assert len(written) > len(before)
    assert len(written) == 4


async def test_what_a_finalizer_left_is_written_with_the_next_record_of_asyncio_too(
    stub: ProviderStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str | None] = []
    table = DynamoClient("test-usage", region="us-east-1")
    monkeypatch.setattr(
        table, "put_ai_usage_metric", lambda metric: written.append(metric.request_id)
    )
    async with MESSAGE.open(stub, is_async=True) as bare:
        client = MESSAGE.wrap(AIUsageTracker(table), bare)
        stub.hold_next(0)
        stream = await MESSAGE.ask(client)
        del stream
        gc.collect()
        assert written == []
        async for _ in await MESSAGE.ask(client):
            pass
    assert len(written) == 2


@pytest.mark.parametrize(
    ("usage", "invalid"),
    [
        (None, []),
        ({"prompt_tokens": -5, "completion_tokens": 4}, ["usage.prompt_tokens"]),
        ({"prompt_tokens": None, "completion_tokens": 4}, []),
        ({"prompt_tokens": 1, "completion_tokens": "x" * 9}, ["usage.completion_tokens"]),
        ({"prompt_tokens": True, "completion_tokens": 1.5}, ["usage.prompt_tokens"]),
        (
            {
                "prompt_tokens": 1,
                "completion_tokens": 1,
                "prompt_tokens_details": {"cached_tokens": 9},
            },
            [],
        ),
        ({}, []),
    ],
    ids=["null", "negative", "half", "text", "no counts", "more cached than read", "empty"],
)
def test_absurd_usage_in_a_stream_costs_that_field_alone(
    tracker: ResilientAIUsageTracker,
    stub: ProviderStub,
    writer: MemoryWriter,
    usage: Any,
    invalid: list[str],
) -> None:
    fixed = {"id": "chatcmpl-1", "created": 1, "usage": usage}
    ask: dict[str, Any] = {"model": "gpt-4o", "messages": QUESTION, "stream": True}
    asked = {"include_usage": True}
    stub.answer_next("openai", **fixed)
    stub.answer_next("openai", **fixed)
    with openai.OpenAI(api_key="any", base_url=stub.openai_base_url) as bare:
        expected = list(bare.chat.completions.create(**ask, stream_options=asked))
        wrapped = tracker.wrap_openai(bare)
        shown = list(wrapped.chat.completions.create(**ask, stream_options=asked))

    assert shown == expected
    record = writer.only
    assert record.cost_usd is None or record.metadata["pricing"]["status"] == "partial"
    assert record.metadata.get("invalid_fields", [])[: len(invalid)] == invalid
    assert tracker.get_stats().failed == 0
