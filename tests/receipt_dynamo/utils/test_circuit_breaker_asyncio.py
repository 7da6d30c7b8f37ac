"""Async functions, async generators and ``async with``."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from receipt_dynamo.utils.circuit_breaker import (
    CircuitBreaker,
    CircuitBreakerOpenError,
    CircuitBreakerState,
)

CLOSED, OPEN, HALF_OPEN, ISOLATED, DISABLED = CircuitBreakerState


def make_due_breaker(**rules: Any) -> CircuitBreaker:
    """Return a breaker that is open, and lets a probe pass at the next call."""
    now = 0.0
    breaker = CircuitBreaker(1, 30.0, clock=lambda: now, **rules)
    breaker.permit().failure()
    now = 1e9
    return breaker


def count(breaker: CircuitBreaker) -> tuple[int, int, int]:
    snapshot = breaker.snapshot()
    return snapshot.successes, snapshot.failures, snapshot.ignored


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


async def fail() -> None:
    await asyncio.sleep(0)
    raise ConnectionError


async def test_an_async_function_stays_one_and_its_result_comes_through() -> None:
    breaker = CircuitBreaker()
    decorated = breaker(double)
    assert inspect.iscoroutinefunction(decorated)
    assert await decorated(3) == await breaker.call(double, number=3) == 6
    assert count(breaker) == (2, 0, 0)


async def test_an_async_probe_gets_its_arguments_and_its_result_decides() -> None:
    breaker = make_due_breaker()
    assert await breaker(double)(number=3) == 6
    assert breaker.state is CLOSED
    breaker = make_due_breaker()
    with pytest.raises(ConnectionError):
        await breaker(fail)()
    assert breaker.state is OPEN
    assert breaker.snapshot().openings == 2


async def test_failures_of_async_functions_open_it() -> None:
    breaker = CircuitBreaker(2)
    for run in (breaker(fail), lambda: breaker.call(fail)):
        with pytest.raises(ConnectionError):
            await run()
    assert breaker.state is OPEN
    with pytest.raises(CircuitBreakerOpenError):
        await breaker(double)(1)
    refused = breaker.call(double, 1)
    with pytest.raises(CircuitBreakerOpenError):
        await refused


async def test_a_coroutine_that_is_never_awaited_is_no_call() -> None:
    breaker = make_due_breaker()
    breaker(double)(1).close()
    assert breaker.state is OPEN


@pytest.mark.parametrize("result", [200, 503])
async def test_the_result_of_an_async_function_can_be_a_failure(result: int) -> None:
    for breaker in (
        CircuitBreaker(1, failure_on_result=lambda status: status == 503),
        make_due_breaker(failure_on_result=lambda status: status == 503),
    ):
        assert await breaker.call(double, result / 2) == result
        assert breaker.state is (CLOSED if result == 200 else OPEN)


async def test_a_timeout_inside_of_the_call_is_a_failure_and_around_it_is_neither() -> None:
    breaker = CircuitBreaker(9)

    @breaker
    async def hang_until_timeout() -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await hang_until_timeout()
    assert count(breaker) == (0, 1, 0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0), breaker:
            await asyncio.Event().wait()
    assert count(breaker) == (0, 1, 1)


async def test_a_thousand_tasks_and_none_is_lost() -> None:
    breaker, everybody = CircuitBreaker(1_000), asyncio.Barrier(1_000)

    @breaker
    async def work(number: int) -> int:
        await everybody.wait()
        if number % 4 == 0:
            raise ConnectionError
        return number

    tasks = [asyncio.create_task(work(number)) for number in range(1_000)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(result, ConnectionError) for result in results) == 250
    assert count(breaker) == (750, 250, 0)


async def test_of_a_thousand_tasks_one_is_the_probe() -> None:
    breaker, verdict = make_due_breaker(), asyncio.Event()

    @breaker
    async def work() -> str:
        await verdict.wait()
        return "probed"

    tasks = [asyncio.create_task(work()) for _ in range(1_000)]
    await asyncio.sleep(0)
    assert breaker.snapshot().rejections == 999
    verdict.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results.count("probed") == 1
    assert breaker.state is CLOSED


async def test_a_thousand_tasks_are_cancelled_and_none_is_a_failure() -> None:
    breaker = CircuitBreaker(1)
    tasks = [asyncio.create_task(breaker.call(asyncio.Event().wait)) for _ in range(1_000)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert count(breaker) == (0, 0, 1_000)


async def test_blocks_of_different_tasks_do_not_mix() -> None:
    breaker, everybody = CircuitBreaker(9), asyncio.Barrier(3)

    async def work(fails: bool) -> None:
        async with breaker:
            await everybody.wait()
            with breaker:
                await everybody.wait()
            if fails:
                raise ConnectionError

    results = await asyncio.gather(work(True), work(False), work(True), return_exceptions=True)
    assert [type(result) for result in results] == [ConnectionError, type(None), ConnectionError]
    assert count(breaker) == (4, 2, 0)


async def test_a_task_begun_inside_of_a_probe_is_part_of_it_only_while_that_lasts() -> None:
    breaker = make_due_breaker(success_threshold=2)
    inside, after = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        with breaker:
            inside.set()
        await after.wait()
        breaker.permit()

    async with breaker:
        task = asyncio.create_task(work())
        await inside.wait()
    assert breaker.state is HALF_OPEN
    other = breaker.permit()
    after.set()
    with pytest.raises(CircuitBreakerOpenError):
        await task
    other.success()
    assert breaker.state is CLOSED


# Async generators


async def test_an_async_generator_passes_what_is_sent_and_thrown() -> None:
    breaker = CircuitBreaker()

    @breaker
    async def echo() -> AsyncGenerator[Any, Any]:
        got = yield "ready"
        try:
            yield got
        except ValueError:
            yield "caught"

    items = echo()
    assert inspect.isasyncgen(items)
    assert [await anext(items), await items.asend(5)] == ["ready", 5]
    assert await items.athrow(ValueError()) == "caught"
    with pytest.raises(StopAsyncIteration):
        await anext(items)
    assert count(breaker) == (1, 0, 0)


async def test_an_error_thrown_into_an_async_generator_that_lets_it_out_is_a_failure() -> None:
    breaker = CircuitBreaker(1)

    @breaker
    async def items() -> AsyncIterator[int]:
        yield 1

    iterator: Any = items()
    await anext(iterator)
    with pytest.raises(ConnectionError):
        await iterator.athrow(ConnectionError())
    assert breaker.state is OPEN


async def test_an_async_generator_closed_early_closes_the_inner_one_and_is_a_success() -> None:
    breaker, closed = make_due_breaker(), []

    @breaker
    async def items() -> AsyncGenerator[int, None]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            closed.append(True)

    async with aclosing(items()) as iterator:
        assert await anext(iterator) == 1
    assert closed == [True]
    assert breaker.state is CLOSED


async def test_an_async_generators_cleanup_that_fails_is_a_failure() -> None:
    breaker = CircuitBreaker(1)

    @breaker
    async def items() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            raise ConnectionError

    iterator = items()
    await anext(iterator)
    with pytest.raises(ConnectionError):
        await iterator.aclose()
    assert breaker.state is OPEN


async def test_an_async_generator_is_refused_at_its_first_item() -> None:
    breaker = CircuitBreaker()
    breaker.isolate()

    @breaker
    async def items() -> AsyncIterator[int]:
        yield 1

    iterator = items()
    with pytest.raises(CircuitBreakerOpenError):
        await anext(iterator)


async def test_an_async_generator_by_call_is_guarded_as_well() -> None:
    breaker = CircuitBreaker(1)

    async def items(first: int, *, step: int) -> AsyncIterator[int]:
        yield first
        yield first + step
        raise ConnectionError

    iterator = breaker.call(items, 1, step=2)
    assert [await anext(iterator), await anext(iterator)] == [1, 3]
    with pytest.raises(ConnectionError):
        await anext(iterator)
    assert breaker.state is OPEN
