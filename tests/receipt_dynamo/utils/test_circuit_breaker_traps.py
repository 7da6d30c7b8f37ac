"""Bugs of other circuit breakers: one test for each, named after it."""

from __future__ import annotations

import asyncio
import gc
import inspect
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from receipt_dynamo.utils.circuit_breaker import (
    CircuitBreaker,
    CircuitBreakerOpenError,
    CircuitBreakerState,
)

CLOSED, OPEN, HALF_OPEN, ISOLATED, DISABLED = CircuitBreakerState


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    """Closed; one failure opens it for 30 seconds, and a probe's lease is 60 seconds."""
    return CircuitBreaker(1, 30.0, jitter=0.0, clock=clock)


@pytest.fixture
def due(breaker: CircuitBreaker, clock: Clock) -> CircuitBreaker:
    """Open, with the open time over: the next call is a probe."""
    breaker.permit().failure()
    clock.now += 30.0
    return breaker


def test_the_lock_is_not_held_across_the_call() -> None:
    """Four calls meet inside of the protected function: one at a time, they never would."""
    breaker, meeting = CircuitBreaker(), threading.Barrier(4)

    @breaker
    def meet() -> int:
        return meeting.wait(10)

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(lambda _: meet(), range(4))) == [0, 1, 2, 3]


@pytest.mark.parametrize("what", ["listener", "predicate", "clock", "random"])
def test_the_lock_is_not_held_across_a_callers_function(what: str) -> None:
    """Each of them lets another thread use the breaker, and waits for that thread."""
    is_inside = threading.local()

    def use_from_another_thread(*_: object) -> float:
        if getattr(is_inside, "yes", False) or not breakers:
            return 0.0
        is_inside.yes = True
        other = threading.Thread(target=breakers[0].reset)
        other.start()
        other.join(10)
        is_inside.yes = False
        assert not other.is_alive()
        return 0.0

    breakers: list[CircuitBreaker] = []
    rules: dict[str, Any] = {
        "predicate": {"expected_exception": use_from_another_thread},
        "clock": {"clock": use_from_another_thread},
        "random": {"random": use_from_another_thread},
    }.get(what, {})
    breakers.append(CircuitBreaker(1, **rules))
    if what == "listener":
        breakers[0].add_listener(use_from_another_thread)
    breakers[0].permit().record_error(ConnectionError())
    breakers[0].permit().failure()


def test_half_open_does_not_admit_everybody(due: CircuitBreaker) -> None:
    start = threading.Barrier(20)

    def ask(_: int) -> int:
        start.wait(10)
        admitted = 0
        for _ in range(50):
            try:
                due.permit()
            except CircuitBreakerOpenError:
                continue
            admitted += 1
        return admitted

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(ask, range(20))) == 1
    assert due.snapshot().rejections == 999


def test_a_late_success_does_not_close_an_open_circuit(breaker: CircuitBreaker) -> None:
    late = breaker.permit()
    breaker.permit().failure()
    late.success()
    assert breaker.state is OPEN
    assert breaker.snapshot().late == 1


def test_a_late_success_does_not_close_a_half_open_circuit(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    late = breaker.permit()
    breaker.permit().failure()
    clock.now += 30.0
    breaker.permit()
    late.success()
    assert breaker.state is HALF_OPEN


def test_a_late_failure_does_not_prolong_it(breaker: CircuitBreaker, clock: Clock) -> None:
    late = breaker.permit()
    breaker.permit().failure()
    clock.now += 20.0
    late.failure(retry_after=300.0)
    assert breaker.retry_after == 10.0


def test_a_late_failure_does_not_open_it_anew(breaker: CircuitBreaker, clock: Clock) -> None:
    late = breaker.permit()
    breaker.permit().failure()
    clock.now += 30.0
    breaker.permit().success()
    late.failure()
    assert breaker.state is CLOSED


def test_with_does_not_run_the_body_while_open(breaker: CircuitBreaker) -> None:
    breaker.permit().failure()
    with pytest.raises(CircuitBreakerOpenError), breaker:
        pytest.fail("the body ran")


async def test_async_with_does_not_run_the_body_while_open(breaker: CircuitBreaker) -> None:
    breaker.permit().failure()
    with pytest.raises(CircuitBreakerOpenError):
        async with breaker:
            pytest.fail("the body ran")


def test_a_hung_probe_does_not_keep_it_half_open_for_ever(
    due: CircuitBreaker, clock: Clock
) -> None:
    hung = due.permit()
    clock.now += 59.0
    with pytest.raises(CircuitBreakerOpenError):
        due.permit()
    clock.now += 1.0
    second = due.permit()
    hung.failure()
    assert due.state is HALF_OPEN
    second.success()
    assert due.state is CLOSED


@pytest.mark.parametrize("error", [asyncio.CancelledError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_probe_gives_its_place_back_at_once(
    due: CircuitBreaker, error: type[BaseException]
) -> None:
    with pytest.raises(error), due:
        raise error
    assert (due.state, due.snapshot().probes) == (HALF_OPEN, 0)
    due.permit().success()
    assert due.state is CLOSED


@pytest.mark.parametrize("surface", ["function", "generator", "block", "call"])
async def test_a_cancelled_probe_does_not_keep_it_half_open_for_ever(
    due: CircuitBreaker, surface: str
) -> None:
    waiting = asyncio.Event()

    async def hang() -> None:
        waiting.set()
        await asyncio.Event().wait()

    async def hang_in_block() -> None:
        async with due:
            await hang()

    @due
    async def hang_while_iterating() -> AsyncIterator[None]:
        await hang()
        yield

    async def iterate() -> None:
        async for _ in hang_while_iterating():
            pass

    run: dict[str, Callable[[], Any]] = {
        "function": due(hang),
        "generator": iterate,
        "block": hang_in_block,
        "call": lambda: due.call(hang),
    }
    task = asyncio.create_task(run[surface]())
    await waiting.wait()
    assert due.snapshot().probes == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (due.state, due.snapshot().probes) == (HALF_OPEN, 0)


def test_a_generators_failure_while_iterating_is_a_failure(breaker: CircuitBreaker) -> None:
    @breaker
    def read() -> Iterator[int]:
        yield 1
        raise ConnectionError

    with pytest.raises(ConnectionError):
        list(read())
    assert breaker.state is OPEN


async def test_an_async_generators_failure_while_iterating_is_a_failure(
    breaker: CircuitBreaker,
) -> None:
    @breaker
    async def read() -> AsyncIterator[int]:
        yield 1
        raise ConnectionError

    with pytest.raises(ConnectionError):
        async for _ in read():
            pass
    assert breaker.state is OPEN


async def test_an_async_call_is_not_a_success_before_it_is_awaited(
    breaker: CircuitBreaker,
) -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise ConnectionError

    def return_coroutine() -> Any:
        return fail()

    for run in (
        breaker(fail),
        breaker(return_coroutine),
        lambda: breaker.call(fail),
        lambda: breaker.call(return_coroutine),
    ):
        breaker.reset()
        awaitable = run()
        assert breaker.snapshot().successes == 0
        with pytest.raises(ConnectionError):
            await awaitable
        assert breaker.state is OPEN


async def test_a_coroutine_returned_by_a_probe_is_part_of_the_probe(due: CircuitBreaker) -> None:
    async def read() -> int:
        return 1

    def return_coroutine() -> Any:
        return read()

    awaitable = due(return_coroutine)()
    assert (due.state, due.snapshot().probes) == (HALF_OPEN, 1)
    assert await awaitable == 1
    assert due.state is CLOSED


def test_the_wall_clock_is_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: pytest.fail("the wall clock was read"))
    breaker = CircuitBreaker(1, failure_rate=0.5, slow_call_seconds=1.0)
    breaker.permit().failure()
    with pytest.raises(CircuitBreakerOpenError):
        breaker.permit()
    breaker.snapshot()
    assert inspect.signature(CircuitBreaker).parameters["clock"].default is time.monotonic


def test_a_refusal_holds_no_earlier_error_and_no_cycle(breaker: CircuitBreaker) -> None:
    """An error kept by a breaker keeps every local variable of a request alive."""

    class Payload:
        pass

    def fail_with_payload() -> weakref.ref[Payload]:
        payload = Payload()
        found = weakref.ref(payload)
        try:
            with breaker:
                raise ConnectionError  # noqa: TRY301
        except ConnectionError:
            refuse()
        return found

    def refuse() -> None:
        try:
            breaker.permit()
        except CircuitBreakerOpenError as error:
            assert error.__context__ is error.__cause__ is None
            errors.append(weakref.ref(error))

    errors: list[weakref.ref[CircuitBreakerOpenError]] = []
    gc.disable()
    try:
        assert fail_with_payload()() is None
        assert errors[0]() is None
    finally:
        gc.enable()


def test_each_refusal_is_an_error_of_its_own(breaker: CircuitBreaker) -> None:
    """One shared error would grow its traceback with each raise."""
    breaker.isolate()
    caught = []
    for _ in range(2):
        with pytest.raises(CircuitBreakerOpenError) as info:
            breaker.permit()
        caught.append(info.value)
    assert caught[0] is not caught[1]
