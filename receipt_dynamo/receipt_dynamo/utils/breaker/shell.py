"""The lock around the circuit breaker's state machine.

Nothing of the caller's runs under the lock: the clock, the random numbers, the predicates
and the listeners are called before it is taken or after it is free.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeAlias

from receipt_dynamo.errors import ReceiptDynamoError
from receipt_dynamo.utils.arguments import check_callable
from receipt_dynamo.utils.breaker.settings import BreakerSettings
from receipt_dynamo.utils.breaker.state import (
    UNCOUNTED,
    BreakerEvent,
    BreakerMachine,
    BreakerSnapshot,
    CircuitBreakerState,
)
from receipt_dynamo.utils.fork_safety import notice_fork, reset_in_child
from receipt_dynamo.utils.log_limiter import LogLimiter

_logger = logging.getLogger(__name__)

BreakerListener: TypeAlias = Callable[[BreakerEvent], object]
Classifier: TypeAlias = Callable[[BaseException], bool | None]
"""Returns whether an exception is a failure (True), a success (False) or neither (None)."""


class CircuitBreakerOpenError(ReceiptDynamoError):
    """The breaker refused a call; the protected code did not run.

    It can be pickled, and holds nothing of the failures that opened the breaker.

    Attributes:
        name: Of the breaker.
        state: That refused: open, isolated, or half-open with every place taken.
        retry_after: Seconds after which to ask again, as
            :attr:`CircuitBreaker.retry_after`.
        retryable: False: ``retry_with_backoff`` does not try again.
    """

    retryable = False

    def __init__(self, name: str, state: CircuitBreakerState, retry_after: float) -> None:
        super().__init__(name, state, retry_after)
        self.name = name
        self.state = state
        self.retry_after = retry_after

    def __str__(self) -> str:
        return (
            f"circuit breaker {self.name!r} is {self.state}; ask again in {self.retry_after:.3f} s"
        )


class BreakerShell:
    """A :class:`BreakerMachine` for many threads and tasks.

    Args:
        settings: The rules.
        classify: Returns what an exception means.
        is_failed_result: Returns whether a result is a failure; None when none is.
        clock: Monotonic time in seconds.
        random: Uniform random numbers from 0 to 1.

    Attributes:
        machine: The state machine. Its ``free_ticket`` and its ``state``, one attribute
            each, may be read without the lock: it is as if the call came a moment earlier.
        call_timer: The clock, or None when the duration of a call does not matter.
    """

    __slots__ = (
        "__weakref__",
        "_classify",
        "_clock",
        "_is_failed_result",
        "_is_plain",
        "_listeners",
        "_lock",
        "_log",
        "_random",
        "_settings",
        "call_timer",
        "machine",
    )

    def __init__(
        self,
        settings: BreakerSettings,
        classify: Classifier,
        is_failed_result: Callable[[Any], bool] | None,
        clock: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._classify = classify
        self._clock = clock
        self._random = random
        self._listeners: tuple[BreakerListener, ...] = ()
        self._log = LogLimiter(_logger, clock=clock)
        # Without a rate rule a success needs no time, and cannot open the breaker.
        self._is_plain = not settings.has_rates
        self.machine = BreakerMachine(settings)
        self._is_failed_result = is_failed_result
        self.call_timer = None if settings.slow_call_seconds is None else clock
        self._make_lock()
        reset_in_child(self)

    def _make_lock(self) -> None:
        # Re-entrant: a signal handler, or a generator that the garbage collector closes,
        # may settle a call while this very thread holds the lock.
        self._lock = threading.RLock()

    def reset_after_fork(self) -> None:
        """Begin anew in a forked child, in the parent's state; its calls are not ours."""
        self._make_lock()
        self.machine.begin_again()

    @property
    def name(self) -> str:
        """The breaker's name."""
        return self._settings.name

    def admit(self) -> int:
        """Return a ticket for one call.

        Raises:
            CircuitBreakerOpenError: The call is refused.
        """
        notice_fork()
        ticket = self.machine.free_ticket
        if ticket is not None:
            return ticket
        now = self._clock()
        held = [permit.ticket for permit in _entered.get() if permit.shell is self]
        with self._lock:
            ticket, event = self.machine.admit(now, held)
            state, retry_after = self.machine.state, self.machine.retry_after(now)
        if ticket is None:
            error = CircuitBreakerOpenError(self.name, state, retry_after)
            try:
                raise error
            finally:
                # What the caller is handling right now would be kept alive as the context,
                # and this frame by a cycle.
                error.__context__ = None
                del error
        if event is not None:
            self._notify_before_call(event, ticket)
        return ticket

    def record_success(self, ticket: int, started: float) -> None:
        """Record that the call with ``ticket``, begun at ``started``, succeeded."""
        notice_fork()
        if self._is_plain:
            with self._lock:
                event = self.machine.record_success(ticket)
        else:
            now, jitter = self._clock(), self._random()
            slow = self._is_slow(started, now)
            with self._lock:
                event = self.machine.record_success(ticket, now, slow, jitter)
        if event is not None:
            self._notify(event)

    def record_failure(self, ticket: int, started: float, retry_after: object = None) -> None:
        """Record that the call with ``ticket``, begun at ``started``, failed.

        Args:
            ticket: Of the call.
            started: What :attr:`call_timer` said before it.
            retry_after: Seconds for which the service asked to be left alone; what is
                not a positive number is no such request.
        """
        notice_fork()
        now, jitter = self._clock(), self._random()
        slow = self._is_slow(started, now)
        hint = 0.0
        if isinstance(retry_after, (int, float)):
            hint = _read_hint(retry_after)
        with self._lock:
            event = self.machine.record_failure(ticket, now, slow, jitter, hint)
        if event is not None:
            self._notify(event)

    def record_error(self, ticket: int, started: float, error: BaseException) -> None:
        """Record that the call with ``ticket`` raised ``error``, for what that means."""
        try:
            failed = self._classify(error)
            retry_after = getattr(error, "retry_after", None) if failed else None
        except BaseException:  # Of the caller's predicate or exception.
            self.release(ticket)
            raise
        if failed is None:
            self.release(ticket)
        elif failed:
            self.record_failure(ticket, started, retry_after)
        else:
            self.record_success(ticket, started)

    def record_result(self, ticket: int, started: float, result: object) -> None:
        """Record that the call with ``ticket`` returned ``result``, for what that means."""
        if self._is_failed_result is None:
            self.record_success(ticket, started)
            return
        try:
            failed = self._is_failed_result(result)
        except BaseException:  # Of the caller's predicate.
            self.release(ticket)
            raise
        if failed:
            self.record_failure(ticket, started)
        else:
            self.record_success(ticket, started)

    def release(self, ticket: int) -> None:
        """Record that the call with ``ticket`` was neither; a probe's place is free again."""
        notice_fork()
        with self._lock:
            self.machine.release(ticket)

    def change(self, change: Callable[[], BreakerEvent | None]) -> None:
        """Call a method of the machine that changes its state by hand."""
        notice_fork()
        with self._lock:
            event = change()
        if event is not None:
            self._notify(event)

    def retry_after(self) -> float:
        """Return the seconds after which to ask again."""
        notice_fork()
        now = self._clock()
        with self._lock:
            return self.machine.retry_after(now)

    def take_snapshot(self) -> BreakerSnapshot:
        """Return one consistent picture."""
        notice_fork()
        now = self._clock()
        with self._lock:
            return self.machine.take_snapshot(now)

    def add_listener(self, listener: BreakerListener) -> None:
        """Have ``listener`` called after each change of state."""
        notice_fork()
        check_callable(listener=listener)
        with self._lock:
            self._listeners = (*self._listeners, listener)

    def remove_listener(self, listener: BreakerListener) -> None:
        """Call ``listener`` no more."""
        notice_fork()
        # Compared without the lock: a listener's __eq__ is the user's.
        gone = {id(known) for known in self._listeners if known == listener}
        with self._lock:
            self._listeners = tuple(known for known in self._listeners if id(known) not in gone)

    def _is_slow(self, started: float, now: float) -> bool:
        limit = self._settings.slow_call_seconds
        return limit is not None and now - started > limit

    def _notify_before_call(self, event: BreakerEvent, ticket: int) -> None:
        try:
            self._notify(event)
        except BaseException:  # An interrupt: the call will not be made.
            self.release(ticket)
            raise

    def _notify(self, event: BreakerEvent) -> None:
        for listener in self._listeners:
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001 - a listener must not break the call
                # By type only: the message may hold anything.
                kind = type(error).__name__
                self._log.warn(
                    "listener", f"a listener of circuit breaker {self.name} raised {kind}"
                )


def _read_hint(retry_after: float) -> float:
    """Return the seconds as a plain number: a type of the user's may do anything under the lock."""
    try:
        return max(0.0, float(retry_after))
    except OverflowError:
        return math.inf


class Permit:
    """One admitted call, whose result is reported once; what is reported later is ignored.

    A result that comes after the breaker has changed its state is ignored as well. A
    permit of a probe that is never reported gives its place back when its lease ends.

    Attributes:
        shell: Whose it is.
        ticket: Of the call.
        started: When it began; infinite if its duration does not matter.
    """

    __slots__ = ("_unreported", "shell", "started", "ticket")

    def __init__(self, shell: BreakerShell, *, is_timed: bool = True) -> None:
        self.shell = shell
        self.ticket = shell.admit()
        # Taking the one element is atomic: two threads cannot both report.
        self._unreported = [self.ticket]
        timer = shell.call_timer
        # What never began is never slow.
        self.started = timer() if is_timed and timer is not None else math.inf

    def success(self) -> None:
        """Report that the call succeeded."""
        self.shell.record_success(self._take(), self.started)

    def failure(self, retry_after: float | None = None) -> None:
        """Report that the call failed.

        Args:
            retry_after: Seconds for which the service asked to be left alone. If this
                failure opens the breaker, it stays open for at least so long.
        """
        self.shell.record_failure(self._take(), self.started, retry_after)

    def cancel(self) -> None:
        """Report that the call was neither; a probe's place is free again."""
        self.shell.release(self._take())

    def record_error(self, error: BaseException) -> None:
        """Report that the call raised ``error``, for what the breaker's rules make of it."""
        self.shell.record_error(self._take(), self.started, error)

    def record_result(self, result: object) -> None:
        """Report that the call returned ``result``, for what the breaker's rules make of it."""
        self.shell.record_result(self._take(), self.started, result)

    def enter(self) -> None:
        """Have what this thread or task calls from now on known as part of this call."""
        _entered.set((self, *_entered.get()))

    def leave(self) -> None:
        """End what :meth:`enter` began."""
        permits = _entered.get()
        if permits and permits[0] is self:
            _entered.set(permits[1:])
        else:
            _entered.set(tuple(permit for permit in permits if permit is not self))

    def _take(self) -> int:
        try:
            return self._unreported.pop()
        except IndexError:
            return UNCOUNTED


_entered: ContextVar[tuple[Permit, ...]] = ContextVar("_entered", default=())
"""The calls that this thread or task is in, the innermost first. One for all breakers: a
context variable is never garbage collected."""


def find_entered(shell: BreakerShell) -> Permit | None:
    """Return the innermost call through ``shell`` that this thread or task is in."""
    for permit in _entered.get():
        if permit.shell is shell:
            return permit
    return None
