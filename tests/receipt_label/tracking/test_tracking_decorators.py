"""Decorated functions: what they return tells the usage, and they stay what they are."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import anthropic
import openai
import pytest

from receipt_label.testing import ProviderStub
from receipt_label.tracking import AIUsageTracker, ResilientAIUsageTracker
from support.memory_writer import MemoryWriter

QUESTION: list[Any] = [{"role": "user", "content": "How much was the bread?"}]
ASK: Any = {"model": "claude-haiku-4-5", "max_tokens": 100, "messages": QUESTION}


@pytest.fixture
def plain(stub: ProviderStub) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="any", base_url=stub.openai_base_url) as made:
        yield made


@pytest.fixture
def claude(stub: ProviderStub) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(api_key="any", base_url=stub.anthropic_base_url) as made:
        yield made


def test_a_completion_is_recorded(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter, plain: openai.OpenAI
) -> None:
    @tracker.track_openai_completion
    def ask(question: list[Any], *, model: str) -> Any:
        return plain.chat.completions.create(model=model, messages=question)

    reply = ask(QUESTION, model="gpt-4o-2024-08-06")

    record = writer.only
    assert (record.service, record.operation) == ("openai", "completion")
    assert (record.model, record.request_id) == ("gpt-4o-2024-08-06", reply.id)
    assert (record.total_tokens, record.cost_usd) == (15, Decimal("0.000105"))


def test_embeddings_are_recorded_and_none_is_too_small(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter, plain: openai.OpenAI
) -> None:
    @tracker.track_openai_embedding
    def embed(text: str) -> Any:
        return plain.embeddings.create(model="text-embedding-3-small", input=text)

    embed("rye")
    embed("rye")

    record = writer.records[0]
    assert (record.operation, record.input_tokens, record.total_tokens) == ("embedding", 1, 1)
    assert record.cost_usd == Decimal("0.00000002")
    assert len({found.request_id for found in writer.records}) == 2


def test_a_message_is_recorded(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter, claude: anthropic.Anthropic
) -> None:
    reply = tracker.track_anthropic_completion(claude.messages.create)(**ASK)
    assert (writer.only.service, writer.only.request_id) == ("anthropic", reply.id)
    assert writer.only.cost_usd == Decimal("0.000051")


@pytest.mark.parametrize(
    "answer",
    [
        {"id": "r1", "model": "gpt-4o", "usage": {"prompt_tokens": 6, "completion_tokens": 9}},
        SimpleNamespace(
            id="r1",
            model="gpt-4o",
            usage=SimpleNamespace(prompt_tokens=6, completion_tokens=9),
        ),
    ],
    ids=["dict", "object"],
)
def test_plain_json_and_any_object_are_read(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter, answer: Any
) -> None:
    assert tracker.track_openai_completion(lambda: answer)() is answer
    assert (writer.only.request_id, writer.only.cost_usd) == ("r1", Decimal("0.000105"))


async def test_an_async_function_is_recorded_when_it_is_done(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    """The record was written before the await, without tokens and with 0 ms."""
    may_end = asyncio.Event()

    @tracker.track_openai_completion
    async def ask() -> Any:
        await may_end.wait()
        return {"id": "r1", "usage": {"prompt_tokens": 1, "completion_tokens": 2}}

    assert inspect.iscoroutinefunction(ask)
    seconds = 10.0
    tracker._recorder._clock = lambda: seconds
    task = asyncio.create_task(ask())
    await asyncio.sleep(0)
    assert writer.records == []
    seconds += 0.0418
    may_end.set()
    await task
    assert writer.only.total_tokens == 3
    assert writer.only.latency_ms == 42


def test_the_timestamp_is_that_of_the_start(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    inside: list[datetime] = []

    @tracker.track_openai_completion
    def ask() -> None:
        inside.append(datetime.now(UTC))

    before = datetime.now(UTC)
    ask()
    assert before <= writer.only.timestamp <= inside[0]


def test_places_are_recorded_with_their_operation(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    @tracker.track_google_places("nearby_search")
    def search(text: str) -> list[str]:
        return [text]

    assert search("bakery") == ["bakery"]
    record = writer.only
    assert (record.service, record.operation) == ("google_places", "nearby_search")
    assert (record.model, record.api_calls, record.cost_usd) == ("places_api", 1, None)
    assert tracker.get_stats().unpriced == 1
    assert "bakery" not in repr(record)


@pytest.mark.parametrize(
    ("how", "sku", "tier"),
    [
        ({"field_mask": "places.rating"}, "places_api_nearby_search_enterprise", "enterprise"),
        ({"legacy": True}, "places_nearby_search+basic_data+contact_data+atmosphere_data", None),
    ],
)
def test_places_say_as_what_they_are_billed(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter, how: Any, sku: str, tier: str | None
) -> None:
    tracker.track_google_places("nearby_search", **how)(list)()
    assert writer.only.metadata["sku"] == sku
    assert writer.only.metadata.get("field_tier") == tier


@pytest.mark.parametrize(
    ("operation", "cost"),
    [
        ("place_details", "0.025"),
        ("place_search", "0.040"),
        ("place_autocomplete", "0.00283"),
        ("place_photo", "0.007"),
        ("geocoding", "0.005"),
    ],
)
def test_places_by_their_earlier_names_have_a_price(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter, operation: str, cost: str
) -> None:
    tracker.track_google_places(operation)(dict)()
    assert (writer.only.operation, writer.only.cost_usd) == (operation, Decimal(cost))
    assert writer.only.metadata["pricing"]["status"] == "estimated"


async def test_async_places_are_recorded(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    @tracker.track_google_places("details")
    async def find() -> str:
        return "found"

    assert await find() == "found"
    assert writer.only.operation == "details"


def test_errors_are_recorded_by_type_and_raised_unchanged(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    error = ValueError("prompt: secret")

    @tracker.track_openai_completion
    def ask(*, model: str) -> Any:
        raise error

    with pytest.raises(ValueError, match="secret") as caught:
        ask(model="gpt-4o")

    assert caught.value is error
    assert (writer.only.error, writer.only.model) == ("ValueError", "gpt-4o")
    assert "secret" not in repr(writer.only)
    assert tracker.get_stats().unpriced == 0


async def test_a_cancelled_function_is_recorded(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    @tracker.track_anthropic_completion
    async def ask() -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(ask())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert writer.only.error == "CancelledError"


def test_the_status_of_an_http_error_is_kept(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter, plain: openai.OpenAI, stub: ProviderStub
) -> None:
    stub.fail_next(404)
    with pytest.raises(openai.NotFoundError):
        tracker.track_openai_completion(plain.chat.completions.create)(
            model="gpt-4o", messages=QUESTION
        )
    assert writer.only.error == "NotFoundError: HTTP 404 invalid_request_error"


def test_a_stream_of_a_plain_client_is_recorded_when_it_ends(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter, plain: openai.OpenAI
) -> None:
    """Tracking took ``len()`` of a generator, and raised into the caller."""

    @tracker.track_openai_completion
    def ask() -> Any:
        options = {"include_usage": True}
        return plain.chat.completions.create(
            model="gpt-4o", messages=QUESTION, stream=True, stream_options=options
        )

    stream = ask()
    assert type(stream) is openai.Stream
    assert writer.records == []
    *_, last = stream
    record = writer.only
    assert (record.request_id, record.total_tokens) == (last.id, 15)
    assert record.metadata["time_to_first_token_ms"] <= record.latency_ms

    with ask() as broken_off:
        next(broken_off)
    assert writer.records[1].metadata["usage_status"] == "partial"
    assert tracker.get_stats().untracked == 0


async def test_a_stream_of_an_async_function_is_recorded(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter, stub: ProviderStub
) -> None:
    async with anthropic.AsyncAnthropic(api_key="any", base_url=stub.anthropic_base_url) as plain:
        stream = await tracker.track_anthropic_completion(plain.messages.create)(**ASK, stream=True)
        assert len([event async for event in stream]) > 5
    assert (writer.only.model, writer.only.total_tokens) == ("claude-haiku-4-5", 15)


def test_a_stream_that_cannot_be_watched_passes_and_is_counted(
    tracker: ResilientAIUsageTracker,
    writer: MemoryWriter,
    plain: openai.OpenAI,
    claude: anthropic.Anthropic,
) -> None:
    def ask_and_read_a_little() -> Any:
        stream = plain.chat.completions.create(model="gpt-4o", messages=QUESTION, stream=True)
        next(stream)
        return stream

    assert len(list(tracker.track_openai_completion(ask_and_read_a_little)())) > 2
    assert list(tracker.track_openai_completion(lambda: iter("ab"))()) == ["a", "b"]
    with tracker.track_anthropic_completion(claude.messages.stream)(**ASK) as stream:
        stream.get_final_message()

    assert writer.records == []
    assert tracker.get_stats().untracked == 3


def test_a_stream_of_a_wrapped_client_is_one_record(
    tracker: ResilientAIUsageTracker,
    writer: MemoryWriter,
    plain: openai.OpenAI,
    claude: anthropic.Anthropic,
) -> None:
    client, messages = tracker.wrap_openai(plain), tracker.wrap_anthropic(claude).messages
    create = functools.partial(client.chat.completions.create, model="gpt-4o", messages=QUESTION)

    assert list(tracker.track_openai_completion(create)(stream=True))
    with tracker.track_anthropic_completion(messages.stream)(**ASK) as stream:
        assert stream.get_final_message().usage.output_tokens == 9

    assert len(writer.records) == 2
    assert {record.error for record in writer.records} == {None}


def test_a_stream_that_is_read_inside_is_one_record(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter, claude: anthropic.Anthropic
) -> None:
    messages = tracker.wrap_anthropic(claude).messages

    @tracker.track_anthropic_completion
    def ask() -> Any:
        with messages.stream(**ASK) as stream:
            return stream.get_final_message()

    assert ask().usage.output_tokens == writer.only.output_tokens


async def test_an_sdks_async_method_is_recorded_when_it_is_done(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter, stub: ProviderStub
) -> None:
    """It is a plain function that returns a coroutine."""
    async with openai.AsyncOpenAI(api_key="any", base_url=stub.openai_base_url) as plain:
        ask = tracker.track_openai_completion(plain.chat.completions.create)
        reply = await ask(model="gpt-4o", messages=QUESTION)
        stub.fail_next(404)
        with pytest.raises(openai.NotFoundError):
            await ask(model="gpt-4o", messages=QUESTION)

    assert [record.total_tokens for record in writer.records] == [15, None]
    assert writer.records[0].request_id == reply.id


async def test_partials_and_objects_that_can_be_called_stay_async(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    class Asker:
        async def __call__(self, text: str) -> Any:
            return {"id": text, "usage": {"prompt_tokens": 1, "completion_tokens": 2}}

    for given in (Asker(), functools.partial(Asker().__call__)):
        ask = tracker.track_openai_completion(given)
        assert inspect.iscoroutinefunction(ask)
        await ask("r1")
    assert [record.total_tokens for record in writer.records] == [3, 3]


def test_what_the_caller_marks_is_priced_as_a_batch(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter, plain: openai.OpenAI
) -> None:
    """And the mark is no argument of the function, nor of the SDK."""
    given: list[Any] = []

    @tracker.track_openai_completion(batch=True)
    def read_result(**kwargs: Any) -> Any:
        given.append(kwargs)
        return plain.chat.completions.create(**kwargs)

    read_result(model="gpt-4o", messages=QUESTION)
    assert given == [{"model": "gpt-4o", "messages": QUESTION}]
    assert writer.only.cost_usd == Decimal("0.0000525")
    assert writer.only.metadata["service_tier"] == "batch"
    with pytest.raises(TypeError, match="batch is of type str; accepted is bool"):
        tracker.track_anthropic_completion(batch="yes")  # type: ignore[call-overload]


def test_a_reply_that_can_be_iterated_is_no_stream(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    """The replies of users' own tests are often a MagicMock, which can do everything."""
    reply = MagicMock(id="chatcmpl-1", model="gpt-4o-mini")
    reply.usage.prompt_tokens = 10
    reply.usage.completion_tokens = 5

    assert tracker.track_openai_completion(lambda: reply)() is reply
    assert (writer.only.request_id, writer.only.total_tokens) == ("chatcmpl-1", 15)
    assert writer.only.cost_usd == Decimal("0.0000045")
    invalid = writer.only.metadata["invalid_fields"]
    assert sorted(invalid) == sorted(set(invalid))


def test_a_reply_that_cannot_be_read_does_not_raise_into_the_caller(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    class Hostile:
        @property
        def usage(self) -> Any:
            raise RuntimeError("no usage today")

    hostile = Hostile()
    assert tracker.track_openai_completion(lambda: hostile)() is hostile
    assert (writer.only.model, writer.only.cost_usd) == ("unknown", None)
    assert tracker.get_stats().failed == 1


def test_arguments_pass_unchanged(tracker: ResilientAIUsageTracker) -> None:
    """``is_batch`` and the like were taken away, or passed on to the SDK."""

    @tracker.track_openai_completion
    def ask(*args: Any, **kwargs: Any) -> Any:
        """Ask."""
        return args, kwargs

    assert ask(1, is_batch=True, model=None) == ((1,), {"is_batch": True, "model": None})
    assert (ask.__name__, ask.__doc__) == ("ask", "Ask.")


def test_a_wrapped_client_in_a_decorated_function_gives_one_record(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter, plain: openai.OpenAI
) -> None:
    client = tracker.wrap_openai(plain)
    create = functools.partial(client.chat.completions.create, model="gpt-4o", messages=QUESTION)
    raw = functools.partial(
        client.chat.completions.with_raw_response.create, model="gpt-4o", messages=QUESTION
    )
    decorate = tracker.track_openai_completion

    decorate(create)()
    decorate(lambda: create().choices[0].message.content)()
    decorate(lambda: create().model_copy())()
    decorate(lambda: raw().parse())()
    decorate(decorate(create))()

    assert len(writer.records) == 5
    assert {record.total_tokens for record in writer.records} == {15}


def test_a_failed_call_of_a_wrapped_client_gives_one_record(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter, plain: openai.OpenAI, stub: ProviderStub
) -> None:
    client = tracker.wrap_openai(plain)

    @tracker.track_openai_completion
    def ask() -> Any:
        return client.chat.completions.create(model="gpt-4o", messages=QUESTION)

    stub.fail_next(400)
    with pytest.raises(openai.BadRequestError):
        ask()
    assert writer.only.error == "BadRequestError: HTTP 400 invalid_request_error"


def test_a_response_from_a_cache_is_recorded_once(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter, plain: openai.OpenAI
) -> None:
    @tracker.track_openai_completion
    @functools.cache
    def ask() -> Any:
        return plain.chat.completions.create(model="gpt-4o", messages=QUESTION)

    assert ask() is ask()
    assert len(writer.records) == 1


def test_reused_ids_in_decorated_functions_are_records_of_their_own(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    @tracker.track_openai_completion
    def ask() -> Any:
        return {"id": "chatcmpl-123", "usage": {"prompt_tokens": 1, "completion_tokens": 1}}

    for _ in range(100):
        ask()
    assert len({record.key for record in writer.records}) == 100


def test_a_marked_response_looks_and_compares_as_before(
    tracker: ResilientAIUsageTracker, plain: openai.OpenAI
) -> None:
    bare = plain.chat.completions.create(model="gpt-4o", messages=QUESTION)
    twin = bare.model_copy(deep=True)
    tracker.track_openai_completion(lambda: bare)()
    assert bare == twin
    assert bare.model_dump() == twin.model_dump()
    assert vars(bare).keys() == vars(twin).keys()


@pytest.mark.parametrize("thing", ["ask", 7])
def test_what_is_no_function_is_refused(tracker: ResilientAIUsageTracker, thing: Any) -> None:
    with pytest.raises(TypeError, match="function is of type"):
        tracker.track_openai_completion(thing)


def test_places_need_an_operation(tracker: ResilientAIUsageTracker) -> None:
    with pytest.raises(ValueError, match="operation is ' '"):
        tracker.track_google_places(" ")


async def test_writing_straight_through_leaves_the_event_loop(stub: ProviderStub) -> None:
    """A slow DynamoDB must not hold up every other task."""
    import threading

    class Slow(MemoryWriter):
        def put_ai_usage_metric(self, metric: Any) -> bool:
            threads.append(threading.current_thread())
            return super().put_ai_usage_metric(metric)

    threads: list[threading.Thread] = []
    tracker = AIUsageTracker(Slow())

    @tracker.track_openai_completion
    async def ask() -> Any:
        return {"id": "r1"}

    await ask()
    async with openai.AsyncOpenAI(api_key="any", base_url=stub.openai_base_url) as plain:
        await tracker.wrap_openai(plain).chat.completions.create(model="gpt-4o", messages=QUESTION)

    assert len(threads) == 2
    assert threading.main_thread() not in threads
