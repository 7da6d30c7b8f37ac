"""A reader that was there before us reads every row: boto3 alone, and none of our code.

It does what readers of such tables do: ``int(item["latencyMs"]["N"])``, ``float(...)``, ``["S"]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import anthropic
import googlemaps
import openai
import pytest

from engines.fixtures import Engine
from receipt_dynamo import AIUsageMetric, DynamoClient, ResilientDynamoClient
from receipt_label import AIUsageTracker, ResilientAIUsageTracker, ai_usage_context
from receipt_label.testing import ProviderStub
from support.places_stub import run_places_stub
from support.plain_reader import read_plainly, scan_plainly

QUESTION: list[Any] = [{"role": "user", "content": "How much was the bread?"}]
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class World:
    """What a service calls, and the tracker that watches it."""

    tracker: AIUsageTracker
    openai: openai.OpenAI
    anthropic: anthropic.Anthropic
    places: googlemaps.Client
    stub: ProviderStub


def stream_a_chat(world: World) -> None:
    options: Any = {"include_usage": True}
    stream = world.openai.chat.completions.create(
        model="gpt-4o", messages=QUESTION, stream=True, stream_options=options
    )
    list(stream)


def leave_a_stream(world: World) -> None:
    with world.openai.chat.completions.create(
        model="gpt-4o", messages=QUESTION, stream=True
    ) as stream:
        next(stream)


def fail(world: World) -> None:
    world.stub.fail_next(404)
    with suppress(openai.NotFoundError):
        world.openai.chat.completions.create(model="gpt-none", messages=QUESTION)


def run_a_decorated_function(world: World) -> None:
    @world.tracker.track_openai_completion
    def ask() -> Any:
        usage = {"prompt_tokens": 120_000, "completion_tokens": 1_000_000}
        return {"id": "decorated", "model": "gpt-4o", "usage": usage}

    ask()


def run_a_decorated_place(world: World) -> None:
    world.tracker.track_google_places("place_details", field_mask="id")(dict)()


def record_a_metric(world: World) -> None:
    for number, (latency, cost) in enumerate(
        [(58.828, 1e-07), (Decimal("0.5"), Decimal("1E-20")), (100_000, 1e3), (1e6, "0")]
    ):
        metric = AIUsageMetric(
            "OpenAI",
            "gpt-4o",
            "completion",
            NOON + timedelta(hours=number, microseconds=number),
            request_id=f"recorded#{number}",
            input_tokens=10 ** (3 * number),
            output_tokens=0,
            api_calls=1_000,
            latency_ms=latency,  # type: ignore[arg-type]
            cost_usd=cost,  # type: ignore[arg-type]
            github_pr=1_200,
            job_id="job-1" if number % 2 else None,
            batch_id="batch-1" if number else None,
            user_id="",
        )
        assert world.tracker.record(metric)


def record_a_response(world: World) -> None:
    reply = {
        "id": "resp",
        "object": "chat.completion",
        "model": "gpt-4o",
        "choices": [],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }
    assert world.tracker.record_response(reply, service="openai", batch=True)


def review_a_pull_request(world: World) -> None:
    assert world.tracker.track_github_claude_review(
        1_230, "claude-sonnet-4-6", 10_000, 500, latency_ms=1_500.5
    )


CALLS: dict[str, Callable[[World], object]] = {
    "chat": lambda w: w.openai.chat.completions.create(model="gpt-4o", messages=QUESTION),
    "stream": stream_a_chat,
    "stream left early": leave_a_stream,
    "embeddings": lambda w: w.openai.embeddings.create(
        model="text-embedding-3-small", input="bread"
    ),
    "image": lambda w: w.openai.images.generate(model="gpt-image-1", prompt="bread"),
    "speech": lambda w: w.openai.audio.speech.create(model="tts-1", voice="alloy", input="bread"),
    "response": lambda w: w.openai.responses.create(model="gpt-4o", input="bread"),
    "Anthropic": lambda w: w.anthropic.messages.create(
        model="claude-haiku-4-5", max_tokens=9, messages=QUESTION
    ),
    "Places": lambda w: w.places.place("ChIJ"),
    "failed call": fail,
    "decorated function": run_a_decorated_function,
    "decorated place": run_a_decorated_place,
    "record": record_a_metric,
    "record_response": record_a_response,
    "review": review_a_pull_request,
}


@pytest.fixture(params=["straight", "resilient"])
def tracker(request: Any, engine: Engine, table_name: str) -> Iterator[AIUsageTracker]:
    where = (table_name, "us-east-1")
    plain = DynamoClient(*where, endpoint_url=engine.endpoint_url, gsi_shards=3, retention_days=400)
    plain.create_table()
    if request.param == "straight":
        yield AIUsageTracker(plain)
        return
    with ResilientDynamoClient(*where, endpoint_url=engine.endpoint_url) as client:
        yield ResilientAIUsageTracker(client)


@pytest.fixture
def world(tracker: AIUsageTracker) -> Iterator[World]:
    with ExitStack() as stack:
        stub = stack.enter_context(ProviderStub())
        places = stack.enter_context(run_places_stub())
        maps = googlemaps.Client(key="AIza-not-a-key", base_url=f"http://{places.host}")
        stack.callback(maps.session.close)
        plain = stack.enter_context(openai.OpenAI(api_key="any", base_url=stub.openai_base_url))
        other = stack.enter_context(
            anthropic.Anthropic(api_key="any", base_url=stub.anthropic_base_url)
        )
        yield World(
            tracker,
            tracker.wrap_openai(plain),
            tracker.wrap_anthropic(other),
            tracker.wrap_google_places(maps),
            stub,
        )


def test_a_plain_reader_reads_the_row_of_every_kind_of_call(
    world: World, engine: Engine, table_name: str
) -> None:
    for name, call in CALLS.items():
        with ai_usage_context(name, tracker=world.tracker, user_id="ann", github_pr=10):
            call(world)
    assert world.tracker.flush(60)
    stats = world.tracker.get_stats()
    assert (stats.failed, stats.refused) == (0, 0)
    assert stats.recorded == len(CALLS) + 3
    rows = [read_plainly(item) for item in scan_plainly(table_name, engine.endpoint_url)]
    assert len(rows) == stats.recorded
    recorded = {row["requestId"]: row for row in rows if row["requestId"].startswith("recorded")}
    kept = [recorded[f"recorded#{number}"] for number in range(4)]
    assert [row["latencyMs"] for row in kept] == [59, 1, 100_000, 1_000_000]
    assert [row["inputTokens"] for row in kept] == [1, 1_000, 1_000_000, 1_000_000_000]
    assert [row["costUSD"] for row in kept] == [1e-07, 1e-20, 1000.0, 0.0]
    timed = [row for row in rows if "latencyMs" in row]
    assert len(timed) == len(rows) - 1  # All but that of record_response, which nobody timed.
    assert len([row for row in rows if "costUSD" in row]) > len(CALLS) // 2
