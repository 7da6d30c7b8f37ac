"""Stop calling what keeps failing, and find out gently when it is back.

A thin locked shell around the pure machine in ``breaker_state``. The lock is held for the
bookkeeping before and after a call only: never across the call, a predicate, a listener
or a log line.
"""

from __future__ import annotations

import functools
import inspect
import logging
import math
import random as _random
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import aclosing
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, cast

from receipt_dynamo.errors import ReceiptDynamoError
from receipt_dynamo.utils.arguments import (
    ExceptionFilter,
    check_positive,
    check_share,
    check_whole,
    make_filter,
)
from receipt_dynamo.utils.breaker_machine import (
    BreakerMachine,
    BreakerSettings,
    Change,
    CircuitBreakerState,
    Outcome,
)
from receipt_dynamo.utils.breaker_windows import CountWindow, TimeWindow, Window
from receipt_dynamo.utils.fork_safety import reset_in_child

__all__ = [
    "CircuitBreaker",
    "CircuitBreakerOpenError",
    "CircuitBreakerState",
    "Permit",
]

P = ParamSpec("P")
R = TypeVar("R")

_logger = logging.getLogger(__name__)


class CircuitBreakerOpenError(ReceiptDynamoError):
    """The breaker refused a call. It can be pickled.

    Attributes:
        name: Of the breaker.
        state: Of the breaker.
        retry_after: Seconds until a call may be admitted; infinite while isolated.
        retryable: False: ``retry_with_backoff`` does not retry it.
    """

    retryable = False

    def __init__(self, name: str, state: CircuitBreakerState, retry_after: float) -> None:
        super().__init__(name, state, retry_after)
        self.name = name
        self.state = state
        self.retry_after = retry_after

    def __str__(self) -> str:
        return (
            f"circuit breaker {self.name!r} is {self.state.value}; "
            f"retry after {self.retry_after:.1f} s"
        )


@dataclass(frozen=True, slots=True)
class BreakerEvent:
    """A change of state, for listeners.

    Attributes:
        name: Of the breaker.
        old: State before.
        new: State after.
        reason: In words.
        retry_after: Seconds until a call may be admitted.
    """

    name: str
    old: CircuitBreakerState
    new: CircuitBreakerState
    reason: str
    retry_after: float


@dataclass(frozen=True, slots=True)
class BreakerSnapshot:
    """One consistent view of a breaker, for metrics.

    Attributes:
        name: Of the breaker.
        state: Of the breaker.
        failures_in_a_row: Since the last success, while closed.
        probes: On their way, while half-open.
        retry_after: Seconds until a call may be admitted.
        admitted: Calls admitted in its life.
        refused: Calls refused in its life.
        opened: How often it opened.
    """

    name: str
    state: CircuitBreakerState
    failures_in_a_row: int
    probes: int
    retry_after: float
    admitted: int
    refused: int
    opened: int


class CircuitBreaker:
    """A circuit breaker as decorator, context manager, ``call`` and two-step permit.

    Decorates sync functions, async functions, generators and async generators, of which
    the failure while iterating counts. Thread-safe, usable from asyncio, and survives a
    fork.

    Args:
        failure_threshold: Failures in a row that open it; None turns this rule off.
        timeout_seconds: Seconds that it stays open at first.
        expected_exception: What counts as failure: types, or a predicate. Any other
            ``Exception`` counts as success, because the service answered.
        name: For errors, events and log lines.
        ignored_exceptions: Of the expected ones: what counts as neither.
        success_exceptions: Of the expected ones: what counts as success.
        failure_on_result: Says True for a result that counts as failure.
        failure_rate: Share of failures (over 0, to 1) in the window that opens it.
        slow_call_seconds: A call that takes longer is slow.
        slow_call_rate: Share of slow calls in the window that opens it.
        window_calls: Size of the window in calls.
        window_seconds: Size of the window in seconds, in place of ``window_calls``.
        minimum_calls: The rates decide from so many calls in the window on.
        half_open_max_calls: Probes at a time.
        success_threshold: Probes that must succeed to close it; one failure reopens it.
        probe_lease_seconds: After so long, a probe without a verdict gives its place back.
        open_multiplier: Growth of the open time each time that a probe fails.
        max_open_seconds: Longest open time; also clamps a server's hint.
        jitter: Share of the open time that is added at random.
        clock: Monotonic time in seconds.
        random: Uniform random numbers from 0 to 1.

    Cancellation and every other ``BaseException`` beyond ``Exception`` count as neither.
    A failure's attribute ``retry_after``, in seconds, lengthens the open time.

    Raises:
        ValueError: A number is out of bounds.
        TypeError: An exception filter is of a wrong type.
    """

    def __init__(
        self,
        failure_threshold: int | None = 5,
        timeout_seconds: float = 30.0,
        expected_exception: ExceptionFilter = Exception,
        *,
        name: str = "circuit-breaker",
        ignored_exceptions: ExceptionFilter = (),
        success_exceptions: ExceptionFilter = (),
        failure_on_result: Callable[[Any], bool] | None = None,
        failure_rate: float | None = None,
        slow_call_seconds: float | None = None,
        slow_call_rate: float | None = None,
        window_calls: int = 100,
        window_seconds: float | None = None,
        minimum_calls: int = 10,
        half_open_max_calls: int = 1,
        success_threshold: int = 1,
        probe_lease_seconds: float = 60.0,
        open_multiplier: float = 2.0,
        max_open_seconds: float = 300.0,
        jitter: float = 0.1,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = _random.random,
    ) -> None:
        check_whole(
            failure_threshold=failure_threshold,
            window_calls=window_calls,
            minimum_calls=minimum_calls,
            half_open_max_calls=half_open_max_calls,
            success_threshold=success_threshold,
        )
        check_positive(
            timeout_seconds=timeout_seconds,
            slow_call_seconds=slow_call_seconds,
            window_seconds=window_seconds,
            probe_lease_seconds=probe_lease_seconds,
            open_multiplier=open_multiplier,
            max_open_seconds=max_open_seconds,
        )
        check_share(failure_rate=failure_rate, slow_call_rate=slow_call_rate, jitter=jitter)
        if (slow_call_rate is None) != (slow_call_seconds is None):
            raise ValueError("slow_call_rate and slow_call_seconds go together; one is missing")
        self.name = name
        self._is_failure = make_filter("expected_exception", expected_exception)
        self._is_ignored = make_filter("ignored_exceptions", ignored_exceptions)
        self._is_success = make_filter("success_exceptions", success_exceptions)
        self._failure_on_result = failure_on_result
        self._slow_call_seconds = slow_call_seconds
        self._clock = clock
        self._random = random
        self._listeners: tuple[Callable[[BreakerEvent], object], ...] = ()
        self._admitted = self._refused = self._opened = 0
        needs_window = failure_rate is not None or slow_call_rate is not None
        window: Window | None = None
        if needs_window:
            window = (
                CountWindow(window_calls) if window_seconds is None else TimeWindow(window_seconds)
            )
        self._machine = BreakerMachine(
            BreakerSettings(
                failure_threshold=failure_threshold,
                open_seconds=timeout_seconds,
                failure_rate=math.inf if failure_rate is None else failure_rate,
                slow_call_rate=math.inf if slow_call_rate is None else slow_call_rate,
                minimum_calls=minimum_calls,
                half_open_max_calls=half_open_max_calls,
                success_threshold=success_threshold,
                probe_lease_seconds=probe_lease_seconds,
                open_multiplier=open_multiplier,
                max_open_seconds=max(max_open_seconds, timeout_seconds),
                jitter=jitter,
            ),
            window,
        )
        # Re-entrant: a finalizer that uses the breaker may run inside of the lock.
        self._lock = threading.RLock()
        # The calls that `with` has open in this thread or task, innermost last.
        self._open_calls: ContextVar[tuple[tuple[int, float], ...]] = ContextVar(name, default=())
        reset_in_child(self)

    def reset_after_fork(self) -> None:
        """Replace the lock in a forked child; the state stays, the parent's probes do not."""
        self._lock = threading.RLock()
        self._machine.forget_probes()

    @property
    def state(self) -> CircuitBreakerState:
        """Where it stands. It is OPEN until a call asks after the open time, and becomes a probe."""
        return self._machine.state

    @property
    def retry_after(self) -> float:
        """Seconds until a call may be admitted; 0 when it may be now."""
        with self._lock:
            return self._machine.seconds_until_admitted(self._clock())

    def snapshot(self) -> BreakerSnapshot:
        """Return one consistent view, for metrics."""
        with self._lock:
            machine = self._machine
            return BreakerSnapshot(
                name=self.name,
                state=machine.state,
                failures_in_a_row=machine.failures_in_a_row,
                probes=machine.probes,
                retry_after=machine.seconds_until_admitted(self._clock()),
                admitted=self._admitted,
                refused=self._refused,
                opened=self._opened,
            )

    def add_listener(self, listener: Callable[[BreakerEvent], object]) -> None:
        """Have ``listener`` called at each change of state.

        It runs in the thread of the call that caused the change, after the lock is free;
        what it raises is logged.
        """
        with self._lock:
            self._listeners = (*self._listeners, listener)

    def isolate(self) -> None:
        """Refuse every call until :meth:`reset`."""
        self._change(self._machine.isolate)

    def disable(self) -> None:
        """Admit every call, uncounted, until :meth:`reset`."""
        self._change(self._machine.disable)

    def reset(self) -> None:
        """Close it, and forget what was counted."""
        self._change(self._machine.reset)

    def permit(self) -> Permit:
        """Ask for one call, whose outcome the caller reports on the permit.

        Raises:
            CircuitBreakerOpenError: The call is refused.
        """
        return Permit(self, *self._enter())

    def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call ``function``, sync or async, through the breaker.

        Raises:
            CircuitBreakerOpenError: The call is refused.
        """
        if inspect.iscoroutinefunction(function):
            return cast("R", self._call_async(function, *args, **kwargs))
        ticket, started = self._enter()
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            self._leave_with_error(ticket, started, error)
            raise
        self._leave_with_result(ticket, started, result)
        return result

    async def _call_async(
        self, function: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        ticket, started = self._enter()
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            self._leave_with_error(ticket, started, error)
            raise
        self._leave_with_result(ticket, started, result)
        return result

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function, an async function, a generator or an async generator."""
        if inspect.iscoroutinefunction(function):
            wrapped: Callable[..., Any] = self._wrap_async(function)
        elif inspect.isasyncgenfunction(function):
            wrapped = self._wrap_async_generator(function)
        elif inspect.isgeneratorfunction(function):
            wrapped = self._wrap_generator(function)
        else:
            wrapped = self._wrap_sync(function)
        return cast("Callable[P, R]", functools.wraps(function)(wrapped))

    def _wrap_sync(self, function: Callable[P, R]) -> Callable[P, R]:
        enter, leave, leave_with_error = (
            self._enter,
            self._leave_with_result,
            self._leave_with_error,
        )

        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            ticket, started = enter()
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                leave_with_error(ticket, started, error)
                raise
            leave(ticket, started, result)
            return result

        return call

    def _wrap_async(self, function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
        async def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return await self._call_async(function, *args, **kwargs)

        return call

    def _wrap_generator(
        self, function: Callable[P, Generator[Any, Any, R]]
    ) -> Callable[P, Generator[Any, Any, R]]:
        def iterate(*args: P.args, **kwargs: P.kwargs) -> Generator[Any, Any, R]:
            ticket, started = self._enter()
            try:
                result = yield from function(*args, **kwargs)
            except BaseException as error:
                self._leave_with_error(ticket, started, error)
                raise
            self._leave_with_result(ticket, started, result)
            return result

        return iterate

    def _wrap_async_generator(
        self, function: Callable[P, AsyncGenerator[Any, Any]]
    ) -> Callable[P, AsyncGenerator[Any, Any]]:
        async def iterate(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Any, Any]:
            ticket, started = self._enter()
            try:
                async with aclosing(function(*args, **kwargs)) as inner:
                    step: Callable[[], Awaitable[Any]] = inner.__anext__
                    while True:
                        value = await step()
                        try:
                            step = functools.partial(inner.asend, (yield value))
                        except Exception as thrown:  # noqa: BLE001 - passed on to the generator
                            step = functools.partial(inner.athrow, thrown)
            except StopAsyncIteration:
                self._leave_with_result(ticket, started, None)
            except BaseException as error:
                self._leave_with_error(ticket, started, error)
                raise

        return iterate

    def __enter__(self) -> Self:
        self._open_calls.set((*self._open_calls.get(), self._enter()))
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        *outer, (ticket, started) = self._open_calls.get()
        self._open_calls.set(tuple(outer))
        if exc is None:
            self._leave(ticket, started, Outcome.SUCCESS)
        else:
            self._leave_with_error(ticket, started, exc)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(exc_type, exc, traceback)

    def _enter(self) -> tuple[int, float]:
        """Return a ticket and the time.

        Raises:
            CircuitBreakerOpenError: The call is refused.
        """
        now = self._clock()
        with self._lock:
            ticket, change = self._machine.admit(now)
            if ticket is None:
                self._refused += 1
                wait = self._machine.seconds_until_admitted(now)
                state = self._machine.state
            else:
                self._admitted += 1
        if change is not None:
            self._tell(change)
        if ticket is None:
            # The cause is not this caller's: no context, and no traceback is kept.
            raise CircuitBreakerOpenError(self.name, state, wait) from None
        return ticket, now

    def _leave_with_result(self, ticket: int, started: float, result: object) -> None:
        is_failure = self._failure_on_result is not None and self._failure_on_result(result)
        self._leave(ticket, started, Outcome.FAILURE if is_failure else Outcome.SUCCESS)

    def _leave_with_error(self, ticket: int, started: float, error: BaseException) -> None:
        hint = getattr(error, "retry_after", None)
        self._leave(ticket, started, self._classify(error), hint)

    def _classify(self, error: BaseException) -> Outcome:
        if not isinstance(error, Exception) or self._is_ignored(error):
            return Outcome.CANCELLED
        if self._is_success(error) or not self._is_failure(error):
            return Outcome.SUCCESS
        return Outcome.FAILURE

    def _leave(self, ticket: int, started: float, outcome: Outcome, hint: object = None) -> None:
        now = self._clock()
        slow = self._slow_call_seconds is not None and now - started > self._slow_call_seconds
        jitter = 0.0 if outcome is Outcome.SUCCESS and not slow else self._random()
        retry_after = float(hint) if isinstance(hint, (int, float)) else 0.0
        with self._lock:
            change = self._machine.report(
                ticket, outcome, now, jitter, slow=slow, retry_after=retry_after
            )
            if change is not None and change.new is CircuitBreakerState.OPEN:
                self._opened += 1
        if change is not None:
            self._tell(change)

    def _change(self, change_by_hand: Callable[[], Change | None]) -> None:
        with self._lock:
            change = change_by_hand()
        if change is not None:
            self._tell(change)

    def _tell(self, change: Change) -> None:
        event = BreakerEvent(self.name, change.old, change.new, change.reason, self.retry_after)
        _logger.info(
            "circuit breaker %s: %s, was %s: %s",
            *(self.name, change.new.value, change.old.value, change.reason),
        )
        for listener in self._listeners:
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001 - a listener must not break the call
                _logger.warning(
                    "a listener of circuit breaker %s raised %s", self.name, type(error).__name__
                )


class Permit:
    """One admitted call. The first report counts; later ones and stale ones are ignored."""

    __slots__ = ("_breaker", "_is_reported", "_started", "_ticket")

    def __init__(self, breaker: CircuitBreaker, ticket: int, started: float) -> None:
        self._breaker = breaker
        self._ticket = ticket
        self._started = started
        self._is_reported = False

    def success(self) -> None:
        """Report that the call succeeded."""
        self._report(Outcome.SUCCESS)

    def failure(self, retry_after: float | None = None) -> None:
        """Report that the call failed.

        Args:
            retry_after: Seconds that the server asked to wait.
        """
        self._report(Outcome.FAILURE, retry_after)

    def cancel(self) -> None:
        """Report that the call came to no verdict; its place is free again."""
        self._report(Outcome.CANCELLED)

    def _report(self, outcome: Outcome, retry_after: float | None = None) -> None:
        if not self._is_reported:
            self._is_reported = True
            self._breaker._leave(  # noqa: SLF001 - the other half of permit()
                self._ticket, self._started, outcome, retry_after
            )
