"""Decorated generators: one record however they end, and they stay what they are."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import anthropic
import openai
import pytest

from receipt_dynamo import AIUsageMetric
from receipt_label.testing import ProviderStub
from receipt_label.tracking import ResilientAIUsageTracker
from support.memory_writer import MemoryWriter

QUESTION: list[Any] = [{"role": "user", "content": "How much was the bread?"}]
ASK: Any = {"model": "claude-haiku-4-5", "max_tokens": 100, "messages": QUESTION}
WITH_USAGE: Any = {"model": "gpt-4o", "messages": QUESTION, "stream": True} | {
    "stream_options": {"include_usage": True}
}
USAGE = {"prompt_tokens": 6, "completion_tokens": 9}
CHUNKS = [
    {"id": "r1", "model": "gpt-4o", "choices": [{"delta": {"content": "four"}}]},
    {"id": "r1", "model": "gpt-4o", "choices": [{"delta": {"content": " euros"}}]},
    {"id": "r1", "model": "gpt-4o", "choices": [], "usage": USAGE},
]
COST = Decimal("0.000105")


@pytest.fixture
def plain(stub: ProviderStub) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="any", base_url=stub.openai_base_url) as made:
        yield made


@pytest.fixture
def chunks(tracker: ResilientAIUsageTracker) -> Callable[[], Generator[Any, Any, Any]]:
    @tracker.track_openai_completion
    def stream() -> Generator[Any, Any, Any]:
        yield from CHUNKS

    return stream


@pytest.fixture
def achunks(tracker: ResilientAIUsageTracker) -> Callable[[], Any]:
    @tracker.track_openai_completion
    async def stream() -> AsyncIterator[Any]:
        for chunk in CHUNKS:
            await asyncio.sleep(0)
            yield chunk

    return stream


def check_whole(record: AIUsageMetric) -> None:
    assert (record.request_id, record.model, record.total_tokens) == ("r1", "gpt-4o", 15)
    assert (record.cost_usd, record.error) == (COST, None)
    assert record.metadata["pricing"]["status"] == "priced"
    assert record.metadata["time_to_first_token_ms"] <= record.latency_ms
    assert "usage_status" not in record.metadata


def check_partial(record: AIUsageMetric, error: str | None = None) -> None:
    assert (record.request_id, record.total_tokens, record.cost_usd) == ("r1", None, None)
    assert (record.error, record.metadata["usage_status"]) == (error, "partial")


def test_a_generator_of_chunks_is_recorded_when_it_is_exhausted(
    chunks: Callable[[], Generator[Any]], writer: MemoryWriter
) -> None:
    assert inspect.isgeneratorfunction(chunks)
    generator = chunks()
    assert inspect.isgenerator(generator)
    for number, chunk in enumerate(generator):
        assert chunk is CHUNKS[number]
        assert writer.records == []
    check_whole(writer.only)


async def test_an_async_generator_of_chunks_is_recorded_when_it_is_exhausted(
    achunks: Callable[[], Any], writer: MemoryWriter
) -> None:
    assert inspect.isasyncgenfunction(achunks)
    assert [chunk async for chunk in achunks()] == CHUNKS
    check_whole(writer.only)


def test_a_generator_closed_early_is_recorded_in_part(
    chunks: Callable[[], Generator[Any]], writer: MemoryWriter
) -> None:
    generator = chunks()
    next(generator)
    generator.close()
    generator.close()
    check_partial(writer.only)


def test_a_generator_that_is_dropped_is_recorded_in_part(
    chunks: Callable[[], Generator[Any]], writer: MemoryWriter
) -> None:
    for _ in chunks():
        break
    gc.collect()
    check_partial(writer.only)


def test_a_generator_closed_after_the_usage_is_recorded_whole(
    chunks: Callable[[], Generator[Any]], writer: MemoryWriter
) -> None:
    """The last word was said: nothing of the bill is missing."""
    generator = chunks()
    for _ in range(3):
        next(generator)
    generator.close()
    check_whole(writer.only)


async def test_an_async_generator_closed_early_is_recorded_in_part(
    achunks: Callable[[], Any], writer: MemoryWriter
) -> None:
    generator = achunks()
    await anext(generator)
    await generator.aclose()
    check_partial(writer.only)


async def test_an_async_generator_that_is_dropped_is_recorded_in_part(
    achunks: Callable[[], Any], writer: MemoryWriter
) -> None:
    async for _ in achunks():
        break
    gc.collect()
    for _ in range(10):
        await asyncio.sleep(0)
    check_partial(writer.only)


async def test_an_async_generator_that_is_cancelled_is_recorded_in_part(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    waits = asyncio.Event()

    @tracker.track_openai_completion
    async def stream() -> AsyncIterator[Any]:
        yield CHUNKS[0]
        waits.set()
        await asyncio.Event().wait()

    async def consume() -> None:
        async for _ in stream():
            pass

    task = asyncio.create_task(consume())
    await waits.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    check_partial(writer.only, "CancelledError")


def test_a_generator_that_raises_is_recorded_in_part_with_its_error(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    error = ConnectionError("of a prompt")

    @tracker.track_openai_completion
    def stream() -> Iterator[Any]:
        yield CHUNKS[0]
        raise error

    with pytest.raises(ConnectionError) as caught:
        list(stream())
    assert caught.value is error
    check_partial(writer.only, "ConnectionError")
    assert "prompt" not in repr(writer.only)


def test_a_generator_that_raises_before_its_first_item_is_recorded_with_its_error(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    @tracker.track_openai_completion
    def stream(*, model: str) -> Iterator[Any]:
        raise ConnectionError
        yield

    with pytest.raises(ConnectionError):
        next(stream(model="gpt-4o"))
    assert (writer.only.model, writer.only.error) == ("gpt-4o", "ConnectionError")
    assert "time_to_first_token_ms" not in writer.only.metadata


def test_a_generator_that_never_begins_is_no_call(
    chunks: Callable[[], Generator[Any]], writer: MemoryWriter
) -> None:
    chunks()
    gc.collect()
    assert writer.records == []


def test_what_is_known_of_a_stopped_message_is_a_partial_price(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter, stub: ProviderStub
) -> None:
    """Anthropic tells the input at the start and the output at the end."""
    with anthropic.Anthropic(api_key="any", base_url=stub.anthropic_base_url) as plain:

        @tracker.track_anthropic_completion
        def stream() -> Iterator[Any]:
            yield from plain.messages.create(**ASK, stream=True)

        generator = stream()
        for event in generator:
            if event.type == "content_block_delta":
                break
        generator.close()  # type: ignore[attr-defined]
        assert len(list(stream())) > 5

    stopped, whole = writer.records
    assert (stopped.metadata["usage_status"], stopped.model) == ("partial", "claude-haiku-4-5")
    assert stopped.metadata["pricing"]["status"] == "partial"
    assert stopped.input_tokens == whole.input_tokens
    assert (whole.total_tokens, whole.cost_usd) == (15, Decimal("0.000051"))


def test_the_sdks_own_chunks_are_read(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter, plain: openai.OpenAI
) -> None:
    @tracker.track_openai_completion
    def stream() -> Iterator[Any]:
        yield from plain.chat.completions.create(**WITH_USAGE)

    *_, last = stream()
    record = writer.only
    assert (record.request_id, record.total_tokens, record.cost_usd) == (last.id, 15, COST)


def test_the_return_value_tells_the_usage_where_the_items_do_not(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter, plain: openai.OpenAI
) -> None:
    @tracker.track_openai_completion
    def stream() -> Generator[str, None, Any]:
        yield "four"
        return plain.chat.completions.create(model="gpt-4o", messages=QUESTION)

    def drive() -> Generator[str, None, Any]:
        return (yield from stream())

    generator = drive()
    assert next(generator) == "four"
    with pytest.raises(StopIteration) as end:
        next(generator)
    assert end.value.value.id == writer.only.request_id
    assert writer.only.cost_usd == COST


def test_a_wrapped_client_inside_gives_one_record(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter, plain: openai.OpenAI
) -> None:
    client = tracker.wrap_openai(plain)

    @tracker.track_openai_completion
    def stream() -> Iterator[str]:
        for chunk in client.chat.completions.create(**WITH_USAGE):
            for choice in chunk.choices:
                yield choice.delta.content or ""

    assert "".join(stream())
    generator = stream()
    next(generator)
    generator.close()  # type: ignore[attr-defined]
    gc.collect()

    assert [record.metadata.get("usage_status") for record in writer.records] == [None, "partial"]


def test_what_the_consumer_calls_in_between_is_a_call_of_its_own(
    chunks: Callable[[], Generator[Any]],
    tracker: ResilientAIUsageTracker,
    writer: MemoryWriter,
    plain: openai.OpenAI,
) -> None:
    client = tracker.wrap_openai(plain)
    for _ in chunks():
        client.chat.completions.create(model="gpt-4o", messages=QUESTION)
    assert len(writer.records) == 4


def test_what_is_sent_thrown_and_returned_passes_unchanged(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    @tracker.track_openai_completion
    def echo() -> Generator[Any, Any, str]:
        heard: Any = None
        while heard != "stop":
            try:
                heard = yield heard
            except KeyError as error:
                heard = error
        return "done"

    generator = echo()
    assert next(generator) is None
    sent, thrown = object(), KeyError("k")
    assert generator.send(sent) is sent
    assert generator.throw(thrown) is thrown
    with pytest.raises(StopIteration) as end:
        generator.send("stop")
    assert end.value.value == "done"
    assert writer.only.error is None

    other = echo()
    next(other)
    with pytest.raises(ZeroDivisionError):
        other.throw(ZeroDivisionError())
    assert writer.records[-1].error == "ZeroDivisionError"


async def test_what_is_sent_into_an_async_generator_passes_unchanged(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    @tracker.track_openai_completion
    async def echo() -> Any:
        heard: Any = None
        while True:
            try:
                heard = yield heard
            except KeyError as error:
                heard = error

    generator = echo()
    assert await anext(generator) is None
    sent, thrown = object(), KeyError("k")
    assert await generator.asend(sent) is sent
    assert await generator.athrow(thrown) is thrown
    with pytest.raises(ZeroDivisionError):
        await generator.athrow(ZeroDivisionError())
    assert writer.only.error == "ZeroDivisionError"


def test_an_error_while_closing_is_recorded_and_raised(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    @tracker.track_openai_completion
    def stream() -> Iterator[Any]:
        try:
            yield CHUNKS[0]
        finally:
            raise ConnectionError

    generator = stream()
    next(generator)
    with pytest.raises(ConnectionError):
        generator.close()  # type: ignore[attr-defined]
    check_partial(writer.only, "ConnectionError")


def test_items_that_cannot_be_read_pass_and_are_counted(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    class Hostile:
        @property
        def usage(self) -> Any:
            raise RuntimeError("no usage today")

    items = [CHUNKS[0], Hostile(), SimpleNamespace(), None, 7, b"bytes"]

    @tracker.track_openai_completion
    def stream() -> Iterator[Any]:
        yield from items

    assert list(stream()) == items
    assert (writer.only.model, writer.only.total_tokens) == ("gpt-4o", None)
    assert tracker.get_stats().failed == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_leaves_the_record_to_its_parent(
    chunks: Callable[[], Generator[Any]], writer: MemoryWriter
) -> None:
    generator = chunks()
    next(generator)
    pid = os.fork()
    if pid == 0:
        generator.close()
        os._exit(len(writer.records))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    generator.close()
    check_partial(writer.only)
