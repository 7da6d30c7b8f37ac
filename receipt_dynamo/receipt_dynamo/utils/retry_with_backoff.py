"""Retry a function, or a block of code, with exponential backoff and full jitter."""

from __future__ import annotations

import asyncio
import functools
import inspect
import random as _random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import CoroutineType
from typing import Any, ParamSpec, Self, TypedDict, TypeVar, Unpack, overload

from receipt_dynamo.utils.arguments import ExceptionFilter, check_callable, given
from receipt_dynamo.utils.retry.budget import RetryBudget
from receipt_dynamo.utils.retry.policy import (
    RetryDetails,
    RetryExhaustedError,
    RetryPolicy,
    RetryRun,
    async_sleep_for,
    make_policy,
    no_waits,
    sleep_for,
)

__all__ = [
    "RetryBudget",
    "RetryDetails",
    "RetryExhaustedError",
    "no_waits",
    "retry_with_backoff",
    "retrying",
]

P = ParamSpec("P")
R = TypeVar("R")


@overload
def retry_with_backoff(max_attempts: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def retry_with_backoff(
    max_attempts: int = 3,
    base_delay: float = 1.0,
    max_delay: float = 60.0,
    exceptions: ExceptionFilter = Exception,
    jitter: bool = True,
    *,
    multiplier: float = 2.0,
    deadline: float | None = None,
    retry_on_result: Callable[[Any], bool] | None = None,
    budget: RetryBudget | None = None,
    on_retry: Callable[[RetryDetails], object] | None = None,
    sleep: Callable[[float], object] = time.sleep,
    async_sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
    random: Callable[[], float] = _random.random,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def retry_with_backoff(
    max_attempts: int | Callable[P, R] = 3,
    base_delay: float = 1.0,
    max_delay: float = 60.0,
    exceptions: ExceptionFilter = Exception,
    jitter: bool = True,
    *,
    multiplier: float = 2.0,
    deadline: float | None = None,
    retry_on_result: Callable[[Any], bool] | None = None,
    budget: RetryBudget | None = None,
    on_retry: Callable[[RetryDetails], object] | None = None,
    sleep: Callable[[float], object] = time.sleep,
    async_sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
    random: Callable[[], float] = _random.random,
) -> Callable[P, R] | Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function, sync or async, so that it is tried again when it fails.

    Args:
        max_attempts: Tries in all, the first included. The decorated function itself,
            when the decorator is used bare.
        base_delay: Seconds before the second try, at most.
        max_delay: Seconds before any try, at most; also clamps a server's hint.
        exceptions: What to retry: types, or a predicate. ``BaseException`` beyond
            ``Exception``, such as a cancellation, is never retried; neither is an error
            whose attribute ``retryable`` is False, such as an open breaker's.
        jitter: Draw each delay at random from zero to its ceiling (full jitter).
        multiplier: Growth of the ceiling from try to try.
        deadline: Seconds for all tries and waits together; None is no bound. A wait
            that would reach it is not begun. A try that runs is not interrupted.
        retry_on_result: Returns True for a result after which to try again.
        budget: Shared by many callers, so that together they cannot overload the service.
        on_retry: Gets :class:`RetryDetails` before each wait; its errors are logged.
        sleep: Waits, for a sync function.
        async_sleep: Waits, for an async function.
        clock: Monotonic time in seconds.
        random: Uniform random numbers from 0 to 1.

    The exception's attribute ``retry_after``, in seconds, lengthens the delay.

    Raises:
        ValueError: A number is out of bounds.
        TypeError: Another argument is of a wrong type, or the function is a generator,
            whose failure while iterating would pass by unnoticed.

    The decorated function raises :class:`RetryExhaustedError` from the last failure, and
    what is not to be retried as it is. A function that is not async and returns a
    coroutine raises TypeError.
    """
    _check_is_no_error(max_attempts)
    if callable(max_attempts):
        return retry_with_backoff()(max_attempts)
    policy = make_policy(
        max_attempts,
        base_delay,
        max_delay,
        exceptions,
        jitter=jitter,
        multiplier=multiplier,
        deadline=deadline,
        budget=budget,
        on_retry=on_retry,
        clock=clock,
        random=random,
    )

    check_callable(sleep=sleep, async_sleep=async_sleep, **given(retry_on_result=retry_on_result))

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        check_callable(function=function)
        forms = (function, type(function).__call__)  # an object is of the kind of its __call__
        if any(inspect.isgeneratorfunction(f) or inspect.isasyncgenfunction(f) for f in forms):
            raise TypeError(f"{function!r} is a generator; accepted are functions that return")
        if any(inspect.iscoroutinefunction(form) for form in forms):
            returns_awaitable: Any = function
            wrapped: Callable[P, Any] = _wrap_async(
                returns_awaitable, policy, retry_on_result, async_sleep
            )
            return wrapped
        return _wrap_sync(function, policy, retry_on_result, sleep)

    return decorate


def _check_is_no_error(max_attempts: object) -> None:
    """Refuse ``@retry_with_backoff(ValueError)``: as a bare decorator it would wrap the error."""
    if isinstance(max_attempts, type) and issubclass(max_attempts, BaseException):
        raise TypeError(
            f"max_attempts is {max_attempts!r}; accepted are whole numbers of 1 or more, "
            "and exceptions= takes what to retry"
        )


def _wrap_sync(
    function: Callable[P, R],
    policy: RetryPolicy,
    retry_on_result: Callable[[Any], bool] | None,
    sleep: Callable[[float], object],
) -> Callable[P, R]:
    name = _name_of(function)
    clock = policy.clock

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        run = RetryRun(policy, name, clock())
        while True:
            try:
                result = function(*args, **kwargs)
            except Exception as error:
                delay = run.after_failure(error)
                if delay is None:
                    raise
            else:
                if isinstance(result, CoroutineType):
                    result.close()
                    raise TypeError(
                        f"{name} returned a coroutine, whose failure would pass by unnoticed; "
                        "accepted are async functions, and functions that return a result"
                    )
                if retry_on_result is None or not retry_on_result(result):
                    run.record_success()
                    return result
                delay = run.after_result(result)
            sleep_for(delay, sleep)

    return call


def _wrap_async(
    function: Callable[P, Awaitable[R]],
    policy: RetryPolicy,
    retry_on_result: Callable[[Any], bool] | None,
    sleep: Callable[[float], Awaitable[object]],
) -> Callable[P, Awaitable[R]]:
    name = _name_of(function)
    clock = policy.clock

    @functools.wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> R:
        run = RetryRun(policy, name, clock())
        while True:
            try:
                result = await function(*args, **kwargs)
            except Exception as error:
                delay = run.after_failure(error)
                if delay is None:
                    raise
            else:
                if retry_on_result is None or not retry_on_result(result):
                    run.record_success()
                    return result
                delay = run.after_result(result)
            await async_sleep_for(delay, sleep)

    return call


def _name_of(function: Callable[..., object]) -> str:
    return getattr(function, "__qualname__", type(function).__name__)


class RetrySettings(TypedDict, total=False):
    """The arguments of :func:`retrying`; they mean what they do for :func:`retry_with_backoff`."""

    max_attempts: int
    base_delay: float
    max_delay: float
    exceptions: ExceptionFilter
    jitter: bool
    multiplier: float
    deadline: float | None
    budget: RetryBudget | None
    on_retry: Callable[[RetryDetails], object] | None
    clock: Callable[[], float]
    random: Callable[[], float]


def retrying(
    *,
    name: str = "retrying",
    sleep: Callable[[float], object] = time.sleep,
    async_sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    **settings: Unpack[RetrySettings],
) -> RetryLoop:
    """Return a loop for code that is not a function, to go through once or many times.

    ``for attempt in retrying(...): with attempt: ...``, or with ``async for`` and the
    same plain ``with``. What fails inside of ``with`` is tried again like a function that
    :func:`retry_with_backoff` decorates, and raises the same errors in the end.

    Args:
        name: For hooks and log lines.
        sleep: Waits, in ``for``.
        async_sleep: Waits, in ``async for``.
        **settings: As of :func:`retry_with_backoff`.

    Raises:
        ValueError: A number is out of bounds.
        TypeError: Another argument is of a wrong type.
    """
    check_callable(sleep=sleep, async_sleep=async_sleep)
    return RetryLoop(make_policy(**settings), name, sleep, async_sleep)


class RetryLoop:
    """What :func:`retrying` returns; each ``for`` over it begins anew."""

    def __init__(
        self,
        policy: RetryPolicy,
        name: str,
        sleep: Callable[[float], object],
        async_sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        self._policy = policy
        self._name = name
        self._sleep = sleep
        self._async_sleep = async_sleep

    def __iter__(self) -> Iterator[RetryAttempt]:
        attempt = RetryAttempt(RetryRun(self._policy, self._name, self._policy.clock()))
        yield attempt
        while attempt.delay is not None:
            sleep_for(attempt.delay, self._sleep)
            attempt.delay = None
            yield attempt

    async def __aiter__(self) -> AsyncIterator[RetryAttempt]:
        attempt = RetryAttempt(RetryRun(self._policy, self._name, self._policy.clock()))
        yield attempt
        while attempt.delay is not None:
            await async_sleep_for(attempt.delay, self._async_sleep)
            attempt.delay = None
            yield attempt


class RetryAttempt:
    """One try of a loop, as a context manager.

    Attributes:
        delay: Seconds until the next try; None after the last one.
    """

    def __init__(self, run: RetryRun) -> None:
        self._run = run
        self.delay: float | None = None

    @property
    def number(self) -> int:
        """Which try it is; 1 is the first."""
        return self._run.attempts + 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: object, exc: BaseException | None, traceback: object) -> bool:
        if exc is None:
            self._run.record_success()
        elif isinstance(exc, Exception):
            self.delay = self._run.after_failure(exc)
        return self.delay is not None
