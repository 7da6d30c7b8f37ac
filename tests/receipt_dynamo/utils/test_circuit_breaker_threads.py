"""Threads, signals, listeners and forks."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import textwrap
import threading
from contextlib import nullcontext, suppress
from typing import Any

import pytest

from receipt_dynamo.utils.breaker.state import BreakerMachine
from receipt_dynamo.utils.circuit_breaker import (
    BreakerEvent,
    CircuitBreaker,
    CircuitBreakerOpenError,
    CircuitBreakerState,
)
from support.lockstep import at_each_step, run_in_step

CLOSED, OPEN, HALF_OPEN, ISOLATED, DISABLED = CircuitBreakerState


def remove_lock(breaker: CircuitBreaker) -> None:
    lockless: Any = nullcontext()
    breaker._shell._lock = lockless


@pytest.mark.parametrize("has_lock", [True, False])
def test_no_failure_is_lost_between_threads_and_without_the_lock_one_is(has_lock: bool) -> None:
    breaker = CircuitBreaker(2)
    if not has_lock:
        remove_lock(breaker)
    run_in_step(BreakerMachine.record_failure, [breaker.permit().failure, breaker.permit().failure])
    assert breaker.snapshot().failures == (2 if has_lock else 1)
    assert breaker.state is (OPEN if has_lock else CLOSED)


@pytest.mark.parametrize("has_lock", [True, False])
def test_one_probe_passes_between_threads_and_without_the_lock_two_do(has_lock: bool) -> None:
    now = 0.0
    breaker = CircuitBreaker(1, 30.0, clock=lambda: now)
    breaker.permit().failure()
    now = 1_000.0
    breaker.permit().cancel()
    if not has_lock:
        remove_lock(breaker)
    admitted = []

    def ask() -> None:
        with suppress(CircuitBreakerOpenError):
            admitted.append(breaker.permit())

    run_in_step(BreakerMachine.admit, [ask, ask])
    assert len(admitted) == (1 if has_lock else 2)


def test_nothing_is_lost_among_many_threads() -> None:
    breaker = CircuitBreaker(None, failure_rate=1.0, window_calls=9_000, minimum_calls=9_000)
    start = threading.Barrier(6)

    def work() -> None:
        start.wait(10)
        for number in range(1_500):
            permit = breaker.permit()
            (permit.success, permit.failure, permit.cancel)[number % 3]()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    snapshot = breaker.snapshot()
    assert (snapshot.successes, snapshot.failures, snapshot.ignored) == (3_000, 3_000, 3_000)
    assert (snapshot.window_calls, snapshot.window_failures) == (6_000, 3_000)


def test_a_permit_reported_by_two_threads_counts_once() -> None:
    breaker = CircuitBreaker()
    permits = [breaker.permit() for _ in range(500)]
    start = threading.Barrier(4)

    def report() -> None:
        start.wait(10)
        for permit in permits:
            permit.success()

    threads = [threading.Thread(target=report) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert breaker.snapshot().successes == 500


def test_blocks_of_different_threads_do_not_mix() -> None:
    breaker, both_inside = CircuitBreaker(9), threading.Barrier(2)

    def work(fails: bool) -> None:
        with suppress(ZeroDivisionError), breaker:
            both_inside.wait(10)
            1 // (not fails)

    threads = [threading.Thread(target=work, args=(fails,)) for fails in (True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    snapshot = breaker.snapshot()
    assert (snapshot.successes, snapshot.failures) == (1, 1)


def test_a_finalizer_or_signal_handler_inside_of_the_lock_does_not_deadlock() -> None:
    """The garbage collector may close a decorated generator anywhere, in the lock as well."""
    breaker = CircuitBreaker(9)
    waiting = [breaker.permit() for _ in range(5)]

    def finalize() -> None:
        if waiting:
            waiting.pop().success()

    with at_each_step(BreakerMachine.record_failure, finalize):
        breaker.permit().failure()
    assert not waiting
    assert breaker.snapshot().successes == 5


# Listeners


def open_and_isolate(breaker: CircuitBreaker) -> None:
    breaker.permit().failure()
    breaker.isolate()


def test_a_listener_may_use_the_breaker() -> None:
    breaker, seen = CircuitBreaker(1), []

    def listen(event: BreakerEvent) -> None:
        seen.append((event.new, breaker.state, breaker.snapshot().state))
        if event.new is OPEN:
            breaker.reset()

    breaker.add_listener(listen)
    breaker.permit().failure()
    assert [states[0] for states in seen] == [OPEN, CLOSED]
    assert breaker.state is CLOSED


def test_a_listener_that_fails_breaks_nothing_and_is_logged_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now, seen = 0.0, []
    breaker = CircuitBreaker(1, name="stripe", clock=lambda: now)

    def fail(event: BreakerEvent) -> None:
        raise ValueError("secret")

    breaker.add_listener(fail)
    breaker.add_listener(seen.append)
    with caplog.at_level(logging.WARNING):
        open_and_isolate(breaker)
        now = 59.0
        breaker.reset()
        assert len(caplog.messages) == 1
        now = 60.0
        breaker.isolate()
    line = "a listener of circuit breaker stripe raised ValueError"
    assert caplog.messages == [line, f"{line} (2 more since the last such line)"]
    assert [event.new for event in seen] == [OPEN, ISOLATED, CLOSED, ISOLATED]


def test_a_listener_that_hangs_holds_up_its_own_caller_only() -> None:
    breaker, inside, leave = CircuitBreaker(1), threading.Event(), threading.Event()

    def hang(event: BreakerEvent) -> None:
        inside.set()
        leave.wait(30)

    breaker.add_listener(hang)
    caller = threading.Thread(target=breaker.permit().failure)
    caller.start()
    assert inside.wait(10)
    with pytest.raises(CircuitBreakerOpenError):
        breaker.permit()
    assert breaker.snapshot().state is OPEN
    leave.set()
    caller.join(10)


def test_an_interrupt_inside_of_a_listener_gives_the_place_of_the_probe_back() -> None:
    now = 0.0
    breaker = CircuitBreaker(1, 30.0, clock=lambda: now)
    breaker.permit().failure()
    now = 1_000.0

    def interrupt(event: BreakerEvent) -> None:
        raise KeyboardInterrupt

    breaker.add_listener(interrupt)
    with pytest.raises(KeyboardInterrupt):
        breaker.permit()
    assert (breaker.state, breaker.snapshot().probes) == (HALF_OPEN, 0)


def test_a_removed_listener_hears_nothing() -> None:
    breaker, kept, removed = CircuitBreaker(1), [], []
    hear = removed.append
    breaker.add_listener(hear)
    breaker.add_listener(kept.append)
    breaker.remove_listener(hear)
    breaker.remove_listener(hear)
    breaker.isolate()
    assert (len(kept), removed) == (1, [])


# Forks

FORK = """
    import os, signal, threading, warnings
    from receipt_dynamo.utils.circuit_breaker import CircuitBreaker, CircuitBreakerOpenError

    warnings.simplefilter("ignore", DeprecationWarning)
    signal.alarm(20)  # A child that hangs dies of it.
    now = 0.0
    breaker = CircuitBreaker(1, 30.0, name="forked", clock=lambda: now)
    {before}
    held, leave = threading.Event(), threading.Event()

    def hold():
        with breaker._shell._lock:
            held.set()
            leave.wait(15)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(5)
        {child}
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    leave.set()
    holder.join()
    assert status == 0, status
    {parent}
"""


def run_forking(before: str, child: str, parent: str = "") -> None:
    steps = {"before": before, "child": child, "parent": parent}
    indents = {"before": " " * 4, "child": " " * 8, "parent": " " * 4}
    code = textwrap.dedent(
        FORK.format(**{k: textwrap.indent(v, indents[k]).lstrip() for k, v in steps.items()})
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


needs_fork = pytest.mark.skipif(not hasattr(signal, "alarm"), reason="Windows has no fork")


@needs_fork
def test_a_child_does_not_inherit_a_held_lock() -> None:
    run_forking(
        "",
        "breaker.permit().failure()\nassert breaker.state == 'open'",
        "assert breaker.state == 'closed'",
    )


@needs_fork
def test_a_child_stays_open_and_counts_from_zero() -> None:
    run_forking(
        "breaker.permit().failure()",
        "snapshot = breaker.snapshot()\n"
        "assert (snapshot.state, snapshot.openings, snapshot.failures) == ('open', 0, 0)\n"
        "assert breaker.retry_after >= 30.0\n"
        "now = 40.0\n"
        "breaker.permit().success()\n"
        "assert breaker.state == 'closed'",
        "assert breaker.snapshot().openings == 1",
    )


@needs_fork
def test_probes_of_the_parent_hold_no_place_in_the_child() -> None:
    run_forking(
        "breaker.permit().failure()\nnow = 40.0\nprobe = breaker.permit()",
        "own = breaker.permit()\n"
        "probe.failure()\n"
        "assert breaker.state == 'half_open'\n"
        "own.success()\n"
        "assert breaker.state == 'closed'",
        "assert breaker.state == 'half_open'\nprobe.success()\nassert breaker.state == 'closed'",
    )


@needs_fork
@pytest.mark.parametrize(("how", "state"), [("isolate", "isolated"), ("disable", "disabled")])
def test_what_was_set_by_hand_holds_in_the_child(how: str, state: str) -> None:
    run_forking(f"breaker.{how}()", f"assert breaker.state == {state!r}\nbreaker.reset()")
