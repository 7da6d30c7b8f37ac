"""When a circuit breaker opens, for how long, and what closes it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from receipt_dynamo.utils.breaker.window import CountWindow, TimeWindow
from receipt_dynamo.utils.circuit_breaker import (
    BreakerEvent,
    ChangeReason,
    CircuitBreaker,
    CircuitBreakerOpenError,
    CircuitBreakerState,
)
from support.lockstep import at_each_step

CLOSED, OPEN, HALF_OPEN, ISOLATED, DISABLED = CircuitBreakerState


class Bench:
    """A breaker with a clock and random numbers of its own."""

    def __init__(self, **rules: Any) -> None:
        self.now = 1_000.0
        self.jitter = 0.0
        self.events: list[BreakerEvent] = []
        rules = {"failure_threshold": 3, "timeout_seconds": 30.0, "name": "bench", **rules}
        self.breaker = CircuitBreaker(clock=lambda: self.now, random=lambda: self.jitter, **rules)
        self.breaker.add_listener(self.events.append)

    def play(self, results: str) -> CircuitBreakerState:
        """Make calls: ``.`` succeeds, ``x`` fails, ``s`` succeeds slowly, ``c`` is cancelled."""
        for result in results:
            permit = self.breaker.permit()
            if result == "s":
                self.now += 10.0
            {"x": permit.failure, "c": permit.cancel}.get(result, permit.success)()
        return self.breaker.state

    def open(self) -> None:
        while self.breaker.state is not OPEN:
            self.play("x")

    def is_refused(self) -> bool:
        try:
            self.breaker.permit().cancel()
        except CircuitBreakerOpenError:
            return True
        return False


# Opening


def test_it_opens_after_so_many_failures_in_a_row() -> None:
    bench = Bench(failure_threshold=3)
    assert bench.play("xx") is CLOSED
    assert bench.play(".xx") is CLOSED
    assert bench.play("x") is OPEN
    assert bench.events[-1].reason is ChangeReason.CONSECUTIVE_FAILURES


def test_it_opens_at_a_failure_rate_once_the_window_holds_enough_calls() -> None:
    bench = Bench(failure_threshold=None, failure_rate=0.5, window_calls=8, minimum_calls=4)
    assert bench.play("xx.") is CLOSED
    assert bench.play(".") is OPEN
    assert bench.events[-1].reason is ChangeReason.FAILURE_RATE


def test_a_rate_that_is_met_exactly_opens_it_in_spite_of_rounding() -> None:
    """0.1 * 30 is more than 3: multiplied, three of thirty were not a tenth."""
    bench = Bench(failure_threshold=None, failure_rate=0.1, minimum_calls=30)
    assert bench.play("." * 27 + "xx") is CLOSED
    assert bench.play("x") is OPEN


def test_the_window_by_count_forgets_the_oldest() -> None:
    bench = Bench(failure_threshold=None, failure_rate=0.5, window_calls=4, minimum_calls=4)
    assert bench.play("x...x...x...") is CLOSED
    assert bench.breaker.snapshot().window_failures == 1
    assert bench.play(".x") is CLOSED
    assert bench.play("x") is OPEN


def test_a_minimum_beyond_the_window_means_a_full_window() -> None:
    bench = Bench(failure_threshold=None, failure_rate=0.5, window_calls=4, minimum_calls=10)
    assert bench.play("xxx") is CLOSED
    assert bench.play("x") is OPEN


def test_it_opens_at_a_rate_of_slow_calls_though_they_succeed() -> None:
    bench = Bench(slow_call_seconds=5.0, slow_call_rate=0.5, minimum_calls=4)
    assert bench.play("s..") is CLOSED
    assert bench.play("s") is OPEN
    assert bench.events[-1].reason is ChangeReason.SLOW_CALL_RATE


def test_a_few_slow_calls_do_not_open_it() -> None:
    bench = Bench(slow_call_seconds=5.0, slow_call_rate=0.5, minimum_calls=4, window_calls=4)
    assert bench.play("s...") is CLOSED
    assert bench.breaker.snapshot().window_slow_calls == 1
    assert bench.play(".") is CLOSED
    assert bench.breaker.snapshot().window_slow_calls == 0


def test_what_is_not_chosen_has_its_default() -> None:
    bench = Bench(failure_threshold=None, failure_rate=1.0)
    assert bench.play("x" * 9) is CLOSED
    assert bench.play("x") is OPEN
    bench = Bench(failure_threshold=None, failure_rate=1.0)
    bench.play("." * 101)
    assert bench.breaker.snapshot().window_calls == 100
    breaker = CircuitBreaker()
    for _ in range(4):
        breaker.permit().failure()
    assert repr(breaker) == "<CircuitBreaker 'circuit-breaker' closed>"
    breaker.permit().failure()
    assert breaker.state is OPEN


def test_a_call_is_slow_beyond_the_limit_and_not_at_it() -> None:
    bench = Bench(slow_call_seconds=10.0, slow_call_rate=1.0, minimum_calls=1)
    assert bench.play("s") is CLOSED
    assert bench.breaker.snapshot().window_slow_calls == 0


def test_the_window_by_time_expires_while_idle() -> None:
    bench = Bench(failure_threshold=None, failure_rate=0.5, window_seconds=60.0, minimum_calls=4)
    bench.play("xxx")
    bench.now += 50.0
    assert bench.breaker.snapshot().window_failures == 3
    bench.now += 3_600_000.0
    assert bench.breaker.snapshot().window_calls == 0
    assert bench.play("x..") is CLOSED


def test_the_window_by_time_moves_in_tenths() -> None:
    bench = Bench(failure_threshold=None, failure_rate=0.9, window_seconds=10.0, minimum_calls=100)
    held = []
    for _ in range(13):
        bench.play("x")
        held.append(bench.breaker.snapshot().window_calls)
        bench.now += 1.0
    assert held == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10, 10]


def test_the_window_by_time_forgets_each_kind_with_its_tenth() -> None:
    rules = {"slow_call_seconds": 5.0, "slow_call_rate": 1.0, "minimum_calls": 100}
    bench = Bench(failure_threshold=None, window_seconds=1_000.0, **rules)

    def held() -> tuple[int, int, int]:
        snapshot = bench.breaker.snapshot()
        return snapshot.window_calls, snapshot.window_failures, snapshot.window_slow_calls

    bench.play("sss..x")
    assert held() == (6, 1, 3)
    bench.now += 500.0
    bench.play("sx")
    assert held() == (8, 2, 4)
    bench.now += 500.0
    assert held() == (2, 1, 1)
    bench.now += 500.0
    assert held() == (0, 0, 0)


def test_the_window_by_time_moves_when_each_wait_is_shorter_than_a_tenth() -> None:
    bench = Bench(failure_threshold=None, failure_rate=0.9, window_seconds=10.0, minimum_calls=100)
    tenths = []
    for _ in range(40):
        bench.play(".")
        tenths.append(math.floor(bench.now))
        in_window = [tenth for tenth in tenths if tenth > tenths[-1] - 10]
        assert bench.breaker.snapshot().window_calls == len(in_window)
        bench.now += 0.75


def count_steps(method: Callable[..., Any], action: Callable[[], object]) -> int:
    """Return how many byte codes of ``method`` are run by ``action``."""
    steps: list[int] = []
    with at_each_step(method, lambda: steps.append(1)):
        action()
    return len(steps)


def test_a_record_costs_the_same_however_large_the_window_is() -> None:
    def count(size: int) -> int:
        window = CountWindow(size)
        for _ in range(30):
            window.add(True, False, 0.0)
        return count_steps(CountWindow.add, lambda: window.add(True, True, 0.0))

    assert count(10) == count(1_000_000) > 0


def test_a_record_after_a_year_of_silence_costs_no_more_than_after_one_window() -> None:
    def count(seconds: float) -> int:
        window = TimeWindow(10.0)
        for _ in range(100):
            window.add(True, False, 0.0)
        return count_steps(TimeWindow.expire, lambda: window.add(True, True, seconds))

    assert count(0.0) < count(10.0) == count(365 * 86_400.0)


def test_a_clock_read_in_another_order_by_two_threads_does_no_harm() -> None:
    bench = Bench(failure_threshold=None, failure_rate=1.0, window_seconds=10.0, minimum_calls=9)
    bench.play("x")
    bench.now -= 1.5
    bench.play("x")
    bench.now += 1.5
    assert bench.breaker.snapshot().window_failures == 2
    bench.now += 10.0
    assert bench.breaker.snapshot().window_failures == 0


# Open, and half-open


def test_it_is_open_for_the_open_time_and_then_lets_one_probe_pass() -> None:
    bench = Bench(timeout_seconds=30.0)
    bench.open()
    bench.now += 29.75
    assert bench.is_refused()
    assert bench.breaker.retry_after == 0.25
    bench.now += 0.25
    assert bench.breaker.retry_after == 0.0
    assert bench.breaker.state is OPEN  # Nobody has asked yet.
    probe = bench.breaker.permit()
    assert bench.breaker.state is HALF_OPEN
    assert bench.is_refused()
    probe.success()
    assert bench.breaker.state is CLOSED


def test_the_open_time_grows_for_ever_without_an_overflow() -> None:
    bench = Bench(timeout_seconds=1.0, open_multiplier=1e300)
    bench.open()
    for _ in range(50):
        bench.now += bench.breaker.retry_after
        bench.play("x")
    assert bench.breaker.retry_after == 300.0


@pytest.mark.parametrize(
    ("hint", "wait"),
    [
        (None, 30.0),
        (10.0, 30.0),
        (120, 120.0),
        (1e9, 300.0),
        (math.inf, 300.0),
        (math.nan, 30.0),
        (-5.0, 30.0),
        ("120", 30.0),
        (10**400, 300.0),
    ],
)
def test_a_hint_of_the_server_lengthens_the_open_time_up_to_the_cap(hint: Any, wait: float) -> None:
    bench = Bench(failure_threshold=1)
    bench.breaker.permit().failure(retry_after=hint)
    assert bench.breaker.retry_after == wait


@pytest.mark.parametrize(("hint", "wait"), [(None, 0.5), (0.25, 0.5), (0.75, 0.75)])
def test_an_open_time_below_a_second_is_kept(hint: float | None, wait: float) -> None:
    bench = Bench(failure_threshold=1, timeout_seconds=0.5)
    bench.breaker.permit().failure(retry_after=hint)
    assert bench.breaker.retry_after == wait


def test_an_opening_by_a_slow_success_has_the_open_time_and_jitter_of_any_other() -> None:
    rules = {"slow_call_seconds": 5.0, "minimum_calls": 1, "open_multiplier": 1.0, "jitter": 0.5}
    bench = Bench(timeout_seconds=0.5, **rules)
    bench.jitter = 1.0
    for _ in range(2):  # as an ordinary call, then as a probe
        assert bench.play("s") is OPEN
        assert bench.breaker.retry_after == 0.75
        bench.now += 0.75


def test_so_many_probes_run_at_a_time_and_so_many_must_succeed() -> None:
    bench = Bench(half_open_max_calls=2, success_threshold=3)
    bench.open()
    bench.now += 30.0
    first = bench.breaker.permit()
    assert bench.breaker.retry_after == 0.0  # one place is left
    second = bench.breaker.permit()
    assert bench.is_refused()
    first.success()
    third = bench.breaker.permit()
    second.success()
    assert bench.breaker.state is HALF_OPEN
    third.success()
    assert [event.new for event in bench.events] == [OPEN, HALF_OPEN, CLOSED]


@pytest.mark.parametrize(("lease", "wait"), [(60.0, 0.1), (0.05, 0.05)])
def test_a_caller_refused_while_another_probes_asks_again_soon(lease: float, wait: float) -> None:
    """Zero would make a loop of such callers spin; the lease would make them sleep too long."""
    bench = Bench(probe_lease_seconds=lease)
    bench.open()
    bench.now += 30.0
    bench.breaker.permit()
    with pytest.raises(CircuitBreakerOpenError) as caught:
        bench.breaker.permit()
    assert caught.value.state is HALF_OPEN
    assert caught.value.retry_after == pytest.approx(wait)


# By hand


def test_disabled_lets_everything_pass_uncounted_until_reset() -> None:
    bench = Bench(failure_threshold=1, failure_rate=0.1, minimum_calls=1)
    bench.breaker.disable()
    bench.now += 1e9
    assert bench.play("x" * 100) is DISABLED
    bench.breaker.reset()
    assert bench.breaker.snapshot().failures == 0
    assert bench.play("x") is OPEN


def test_what_changes_nothing_is_no_event() -> None:
    bench = Bench()
    bench.breaker.reset()
    bench.breaker.isolate()
    bench.breaker.isolate()
    assert [event.new for event in bench.events] == [ISOLATED]


# What can be seen


def test_an_event_says_what_happened() -> None:
    bench = Bench(failure_threshold=1, timeout_seconds=30.0)
    bench.open()
    bench.now += 30.0
    bench.play(".")
    assert [(e.name, e.old, e.new, str(e.reason), e.retry_after) for e in bench.events] == [
        ("bench", CLOSED, OPEN, "too many failures in a row", 30.0),
        ("bench", OPEN, HALF_OPEN, "the open time is over", 0.0),
        ("bench", HALF_OPEN, CLOSED, "the probes succeeded", 0.0),
    ]
    generations = [event.generation for event in bench.events]
    assert generations == sorted(set(generations))
    assert bench.breaker.snapshot().generation == generations[-1]


def test_an_event_says_what_was_done_by_hand_and_which_probe_failed() -> None:
    bench = Bench(failure_threshold=1, timeout_seconds=30.0)
    bench.breaker.isolate()
    bench.breaker.disable()
    bench.breaker.reset()
    bench.open()
    bench.now += 30.0
    bench.play("x")
    assert [str(event.reason) for event in bench.events] == [
        "isolated by hand",
        "disabled by hand",
        "reset by hand",
        "too many failures in a row",
        "the open time is over",
        "a probe failed",
    ]


def test_a_snapshot_counts_everything() -> None:
    bench = Bench(failure_threshold=2, failure_rate=1.0)
    late = bench.breaker.permit()
    bench.play(".c.xx")
    assert bench.is_refused()
    late.success()
    snapshot = bench.breaker.snapshot()
    assert (snapshot.name, snapshot.state, snapshot.retry_after) == ("bench", OPEN, 30.0)
    assert (snapshot.successes, snapshot.failures, snapshot.ignored) == (2, 2, 1)
    assert (snapshot.late, snapshot.rejections, snapshot.openings) == (1, 1, 1)
    bench.now += 30.0
    bench.breaker.permit()
    assert bench.breaker.snapshot().probes == 1
    bench.breaker.reset()
    bench.play("x")
    assert bench.breaker.snapshot().consecutive_failures == 1


def test_probes_and_late_results_are_counted_like_others() -> None:
    bench = Bench(failure_threshold=2, timeout_seconds=30.0, success_threshold=2)
    late = [bench.breaker.permit() for _ in range(2)]
    bench.open()
    for permit in late:
        permit.failure()
    bench.now += 30.0
    bench.play("x")
    bench.now += 60.0
    bench.play("..")
    snapshot = bench.breaker.snapshot()
    assert (snapshot.successes, snapshot.failures, snapshot.late) == (2, 3, 2)


def test_its_representation_says_name_and_state() -> None:
    assert repr(CircuitBreaker(name="stripe")) == "<CircuitBreaker 'stripe' closed>"


# Arguments


@pytest.mark.parametrize(
    ("rules", "complaint"),
    [
        ({"failure_threshold": 0}, "failure_threshold is 0"),
        ({"failure_threshold": True}, "failure_threshold is True"),
        ({"timeout_seconds": 0}, "timeout_seconds is 0"),
        ({"timeout_seconds": math.nan}, "timeout_seconds is nan"),
        ({"timeout_seconds": math.inf}, "timeout_seconds is inf"),
        ({"failure_rate": 0.0}, "failure_rate is 0.0"),
        ({"failure_rate": 1.5}, "failure_rate is 1.5"),
        ({"slow_call_seconds": -1}, "slow_call_seconds is -1"),
        ({"slow_call_rate": 0}, "slow_call_rate is 0"),
        ({"slow_call_rate": 1.5}, "slow_call_rate is 1.5"),
        ({"window_calls": 0}, "window_calls is 0"),
        ({"window_seconds": 0}, "window_seconds is 0"),
        ({"minimum_calls": 0}, "minimum_calls is 0"),
        ({"half_open_max_calls": 0}, "half_open_max_calls is 0"),
        ({"success_threshold": 1.5}, "success_threshold is 1.5"),
        ({"probe_lease_seconds": 0}, "probe_lease_seconds is 0"),
        ({"open_multiplier": 0.5}, "open_multiplier is 0.5"),
        ({"open_multiplier": math.inf}, "open_multiplier is inf"),
        ({"max_open_seconds": "long"}, "max_open_seconds is 'long'"),
        ({"jitter": 1.1}, "jitter is 1.1"),
        ({"jitter": None}, "jitter is None"),
        ({"timeout_seconds": None}, "timeout_seconds is None"),
        ({"timeout_seconds": 10**400}, "timeout_seconds is 1000"),
        ({"slow_call_rate": None}, "slow_call_rate is None"),
        ({"window_calls": None}, "window_calls is None"),
        ({"minimum_calls": None}, "minimum_calls is None"),
        ({"half_open_max_calls": None}, "half_open_max_calls is None"),
        ({"success_threshold": None}, "success_threshold is None"),
        ({"probe_lease_seconds": None}, "probe_lease_seconds is None"),
        ({"open_multiplier": None}, "open_multiplier is None"),
        ({"max_open_seconds": None}, "max_open_seconds is None"),
        (
            {"failure_threshold": None},
            (
                "^failure_threshold is None; accepted is that with failure_rate or "
                "slow_call_seconds only, else nothing could open the breaker$"
            ),
        ),
    ],
)
def test_a_bad_number_names_itself(rules: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        CircuitBreaker(**rules)
    assert "accepted" in str(caught.value)


@pytest.mark.parametrize("name", ["expected_exception", "ignored_exceptions", "success_exceptions"])
def test_a_bad_exception_filter_names_itself(name: str) -> None:
    rules: dict[str, Any] = {name: int}
    with pytest.raises(TypeError, match=f"{name} is <class 'int'>"):
        CircuitBreaker(**rules)


@pytest.mark.parametrize("name", ["failure_on_result", "clock", "random"])
def test_what_is_called_later_names_itself_at_once_when_it_cannot_be(name: str) -> None:
    """Found out by the first call that succeeds, it would make that one fail."""
    rules: dict[str, Any] = {name: 503}
    with pytest.raises(TypeError, match=f"{name} is 503; accepted is what can be called"):
        CircuitBreaker(**rules)


def test_a_listener_that_cannot_be_called_is_refused() -> None:
    listener: Any = "log"
    with pytest.raises(TypeError, match="listener is 'log'; accepted is what can be called"):
        CircuitBreaker().add_listener(listener)
