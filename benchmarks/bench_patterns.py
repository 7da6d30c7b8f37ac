"""The three patterns beside their peers: one process, interleaved rounds, ratios.

Each round times every contender once, one after the other, so that a slow moment of the
machine hits all of them; the medians over the rounds are compared.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import queue
import statistics
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from receipt_dynamo import BatchQueue, CircuitBreaker, retry_with_backoff

Timed = Callable[[int], float]
Group = dict[str, Timed]


@dataclass(frozen=True)
class Goal:
    """``contender`` takes at most ``ratio`` times what ``other`` takes."""

    contender: str
    other: str
    ratio: float


def nothing() -> None:
    """What is wrapped."""


async def async_nothing() -> None:
    """What is wrapped, for asyncio."""


def time_calls(call: Callable[[], Any]) -> Timed:
    """Return a function that times so many calls, in seconds for each."""

    def run(times: int) -> float:
        started = time.perf_counter()
        for _ in range(times):
            call()
        return (time.perf_counter() - started) / times

    return run


def time_awaits(call: Callable[[], Awaitable[Any]]) -> Timed:
    """Return a function that times so many awaited calls."""

    async def repeat(times: int) -> float:
        started = time.perf_counter()
        for _ in range(times):
            await call()
        return (time.perf_counter() - started) / times

    return lambda times: asyncio.run(repeat(times))


def time_threads(call: Callable[[], Any], threads: int = 4) -> Timed:
    """Return a function that times calls from several threads at once, in seconds for each."""

    def run(times: int) -> float:
        share = times // threads
        start = threading.Barrier(threads + 1)

        def work() -> None:
            start.wait()
            for _ in range(share):
                call()

        workers = [threading.Thread(target=work) for _ in range(threads)]
        for worker in workers:
            worker.start()
        start.wait()
        started = time.perf_counter()
        for worker in workers:
            worker.join()
        return (time.perf_counter() - started) / (share * threads)

    return run


def two_locks() -> Callable[[], None]:
    """Return the least that a thread-safe breaker can do: two uncontended locks."""
    lock = threading.Lock()

    def call() -> None:
        with lock:
            pass
        nothing()
        with lock:
            pass

    return call


def decorated_breakers() -> dict[str, Callable[[], Any]]:
    """Return a closed breaker of each library around a function that does nothing."""
    import circuitbreaker
    import interlock
    import purgatory
    import pybreaker

    return {
        "receipt_dynamo": CircuitBreaker()(nothing),
        "pybreaker": pybreaker.CircuitBreaker()(nothing),
        "interlock-cb": interlock.CircuitBreaker(name="bench")(nothing),
        "circuitbreaker (no lock)": circuitbreaker.CircuitBreaker()(nothing),
        "purgatory (no lock)": purgatory.SyncCircuitBreakerFactory()("bench")(nothing),
    }


def open_breakers() -> dict[str, Callable[[], Any]]:
    """Return an open breaker of each library, whose refusal is swallowed."""
    import circuitbreaker
    import interlock
    import pybreaker

    def fail() -> None:
        raise ValueError

    def refused(call: Callable[[], Any]) -> Callable[[], None]:
        for _ in range(300):
            with suppress(Exception):
                call()

        def swallow() -> None:
            with suppress(Exception):
                call()

        return swallow

    return {
        "receipt_dynamo": refused(CircuitBreaker(timeout_seconds=3_600)(fail)),
        "pybreaker": refused(pybreaker.CircuitBreaker(reset_timeout=3_600)(fail)),
        "interlock-cb": refused(interlock.CircuitBreaker(name="bench-open")(fail)),
        "circuitbreaker (no lock)": refused(
            circuitbreaker.CircuitBreaker(recovery_timeout=3_600)(fail)
        ),
    }


def retriers() -> dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]]:
    """Return a decorator of each library."""
    import backoff
    import stamina
    import tenacity

    return {
        "receipt_dynamo": retry_with_backoff(3, exceptions=ValueError, base_delay=0.0),
        "backoff": backoff.on_exception(
            backoff.constant, ValueError, max_tries=3, interval=0, jitter=None, logger=None
        ),
        "tenacity": tenacity.retry(
            stop=tenacity.stop_after_attempt(3),
            retry=tenacity.retry_if_exception_type(ValueError),
            wait=tenacity.wait_none(),
        ),
        "stamina": stamina.retry(
            on=ValueError, attempts=3, wait_initial=0.0, wait_jitter=0.0, wait_max=0.0
        ),
    }


def failing_once() -> Callable[[], None]:
    """Return a function that fails at every other call."""
    turn = [0]

    def call() -> None:
        turn[0] += 1
        if turn[0] % 2:
            raise ValueError

    return call


def queues(threads: int) -> Group:
    """Return the intake of our queue, with a byte bound, and of queue.Queue."""

    def run(make: Callable[[], Callable[[str], Any]]) -> Timed:
        def timed(times: int) -> float:
            put = make()  # A new queue for each round, or it would only grow.
            one = time_calls if threads == 1 else lambda call: time_threads(call, threads)
            return one(lambda: put("abcdefgh"))(times)

        return timed

    def ours() -> Callable[[str], Any]:
        intake: BatchQueue[str] = BatchQueue(
            lambda _: None,
            auto_flush=False,
            max_items=10**8,
            max_bytes=10**12,
            size_of=len,
        )
        return intake.add_item

    return {
        "BatchQueue.add_item": run(ours),
        "queue.Queue.put": run(lambda: queue.Queue().put),
    }


def make_groups() -> dict[str, tuple[Group, list[Goal]]]:
    """Return what is compared with what, and the goals."""
    breakers = decorated_breakers()
    wrapped = {name: decorate(nothing) for name, decorate in retriers().items()}
    awaited = {name: decorate(async_nothing) for name, decorate in retriers().items()}
    failing = {name: decorate(failing_once()) for name, decorate in retriers().items()}
    locks = two_locks()
    return {
        "breaker: decorated call, closed": (
            {
                "bare function": time_calls(nothing),
                "two locks": time_calls(locks),
                **{name: time_calls(call) for name, call in breakers.items()},
            },
            [
                Goal("receipt_dynamo", "two locks", 2.5),
                Goal("receipt_dynamo", "pybreaker", 1.0),
                Goal("receipt_dynamo", "interlock-cb", 1.0),
            ],
        ),
        "breaker: refusal while open": (
            {name: time_calls(call) for name, call in open_breakers().items()},
            [Goal("receipt_dynamo", "pybreaker", 1.0)],
        ),
        "breaker: four threads": (
            {
                "two locks": time_threads(locks),
                **{name: time_threads(call) for name, call in breakers.items()},
            },
            [Goal("receipt_dynamo", "pybreaker", 1.0)],
        ),
        "retry: success": (
            {name: time_calls(call) for name, call in wrapped.items()},
            [Goal("receipt_dynamo", "backoff", 0.35)],
        ),
        "retry: success, async": (
            {name: time_awaits(call) for name, call in awaited.items()},
            [Goal("receipt_dynamo", "backoff", 0.35)],
        ),
        "retry: one retry without a wait": (
            {name: time_calls(call) for name, call in failing.items()},
            [Goal("receipt_dynamo", "backoff", 1.0)],
        ),
        "queue: one producer": (queues(1), [Goal("BatchQueue.add_item", "queue.Queue.put", 1.0)]),
        "queue: four producers": (
            queues(4),
            [Goal("BatchQueue.add_item", "queue.Queue.put", 1.0)],
        ),
    }


def measure(group: Group, rounds: int, times: int) -> dict[str, float]:
    """Return the median seconds of each contender over interleaved rounds."""
    found: dict[str, list[float]] = {name: [] for name in group}
    for _ in range(rounds):
        for name, timed in group.items():
            found[name].append(timed(times))
    return {name: statistics.median(seconds) for name, seconds in found.items()}


def print_group(title: str, medians: dict[str, float], goals: list[Goal]) -> None:
    """Print one table, and whether its goals are met."""
    ours = next(iter(seconds for name, seconds in medians.items() if name in OURS))
    print(f"\n{title}\n\n| | ns | ours / it |\n|---|---|---|")
    for name, seconds in medians.items():
        print(f"| {name} | {seconds * 1e9:,.0f} | {ours / seconds:.2f} |")
    for goal in goals:
        ratio = medians[goal.contender] / medians[goal.other]
        verdict = "met" if ratio <= goal.ratio else "MISSED"
        print(f"goal: at most {goal.ratio} x {goal.other}: {ratio:.2f}, {verdict}")


OURS = ("receipt_dynamo", "BatchQueue.add_item")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--times", type=int, default=20_000, help="calls of each in a round")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    for title, (group, goals) in make_groups().items():
        print_group(title, measure(group, arguments.rounds, arguments.times), goals)


if __name__ == "__main__":
    main()
