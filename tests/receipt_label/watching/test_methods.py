"""Clients each of whose methods is a call: the hooks on them, and the streams that they return."""

from __future__ import annotations

import gc
import inspect
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractContextManager, aclosing, closing, suppress
from typing import Any, Self

import pytest

from receipt_label.pricing import TokenUsage
from receipt_label.providers import UNTRACKED, MethodClients, Operation, ProviderReply
from receipt_label.testing import UsageInMemory
from receipt_label.watching.methods import watch_methods


class Parts:
    """A stream of the SDK's own: an iterator that can be entered and closed."""

    def __init__(self, parts: list[Any]) -> None:
        self.parts = parts
        self.is_closed = False

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if not self.parts:
            raise StopIteration
        part = self.parts.pop(0)
        if isinstance(part, Exception):
            raise part
        return part

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self.is_closed = True


class AsyncParts(Parts):
    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return next(self)
        except StopIteration:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()

    async def aclose(self) -> None:
        self.close()


class Manager(AbstractContextManager[Parts]):
    """Gives a stream when it is entered."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def __enter__(self) -> Parts:
        return self.parts

    def __exit__(self, *exc_info: object) -> None:
        self.parts.close()


class Iterable:
    """A stream that is read by a loop, and has no more than that."""

    def __iter__(self) -> Iterator[Any]:
        yield from PARTS


class AsyncIterable:
    async def __aiter__(self) -> AsyncIterator[Any]:
        for part in PARTS:
            yield part


class Whole(dict[str, int]):
    """A reply that can be iterated."""


PARTS: list[Any] = [{"text": "a"}, {"text": "b", "tokens": 7}]
REPLY = {"tokens": 7}


class Chat:
    def ask(self, prompt: str, model: str = "small") -> dict[str, int]:
        if prompt == "fail":
            raise ValueError(prompt)
        return REPLY

    def open(self, model: str = "small") -> Parts:
        return Parts(list(PARTS))

    def manage(self) -> Manager:
        return Manager(Parts(list(PARTS)))

    def generate(self) -> Iterator[Any]:
        yield from PARTS

    def aopen(self) -> AsyncParts:
        return AsyncParts(list(PARTS))

    async def agenerate(self) -> AsyncIterator[Any]:
        for part in PARTS:
            yield part

    def break_off(self) -> Parts:
        return Parts([PARTS[1], ConnectionError("secret")])

    def open_iterable(self) -> Iterable:
        return Iterable()

    async def aopen_iterable(self) -> AsyncIterable:
        return AsyncIterable()

    def ask_whole(self) -> Whole:
        return Whole(tokens=7)

    def ask_simply(self) -> dict[str, int]:
        return self.ask("a")

    def list_models(self) -> list[str]:
        return ["small"]


class Client(Chat):
    def __init__(self) -> None:
        self.chat = Chat()


def read(reply: Any, request: Mapping[str, Any]) -> ProviderReply:
    tokens = reply.get("tokens") if isinstance(reply, dict) else None
    usage = None if tokens is None else TokenUsage(input_tokens=0, output_tokens=tokens)
    return ProviderReply(usage=usage, details={"prompt": request.get("prompt") is not None})


def find(request: Mapping[str, Any]) -> Operation | None:
    if request.get("prompt") == "again":
        return None
    return UNTRACKED if request["prompt"] == "free" else Operation(name="ask", read=read)


STREAM = Operation(name="stream", read=read, streams=True)
METHODS = (
    "open",
    "manage",
    "generate",
    "aopen",
    "agenerate",
    "break_off",
    "open_iterable",
    "aopen_iterable",
    "ask_whole",
)
KIND = MethodClients(
    classes=(f"{__name__}.Client",),
    methods={
        "ask": find,
        "chat.ask": Operation(name="chat", read=read),
        "ask_simply": Operation(name="ask_simply", read=read),
        "no.such": STREAM,
        "nothing": STREAM,
        **dict.fromkeys(METHODS, STREAM),
    },
)


@pytest.fixture
def plain() -> Client:
    return Client()


@pytest.fixture
def client(plain: Client, ai_usage: UsageInMemory) -> Client:
    return watch(plain, ai_usage)


def watch(client: Client, usage: UsageInMemory) -> Client:
    return watch_methods(client, "acme", KIND, usage.tracker._recorder)


def list_tokens(usage: UsageInMemory) -> list[tuple[str, int | None, str | None]]:
    return [
        (record.operation, record.output_tokens, record.metadata.get("usage_status"))
        for record in usage.records
    ]


def test_a_reply_that_comes_twice_is_two_calls(client: Client, ai_usage: UsageInMemory) -> None:
    assert client.ask("a") is client.ask(prompt="b", model="large") is REPLY
    assert list_tokens(ai_usage) == [("ask", 7, None)] * 2
    assert [record.model for record in ai_usage.records] == ["unknown", "large"]
    assert all(record.metadata["prompt"] for record in ai_usage.records)


def test_a_positional_model_is_known(client: Client, ai_usage: UsageInMemory) -> None:
    client.ask("a", "large")
    assert ai_usage.records[0].model == "large"


def test_a_part_of_the_client_is_watched_on_a_copy(
    plain: Client, client: Client, ai_usage: UsageInMemory
) -> None:
    assert client.chat is not plain.chat
    assert type(client.chat) is Chat
    plain.chat.ask("a")
    assert ai_usage.records == []
    client.chat.ask("a")
    assert list_tokens(ai_usage) == [("chat", 7, None)]


def test_what_is_no_call_is_not_recorded(client: Client, ai_usage: UsageInMemory) -> None:
    assert client.ask("again") is client.ask("free") is REPLY
    assert client.list_models() == ["small"]
    assert ai_usage.records == []
    assert ai_usage.tracker.get_stats().untracked == 1


def test_errors_are_recorded_and_pass(client: Client, ai_usage: UsageInMemory) -> None:
    with pytest.raises(ValueError, match="fail"):
        client.ask("fail")
    with pytest.raises(TypeError):
        client.ask()  # type: ignore[call-arg]
    assert [record.error for record in ai_usage.records] == ["ValueError"]
    assert ai_usage.tracker.get_stats().failed == 1  # without a prompt nobody knows what is asked


def test_the_methods_are_as_without_it(plain: Client, client: Client) -> None:
    for name in ("ask", *METHODS):
        ours, theirs = getattr(client, name), getattr(plain, name)
        assert inspect.signature(ours) == inspect.signature(theirs)
        for is_one in (inspect.isgeneratorfunction, inspect.isasyncgenfunction):
            assert is_one(ours) == is_one(theirs)


def test_wrapped_twice_is_recorded_once(client: Client, ai_usage: UsageInMemory) -> None:
    assert watch(client, ai_usage) is client
    other = UsageInMemory()
    both = watch(client, other)
    both.ask("a")
    both.chat.ask("a")
    both.ask_simply()
    assert ai_usage.records == []
    assert [record.operation for record in other.records] == ["ask", "chat", "ask"]


def test_a_method_that_the_sdk_sets_on_the_instance_stays(
    plain: Client, ai_usage: UsageInMemory
) -> None:
    plain.ask = lambda prompt: {"tokens": 9}  # type: ignore[assignment, misc]
    other = UsageInMemory()
    watch(watch(plain, ai_usage), other).ask("a")
    assert list_tokens(other) == [("ask", 9, None)]
    assert ai_usage.records == []


def test_a_client_whose_attributes_cannot_be_set_is_refused(ai_usage: UsageInMemory) -> None:
    class Closed(Client):
        def __init__(self) -> None: ...

        chat = property(lambda self: Chat())  # type: ignore[assignment]

    with pytest.raises(TypeError, match=r"of type Closed cannot be watched: .*chat"):
        watch(Closed(), ai_usage)


def test_a_stream_is_recorded_at_its_end(client: Client, ai_usage: UsageInMemory) -> None:
    for stream in (client.open(), client.generate()):
        assert next(stream) == PARTS[0]
        count = len(ai_usage.records)
        assert list(stream) == PARTS[1:]
        assert len(ai_usage.records) == count + 1
    assert list_tokens(ai_usage) == [("stream", 7, None)] * 2
    assert "time_to_first_token_ms" in ai_usage.records[0].metadata


def test_a_stream_is_still_of_its_class(client: Client) -> None:
    stream = client.open()
    assert isinstance(stream, Parts)
    assert stream.is_closed is False
    with stream as entered:
        assert entered is stream
    assert stream.is_closed is True


def test_a_stream_that_is_closed_early_is_partial(client: Client, ai_usage: UsageInMemory) -> None:
    with closing(client.open()) as stream:
        next(stream)
    with client.open() as stream:
        next(stream)
    with closing(client.generate()) as generated:  # type: ignore[type-var]
        next(generated)
    with client.manage() as stream:
        next(stream)
    assert list_tokens(ai_usage) == [("stream", None, "partial")] * 4


def test_a_manager_gives_a_stream_that_is_watched(client: Client, ai_usage: UsageInMemory) -> None:
    with client.manage() as stream:
        assert list(stream) == PARTS
    assert list_tokens(ai_usage) == [("stream", 7, None)]
    with suppress(KeyError), client.manage():
        raise KeyError
    assert len(ai_usage.records) == 2


def test_a_stream_that_is_dropped_is_recorded(client: Client, ai_usage: UsageInMemory) -> None:
    client.open()
    next(client.open())
    gc.collect()
    assert [tokens for _, tokens, _ in list_tokens(ai_usage)] == [None, None]


def test_a_stream_that_breaks_has_its_error(client: Client, ai_usage: UsageInMemory) -> None:
    stream = client.break_off()
    with pytest.raises(ConnectionError):
        list(stream)
    stream.close()
    (record,) = ai_usage.records
    assert (record.error, record.output_tokens) == ("ConnectionError", 7)
    assert "secret" not in repr(record)


async def test_streams_of_asyncio_are_the_same(client: Client, ai_usage: UsageInMemory) -> None:
    for stream in (client.aopen(), client.agenerate()):
        assert [part async for part in stream] == PARTS
    async with aclosing(client.aopen()) as parts:
        await anext(parts)
    async with client.aopen() as parts:
        await anext(parts)
    with pytest.raises(ConnectionError):
        async for _ in watch_broken(client):
            pass
    assert list_tokens(ai_usage) == [
        *[("stream", 7, None)] * 2,
        *[("stream", None, "partial")] * 2,
        ("stream", 7, "partial"),
    ]


async def test_whatever_can_be_read_by_a_loop_is_a_stream(
    client: Client, ai_usage: UsageInMemory
) -> None:
    assert list(client.open_iterable()) == PARTS
    assert [part async for part in await client.aopen_iterable()] == PARTS
    assert list_tokens(ai_usage) == [("stream", 7, None)] * 2


def test_a_reply_that_can_be_iterated_is_none(client: Client, ai_usage: UsageInMemory) -> None:
    assert type(client.ask_whole()) is Whole
    assert list_tokens(ai_usage) == [("stream", 7, None)]


def watch_broken(client: Client) -> AsyncParts:
    stream = client.aopen()
    stream.parts[:] = [PARTS[1], ConnectionError("secret")]
    return stream
