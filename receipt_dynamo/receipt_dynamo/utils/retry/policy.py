"""When to try again, after how long, and when to give up: what all forms of retry share."""

from __future__ import annotations

import asyncio
import logging
import math
import random as _random
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias

from receipt_dynamo.errors import ReceiptDynamoError
from receipt_dynamo.utils.arguments import (
    ExceptionFilter,
    check_callable,
    check_flag,
    check_not_negative,
    check_positive,
    check_type,
    check_whole,
    given,
    make_filter,
)
from receipt_dynamo.utils.backoff import backoff_delay
from receipt_dynamo.utils.retry.budget import RetryBudget

Reason: TypeAlias = Literal["attempts", "deadline", "budget"]

_logger = logging.getLogger(__name__)


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
class RetryPolicy:
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
            delay = min(hint, self.max_delay)
        return delay


class RetryRun:
    """The state of one call: nothing here is shared between calls."""

    __slots__ = ("_name", "_policy", "_started", "attempts")

    def __init__(self, policy: RetryPolicy, name: str, started: float) -> None:
        self._policy = policy
        self._name = name
        self._started = started
        self.attempts = 0

    def record_success(self) -> None:
        """Give a part of a token back, when the first try succeeded."""
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


def sleep_for(seconds: float, sleep: Callable[[float], object]) -> None:
    """Sleep, unless :func:`no_waits` removed the waits."""
    if not _waits_are_removed:
        sleep(seconds)


async def async_sleep_for(seconds: float, sleep: Callable[[float], Awaitable[object]]) -> None:
    """Like :func:`sleep_for`, for asyncio."""
    await (asyncio.sleep(0) if _waits_are_removed else sleep(seconds))


def make_policy(
    max_attempts: int = 3,
    base_delay: float = 1.0,
    max_delay: float = 60.0,
    exceptions: ExceptionFilter = Exception,
    *,
    jitter: bool = True,
    multiplier: float = 2.0,
    deadline: float | None = None,
    budget: RetryBudget | None = None,
    on_retry: Callable[[RetryDetails], object] | None = None,
    clock: Callable[[], float] = time.monotonic,
    random: Callable[[], float] = _random.random,
) -> RetryPolicy:
    """Check the arguments of a retry, and return its policy; see ``retry_with_backoff``.

    Raises:
        ValueError: A number is out of bounds.
        TypeError: Another argument is of a wrong type.
    """
    check_whole(max_attempts=max_attempts)
    check_not_negative(base_delay=base_delay, max_delay=max_delay)
    check_positive(multiplier=multiplier, **given(deadline=deadline))
    check_callable(clock=clock, random=random, **given(on_retry=on_retry))
    check_flag(jitter=jitter)
    check_type(RetryBudget | None, budget=budget)
    return RetryPolicy(
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
