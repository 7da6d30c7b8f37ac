"""No lock of ours is held while code of the user's runs: trackers, prices, copies, contexts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

import receipt_label
from receipt_dynamo import AIUsageMetric
from receipt_label import (
    AIUsageTracker,
    ClientConfig,
    ClientManager,
    Environment,
    ResilientAIUsageTracker,
    ai_usage_context,
    bind_usage_context,
)
from receipt_label.pricing import Price, PriceBook, TokenPrice, TokenUsage
from receipt_label.tracking import UsageLogFile
from support.held_locks import UserCode, find_callables, find_owners, watched_locks
from support.memory_writer import MemoryWriter

OWNERS: Final = find_owners(receipt_label)
TRACKERS: Final = (AIUsageTracker, ResilientAIUsageTracker)


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> Iterator[UserCode]:
    with watched_locks(monkeypatch) as user:
        yield user


class Prices(PriceBook):
    """The user's own way to price a call."""

    user: UserCode

    def price(self, service: str, model: str, usage: TokenUsage, timestamp: datetime) -> Price:
        self.user.run("price_book.price")
        return super().price(service, model, usage, timestamp)


class Copies(UsageLogFile):
    """The user's own way to keep copies."""

    user: UserCode

    def write(self, metric: AIUsageMetric) -> None:
        self.user.run("usage_log.write")
        super().write(metric)


class Writer(MemoryWriter):
    """The user's own client, which fails at each second record."""

    user: UserCode

    def put_ai_usage_metric(self, metric: AIUsageMetric) -> bool:
        self.user.run("dynamo_client.put_ai_usage_metric")
        if len(self.records) % 2:
            self.records.append(metric)
            raise ConnectionError
        return super().put_ai_usage_metric(metric)


class Number(Decimal):
    """A price of the user's own type."""

    user: UserCode

    def __mul__(self, other: Any) -> Decimal:
        self.user.run("price.__mul__")
        return Decimal(self) * other

    __rmul__ = __mul__


@pytest.mark.parametrize("kind", TRACKERS)
def test_trackers(user: UserCode, tmp_path: Path, kind: type[AIUsageTracker]) -> None:
    Prices.user = Copies.user = Writer.user = Number.user = user
    rate = Number(1)
    tracker = kind(
        Writer(),
        usage_log=Copies(tmp_path / "copies.jsonl"),
        price_book=Prices({("own", "model"): TokenPrice(input=rate, output=rate)}),
    )
    name = kind.__name__
    reply = {"model": "gpt-4o", "usage": {"prompt_tokens": 10, "completion_tokens": 5}}
    for vendor in ("openai_completion", "openai_embedding", "anthropic_completion"):
        called = user.make(f"{name}.track_{vendor}(function)", lambda: reply)
        assert getattr(tracker, f"track_{vendor}")(called)() is reply
    usage = user.make(f"{name}.tracked(usage)", lambda _: {"input_tokens": 10, "output_tokens": 5})
    cost = user.make(f"{name}.tracked(cost_usd)", lambda _: "0.25")
    call_each_kind(user, tracker, {"usage": usage})
    call_each_kind(user, tracker, {"cost_usd": cost})
    tracker.flush(1.0)
    tracker.get_stats()
    tracker.close()
    user.check(
        *(OWNERS, (f"{name}.",), "own function", "price_book.price", "usage_log.write"),
        *("dynamo_client.put_ai_usage_metric", "price.__mul__"),
    )


def call_each_kind(user: UserCode, tracker: AIUsageTracker, readers: dict[str, Any]) -> None:
    """Call a decorated function of each kind: plain, failing, async, generator."""
    track = tracker.tracked("own", "completion", model="model", **readers)

    def fail() -> None:
        user.run("own function")
        raise ValueError

    async def answer() -> str:
        user.run("own function")
        return "answer"

    def generate() -> Iterator[str]:
        user.run("own function")
        yield "answer"

    assert track(user.make("own function", lambda: "answer"))() == "answer"
    assert asyncio.run(track(answer)()) == "answer"  # type: ignore[arg-type]
    assert list(track(generate)()) == ["answer"]
    with pytest.raises(ValueError):
        track(fail)()


def test_contexts(user: UserCode) -> None:
    bound = user.make("bind_usage_context(function)")
    decorated = user.make("ai_usage_context(function)")
    with ai_usage_context("scan", job_id="job-7"):
        bind_usage_context(bound)()
    ai_usage_context("scan")(decorated)()
    user.check(OWNERS, ("bind_usage_context",), "ai_usage_context(function)")


def test_manager(user: UserCode) -> None:
    Writer.user = user
    config = ClientConfig(dynamo_table="receipts-test", environment=Environment.TEST)
    with ClientManager(config, dynamo_client=Writer()) as manager:
        manager.usage_tracker.tracked("own", "completion", usage=user.make("usage"))(
            user.make("own")
        )()
    assert {"own", "usage", "dynamo_client.put_ai_usage_metric"} <= user.runs.keys()
    assert not user.troubles


def test_no_function_is_forgotten() -> None:
    """A new parameter that takes a function needs a test above: its owner's fails without."""
    owners = (*(f"{kind.__name__}." for kind in TRACKERS), "bind_usage_context")
    assert {name for name in find_callables(OWNERS) if not name.startswith(owners)} == set()
