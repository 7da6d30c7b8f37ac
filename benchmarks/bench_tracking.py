"""What tracking adds to an AI call, beside the bare call of the same SDK.

The provider answers from memory, so that nothing but Python is measured. First the time
inside our hooks, call by call; then whole calls, bare and wrapped, in interleaved rounds;
then streams, for each event; then the import of receipt_label beside that of boto3.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import openai

from null_dynamodb import start_null_dynamodb
from receipt_dynamo import AIUsageMetric, ResilientDynamoClient
from receipt_label import ResilientAIUsageTracker
from receipt_label.testing.openai_answers import answer_chat_completion, stream_chat_completion

QUESTION: Any = [{"role": "user", "content": "How much was the bread?"}]
ASK: dict[str, Any] = {"model": "gpt-4o", "messages": QUESTION}
EVENTS = 500
HOOKS_P50, HOOKS_P99, IMPORT_RATIO = 60.0, 500.0, 1.5
SETTINGS = {"aws_access_key_id": "bench", "aws_secret_access_key": "bench"}

# Of the SDK at hand: httpx until openai 2, httpx2 since.
httpx: Any = importlib.import_module(
    next(
        kind.__module__.partition(".")[0]
        for kind in openai.DefaultHttpxClient.__mro__
        if kind.__module__.startswith("httpx")
    )
)


class Stopwatch:
    """Adds up the time that calls of a function take."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.seconds = 0.0
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        started = time.perf_counter()
        try:
            return self._function(*args, **kwargs)
        finally:
            self.seconds += time.perf_counter() - started


class TimedOpenAI(openai.OpenAI):
    """The SDK's client, with its own part of a call timed apart from the hooks'."""

    inner: dict[str, Stopwatch]

    def request(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Make a call, timed."""
        return self.inner["request"](*args, **kwargs)

    def _process_response(self, *args: Any, **kwargs: Any) -> Any:
        return self.inner["_process_response"](*args, **kwargs)


def answer(request: Any) -> Any:
    """Answer as OpenAI would, from memory."""
    body = json.loads(request.content)
    reply = answer_chat_completion(body, f"{time.perf_counter_ns()}")
    if not body.get("stream"):
        return httpx.Response(200, json=reply)
    reply["choices"][0]["message"]["content"] = "word " * EVENTS
    lines = "".join(
        f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n"
        for _, data in stream_chat_completion(body, reply)
    )
    headers = {"content-type": "text/event-stream"}
    return httpx.Response(200, content=lines.encode(), headers=headers)


def open_client(kind: type[openai.OpenAI] = openai.OpenAI) -> openai.OpenAI:
    transport = httpx.MockTransport(answer)
    return kind(api_key="any", http_client=httpx.Client(transport=transport))


def open_client_of_dynamodb(url: str, durability: str) -> ResilientDynamoClient:
    return ResilientDynamoClient(
        "bench-test-table",
        "us-east-1",
        endpoint_url=url,
        durability=durability,  # type: ignore[arg-type]
        **SETTINGS,
    )


def measure_hooks(tracker: ResilientAIUsageTracker, calls: int, rate: int | None) -> list[float]:
    """Return the seconds that each call spends in our hooks, put included."""
    client = tracker.wrap_openai(open_client(TimedOpenAI))
    inner = {
        name: Stopwatch(getattr(openai.OpenAI, name).__get__(client))
        for name in ("request", "_process_response")
    }
    client.inner = inner  # type: ignore[attr-defined]
    outer = {name: Stopwatch(getattr(client, name)) for name in inner}
    for name, stopwatch in outer.items():
        setattr(client, name, stopwatch)
    found = []
    next_at = time.perf_counter()
    for _ in range(calls):
        if rate is not None:
            next_at += 1 / rate
            time.sleep(max(0.0, next_at - time.perf_counter()))
        before = [stopwatch.seconds for stopwatch in (*outer.values(), *inner.values())]
        client.chat.completions.create(**ASK)
        after = [stopwatch.seconds for stopwatch in (*outer.values(), *inner.values())]
        spent = [end - start for start, end in zip(before, after, strict=True)]
        found.append(sum(spent[: len(outer)]) - sum(spent[len(outer) :]))
    return sorted(found[calls // 10 :])


def measure_record_alone(client: ResilientDynamoClient, calls: int) -> list[float]:
    """Return the seconds that a validated record and its put take, between calls of the SDK.

    Less a tracker cannot do. In a loop of nothing else it takes a third: the caches are warm.
    """
    bare, found = open_client(), []
    for number in range(calls):
        bare.chat.completions.create(**ASK)
        started = time.perf_counter()
        client.put_ai_usage_metric(
            AIUsageMetric(
                "openai",
                "gpt-4o",
                "completion",
                datetime.now(UTC),
                request_id=f"chatcmpl-{number}",
                input_tokens=6,
                output_tokens=9,
                cost_usd=Decimal("0.000105"),
                latency_ms=Decimal("812.345"),
                environment="test",
                metadata={"pricing": {"source": "genai-prices", "status": "priced"}},
            )
        )
        found.append(time.perf_counter() - started)
    return sorted(found[calls // 10 :])


def print_percentiles(name: str, found: list[float]) -> None:
    p50, p99 = found[len(found) // 2] * 1e6, found[len(found) * 99 // 100] * 1e6
    print(f"| {name} | {p50:,.0f} | {p99:,.0f} |")


def bench_hooks(url: str, calls: int) -> None:
    print("\nTime in our hooks for each call\n\n| | p50, us | p99, us |\n|---|---|---|")
    for durability, rate in (("memory", None), ("journal", None), ("journal", 200)):
        with open_client_of_dynamodb(url, durability) as client:
            tracker = ResilientAIUsageTracker(client)
            found = measure_hooks(tracker, calls if rate is None else calls // 5, rate)
            speed = "as fast as it goes" if rate is None else f"{rate} calls/s"
            print_percentiles(f"{durability}, {speed}", found)
            if rate is None:
                alone = measure_record_alone(client, calls)
                print_percentiles(f"{durability}, a record and its put alone", alone)
    print(f"goals: p50 at most {HOOKS_P50:.0f}, p99 at most {HOOKS_P99:.0f}")


def time_calls(call: Callable[[], object], calls: int) -> float:
    """Return the median seconds of a call."""
    taken = []
    for _ in range(calls):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def bench_calls(url: str, rounds: int, calls: int) -> None:
    with open_client_of_dynamodb(url, "journal") as client:
        bare = open_client()
        wrapped = ResilientAIUsageTracker(client).wrap_openai(bare)
        ways: dict[str, Callable[[openai.OpenAI], object]] = {
            "a call": lambda client: client.chat.completions.create(**ASK),
            f"a stream of {EVENTS} events": lambda client: list(
                client.chat.completions.create(**ASK, stream=True)
            ),
        }
        print("\n| | bare, us | wrapped, us | wrapped / bare |\n|---|---|---|---|")
        for name, way in ways.items():
            count = calls if name == "a call" else max(calls // 50, 3)
            pairs = []
            for _ in range(rounds):
                gc.collect()
                pairs.append(
                    (
                        time_calls(lambda way=way: way(bare), count),
                        time_calls(lambda way=way: way(wrapped), count),
                    )
                )
            ours, theirs = (statistics.median(column) * 1e6 for column in zip(*pairs, strict=True))
            ratio = statistics.median(b / a for a, b in pairs)
            print(f"| {name} | {ours:,.0f} | {theirs:,.0f} | {ratio:.2f} |")


def time_import(module: str) -> float:
    code = f"import time; s = time.perf_counter(); import {module}; print(time.perf_counter() - s)"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(run.stdout)


def bench_imports(rounds: int) -> None:
    pairs = [(time_import("boto3"), time_import("receipt_label")) for _ in range(rounds + 1)][1:]
    ratio = statistics.median(ours / anchor for anchor, ours in pairs)
    medians = [statistics.median(column) * 1e3 for column in zip(*pairs, strict=True)]
    print(
        f"\nimport boto3 {medians[0]:.0f} ms, import receipt_label {medians[1]:.0f} ms: "
        f"{ratio:.2f} x (goal {IMPORT_RATIO}, {'met' if ratio <= IMPORT_RATIO else 'MISSED'})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=2_000)
    options = parser.parse_args()
    os.environ["ENVIRONMENT"] = "test"
    print(
        f"Python {platform.python_version()}, openai {openai.__version__}, {os.cpu_count()} cores"
    )
    with start_null_dynamodb() as server:
        bench_hooks(server.url, options.calls)
        bench_calls(server.url, options.rounds, options.calls // 10)
    assert threading.active_count() == 1
    bench_imports(options.rounds)


if __name__ == "__main__":
    main()
