"""A type checker sees a decorated function as it was: run by mypy and by pyright."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any, assert_type

from receipt_dynamo import CircuitBreaker, CircuitBreakerOpenError, CircuitBreakerState
from receipt_dynamo.utils.circuit_breaker import BreakerEvent, BreakerSnapshot, Permit

breaker = CircuitBreaker(5, 30.0, (ConnectionError, TimeoutError), name="example")
CircuitBreaker(expected_exception=lambda error: "busy" in str(error))
CircuitBreaker(failure_threshold=None, failure_rate=0.5)


@breaker
def read(key: str, *, limit: int = 10) -> list[str]:
    return [key] * limit


@breaker
async def read_async(key: str, *, limit: int = 10) -> list[str]:
    return [key] * limit


@breaker
def stream(key: str) -> Generator[str, int, bool]:
    yield key
    return True


@breaker
async def stream_async(key: str) -> AsyncGenerator[str, int]:
    yield key


class Client:
    @breaker
    def read(self, key: str) -> bytes:
        return key.encode()

    @classmethod
    @breaker
    def make(cls, key: str) -> Client:
        return cls()

    @staticmethod
    @breaker
    def parse(key: str) -> int:
        return int(key)


assert_type(read("a", limit=3), list[str])
read(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
read("a", 3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
read("a", limits=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

assert_type(stream("a"), Generator[str, int, bool])
assert_type(stream_async("a"), AsyncGenerator[str, int])
assert_type(Client().read("a"), bytes)
assert_type(Client.make("a"), Client)
assert_type(Client.parse("1"), int)
Client().read(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

returns_text: Callable[[str], bytes] = Client().read

assert_type(breaker.call(read, "a", limit=3), list[str])
assert_type(breaker.call(int, "12"), int)
breaker.call(read, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def use_async() -> None:
    awaitable: Awaitable[list[str]] = read_async("a")
    assert_type(await awaitable, list[str])
    assert_type(await read_async("a", limit=1), list[str])
    await read_async(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(await breaker.call(read_async, "a"), list[str])
    async for item in stream_async("a"):
        assert_type(item, str)
    async with breaker as permit:
        assert_type(permit, Permit)


def use_permit() -> None:
    try:
        permit = breaker.permit()
    except CircuitBreakerOpenError as error:
        assert_type(error.name, str)
        assert_type(error.state, CircuitBreakerState)
        assert_type(error.retry_after, float)
        return
    assert_type(permit, Permit)
    permit.success()
    permit.failure(retry_after=2)
    permit.failure("2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    permit.cancel()


def after_a_block() -> int:
    # The block swallows nothing, so a checker knows that this returns.
    with breaker:
        return 1


def listen(event: BreakerEvent) -> None:
    assert_type(event.new, CircuitBreakerState)


breaker.add_listener(listen)
assert_type(breaker.snapshot(), BreakerSnapshot)
assert_type(breaker.state, CircuitBreakerState)
assert_type(breaker.retry_after, float)
predicate: Callable[[Any], bool] = lambda result: result is None  # noqa: E731
CircuitBreaker(failure_on_result=predicate)
