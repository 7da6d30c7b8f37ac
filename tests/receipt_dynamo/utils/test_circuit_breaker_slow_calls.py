"""The duration of a call is measured alike by every way to call through a breaker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import TypeAlias

import pytest

from receipt_dynamo.utils.circuit_breaker import CircuitBreaker, CircuitBreakerState

CLOSED, OPEN, HALF_OPEN, ISOLATED, DISABLED = CircuitBreakerState
LIMIT = 5.0

Work: TypeAlias = Callable[[], int]


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make_breaker(clock: Clock, *, judges_results: bool = True) -> CircuitBreaker:
    return CircuitBreaker(
        2,
        30.0,
        OSError,
        failure_on_result=(lambda status: status == 503) if judges_results else None,
        slow_call_seconds=LIMIT,
        slow_call_rate=1.0,
        minimum_calls=100,
        jitter=0.0,
        clock=clock,
    )


def make_async(work: Work) -> Callable[[], Awaitable[int]]:
    async def work_async() -> int:
        return work()

    return work_async


async def decorate(breaker: CircuitBreaker, work: Work) -> None:
    breaker(work)()


async def call(breaker: CircuitBreaker, work: Work) -> None:
    breaker.call(work)


async def enter(breaker: CircuitBreaker, work: Work) -> None:
    with breaker as permit:
        permit.record_result(work())


async def ask_for_permit(breaker: CircuitBreaker, work: Work) -> None:
    permit = breaker.permit()
    try:
        permit.record_result(work())
    except Exception as error:
        permit.record_error(error)
        raise


async def decorate_async(breaker: CircuitBreaker, work: Work) -> None:
    await breaker(make_async(work))()


async def call_async(breaker: CircuitBreaker, work: Work) -> None:
    await breaker.call(make_async(work))


async def return_coroutine(breaker: CircuitBreaker, work: Work) -> None:
    start = make_async(work)
    await breaker(lambda: start())()  # noqa: PLW0108 - not an async function itself


async def enter_async(breaker: CircuitBreaker, work: Work) -> None:
    async with breaker as permit:
        permit.record_result(work())


every_way = pytest.mark.parametrize(
    "run",
    [
        decorate,
        call,
        enter,
        ask_for_permit,
        decorate_async,
        call_async,
        return_coroutine,
        enter_async,
    ],
)
fast_and_slow = pytest.mark.parametrize(
    ("duration", "is_slow"), [(LIMIT, False), (LIMIT + 0.5, True)]
)


def make_work(clock: Clock, duration: float, outcome: int | Exception) -> Work:
    def work() -> int:
        clock.now += duration
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return work


@every_way
@fast_and_slow
@pytest.mark.parametrize(
    ("outcome", "counts"),
    [(200, (1, 0)), (503, (0, 1)), (ConnectionError(), (0, 1)), (KeyError(), (1, 0))],
    ids=["result", "failed result", "failure", "other error"],
)
async def test_a_call_is_slow_beyond_the_limit_however_it_ends(
    clock: Clock,
    run: Callable[[CircuitBreaker, Work], Awaitable[None]],
    duration: float,
    is_slow: bool,
    outcome: int | Exception,
    counts: tuple[int, int],
) -> None:
    breaker = make_breaker(clock)
    with suppress(ConnectionError, KeyError):
        await run(breaker, make_work(clock, duration, outcome))
    snapshot = breaker.snapshot()
    assert (snapshot.successes, snapshot.failures) == counts
    assert snapshot.window_slow_calls == is_slow


@every_way
@fast_and_slow
@pytest.mark.parametrize("judges_results", [True, False])
async def test_a_slow_probe_fails(
    clock: Clock,
    run: Callable[[CircuitBreaker, Work], Awaitable[None]],
    duration: float,
    is_slow: bool,
    judges_results: bool,
) -> None:
    breaker = make_breaker(clock, judges_results=judges_results)
    for _ in range(2):
        breaker.permit().failure()
    clock.now += 30.0
    await run(breaker, make_work(clock, duration, 200))
    assert breaker.state is (OPEN if is_slow else CLOSED)


async def test_an_async_generator_is_never_slow(clock: Clock) -> None:
    breaker = make_breaker(clock)

    @breaker
    async def items() -> AsyncIterator[int]:
        yield 1

    async for _ in items():
        clock.now += 100.0
    snapshot = breaker.snapshot()
    assert (snapshot.window_calls, snapshot.window_slow_calls) == (1, 0)
