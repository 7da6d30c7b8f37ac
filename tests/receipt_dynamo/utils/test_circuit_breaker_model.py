"""The breaker against a small model of its own, with generated clocks and late results.

The model keeps every result of a closed period in one list and counts it anew each time;
it shares no code and no idea with the state machine.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from receipt_dynamo.utils.circuit_breaker import CircuitBreaker, CircuitBreakerOpenError, Permit

TIMEOUT, LONGEST, LEASE, WINDOW = 8.0, 40.0, 16.0, 20.0
SLOW = 3.0
# Quarters of a second are exact as floats: no rounding blurs a boundary.
SECONDS = st.integers(0, 100).map(lambda quarters: quarters / 4)
FAR = st.sampled_from([2.0, TIMEOUT, TIMEOUT * 1.5, LEASE, WINDOW, LONGEST * 1.5])
HINTS = st.sampled_from([None, 0.0, 3.0, 20.0, 1_000.0])


@dataclass(eq=False)
class Call:
    """A call that the model let pass."""

    kind: str
    period: int
    started: float
    lease_end: float = 0.0


@dataclass
class Model:
    """What a breaker should do, said as simply as possible."""

    rules: dict[str, Any]
    state: str = "closed"
    period: int = 0
    results: list[tuple[float, bool, bool]] = field(default_factory=list)
    probes: list[Call] = field(default_factory=list)
    good_probes: int = 0
    times_opened: int = 0
    open_until: float = 0.0

    def move(self, state: str) -> None:
        self.state, self.results, self.probes, self.good_probes = state, [], [], 0
        self.period += 1
        if state == "closed":
            self.times_opened = 0

    def ask(self, now: float) -> Call | None:
        if self.state in ("closed", "disabled"):
            return Call(self.state, self.period, now)
        if self.state == "open" and now >= self.open_until:
            self.move("half_open")
        if self.state != "half_open":
            return None
        if len(self.probes) == self.rules["half_open_max_calls"]:
            self.probes = [probe for probe in self.probes if probe.lease_end > now]
            if len(self.probes) == self.rules["half_open_max_calls"]:
                return None
        self.probes.append(Call("probe", self.period, now, now + LEASE))
        return self.probes[-1]

    def finish(
        self, call: Call, failed: bool, now: float, jitter: float, hint: float | None
    ) -> None:
        slow = self.rules["slow_call_seconds"] is not None and now - call.started > SLOW
        if call.kind == "probe" and call in self.probes:
            self.probes.remove(call)
            self.good_probes += 1
            if failed or slow:
                self.open(now, jitter, hint if failed else None)
            elif self.good_probes == self.rules["success_threshold"]:
                self.move("closed")
        elif call.kind == "closed" and call.period == self.period:
            self.results.append((now, failed, slow))
            if self.is_too_bad(now):
                self.open(now, jitter, hint if failed else None)

    def give_up(self, call: Call) -> None:
        if call in self.probes:
            self.probes.remove(call)

    def open(self, now: float, jitter: float, hint: float | None) -> None:
        seconds = TIMEOUT * self.rules["open_multiplier"] ** self.times_opened
        seconds = min(max(seconds, hint or 0.0), LONGEST)
        times = self.times_opened + 1
        self.move("open")
        self.times_opened = times
        self.open_until = now + seconds * (1 + self.rules["jitter"] * jitter)

    def window(self, now: float) -> list[tuple[float, bool, bool]]:
        if self.rules["window_seconds"] is None:
            return self.results[-self.rules["window_calls"] :]
        oldest_step = now // (WINDOW / 10) - 9
        return [result for result in self.results if result[0] // (WINDOW / 10) >= oldest_step]

    def is_too_bad(self, now: float) -> bool:
        in_a_row = len(list(itertools.takewhile(lambda result: result[1], reversed(self.results))))
        if self.rules["failure_threshold"] and in_a_row >= self.rules["failure_threshold"]:
            return True
        window = self.window(now)
        if len(window) < self.rules["minimum_calls"]:
            return False
        failed = sum(result[1] for result in window) / len(window)
        slow = sum(result[2] for result in window) / len(window)
        by_failures = self.rules["failure_rate"] is not None and (
            failed >= self.rules["failure_rate"]
        )
        by_slowness = self.rules["slow_call_seconds"] is not None and (
            slow >= self.rules["slow_call_rate"]
        )
        return by_failures or by_slowness

    def retry_after(self, now: float) -> float:
        if self.state == "open":
            return max(0.0, self.open_until - now)
        if self.state == "half_open" and len(self.probes) == self.rules["half_open_max_calls"]:
            left = min(probe.lease_end for probe in self.probes) - now
            return max(0.0, min(0.1, left))
        return TIMEOUT if self.state == "isolated" else 0.0


RULES = st.fixed_dictionaries(
    {
        "failure_threshold": st.sampled_from([1, 2, 3, 3, 4]),
        "failure_rate": st.sampled_from([None, 0.1, 0.5, 0.75, 1.0]),
        "slow_call_seconds": st.sampled_from([None, None, SLOW]),
        "slow_call_rate": st.sampled_from([0.25, 0.5, 1.0]),
        "window_calls": st.sampled_from([4, 6]),
        "window_seconds": st.sampled_from([None, WINDOW]),
        "minimum_calls": st.sampled_from([1, 3, 4]),
        "half_open_max_calls": st.integers(1, 3),
        "success_threshold": st.integers(1, 3),
        "open_multiplier": st.sampled_from([1.0, 2.0]),
        "jitter": st.sampled_from([0.0, 0.5]),
    }
)


class BreakerComparison(RuleBasedStateMachine):
    """Does the same with the breaker and the model, and compares them after each step."""

    permits = Bundle("permits")
    steps = 0

    @initialize(rules=RULES, by_rate_only=st.booleans())
    def begin(self, rules: dict[str, Any], by_rate_only: bool) -> None:
        if by_rate_only and rules["failure_rate"] is not None:
            rules = {**rules, "failure_threshold": None}
        self.now, self.jitter = 1_000.0, 0.0
        self.events: list[tuple[str, str]] = []
        self.model = Model(rules)
        self.breaker = CircuitBreaker(
            timeout_seconds=TIMEOUT,
            max_open_seconds=LONGEST,
            probe_lease_seconds=LEASE,
            clock=lambda: self.now,
            random=lambda: self.jitter,
            **rules,
        )
        self.breaker.add_listener(lambda event: self.events.append((event.old, event.new)))

    @rule(seconds=st.one_of(SECONDS, FAR))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(jitter=st.sampled_from([0.0, 0.5, 1.0]))
    def roll(self, jitter: float) -> None:
        self.jitter = jitter

    @rule(target=permits, number=st.integers(1, 4))
    def ask(self, number: int) -> Any:
        asked = [self.ask_once() for _ in range(number)]
        return multiple(*(pair for pair in asked if pair is not None))

    def ask_once(self) -> tuple[Permit, Call] | None:
        expected = self.model.ask(self.now)
        try:
            permit = self.breaker.permit()
        except CircuitBreakerOpenError as error:
            assert expected is None
            assert error.state == self.model.state
            assert error.retry_after == self.model.retry_after(self.now)
            return None
        assert expected is not None
        return permit, expected

    @rule(pair=consumes(permits))
    def succeed(self, pair: tuple[Permit, Call]) -> None:
        pair[0].success()
        self.model.finish(pair[1], False, self.now, self.jitter, None)

    @rule(pair=consumes(permits), hint=HINTS)
    def fail(self, pair: tuple[Permit, Call], hint: float | None) -> None:
        pair[0].failure(hint)
        self.model.finish(pair[1], True, self.now, self.jitter, hint)

    @rule(pair=consumes(permits))
    def cancel(self, pair: tuple[Permit, Call]) -> None:
        pair[0].cancel()
        self.model.give_up(pair[1])

    @rule(pair=consumes(permits), failed=st.booleans())
    def report_twice(self, pair: tuple[Permit, Call], failed: bool) -> None:
        (pair[0].failure if failed else pair[0].success)()
        pair[0].failure()
        pair[0].success()
        pair[0].cancel()
        self.model.finish(pair[1], failed, self.now, self.jitter, None)

    @rule(how=st.sampled_from(["isolate", "disable", "reset", "reset", "reset"]))
    def set_by_hand(self, how: str) -> None:
        getattr(self.breaker, how)()
        self.model.move({"isolate": "isolated", "disable": "disabled"}.get(how, "closed"))

    @invariant()
    def agree(self) -> None:
        type(self).steps += 1
        snapshot = self.breaker.snapshot()
        window = self.model.window(self.now)
        has_window = bool(self.model.rules["failure_rate"] or self.model.rules["slow_call_seconds"])
        assert snapshot.state == self.breaker.state == self.model.state
        assert snapshot.retry_after == self.model.retry_after(self.now)
        assert snapshot.probes == len(self.model.probes)
        assert snapshot.window_calls == (len(window) if has_window else 0)
        assert snapshot.window_failures == has_window * sum(result[1] for result in window)
        assert snapshot.window_slow_calls == has_window * sum(result[2] for result in window)

    @invariant()
    def events_form_one_path(self) -> None:
        path = [("closed", "closed"), *self.events]
        assert all(before[1] == after[0] for before, after in itertools.pairwise(path))
        assert path[-1][1] == self.model.state


@pytest.mark.timeout(900)  # the thorough profile takes minutes
def test_the_breaker_does_what_the_model_does() -> None:
    BreakerComparison.steps = 0
    examples = 3 * settings.default.max_examples
    run_state_machine_as_test(
        BreakerComparison,
        settings=settings(max_examples=examples, stateful_step_count=50),
    )
    # 10,000 in CI's profile. An example of fifty steps at most has about forty; Hypothesis
    # chooses by the Python at hand, so the mean needs room (3.12 once had 39.5).
    assert BreakerComparison.steps >= 100 * settings.default.max_examples
