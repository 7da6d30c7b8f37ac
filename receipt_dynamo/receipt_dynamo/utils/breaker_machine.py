"""The circuit breaker as a pure state machine: no lock, no clock, no I/O.

A call is admitted with a ticket and reported with it. In the closed state the ticket is
the generation, which every change of state raises; in the half-open state each probe has
a ticket of its own, below zero. A report with an old ticket is ignored by one comparison,
so that a late result can neither close an open circuit nor prolong it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from receipt_dynamo.utils.breaker_windows import Window

UNCOUNTED: Final = 0
"""The ticket of a call that is admitted and not counted; generations begin at 1."""


class CircuitBreakerState(Enum):
    """Where a breaker stands.

    CLOSED: calls pass and are counted. OPEN: calls are refused for a while. HALF_OPEN: a
    few probes decide. ISOLATED and DISABLED are set by hand and end by ``reset()`` only:
    refuse everything, and admit everything.
    """

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    ISOLATED = "isolated"
    DISABLED = "disabled"


class Outcome(Enum):
    """What became of a call."""

    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """When the breaker opens, for how long, and what closes it; see CircuitBreaker."""

    failure_threshold: int | None
    open_seconds: float
    failure_rate: float
    slow_call_rate: float
    minimum_calls: int
    half_open_max_calls: int
    success_threshold: int
    probe_lease_seconds: float
    open_multiplier: float
    max_open_seconds: float
    jitter: float


@dataclass(frozen=True, slots=True)
class Change:
    """One change of state, and why."""

    old: CircuitBreakerState
    new: CircuitBreakerState
    reason: str


class BreakerMachine:
    """States, counters and tickets. Not thread-safe; ``now`` comes in, in seconds.

    Args:
        settings: When the breaker opens and closes.
        window: For the rates; None when only failures in a row count.
    """

    __slots__ = (
        "_opened_in_a_row",
        "_probe_successes",
        "_probes",
        "_settings",
        "_ticket",
        "_window",
        "failures_in_a_row",
        "generation",
        "open_until",
        "state",
    )

    def __init__(self, settings: BreakerSettings, window: Window | None) -> None:
        self._settings = settings
        self._window = window
        self.state = CircuitBreakerState.CLOSED
        self.generation = 1
        self.failures_in_a_row = 0
        self.open_until = 0.0
        self._opened_in_a_row = 0
        self._probes: dict[int, float] = {}
        self._probe_successes = 0
        self._ticket = 0

    @property
    def probes(self) -> int:
        """Probes that are on their way."""
        return len(self._probes)

    def admit(self, now: float) -> tuple[int | None, Change | None]:
        """Return a ticket, or None when the call is refused; and what changed by asking."""
        if self.state is CircuitBreakerState.CLOSED:
            return self.generation, None
        if self.state is CircuitBreakerState.DISABLED:
            return UNCOUNTED, None
        if self.state is CircuitBreakerState.ISOLATED:
            return None, None
        change = None
        if self.state is CircuitBreakerState.OPEN:
            if now < self.open_until:
                return None, None
            change = self._become(CircuitBreakerState.HALF_OPEN, "the open time is over")
        return self._admit_probe(now), change

    def seconds_until_admitted(self, now: float) -> float:
        """Return how long a refused caller should wait; infinite while isolated."""
        if self.state is CircuitBreakerState.ISOLATED:
            return float("inf")
        if self.state is CircuitBreakerState.OPEN:
            return max(0.0, self.open_until - now)
        if self.state is CircuitBreakerState.HALF_OPEN and self._is_full():
            return max(0.0, min(self._probes.values(), default=now) - now)
        return 0.0

    def report(
        self,
        ticket: int,
        outcome: Outcome,
        now: float,
        jitter: float,
        *,
        slow: bool = False,
        retry_after: float = 0.0,
    ) -> Change | None:
        """Count the outcome of an admitted call; return the change that it causes.

        Args:
            ticket: What :meth:`admit` returned; an old one is ignored.
            outcome: What became of the call.
            now: Time in seconds.
            jitter: A random number from 0 to 1.
            slow: Whether it took longer than a call should.
            retry_after: Seconds that the server asked to wait.
        """
        if ticket < 0:
            return self._report_probe(ticket, outcome, now, jitter, retry_after)
        if ticket != self.generation or outcome is Outcome.CANCELLED:
            return None
        failed = outcome is Outcome.FAILURE
        self.failures_in_a_row = self.failures_in_a_row + 1 if failed else 0
        reason = self._find_reason_to_open(now, failed, slow)
        return None if reason is None else self._open(now, jitter, retry_after, reason)

    def isolate(self) -> Change | None:
        """Refuse every call until :meth:`reset`."""
        return self._set(CircuitBreakerState.ISOLATED, "isolated by hand")

    def disable(self) -> Change | None:
        """Admit every call, uncounted, until :meth:`reset`."""
        return self._set(CircuitBreakerState.DISABLED, "disabled by hand")

    def reset(self) -> Change | None:
        """Close, and forget what was counted."""
        self._opened_in_a_row = 0
        return self._set(CircuitBreakerState.CLOSED, "reset by hand")

    def forget_probes(self) -> None:
        """Give the places of all probes back: their threads do not exist in this process."""
        self._probes.clear()

    def _find_reason_to_open(self, now: float, failed: bool, slow: bool) -> str | None:
        settings = self._settings
        threshold = settings.failure_threshold
        if self._window is not None:
            total = self._window.record(now, failed, slow)
            if total.calls >= settings.minimum_calls:
                if total.failures >= settings.failure_rate * total.calls:
                    return f"{total.failures} of {total.calls} calls failed"
                if total.slow >= settings.slow_call_rate * total.calls:
                    return f"{total.slow} of {total.calls} calls were slow"
        if failed and threshold is not None and self.failures_in_a_row >= threshold:
            return f"{self.failures_in_a_row} failures in a row"
        return None

    def _admit_probe(self, now: float) -> int | None:
        if self._is_full():
            # A hung or cancelled probe must not keep the breaker half-open for ever.
            self._probes = {ticket: end for ticket, end in self._probes.items() if end > now}
        if self._is_full():
            return None
        self._ticket -= 1
        self._probes[self._ticket] = now + self._settings.probe_lease_seconds
        return self._ticket

    def _is_full(self) -> bool:
        return len(self._probes) >= self._settings.half_open_max_calls

    def _report_probe(
        self, ticket: int, outcome: Outcome, now: float, jitter: float, retry_after: float
    ) -> Change | None:
        if self._probes.pop(ticket, None) is None or outcome is Outcome.CANCELLED:
            return None
        if outcome is Outcome.FAILURE:
            return self._open(now, jitter, retry_after, "a probe failed")
        self._probe_successes += 1
        if self._probe_successes < self._settings.success_threshold:
            return None
        self._opened_in_a_row = 0
        return self._become(CircuitBreakerState.CLOSED, "the probes succeeded")

    def _open(self, now: float, jitter: float, retry_after: float, reason: str) -> Change | None:
        settings = self._settings
        try:
            growth = settings.open_multiplier**self._opened_in_a_row
        except OverflowError:
            growth = float("inf")
        seconds = min(settings.open_seconds * growth, settings.max_open_seconds)
        # Only ever longer than asked for, so that a fleet does not probe in step.
        seconds *= 1.0 + settings.jitter * jitter
        self.open_until = now + max(seconds, min(retry_after, settings.max_open_seconds))
        self._opened_in_a_row += 1
        return self._become(CircuitBreakerState.OPEN, reason)

    def _set(self, state: CircuitBreakerState, reason: str) -> Change | None:
        change = self._become(state, reason)
        return None if change.old is change.new else change

    def _become(self, state: CircuitBreakerState, reason: str) -> Change:
        change = Change(self.state, state, reason)
        self.state = state
        self.generation += 1
        self.failures_in_a_row = 0
        self._probe_successes = 0
        self._probes.clear()
        if self._window is not None:
            self._window.clear()
        return change
