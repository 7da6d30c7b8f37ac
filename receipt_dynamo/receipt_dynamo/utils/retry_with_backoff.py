"""Retry a call with exponential backoff and full jitter.

The delay grows exponentially and is then drawn at random from zero to there, as in
"Exponential Backoff And Jitter", AWS Architecture Blog, 2015: clients that failed
together must not come back together.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import math
import random as _random
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, ParamSpec, TypeAlias, TypeVar, cast, overload

from receipt_dynamo.errors import ReceiptDynamoError
from receipt_dynamo.utils.arguments import (
    ExceptionFilter,
    check_not_negative,
    check_positive,
    check_whole,
    make_filter,
)
from receipt_dynamo.utils.retry_budget import RetryBudget

P = ParamSpec("P")
R = TypeVar("R")

Reason: TypeAlias = Literal["attempts", "deadline", "budget"]

_logger = logging.getLogger(__name__)


def backoff_delay(
    attempt: int,
    *,
    base_delay: float,
    max_delay: float,
    multiplier: float = 2.0,
    jitter: bool = True,
    random: Callable[[], float] = _random.random,
) -> float:
    """Return the seconds to wait after failed attempt number ``attempt`` (1 is the first)."""
    try:
        ceiling = min(max_delay, base_delay * multiplier ** (attempt - 1))
    except OverflowError:
        ceiling = max_delay
    return ceiling * random() if jitter else ceiling


class RetryExhaustedError(ReceiptDynamoError):
    """Every try failed; the last failure is chained as the cause.

    Attributes:
        last_exception: The last failure; None when a result asked for another try.
        last_result: That result.
        attempts: How many tries were made.
        elapsed: Seconds from the first try to the end of the last one.
        reason: What ended it: "attempts", "deadline" or "budget".
    """

    def __init__(
        self,
        attempts: int,
        elapsed: float,
        reason: Reason,
        last_exception: Exception | None = None,
        last_result: object = None,
    ) -> None:
        super().__init__(attempts, elapsed, reason, last_exception, last_result)
        self.attempts = attempts
        self.elapsed = elapsed
        self.reason = reason
        self.last_exception = last_exception
        self.last_result = last_result

    def __str__(self) -> str:
        failure = (
            "a result that asked for another try"
            if self.last_exception is None
            else type(self.last_exception).__name__
        )
        return (
            f"gave up after {self.attempts} attempts in {self.elapsed:.3f} s "
            f"({self.reason}); the last failure was {failure}"
        )


@dataclass(frozen=True, slots=True)
class RetryDetails:
    """What a hook gets before a wait. It holds nothing of the call's arguments.

    Attributes:
        name: Of the function or block.
        attempt: The try that failed; 1 is the first.
        delay: Seconds until the next one.
        elapsed: Seconds since the first one began.
        exception: The failure; None when a result asked for another try.
    """

    name: str
    attempt: int
    delay: float
    elapsed: float
    exception: Exception | None


_waits_are_removed = 0
_waits_lock = threading.Lock()


@contextmanager
def no_waits() -> Iterator[None]:
    """Remove the waits of all retries in this process, for tests; attempts stay as they are."""
    global _waits_are_removed  # noqa: PLW0603 - the switch is for the whole process
    with _waits_lock:
        _waits_are_removed += 1
    try:
        yield
    finally:
        with _waits_lock:
            _waits_are_removed -= 1


@dataclass(frozen=True, slots=True)
class _Policy:
    """When and how long: the pure part, apart from sleeping."""

    max_attempts: int
    base_delay: float
    max_delay: float
    should_retry: Callable[[Exception], bool]
    jitter: bool
    multiplier: float
    deadline: float
    budget: RetryBudget | None
    on_retry: Callable[[RetryDetails], object] | None
    clock: Callable[[], float]
    random: Callable[[], float]

    def plan_delay(self, attempt: int, failure: Exception | None) -> float:
        """Return the seconds before the next try, a server's hint included."""
        delay = backoff_delay(
            attempt,
            base_delay=self.base_delay,
            max_delay=self.max_delay,
            multiplier=self.multiplier,
            jitter=self.jitter,
            random=self.random,
        )
        hint = getattr(failure, "retry_after", None)
        if isinstance(hint, (int, float)) and hint > delay:
            delay = min(float(hint), self.max_delay)
        return delay


class _Run:
    """The state of one call: nothing here is shared between calls."""

    __slots__ = ("_name", "_policy", "_started", "attempts")

    def __init__(self, policy: _Policy, name: str, started: float) -> None:
        self._policy = policy
        self._name = name
        self._started = started
        self.attempts = 0

    def note_success(self) -> None:
        if self.attempts == 0 and self._policy.budget is not None:
            self._policy.budget.give_back()

    def after_failure(self, error: Exception) -> float | None:
        """Return the delay before the next try; None when this error is not to be retried.

        Raises:
            RetryExhaustedError: There is no next try.
        """
        # An open breaker's refusal, for example: trying again cannot help.
        if getattr(error, "retryable", True) is False or not self._policy.should_retry(error):
            return None
        return self._next_delay(error, None)

    def after_result(self, result: object) -> float:
        """Return the delay before the next try, for a result that asked for one."""
        return self._next_delay(None, result)

    def _next_delay(self, error: Exception | None, result: object) -> float:
        policy = self._policy
        self.attempts += 1
        elapsed = policy.clock() - self._started
        delay = policy.plan_delay(self.attempts, error)
        reason: Reason | None = None
        if self.attempts >= policy.max_attempts:
            reason = "attempts"
        elif elapsed + delay >= policy.deadline:
            reason = "deadline"  # Sleeping to the deadline could not pay off.
        elif policy.budget is not None and not policy.budget.take():
            reason = "budget"
        if reason is not None:
            raise RetryExhaustedError(self.attempts, elapsed, reason, error, result) from error
        self._report(RetryDetails(self._name, self.attempts, delay, elapsed, error))
        return delay

    def _report(self, details: RetryDetails) -> None:
        _logger.debug(
            "%s: attempt %d failed with %s; next in %.3f s",
            details.name,
            details.attempt,
            type(details.exception).__name__,
            details.delay,
        )
        if self._policy.on_retry is None:
            return
        try:
            self._policy.on_retry(details)
        except Exception as error:  # noqa: BLE001 - a hook must not break the call
            _logger.warning("the on_retry hook of %s raised %s", details.name, type(error).__name__)


def _sleep_for(seconds: float, sleep: Callable[[float], object]) -> None:
    if not _waits_are_removed:
        sleep(seconds)


async def _async_sleep_for(seconds: float, sleep: Callable[[float], Awaitable[object]]) -> None:
    await (asyncio.sleep(0) if _waits_are_removed else sleep(seconds))


def _make_policy(
    max_attempts: int,
    base_delay: float,
    max_delay: float,
    exceptions: ExceptionFilter,
    *,
    jitter: bool,
    multiplier: float,
    deadline: float | None,
    budget: RetryBudget | None,
    on_retry: Callable[[RetryDetails], object] | None,
    clock: Callable[[], float],
    random: Callable[[], float],
) -> _Policy:
    check_whole(max_attempts=max_attempts)
    check_not_negative(base_delay=base_delay, max_delay=max_delay)
    check_positive(multiplier=multiplier, deadline=deadline)
    return _Policy(
        max_attempts,
        base_delay,
        max_delay,
        make_filter("exceptions", exceptions),
        jitter,
        multiplier,
        math.inf if deadline is None else deadline,
        budget,
        on_retry,
        clock,
        random,
    )


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
        retry_on_result: Says True for a result that asks for another try.
        budget: Shared by many callers, so that together they cannot storm.
        on_retry: Gets :class:`RetryDetails` before each wait; its errors are logged.
        sleep: Waits, for a sync function.
        async_sleep: Waits, for an async function.
        clock: Monotonic time in seconds.
        random: Uniform random numbers from 0 to 1.

    The exception's attribute ``retry_after``, in seconds, lengthens the delay.

    Raises:
        ValueError: A number is out of bounds.
        TypeError: ``exceptions`` is of a wrong type, or the function is a generator,
            whose failure while iterating would pass by unnoticed.

    The decorated function raises :class:`RetryExhaustedError` from the last failure, and
    what is not to be retried as it is.
    """
    if callable(max_attempts):
        return retry_with_backoff()(max_attempts)
    policy = _make_policy(
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

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"{function!r} is a generator; accepted are functions that return")
        if inspect.iscoroutinefunction(function):
            wrapped = _wrap_async(function, policy, retry_on_result, async_sleep)
            return cast("Callable[P, R]", wrapped)
        return _wrap_sync(function, policy, retry_on_result, sleep)

    return decorate


def _wrap_sync(
    function: Callable[P, R],
    policy: _Policy,
    retry_on_result: Callable[[Any], bool] | None,
    sleep: Callable[[float], object],
) -> Callable[P, R]:
    name = _name_of(function)
    clock = policy.clock

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        run = _Run(policy, name, clock())
        while True:
            try:
                result = function(*args, **kwargs)
            except Exception as error:
                delay = run.after_failure(error)
                if delay is None:
                    raise
            else:
                if retry_on_result is None or not retry_on_result(result):
                    run.note_success()
                    return result
                delay = run.after_result(result)
            _sleep_for(delay, sleep)

    return call


def _wrap_async(
    function: Callable[P, Awaitable[R]],
    policy: _Policy,
    retry_on_result: Callable[[Any], bool] | None,
    sleep: Callable[[float], Awaitable[object]],
) -> Callable[P, Awaitable[R]]:
    name = _name_of(function)
    clock = policy.clock

    @functools.wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> R:
        run = _Run(policy, name, clock())
        while True:
            try:
                result = await function(*args, **kwargs)
            except Exception as error:
                delay = run.after_failure(error)
                if delay is None:
                    raise
            else:
                if retry_on_result is None or not retry_on_result(result):
                    run.note_success()
                    return result
                delay = run.after_result(result)
            await _async_sleep_for(delay, sleep)

    return call


def _name_of(function: Callable[..., object]) -> str:
    return getattr(function, "__qualname__", type(function).__name__)
