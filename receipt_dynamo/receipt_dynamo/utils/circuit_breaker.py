"""Stop calling what keeps failing, and find out gently when it is back.

The state machine is in ``breaker_state``, the lock around it in ``breaker_shell``, and the
decorated functions in ``breaker_guards``.
"""

from __future__ import annotations

import random as _random
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from receipt_dynamo.utils.arguments import ExceptionFilter, check_callable, given, make_filter
from receipt_dynamo.utils.breaker.guards import call, guard
from receipt_dynamo.utils.breaker.settings import BreakerSettings
from receipt_dynamo.utils.breaker.shell import (
    BreakerListener,
    BreakerShell,
    CircuitBreakerOpenError,
    Permit,
    find_entered,
)
from receipt_dynamo.utils.breaker.state import (
    BreakerEvent,
    BreakerSnapshot,
    ChangeReason,
    CircuitBreakerState,
)

__all__ = [
    "BreakerEvent",
    "BreakerSnapshot",
    "ChangeReason",
    "CircuitBreaker",
    "CircuitBreakerOpenError",
    "CircuitBreakerState",
    "Permit",
]

P = ParamSpec("P")
R = TypeVar("R")


class CircuitBreaker:
    """A circuit breaker: a decorator, a context manager, ``call``, and two-step permits.

    It is closed at first, and calls pass. It opens when too many fail, and then refuses
    calls for a while with :class:`CircuitBreakerOpenError`. After that time it is half-open
    and lets probes pass: one that fails opens it again, for longer; when enough succeed it
    closes. For threads, asyncio and forked processes.

    What a call's exception means, in this order:

    * ``BaseException`` beyond ``Exception``, such as a cancellation, and the refusal of
      any circuit breaker are neither failure nor success: nothing was learned.
    * ``ignored_exceptions`` are neither.
    * ``success_exceptions`` are successes.
    * ``expected_exception`` are failures. If the failure that opens the breaker has an
      attribute ``retry_after`` in seconds, the breaker stays open for at least so long.
    * Any other ``Exception`` is a success: the service answered.

    Args:
        failure_threshold: Failures in a row that open it; None turns this rule off.
        timeout_seconds: Seconds that it stays open at first.
        expected_exception: What is a failure: a type, several types, or a predicate.
        name: For errors, events and log lines.
        ignored_exceptions: What is neither: a type, several types, or a predicate.
        success_exceptions: What is a success: a type, several types, or a predicate.
        failure_on_result: Returns True for a returned value that is a failure. For
            functions, async functions and ``call``.
        failure_rate: Share of failures in the window, over 0 up to 1, that opens it;
            None turns this rule off.
        slow_call_seconds: A call that takes longer is slow, and a slow probe is a failed
            one; None turns this rule off. Generators are never slow: their consumer
            sets their pace.
        slow_call_rate: Share of slow calls in the window, over 0 up to 1, that opens it.
        window_calls: Size of the window in calls.
        window_seconds: Size of the window in seconds, in place of ``window_calls``. It
            moves in steps of a tenth.
        minimum_calls: Calls that the window must hold before a rate counts, at most
            ``window_calls``.
        half_open_max_calls: Probes at a time.
        success_threshold: Probes that must succeed before it closes.
        probe_lease_seconds: Seconds after which a probe without a result loses its
            place to the next call.
        open_multiplier: Growth of the open time with each probe that fails; closing sets
            it back.
        max_open_seconds: Longest open time, hints included; never below
            ``timeout_seconds``.
        jitter: Share of the open time, 0 to 1, up to which it is lengthened at random, so
            that many processes do not probe in step.
        clock: Monotonic time in seconds.
        random: Uniform random numbers from 0 to 1.

    Raises:
        ValueError: A number is out of bounds, or nothing could open the breaker.
        TypeError: A filter of exceptions is none of what is accepted, or what should be a
            function cannot be called.
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
        slow_call_rate: float = 0.5,
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
        settings = BreakerSettings(
            name=name,
            failure_threshold=failure_threshold,
            timeout_seconds=timeout_seconds,
            failure_rate=failure_rate,
            slow_call_seconds=slow_call_seconds,
            slow_call_rate=slow_call_rate,
            window_calls=window_calls,
            window_seconds=window_seconds,
            minimum_calls=minimum_calls,
            half_open_max_calls=half_open_max_calls,
            success_threshold=success_threshold,
            probe_lease_seconds=probe_lease_seconds,
            open_multiplier=open_multiplier,
            max_open_seconds=max_open_seconds,
            jitter=jitter,
        )
        check_callable(**given(failure_on_result=failure_on_result), clock=clock, random=random)
        classify = _make_classifier(expected_exception, ignored_exceptions, success_exceptions)
        self._shell = BreakerShell(settings, classify, failure_on_result, clock, random)

    def __repr__(self) -> str:
        return f"<CircuitBreaker {self.name!r} {self.state}>"

    @property
    def name(self) -> str:
        """Name for errors, events and log lines."""
        return self._shell.name

    @property
    def state(self) -> CircuitBreakerState:
        """The state. Open stays open until the first call after the open time."""
        return self._shell.machine.state

    @property
    def retry_after(self) -> float:
        """Seconds after which to ask again.

        While open, what is left of the open time. While isolated, ``timeout_seconds``:
        its end is unknown. While half-open with every place taken, a tenth of a
        second at most. Else 0: a call may pass now.
        """
        return self._shell.retry_after()

    def permit(self) -> Permit:
        """Ask for one call, whose result is then reported on the permit.

        Raises:
            CircuitBreakerOpenError: The call is refused.
        """
        return Permit(self._shell)

    def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call ``function`` with the arguments given, and return what it returns.

        Of an async function or a generator, the call begins when what is returned is
        awaited or iterated.

        Raises:
            CircuitBreakerOpenError: The call is refused.
            Exception: What ``function`` raises.
        """
        return call(self._shell, function, args, kwargs)

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Decorate a function, async function, generator or async generator.

        A generator's call lasts from the first item to its end; one that its consumer
        closes early is a success. A coroutine that a function returns without being an
        async function is part of the call.

        Raises:
            TypeError: ``function`` cannot be called.
        """
        return guard(self._shell, function)

    def __enter__(self) -> Permit:
        """Ask for a call, which is the block; it may be reported early on the permit.

        Raises:
            CircuitBreakerOpenError: The call is refused; the block does not run.
        """
        permit = Permit(self._shell)
        permit.enter()
        return permit

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Report the block's result.

        Raises:
            RuntimeError: The block was entered in another context, for example in
                another task or by ``asyncio.to_thread``; its result is unknown.
        """
        permit = find_entered(self._shell)
        if permit is None:
            if exc is None or isinstance(exc, Exception):
                raise RuntimeError(
                    f"the block of circuit breaker {self.name!r} was entered in another "
                    "context (thread or task); use permit() for such a call"
                )
            return
        permit.leave()
        if exc is None:
            permit.success()
        else:
            permit.record_error(exc)

    async def __aenter__(self) -> Permit:
        """Like ``with``."""
        return self.__enter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Like ``with``."""
        self.__exit__(exc_type, exc, traceback)

    def isolate(self) -> None:
        """Refuse every call until :meth:`reset`."""
        self._shell.change(self._shell.machine.isolate)

    def disable(self) -> None:
        """Let every call pass, uncounted, until :meth:`reset`."""
        self._shell.change(self._shell.machine.disable)

    def reset(self) -> None:
        """Close, and reset the counts."""
        self._shell.change(self._shell.machine.reset)

    def add_listener(self, listener: BreakerListener) -> None:
        """Have ``listener`` called with a :class:`BreakerEvent` after each change of state.

        It runs in the thread of the call that caused the change, when the lock is free: it
        may use the breaker, and should be quick for that one caller's sake. What it raises
        is logged, by type and once a minute at most.

        Raises:
            TypeError: ``listener`` cannot be called.
        """
        self._shell.add_listener(listener)

    def remove_listener(self, listener: BreakerListener) -> None:
        """Call ``listener`` no more; nothing happens if it is not known."""
        self._shell.remove_listener(listener)

    def snapshot(self) -> BreakerSnapshot:
        """Return one consistent picture, for metrics."""
        return self._shell.take_snapshot()


def _make_classifier(
    expected: ExceptionFilter, ignored: ExceptionFilter, succeeded: ExceptionFilter
) -> Callable[[BaseException], bool | None]:
    """Return a function that returns True for a failure, False for a success, None for neither."""
    is_expected = make_filter("expected_exception", expected)
    is_ignored = make_filter("ignored_exceptions", ignored)
    is_success = make_filter("success_exceptions", succeeded)

    def classify(error: BaseException) -> bool | None:
        if not isinstance(error, Exception) or isinstance(error, CircuitBreakerOpenError):
            return None
        if is_ignored(error):
            return None
        return bool(is_expected(error)) and not is_success(error)

    return classify
