"""The circuit breaker's state machine: no lock, no clock, no randomness, no I/O.

The time and a random number come in as arguments. A call is admitted with a *ticket*, and
its result is recorded with that ticket. The calls of one closed period share one ticket,
the generation's number; each probe has its own ticket. No number is used twice, so a
late result is one whose ticket the machine does not know any more, and is ignored.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from receipt_dynamo.utils.breaker.settings import BreakerSettings
from receipt_dynamo.utils.breaker.window import Window

UNCOUNTED: Final = 0
"""The ticket of a call whose result is not recorded."""

_PROBE_POLL: Final = 0.1
"""Seconds after which to ask again while others probe, at most: a caller that sleeps for
``retry_after`` must neither spin nor sleep through the verdict."""


class CircuitBreakerState(StrEnum):
    """The state of a breaker.

    Attributes:
        CLOSED: Calls pass, and their results are counted.
        OPEN: Calls are refused until the open time is over.
        HALF_OPEN: Some probes pass; their results decide.
        ISOLATED: Calls are refused until ``reset()``.
        DISABLED: Calls pass uncounted until ``reset()``.
    """

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    ISOLATED = "isolated"
    DISABLED = "disabled"


# Read often, and an enum's member takes a while to look up by its class.
_CLOSED, _OPEN, _HALF_OPEN, _ISOLATED, _DISABLED = CircuitBreakerState


class ChangeReason(StrEnum):
    """Why a breaker changed its state."""

    CONSECUTIVE_FAILURES = "too many failures in a row"
    FAILURE_RATE = "too many calls failed"
    SLOW_CALL_RATE = "too many calls were slow"
    OPEN_TIME_OVER = "the open time is over"
    PROBE_FAILED = "a probe failed"
    PROBES_SUCCEEDED = "the probes succeeded"
    ISOLATED = "isolated by hand"
    DISABLED = "disabled by hand"
    RESET = "reset by hand"


@dataclass(frozen=True, slots=True)
class BreakerEvent:
    """One change of state, as listeners get it.

    Attributes:
        name: Of the breaker.
        old: State before.
        new: State after.
        reason: What caused it.
        retry_after: Seconds until the first probe when it opened, else 0.
        generation: Grows from change to change; threads may deliver two out of order.
    """

    name: str
    old: CircuitBreakerState
    new: CircuitBreakerState
    reason: ChangeReason
    retry_after: float
    generation: int


@dataclass(frozen=True, slots=True)
class BreakerSnapshot:
    """One consistent picture of a breaker, for metrics.

    Attributes:
        name: Of the breaker.
        state: Where it is.
        generation: Grows with each change of state.
        retry_after: Seconds until a call may pass; 0 when it may now.
        consecutive_failures: Since the last success.
        window_calls: Results in the sliding window; 0 without a rate rule.
        window_failures: Failures among them.
        window_slow_calls: Slow calls among them.
        probes: Probes under way.
        successes: Results recorded as success since the breaker was made.
        failures: Results recorded as failure.
        ignored: Calls that were neither: cancelled, or with an ignored exception.
        late: Results that came after the state had changed, and had no effect.
        rejections: Calls refused.
        openings: How often it opened.
    """

    name: str
    state: CircuitBreakerState
    generation: int
    retry_after: float
    consecutive_failures: int
    window_calls: int
    window_failures: int
    window_slow_calls: int
    probes: int
    successes: int
    failures: int
    ignored: int
    late: int
    rejections: int
    openings: int


class BreakerMachine:
    """Decides which calls pass, from the results of those before.

    Args:
        settings: The rules.

    Attributes:
        state: Where it is.
        free_ticket: The ticket with which any call passes now, or None when a call has
            to ask :meth:`admit`. One attribute, so that it can be read without a lock.
    """

    __slots__ = (
        "_consecutive_failures",
        "_failures",
        "_generation",
        "_ignored",
        "_late",
        "_minimum_calls",
        "_numbers",
        "_open_seconds",
        "_opened_until",
        "_openings",
        "_probe_successes",
        "_probes",
        "_rejections",
        "_settings",
        "_successes",
        "_window",
        "free_ticket",
        "state",
    )

    # Set by each new generation, and the first by each opening.
    _opened_until: float
    _probes: dict[int, float]
    _window: Window | None
    free_ticket: int | None

    def __init__(self, settings: BreakerSettings) -> None:
        self._settings = settings
        self._numbers = itertools.count(UNCOUNTED + 1)
        self._minimum_calls = settings.minimum_calls
        if settings.window_seconds is None:
            self._minimum_calls = min(settings.minimum_calls, settings.window_calls)
        self._open_seconds = settings.timeout_seconds
        self.state = _CLOSED
        self.begin_again()

    def begin_again(self) -> None:
        """Start a new generation in the same state, with no counts, probes or totals."""
        self._successes = self._failures = self._ignored = self._late = 0
        self._rejections = self._openings = 0
        self._begin_generation(self.state)

    def admit(
        self, now: float, held: Collection[int] = ()
    ) -> tuple[int | None, BreakerEvent | None]:
        """Return a ticket, or None when the call is refused; and the change of state, if any.

        Args:
            now: Monotonic seconds.
            held: Tickets of the calls that this one is a part of. What a probe calls is
                a part of it: refused, it would fail its own probe, for ever.
        """
        if self.free_ticket is not None:
            return self.free_ticket, None
        if held and any(ticket in self._probes for ticket in held):
            return UNCOUNTED, None
        event = None
        if self.state is _OPEN and now >= self._opened_until:
            event = self._enter(_HALF_OPEN, ChangeReason.OPEN_TIME_OVER)
        if self.state is _HALF_OPEN and self._has_place(now):
            ticket = next(self._numbers)
            self._probes[ticket] = now + self._settings.probe_lease_seconds
            return ticket, event
        self._rejections += 1
        return None, event

    def record_success(
        self, ticket: int, now: float = 0.0, slow: bool = False, jitter: float = 0.0
    ) -> BreakerEvent | None:
        """Record that a call succeeded; return the change of state, if any.

        Args:
            ticket: Of the call.
            now: Monotonic seconds. This and what follows matters with a rate rule only.
            slow: Whether the call took too long.
            jitter: A random number from 0 to 1, should the breaker open.
        """
        if ticket != self._generation:
            return self._record_probe(ticket, slow, now, jitter, 0.0)
        self._successes += 1
        self._consecutive_failures = 0
        if self._window is None:
            return None
        self._window.add(False, slow, now)
        return self._judge(now, jitter, 0.0)

    def record_failure(
        self, ticket: int, now: float, slow: bool, jitter: float, hint: float
    ) -> BreakerEvent | None:
        """Record that a call failed; return the change of state, if any.

        Args:
            ticket: Of the call.
            now: Monotonic seconds.
            slow: Whether the call took too long.
            jitter: A random number from 0 to 1, should the breaker open.
            hint: Seconds for which the service asked to be left alone, or 0.
        """
        if ticket != self._generation:
            return self._record_probe(ticket, True, now, jitter, hint)
        self._failures += 1
        self._consecutive_failures += 1
        if self._window is not None:
            self._window.add(True, slow, now)
        return self._judge(now, jitter, hint)

    def release(self, ticket: int) -> None:
        """Record that a call was neither; a probe's place is free again."""
        if ticket != UNCOUNTED:
            self._ignored += 1
            self._probes.pop(ticket, None)

    def isolate(self) -> BreakerEvent | None:
        """Refuse every call from now on."""
        return self._enter(_ISOLATED, ChangeReason.ISOLATED)

    def disable(self) -> BreakerEvent | None:
        """Let every call pass from now on, and count none."""
        return self._enter(_DISABLED, ChangeReason.DISABLED)

    def reset(self) -> BreakerEvent | None:
        """Close, and reset the counts."""
        return self._enter(_CLOSED, ChangeReason.RESET)

    def retry_after(self, now: float) -> float:
        """Return the seconds after which to ask again; 0 when a call may pass now."""
        if self.state is _OPEN:
            return max(0.0, self._opened_until - now)
        if self.state is _HALF_OPEN:
            if len(self._probes) < self._settings.half_open_max_calls:
                return 0.0
            return max(0.0, min(_PROBE_POLL, *(end - now for end in self._probes.values())))
        if self.state is _ISOLATED:
            return self._settings.timeout_seconds
        return 0.0

    def take_snapshot(self, now: float) -> BreakerSnapshot:
        """Return what there is to know."""
        window = self._window
        if window is not None:
            window.expire(now)
        return BreakerSnapshot(
            name=self._settings.name,
            state=self.state,
            generation=self._generation,
            retry_after=self.retry_after(now),
            consecutive_failures=self._consecutive_failures,
            window_calls=window.calls if window else 0,
            window_failures=window.failures if window else 0,
            window_slow_calls=window.slow_calls if window else 0,
            probes=len(self._probes),
            successes=self._successes,
            failures=self._failures,
            ignored=self._ignored,
            late=self._late,
            rejections=self._rejections,
            openings=self._openings,
        )

    def _has_place(self, now: float) -> bool:
        limit = self._settings.half_open_max_calls
        if len(self._probes) >= limit:
            # A probe that hangs, or was lost, must not keep the breaker half-open for ever.
            self._probes = {ticket: end for ticket, end in self._probes.items() if end > now}
        return len(self._probes) < limit

    def _record_probe(
        self, ticket: int, failed: bool, now: float, jitter: float, hint: float
    ) -> BreakerEvent | None:
        if self._probes.pop(ticket, None) is None:
            self._late += ticket != UNCOUNTED
            return None
        if failed:
            self._failures += 1
            return self._open(ChangeReason.PROBE_FAILED, now, jitter, hint)
        self._successes += 1
        self._probe_successes += 1
        if self._probe_successes < self._settings.success_threshold:
            return None
        return self._enter(_CLOSED, ChangeReason.PROBES_SUCCEEDED)

    def _judge(self, now: float, jitter: float, hint: float) -> BreakerEvent | None:
        reason = self._find_reason()
        return None if reason is None else self._open(reason, now, jitter, hint)

    def _find_reason(self) -> ChangeReason | None:
        """Return why the breaker has to open, or None."""
        settings, window = self._settings, self._window
        threshold = settings.failure_threshold
        if threshold is not None and self._consecutive_failures >= threshold:
            return ChangeReason.CONSECUTIVE_FAILURES
        if window is None or window.calls < self._minimum_calls:
            return None
        # Divided, not multiplied: 0.1 * 30 is more than 3.
        if settings.failure_rate is not None and (
            window.failures / window.calls >= settings.failure_rate
        ):
            return ChangeReason.FAILURE_RATE
        if settings.slow_call_seconds is not None and (
            window.slow_calls / window.calls >= settings.slow_call_rate
        ):
            return ChangeReason.SLOW_CALL_RATE
        return None

    def _open(
        self, reason: ChangeReason, now: float, jitter: float, hint: float
    ) -> BreakerEvent | None:
        settings = self._settings
        longest = max(settings.max_open_seconds, settings.timeout_seconds)
        seconds = min(max(self._open_seconds, hint), longest)
        # Only ever longer than asked for; so a fleet does not probe in step.
        seconds *= 1 + settings.jitter * jitter
        self._open_seconds = min(self._open_seconds * settings.open_multiplier, longest)
        self._opened_until = now + seconds
        self._openings += 1
        return self._enter(_OPEN, reason, seconds)

    def _enter(
        self, state: CircuitBreakerState, reason: ChangeReason, retry_after: float = 0.0
    ) -> BreakerEvent | None:
        old_state = self.state
        self._begin_generation(state)
        if state is _CLOSED:
            self._open_seconds = self._settings.timeout_seconds
        if state is old_state:
            return None
        return BreakerEvent(
            self._settings.name, old_state, state, reason, retry_after, self._generation
        )

    def _begin_generation(self, state: CircuitBreakerState) -> None:
        self.state = state
        self._generation = next(self._numbers)
        if state is _CLOSED:
            self.free_ticket = self._generation
        else:
            self.free_ticket = UNCOUNTED if state is _DISABLED else None
        self._consecutive_failures = self._probe_successes = 0
        self._probes = {}
        self._window = self._settings.make_window()
