"""No lock of ours is held while code of the user's runs, whichever function takes it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest
from opentelemetry.metrics import NoOpMeterProvider

import receipt_dynamo.metrics
from receipt_dynamo import (
    AIUsageMetric,
    BatchQueue,
    CircuitBreaker,
    DynamoClient,
    FlushResult,
    ResilientDynamoClient,
    retry_with_backoff,
)
from receipt_dynamo.metrics import OpenTelemetryMetrics, PrometheusCollector
from receipt_dynamo.utils.retry_with_backoff import RetryBudget, retrying
from support.held_locks import UserCode, find_callables, find_owners, watched_locks


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> Iterator[UserCode]:
    with watched_locks(monkeypatch) as user:
        yield user


class Key:
    """A key of the user's: to hash and to compare it is the user's code."""

    def __init__(self, user: UserCode, text: str) -> None:
        self.user, self.text = user, text

    def __hash__(self) -> int:
        self.user.run("key.__hash__")
        return 1

    def __eq__(self, other: object) -> bool:
        self.user.run("key.__eq__")
        return isinstance(other, Key) and self.text == other.text


class Item:
    """An item of the user's: it ends where its last reference ends."""

    def __init__(self, user: UserCode, text: str) -> None:
        self.user, self.text = user, text

    def __eq__(self, other: object) -> bool:
        self.user.run("item.__eq__")
        return isinstance(other, Item) and self.text == other.text

    def __hash__(self) -> int:
        self.user.run("item.__hash__")
        return hash(self.text)

    def __len__(self) -> int:
        self.user.run("item.__len__")
        return len(self.text)

    def __repr__(self) -> str:
        self.user.run("item.__repr__")
        return "an item"

    def __del__(self) -> None:
        self.user.run("item.__del__")


class Hint(float):
    """Seconds of the user's own type."""

    user: UserCode

    def __gt__(self, other: object) -> bool:
        self.user.run("hint.__gt__")
        return float(self) > other  # type: ignore[operator]

    def __lt__(self, other: object) -> bool:
        self.user.run("hint.__lt__")
        return float(self) < other  # type: ignore[operator]

    def __radd__(self, other: float) -> float:
        self.user.run("hint.__radd__")
        return float(self) + other


class HintedError(Exception):
    def __init__(self, user: UserCode) -> None:
        Hint.user = user
        self.retry_after = Hint(0.001)


def use_queue(user: UserCode, overflow: Any, *, has_merge: bool, auto_flush: bool) -> None:
    turns = iter(range(10**6))
    stored = [Item(user, text) for text in ("a", "f", "f")]

    def settle(batch: list[Item]) -> Any:
        turn = next(turns) % 4
        if turn == 0:
            raise HintedError(user)
        if turn == 1:
            return FlushResult([Item(user, batch[0].text)])
        if turn == 2:
            queue.add_item(Item(user, batch[0].text))  # it meets the one that comes back
            return FlushResult(batch, (), Hint(0.0))
        return FlushResult(dead=[(item, "x") for item in batch]) if turn == 3 else None

    queue: BatchQueue[Item] = BatchQueue(
        user.make("BatchQueue(flush_callback)", settle),
        batch_size=2,
        flush_interval=0.0,
        auto_flush=auto_flush,
        max_items=4,
        overflow=overflow,
        size_of=user.make("BatchQueue(size_of)", lambda item: 1),
        key_of=user.make("BatchQueue(key_of)", lambda item: Key(user, item.text)),
        merge=user.make("BatchQueue(merge)", lambda old, new: new) if has_merge else None,
        source=user.make(
            "BatchQueue(source)", lambda room: [stored.pop() for _ in range(min(room, len(stored)))]
        ),
        retry_base_delay=0.0001,
        random=user.make("BatchQueue(random)", lambda: 0.5),
    )
    for text in ("a", "b", "a", "c", "d", "e", "a", "b"):
        queue.add_item(Item(user, text))
    queue.pull()
    queue.drop_oldest()
    for _ in range(6):
        assert queue.flush(30)
        queue.redrive(user.make("BatchQueue.redrive(match)", lambda item: item.text != "b"))
        queue.add_item(Item(user, "a"))
        queue.dead_letters()
        queue.get_stats()
    assert queue.stop(30)


def test_batch_queue(user: UserCode) -> None:
    for overflow in ("refuse", "drop_oldest"):
        for has_merge in (True, False):
            for auto_flush in (True, False):
                use_queue(user, overflow, has_merge=has_merge, auto_flush=auto_flush)
    check(user, "BatchQueue", "key.__hash__", "key.__eq__", "item.__eq__", "item.__del__")


class Listener:
    """Equal to others of its kind, which the breaker asks when it is removed."""

    def __init__(self, user: UserCode) -> None:
        self.user = user

    def __call__(self, *_: object) -> None:
        self.user.run("CircuitBreaker.add_listener(listener)")

    def __eq__(self, other: object) -> bool:
        self.user.run("CircuitBreaker.remove_listener(listener)")
        return isinstance(other, Listener)

    __hash__ = None  # type: ignore[assignment]


def test_circuit_breaker(user: UserCode) -> None:
    now = [0.0]

    def fail(error: Exception | None = None) -> str:
        if error is not None:
            raise error
        return "failed"

    def tick() -> float:
        now[0] += 1.0
        return now[0]

    breaker = CircuitBreaker(
        2,
        1.0,
        user.make("CircuitBreaker(expected_exception)", lambda error: True),
        ignored_exceptions=user.make(
            "CircuitBreaker(ignored_exceptions)", lambda error: isinstance(error, KeyError)
        ),
        success_exceptions=user.make(
            "CircuitBreaker(success_exceptions)", lambda error: isinstance(error, IndexError)
        ),
        failure_on_result=user.make(
            "CircuitBreaker(failure_on_result)", lambda result: result == "failed"
        ),
        failure_rate=0.5,
        slow_call_seconds=0.5,
        clock=user.make("CircuitBreaker(clock)", tick),
        random=user.make("CircuitBreaker(random)", lambda: 0.5),
    )
    breaker.add_listener(Listener(user))
    function = user.make("CircuitBreaker.call(function)", fail)
    decorated = breaker(user.make("CircuitBreaker.__call__(function)", fail))
    for error in (HintedError(user), KeyError(), IndexError(), None, ValueError()) * 3:
        for call in (lambda error=error: breaker.call(function, error), decorated):
            with suppress(Exception):
                call()
        with suppress(Exception), breaker:
            raise HintedError(user)
        assert breaker.retry_after >= 0
        assert breaker.snapshot()
    for change in (breaker.isolate, breaker.disable, breaker.reset):
        change()
    breaker.remove_listener(Listener(user))
    check(user, "CircuitBreaker")


@pytest.mark.parametrize("has_budget", [True, False])
def test_retry(user: UserCode, has_budget: bool) -> None:
    def fail() -> None:
        raise HintedError(user)

    async def fail_later() -> None:
        user.run("retry_with_backoff(max_attempts)")
        raise HintedError(user)

    async def sleep(seconds: float) -> None:
        user.run("retry_with_backoff(async_sleep)")

    rules: dict[str, Any] = {
        "exceptions": user.make("retry_with_backoff(exceptions)", lambda error: True),
        "budget": RetryBudget() if has_budget else None,
        "on_retry": user.make("retry_with_backoff(on_retry)"),
        "sleep": user.make("retry_with_backoff(sleep)"),
        "async_sleep": sleep,
        "clock": user.make("retry_with_backoff(clock)", lambda: 0.0),
        "random": user.make("retry_with_backoff(random)", lambda: 0.5),
    }
    again = user.make("retry_with_backoff(retry_on_result)", lambda result: True)
    for function in (fail, lambda: None):
        with suppress(Exception):
            retry_with_backoff(3, retry_on_result=again, **rules)(function)()
    with suppress(Exception):
        asyncio.run(retry_with_backoff(3, **rules)(fail_later)())
    with suppress(Exception):
        for attempt in retrying(max_attempts=3, **rules):
            with attempt:
                fail()
    check(user, "retry_with_backoff")


def test_client(user: UserCode, table: DynamoClient, moto_endpoint: str, tmp_path: Path) -> None:
    """With a table that is there, and with one that is not, which closes with records pending."""
    for name, durability in (
        (table.table_name, "journal"),
        (table.table_name, "memory"),
        ("missing", "memory"),
    ):
        put_some(user, name, moto_endpoint, tmp_path, durability)
    check(user, "ResilientDynamoClient")


def put_some(user: UserCode, table: str, endpoint: str, path: Path, durability: Any) -> None:
    client = ResilientDynamoClient(
        table,
        "us-east-1",
        endpoint_url=endpoint,
        durability=durability,
        journal_dir=path / "journals",
        batch_flush_interval=0.01,
        max_retry_attempts=1,
        max_pending_records=2,
    )

    class Removed(Listener):
        def __call__(self, *_: object) -> None:
            user.run("ResilientDynamoClient.add_listener(listener)")

        def __eq__(self, other: object) -> bool:
            user.run("ResilientDynamoClient.remove_listener(listener)")
            user.run("ResilientDynamoClient.remove_accept_listener(listener)")
            return isinstance(other, Removed)

        __hash__ = None  # type: ignore[assignment]

    client.add_listener(Removed(user))
    client.add_accept_listener(Removed(user))
    client.add_accept_listener(user.make("ResilientDynamoClient.add_accept_listener(listener)"))
    settled = user.make("ResilientDynamoClient.put_ai_usage_metric(on_settled)")
    for number in range(8):
        metric = AIUsageMetric(
            *("openai", "gpt-4o", "chat", datetime.now(UTC)), request_id=f"id-{number % 4}"
        )
        client.put_ai_usage_metric(metric, on_settled=settled)
    client.flush(0.5 if table == "missing" else 30)
    client.close(0.5 if table == "missing" else 30)
    client.remove_listener(Removed(user))
    client.remove_accept_listener(Removed(user))


class Meters(NoOpMeterProvider):
    """Gives instruments of the user's."""

    def __init__(self, user: UserCode) -> None:
        self.user = user

    def get_meter(self, *args: Any, **kwargs: Any) -> Any:
        instrument = SimpleNamespace(
            add=self.user.make("instrument.add"), record=self.user.make("instrument.record")
        )
        make = self.user.make("meter.create", lambda *args, **kwargs: instrument)
        kinds = ("counter", "histogram", "observable_counter", "observable_gauge")
        return SimpleNamespace(**{f"create_{kind}": make for kind in kinds})


def test_metrics(user: UserCode, table: DynamoClient, moto_endpoint: str) -> None:
    with ResilientDynamoClient(
        *(table.table_name, "us-east-1"), endpoint_url=moto_endpoint, durability="memory"
    ) as client:
        made = (
            OpenTelemetryMetrics(client, meter_provider=Meters(user)),
            PrometheusCollector(client),
        )
        client.put_ai_usage_metric(
            AIUsageMetric("openai", "gpt-4o", "chat", datetime.now(UTC), input_tokens=1)
        )
        for metrics in made:
            metrics.close()
    assert {"instrument.add", "instrument.record", "meter.create"} <= user.runs.keys()
    assert not user.troubles


OWNERS: Final = find_owners(receipt_dynamo, receipt_dynamo.metrics)


def check(user: UserCode, owner: str, *others: str) -> None:
    user.check(OWNERS, (owner,), *others)


def test_no_function_is_forgotten() -> None:
    """A new parameter that takes a function needs a test above: its owner's fails without."""
    owners = ("BatchQueue", "CircuitBreaker", "retry_with_backoff", "ResilientDynamoClient")
    assert {name for name in find_callables(OWNERS) if not name.startswith(owners)} == set()


def test_a_lock_that_is_held_is_seen(user: UserCode) -> None:
    queue: BatchQueue[str] = BatchQueue(lambda batch: None)
    with queue._lock:
        user.run("something")
        with queue._lock:
            pass
        assert len(user.troubles) == 1
    user.troubles.clear()
    other = threading.Thread(target=queue.stop)
    other.start()
    other.join()
    user.run("something")
    assert not user.troubles
