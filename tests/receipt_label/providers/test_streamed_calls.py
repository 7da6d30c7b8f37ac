"""A streamed call has one record with its usage, however the stream ends."""

from __future__ import annotations

import asyncio
import gc
from decimal import Decimal
from typing import Any

import pytest

from receipt_dynamo import AIUsageMetric
from receipt_label.testing import ProviderStub
from receipt_label.tracking import ResilientAIUsageTracker, ai_usage_context
from support.memory_writer import MemoryWriter

from .sdks import INPUT_TOKENS, OUTPUT_TOKENS, STREAMINGS, Streaming

BROKEN = r"peer closed connection|Connection error"


@pytest.fixture(params=STREAMINGS.values(), ids=STREAMINGS.keys())
def streaming(request: pytest.FixtureRequest) -> Streaming:
    chosen: Streaming = request.param
    return chosen


@pytest.fixture
def client(streaming: Streaming, stub: ProviderStub, tracker: ResilientAIUsageTracker) -> Any:
    with streaming.open(stub) as bare:
        yield streaming.wrap(tracker, bare)


@pytest.fixture
async def async_client(
    streaming: Streaming, stub: ProviderStub, tracker: ResilientAIUsageTracker
) -> Any:
    async with streaming.open(stub, is_async=True) as bare:
        yield streaming.wrap(tracker, bare)


def check_whole(record: AIUsageMetric, streaming: Streaming, stub: ProviderStub) -> None:
    assert (record.service, record.model) == (streaming.service, streaming.model)
    assert record.request_id == stub.requests[-1].response_id
    assert (record.input_tokens, record.output_tokens) == (INPUT_TOKENS, OUTPUT_TOKENS)
    # 2.50 and 10 USD a million, or 1 and 5.
    expected = "0.00018" if streaming.service == "openai" else "0.000087"
    assert record.cost_usd == Decimal(expected)
    assert record.error is None
    assert "usage_status" not in record.metadata
    assert record.latency_ms is not None
    assert 0 <= record.metadata["time_to_first_token_ms"] <= record.latency_ms


def check_partial(record: AIUsageMetric, streaming: Streaming, error: str | None) -> None:
    assert (record.service, record.model) == (streaming.service, streaming.model)
    assert record.metadata["usage_status"] == "partial"
    assert record.error == error
    if streaming.service == "anthropic":  # It tells what it read at once.
        assert record.input_tokens == INPUT_TOKENS
        assert record.metadata["pricing"]["status"] == "partial"
    else:
        assert (record.input_tokens, record.cost_usd) == (None, None)


def test_a_stream_read_to_its_end_is_recorded_once(
    client: Any, streaming: Streaming, stub: ProviderStub, writer: MemoryWriter
) -> None:
    with ai_usage_context("scan", job_id="job-1"):
        stream = streaming.ask(client)
    assert writer.records == []
    assert len(list(stream)) > 5

    check_whole(writer.only, streaming, stub)
    assert writer.only.job_id == "job-1"  # It belongs to where it began.
    stream.close()
    del stream
    assert len(writer.records) == 1


@pytest.mark.parametrize(
    "streaming", [STREAMINGS["message"], STREAMINGS["response"]], indirect=True
)
def test_the_last_event_of_a_stream_records_it_already(
    client: Any, streaming: Streaming, stub: ProviderStub, writer: MemoryWriter
) -> None:
    for event in streaming.ask(client):
        if event.type in {"message_stop", "response.completed"}:
            assert len(writer.records) == 1
    check_whole(writer.only, streaming, stub)


def test_a_stream_closed_early_is_recorded_in_part(
    client: Any, streaming: Streaming, stub: ProviderStub, writer: MemoryWriter
) -> None:
    stub.hold_next(streaming.first_words)
    stream = streaming.ask(client)
    next(stream)
    assert writer.records == []
    stream.close()
    check_partial(writer.only, streaming, None)
    del stream
    assert len(writer.records) == 1


def test_a_stream_left_by_a_break_is_recorded_in_part(
    client: Any, streaming: Streaming, stub: ProviderStub, writer: MemoryWriter
) -> None:
    stub.hold_next(streaming.first_words)
    with streaming.ask(client) as stream:
        for _ in stream:
            break
    check_partial(writer.only, streaming, None)


def test_a_stream_whose_connection_breaks_is_recorded_in_part_with_its_error(
    client: Any, streaming: Streaming, stub: ProviderStub, writer: MemoryWriter
) -> None:
    with streaming.open(stub) as bare:
        stub.cut_next(streaming.first_words)
        with pytest.raises(Exception, match=BROKEN) as expected:
            list(streaming.ask(bare))
    stub.cut_next(streaming.first_words)
    with pytest.raises(Exception, match=BROKEN) as raised:
        list(streaming.ask(client))

    assert type(raised.value) is type(expected.value)
    assert str(raised.value) == str(expected.value)
    check_partial(writer.only, streaming, "RemoteProtocolError")
    assert writer.only.metadata["time_to_first_token_ms"] >= 0


def test_a_stream_that_ends_in_the_providers_error_is_recorded_with_it(
    client: Any, streaming: Streaming, stub: ProviderStub, writer: MemoryWriter
) -> None:
    stub.fail_next_stream(streaming.first_words)
    with pytest.raises(Exception, match=r"(?i)overloaded"):
        list(streaming.ask(client))

    code = "overloaded" if streaming.service == "openai" else "overloaded_error"
    check_partial(writer.only, streaming, code)


def test_a_stream_that_is_dropped_is_recorded_in_part(
    client: Any, streaming: Streaming, stub: ProviderStub, writer: MemoryWriter
) -> None:
    stub.hold_next(streaming.first_words)
    stream = streaming.ask(client)
    next(stream)
    del stream
    gc.collect()
    check_partial(writer.only, streaming, None)


def test_a_stream_that_is_never_read_is_recorded(
    client: Any, streaming: Streaming, stub: ProviderStub, writer: MemoryWriter
) -> None:
    stub.hold_next(0)
    stream = streaming.ask(client)
    del stream
    gc.collect()
    record = writer.only
    assert (record.model, record.cost_usd) == (streaming.model, None)
    assert record.metadata["usage_status"] == "partial"


def test_a_stream_that_is_refused_is_recorded_with_its_error(
    client: Any, streaming: Streaming, stub: ProviderStub, writer: MemoryWriter
) -> None:
    stub.fail_next(429)
    with pytest.raises(Exception, match="429"):
        streaming.ask(client)
    assert writer.only.error in (
        "RateLimitError: HTTP 429 rate_limit_exceeded",
        "RateLimitError: HTTP 429 rate_limit_error",
    )
    assert "usage_status" not in writer.only.metadata


async def test_an_async_stream_read_to_its_end_is_recorded_once(
    async_client: Any, streaming: Streaming, stub: ProviderStub, writer: MemoryWriter
) -> None:
    stream = await streaming.ask(async_client)
    assert len([event async for event in stream]) > 5
    check_whole(writer.only, streaming, stub)


async def test_an_async_stream_that_is_cancelled_is_recorded_in_part(
    async_client: Any, streaming: Streaming, stub: ProviderStub, writer: MemoryWriter
) -> None:
    stub.hold_next(streaming.first_words)
    stream = await streaming.ask(async_client)
    has_begun = asyncio.Event()

    async def read() -> None:
        async for _ in stream:
            has_begun.set()

    task = asyncio.create_task(read())
    await has_begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    check_partial(writer.only, streaming, "CancelledError")
    await stream.close()
    assert len(writer.records) == 1


async def test_an_async_stream_closed_early_is_recorded_in_part(
    async_client: Any, streaming: Streaming, stub: ProviderStub, writer: MemoryWriter
) -> None:
    stub.hold_next(streaming.first_words)
    stream = await streaming.ask(async_client)
    await anext(stream)
    await stream.close()
    check_partial(writer.only, streaming, None)


async def test_an_async_stream_whose_connection_breaks_is_recorded_in_part_with_its_error(
    async_client: Any, streaming: Streaming, stub: ProviderStub, writer: MemoryWriter
) -> None:
    stub.cut_next(streaming.first_words)
    with pytest.raises(Exception, match=BROKEN):
        async for _ in await streaming.ask(async_client):
            pass
    check_partial(writer.only, streaming, "RemoteProtocolError")


async def test_an_async_stream_that_is_dropped_is_recorded_in_part(
    async_client: Any, streaming: Streaming, stub: ProviderStub, writer: MemoryWriter
) -> None:
    stub.hold_next(streaming.first_words)
    stream = await streaming.ask(async_client)
    await anext(stream)
    del stream
    gc.collect()
    # The loop closes what is left of its generators.
    for _ in range(3_000):
        if writer.records:
            break
        await asyncio.sleep(0.01)
    check_partial(writer.only, streaming, None)
