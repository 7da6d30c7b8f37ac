"""``tracked``: calls of services that are not known here; the user's functions tell the usage."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from receipt_label.pricing import PriceBook, TokenPrice, TokenUsage
from receipt_label.tracking import ResilientAIUsageTracker
from support.memory_writer import MemoryWriter

PRICES = PriceBook(
    {("bedrock", "nova"): TokenPrice(input=Decimal(1), output=Decimal(2))}
)  # USD for a million tokens


@pytest.fixture
def tracker(writer: MemoryWriter) -> ResilientAIUsageTracker:
    return ResilientAIUsageTracker(writer, price_book=PRICES)


def read_usage(result: Any) -> dict[str, Any] | None:
    told = result.get("usage")
    return told and {"input_tokens": told["in"], "output_tokens": told["out"]}


REPLY = {"model": "nova", "usage": {"in": 10, "out": 5}}


def test_a_call_is_recorded_and_priced(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    @tracker.tracked("Bedrock", "completion", usage=read_usage)
    def ask(text: str) -> Any:
        return REPLY

    assert ask("bread") is REPLY
    record = writer.only
    assert (record.service, record.operation, record.model) == ("bedrock", "completion", "nova")
    assert (record.input_tokens, record.output_tokens) == (10, 5)
    assert record.cost_usd == Decimal("0.00002")
    assert "bread" not in repr(record)


def test_a_token_usage_is_taken_as_it_is(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    usage = TokenUsage(input_tokens=10, output_tokens=5, cache_read_tokens=4)
    tracker.tracked("bedrock", "completion", model="nova", usage=lambda _: usage)(list)()
    assert (writer.only.model, writer.only.cost_usd) == ("nova", Decimal("0.00002"))


def test_without_functions_it_counts_and_times(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    tracker.tracked("ocr", "scan")(list)()
    assert (writer.only.model, writer.only.cost_usd) == ("unknown", None)
    assert writer.only.latency_ms is not None
    assert tracker.get_stats().unpriced == 1


@pytest.mark.parametrize(
    ("cost", "exact"),
    [
        (0.1, Decimal("0.1")),
        ("0.07", Decimal("0.07")),
        (Decimal("1e-9"), Decimal("0.000000001")),
        (0, Decimal(0)),
        (lambda result: result["price"], Decimal("0.3")),
        (lambda result: None, None),
    ],
)
def test_what_the_service_tells_of_the_cost_comes_first(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter, cost: Any, exact: Decimal | None
) -> None:
    tracker.tracked("ocr", "scan", cost_usd=cost)(lambda: {"price": 0.3})()
    assert writer.only.cost_usd == exact
    if exact is not None:
        assert writer.only.metadata["pricing"] == {"source": "caller", "status": "priced"}
        assert tracker.get_stats().unpriced == 0


async def test_async_functions(tracker: ResilientAIUsageTracker, writer: MemoryWriter) -> None:
    @tracker.tracked("bedrock", "completion", usage=read_usage)
    async def ask() -> Any:
        return REPLY

    assert inspect.iscoroutinefunction(ask)
    await ask()
    assert writer.only.total_tokens == 15


async def test_of_a_generator_the_last_answer_counts(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    decorate = tracker.tracked("bedrock", "completion", usage=read_usage, cost_usd=read_cost)

    @decorate
    def stream() -> Iterator[Any]:
        yield {"text": "four"}
        yield {"usage": {"in": 1, "out": 1}}
        yield REPLY | {"price": "0.5"}
        yield {"text": "euros"}

    @decorate
    async def astream() -> AsyncIterator[Any]:
        for item in stream.__wrapped__():  # type: ignore[attr-defined]
            yield item

    @decorate
    def returning() -> Any:
        yield {"text": "four"}
        return REPLY | {"price": "0.5"}

    assert len(list(stream())) == 4
    assert len([item async for item in astream()]) == 4
    assert len(list(returning())) == 1
    assert [record.total_tokens for record in writer.records] == [15, 15, 15]
    assert {record.cost_usd for record in writer.records} == {Decimal("0.5")}


def read_cost(result: Any) -> Any:
    return result.get("price")


def test_a_stopped_generator_costs_what_is_known_and_says_so(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    @tracker.tracked("bedrock", "completion", usage=read_usage, cost_usd="0.01")
    def stream() -> Iterator[Any]:
        yield REPLY
        yield REPLY

    for _ in stream():
        break
    assert writer.only.cost_usd == Decimal("0.01")
    assert writer.only.metadata["pricing"] == {"source": "caller", "status": "partial"}
    assert writer.only.metadata["usage_status"] == "partial"


@pytest.mark.parametrize("bad", [{"cost_usd": lambda _: -1}, {"cost_usd": lambda _: "much"}])
@pytest.mark.parametrize("fails", [lambda _: 1 / 0, lambda _: 7, lambda _: [1]])
def test_a_function_that_fails_is_counted_and_the_call_recorded(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter, fails: Any, bad: dict[str, Any]
) -> None:
    ask = tracker.tracked("bedrock", "completion", usage=fails)(lambda: REPLY)
    assert ask() is REPLY
    assert tracker.tracked("ocr", "scan", **bad)(lambda: REPLY)() is REPLY
    assert [record.cost_usd for record in writer.records] == [None, None]
    assert tracker.get_stats().failed == 2


def test_what_makes_no_sense_in_a_usage_is_left_out_and_named(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    told = {
        "input_tokens": 10,
        "output_tokens": -1,
        "cache_read_tokens": True,
        "sku": 7,
        "audio_seconds": Decimal("NaN"),
        "is_interrupted": "no",
        "prompt": "bread",
        "images": None,
    }
    tracker.tracked("bedrock", "completion", usage=lambda _: told)(list)()
    assert (writer.only.input_tokens, writer.only.output_tokens) == (10, None)
    assert writer.only.metadata["invalid_fields"] == [
        "usage.audio_seconds",
        "usage.cache_read_tokens",
        "usage.is_interrupted",
        "usage.output_tokens",
        "usage.prompt",
        "usage.sku",
    ]


def test_a_failed_call_costs_nothing_that_is_known(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    with pytest.raises(ZeroDivisionError):
        tracker.tracked("ocr", "scan", cost_usd="0.01")(lambda: 1 / 0)()
    assert (writer.only.error, writer.only.cost_usd) == ("ZeroDivisionError", None)


def test_a_result_that_can_be_entered_is_a_result(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    """An HTTP library's response is a context manager, and often an iterator."""
    response = SimpleNamespace(__enter__=None, __next__=None)
    tracker.tracked("ocr", "scan")(lambda: response)()
    assert len(writer.records) == 1


def test_batches_are_priced_as_such(writer: MemoryWriter) -> None:
    tracker = ResilientAIUsageTracker(writer)
    usage = {"input_tokens": 6, "output_tokens": 9}
    ask = tracker.tracked(
        "openai", "completion", model="gpt-4o", usage=lambda _: usage, batch=True
    )(list)
    ask()
    assert writer.only.cost_usd == Decimal("0.0000525")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"service": ""}, ValueError, "service is ''"),
        ({"service": 7}, TypeError, "service is of type int"),
        ({"operation": " "}, ValueError, "operation is ' '"),
        ({"model": ""}, ValueError, "model is ''"),
        ({"usage": {}}, TypeError, "usage is of type dict; accepted are a function and None"),
        ({"cost_usd": -1}, ValueError, "cost_usd is -1; accepted are finite numbers, 0 or more"),
        ({"cost_usd": float("nan")}, ValueError, "cost_usd is nan"),
        ({"cost_usd": "much"}, ValueError, "cost_usd is 'much'"),
        ({"cost_usd": True}, TypeError, "cost_usd is of type bool"),
        ({"cost_usd": []}, TypeError, "cost_usd is of type list; accepted are Decimal"),
        ({"batch": 1}, TypeError, "batch is of type int; accepted is bool"),
    ],
)
def test_a_mistake_shows_at_decoration(
    tracker: ResilientAIUsageTracker,
    arguments: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        tracker.tracked(**{"service": "ocr", "operation": "scan", **arguments})
