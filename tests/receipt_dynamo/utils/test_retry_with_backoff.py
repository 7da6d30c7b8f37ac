"""retry_with_backoff with a fake clock: each bug of other retry libraries by its name."""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
import pickle
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_dynamo import (
    CircuitBreakerOpenError,
    CircuitBreakerState,
    RetryExhaustedError,
    retry_with_backoff,
)
from receipt_dynamo.utils.backoff import backoff_delay
from receipt_dynamo.utils.retry.budget import RetryBudget
from receipt_dynamo.utils.retry.policy import make_policy
from receipt_dynamo.utils.retry_with_backoff import RetryDetails, no_waits, retrying
from support.lockstep import run_in_step


class FakeTime:
    """A clock that only the sleeps, and the calls that take time, move."""

    def __init__(self) -> None:
        self.now = 100.0
        self.sleeps: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds

    async def async_sleep(self, seconds: float) -> None:
        self.sleep(seconds)

    def settings(self, **more: Any) -> dict[str, Any]:
        return {
            "sleep": self.sleep,
            "async_sleep": self.async_sleep,
            "clock": lambda: self.now,
            **more,
        }


class HintedError(Exception):
    def __init__(self, retry_after: Any) -> None:
        self.retry_after = retry_after


def fail_times(times: int, error: Exception | None = None) -> Callable[[], str]:
    left = iter(range(times))

    def call() -> str:
        if next(left, None) is not None:
            raise error or ValueError("no")
        return "done"

    return call


def test_it_tries_again_until_it_succeeds() -> None:
    time = FakeTime()
    call = retry_with_backoff(5, **time.settings())(fail_times(3))
    assert call() == "done"
    assert len(time.sleeps) == 3


async def test_async_functions_are_tried_again_too() -> None:
    time = FakeTime()
    fail = fail_times(2)

    @retry_with_backoff(3, **time.settings())
    async def call() -> str:
        await asyncio.sleep(0)
        return fail()

    assert await call() == "done"
    assert len(time.sleeps) == 2


def test_the_decorator_without_arguments_has_the_defaults() -> None:
    calls = []

    @retry_with_backoff
    def call() -> None:
        """What it does."""
        calls.append(1)
        raise ValueError

    with no_waits(), pytest.raises(RetryExhaustedError):
        call()
    assert len(calls) == 3
    assert (call.__name__, call.__doc__) == ("call", "What it does.")


def test_exhaustion_keeps_the_last_failure_and_chains_it() -> None:
    time, error = FakeTime(), ValueError("the last")
    call = retry_with_backoff(3, 1.0, jitter=False, **time.settings())(fail_times(9, error))
    with pytest.raises(RetryExhaustedError) as caught:
        call()
    exhausted = caught.value
    assert exhausted.last_exception is error is exhausted.__cause__
    assert (exhausted.attempts, exhausted.reason) == (3, "attempts")
    assert exhausted.elapsed == pytest.approx(3.0)
    copy = pickle.loads(pickle.dumps(exhausted))
    assert (copy.attempts, copy.reason, str(copy)) == (3, "attempts", str(exhausted))
    assert exhausted.args == (3, 3.0, "attempts", error, None)
    text = "gave up after 3 attempts in 3.000 s (attempts); the last failure was ValueError"
    assert str(exhausted) == text


def test_delays_double_to_the_cap() -> None:
    time = FakeTime()
    call = retry_with_backoff(6, 1.0, 5.0, jitter=False, **time.settings())(fail_times(5))
    call()
    assert time.sleeps == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_the_multiplier_of_the_delays_can_be_chosen() -> None:
    time = FakeTime()
    settings = time.settings(jitter=False, multiplier=3.0)
    retry_with_backoff(4, 1.0, **settings)(fail_times(3))()
    assert time.sleeps == [1.0, 3.0, 9.0]


def test_delays_start_at_a_second_and_end_at_a_minute_by_default() -> None:
    function, block = FakeTime(), FakeTime()
    retry_with_backoff(9, random=lambda: 0.5, **function.settings())(fail_times(8))()
    fail = fail_times(8)
    for attempt in retrying(max_attempts=9, random=lambda: 0.5, **block.settings()):
        with attempt:
            fail()
    assert function.sleeps == block.sleeps == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    delay = backoff_delay(3, base_delay=1.0, max_delay=60.0, random=lambda: 0.5)
    assert delay == function.sleeps[2]


def test_the_wall_clock_is_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: pytest.fail("the wall clock was read"))
    retry_with_backoff(2, 0.0, deadline=60.0)(fail_times(1))()
    for form in (retry_with_backoff, make_policy):
        assert inspect.signature(form).parameters["clock"].default is time.monotonic


def test_full_jitter_is_the_default() -> None:
    time = FakeTime()
    call = retry_with_backoff(4, 1.0, random=lambda: 0.25, **time.settings())(fail_times(3))
    call()
    assert time.sleeps == [0.25, 0.5, 1.0]


@given(
    st.integers(1, 10**9),
    st.floats(0, 1e3),
    st.floats(0, 1e3),
    st.floats(1, 100),
    st.floats(0, 1, exclude_max=True),
)
def test_two_to_the_attempt_never_overflows(
    attempt: int, base: float, cap: float, multiplier: float, random: float
) -> None:
    settings: Any = {"base_delay": base, "max_delay": cap, "multiplier": multiplier}
    delay = backoff_delay(attempt, **settings, random=lambda: random)
    ceiling = backoff_delay(attempt, **settings, jitter=False)
    assert 0 <= delay <= ceiling <= cap


@pytest.mark.parametrize(("base", "delay"), [(0.0, 0.0), (0.001, 60.0), (1.0, 60.0)])
def test_no_delay_stays_none_however_many_attempts_there_were(base: float, delay: float) -> None:
    """2 ** attempt overflows beyond the thousandth, and then the longest delay was taken."""
    assert backoff_delay(5_000, base_delay=base, max_delay=60.0, jitter=False) == delay


@given(
    st.floats(0.1, 20),
    st.lists(st.floats(0, 5), min_size=1, max_size=20),
    st.floats(0.01, 5),
    st.booleans(),
)
def test_a_deadline_is_never_slept_past(
    deadline: float, durations: list[float], base: float, jitter: bool
) -> None:
    time = FakeTime()
    starts = []

    def call() -> None:
        starts.append(time.now)
        time.now += durations[min(len(starts), len(durations)) - 1]
        raise ValueError

    settings = time.settings(deadline=deadline, random=lambda: 0.99)
    with pytest.raises(RetryExhaustedError) as caught:
        retry_with_backoff(30, base, 60.0, jitter=jitter, **settings)(call)()
    assert all(start < 100.0 + deadline for start in starts[1:])
    assert caught.value.attempts == len(starts) == len(time.sleeps) + 1
    assert caught.value.reason in ("deadline", "attempts")


def test_no_sleep_that_cannot_pay_off() -> None:
    time = FakeTime()
    call = retry_with_backoff(9, 10.0, jitter=False, deadline=10.0, **time.settings())
    with pytest.raises(RetryExhaustedError, match="deadline"):
        call(fail_times(9))()
    assert time.sleeps == []


@pytest.mark.parametrize(
    ("hint", "slept"),
    [
        (7, 7.0),
        (0.1, 1.0),
        (1e9, 30.0),
        (10**400, 30.0),
        (math.inf, 30.0),
        (math.nan, 1.0),
        (-5.0, 1.0),
        ("7", 1.0),
        (None, 1.0),
    ],
)
def test_a_servers_hint_is_honoured_and_clamped(hint: Any, slept: float) -> None:
    time = FakeTime()
    call = retry_with_backoff(2, 1.0, 30.0, jitter=False, **time.settings())
    call(fail_times(1, HintedError(hint)))()
    assert time.sleeps == [slept]


def test_validation_and_access_errors_are_not_retried() -> None:
    time, error = FakeTime(), KeyError("no")
    call = retry_with_backoff(5, exceptions=(ValueError, OSError), **time.settings())
    with pytest.raises(KeyError) as caught:
        call(fail_times(1, error))()
    assert caught.value is error
    assert time.sleeps == []


def test_a_predicate_chooses_what_is_retried() -> None:
    time = FakeTime()
    call = retry_with_backoff(5, exceptions=lambda error: "again" in str(error), **time.settings())
    assert call(fail_times(2, ValueError("again")))() == "done"
    with pytest.raises(ValueError, match="never"):
        call(fail_times(2, ValueError("never")))()


def test_an_open_breakers_refusal_is_never_retried() -> None:
    time = FakeTime()
    refusal = CircuitBreakerOpenError("x", CircuitBreakerState.OPEN, 1.0)
    with pytest.raises(CircuitBreakerOpenError):
        retry_with_backoff(5, **time.settings())(fail_times(1, refusal))()
    assert time.sleeps == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_cancellation_is_never_retried(error: type[BaseException]) -> None:
    time = FakeTime()

    def call() -> None:
        raise error

    with pytest.raises(error):
        retry_with_backoff(5, exceptions=BaseException, **time.settings())(call)()
    assert time.sleeps == []


def test_a_result_may_ask_for_another_try() -> None:
    time = FakeTime()
    results = iter([None, None, "ready"])
    call = retry_with_backoff(5, retry_on_result=lambda result: result is None, **time.settings())(
        lambda: next(results)
    )
    assert call() == "ready"
    empty = retry_with_backoff(2, retry_on_result=lambda _: True, **time.settings())(lambda: 7)
    with pytest.raises(RetryExhaustedError) as caught:
        empty()
    assert (caught.value.last_result, caught.value.last_exception) == (7, None)
    assert caught.value.args[-2:] == (None, 7)
    assert str(caught.value).endswith("the last failure was a result that asked for another try")


async def test_an_async_functions_result_may_ask_too() -> None:
    time = FakeTime()
    results = iter([None, "ready"])

    @retry_with_backoff(retry_on_result=lambda result: result is None, **time.settings())
    async def call() -> str | None:
        return next(results)

    assert await call() == "ready"


async def test_a_retrier_shared_between_tasks_does_not_mix_their_attempts() -> None:
    time = FakeTime()
    attempts: dict[int, int] = {}

    @retry_with_backoff(4, **time.settings())
    async def call(task: int) -> int:
        attempts[task] = attempts.get(task, 0) + 1
        await asyncio.sleep(0)
        if attempts[task] <= task % 4:
            raise ValueError
        return task

    assert await asyncio.gather(*[call(task) for task in range(1_000)]) == list(range(1_000))
    assert attempts == {task: task % 4 + 1 for task in range(1_000)}


def test_no_arguments_in_retry_logs(caplog: pytest.LogCaptureFixture) -> None:
    time = FakeTime()

    @retry_with_backoff(2, **time.settings())
    def call(prompt: str) -> None:
        raise ValueError(f"cannot do {prompt}")

    with caplog.at_level(logging.DEBUG), pytest.raises(RetryExhaustedError) as caught:
        call("my secret prompt")
    line = r"call: attempt 1 failed with ValueError; next in \d\.\d{3} s$"
    assert re.search(line, caplog.messages[0])
    assert "secret" not in caplog.text + str(caught.value)


def test_a_hook_sees_each_retry_and_cannot_break_it(caplog: pytest.LogCaptureFixture) -> None:
    time, seen, error = FakeTime(), [], ValueError("no")

    def hook(details: RetryDetails) -> None:
        seen.append(details)
        raise RuntimeError("a bad hook")

    call = retry_with_backoff(3, 1.0, jitter=False, on_retry=hook, **time.settings())
    assert call(fail_times(2, error))() == "done"
    name = "fail_times.<locals>.call"
    assert seen == [RetryDetails(name, 1, 1.0, 0.0, error), RetryDetails(name, 2, 2.0, 1.0, error)]
    assert caplog.messages == [f"the on_retry hook of {name} raised RuntimeError"] * 2


async def test_a_hook_gets_the_name_of_what_is_tried_again() -> None:
    class Job:
        def __init__(self) -> None:
            self.run = fail_times(1)

        def __call__(self) -> str:
            return self.run()

    time = FakeTime()
    names: list[str] = []
    settings = time.settings(on_retry=lambda details: names.append(details.name))
    retry_with_backoff(**settings)(Job())()

    fail = fail_times(1)

    @retry_with_backoff(**settings)
    async def call() -> str:
        return fail()

    await call()
    fail_block = fail_times(1)
    for attempt in retrying(**settings):
        with attempt:
            fail_block()
    fail_async_block = fail_times(1)
    async for attempt in retrying(name="the nightly job", **settings):
        with attempt:
            fail_async_block()
    function = "test_a_hook_gets_the_name_of_what_is_tried_again.<locals>.call"
    assert names == ["Job", function, "retrying", "the nightly job"]


def test_a_budget_bounds_the_retries_of_many_callers() -> None:
    time, budget = FakeTime(), RetryBudget(capacity=5, refund=1)
    call = retry_with_backoff(3, budget=budget, **time.settings())
    reasons = []
    for _ in range(10):
        with pytest.raises(RetryExhaustedError) as caught:
            call(fail_times(9))()
        reasons.append(caught.value.reason)
    assert len(time.sleeps) == 5
    assert reasons == ["attempts"] * 2 + ["budget"] * 8
    call(fail_times(0))()
    assert budget.tokens == 1
    assert call(fail_times(1))() == "done"
    assert budget.tokens == 0  # a success after a retry gives nothing back


def test_a_budget_is_a_hundred_retries_and_ten_successes_pay_for_one() -> None:
    budget = RetryBudget()
    assert budget.tokens == 100
    assert budget.take()
    for _ in range(9):
        budget.give_back()
    assert budget.tokens == pytest.approx(99.9)
    budget.give_back()
    budget.give_back()
    assert budget.tokens == 100


@pytest.mark.parametrize(
    ("name", "value"), [("capacity", 0), ("capacity", None), ("refund", -0.5), ("refund", None)]
)
def test_a_budgets_bad_argument_names_itself(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value!r}"):
        RetryBudget(**{name: value})


@pytest.mark.parametrize("has_lock", [True, False])
def test_a_budget_holds_between_threads_and_without_the_lock_it_is_overdrawn(
    has_lock: bool,
) -> None:
    budget = RetryBudget(capacity=1, refund=0)
    if not has_lock:
        lockless: Any = nullcontext()
        budget._lock = lockless
    taken: list[bool] = []
    run_in_step(RetryBudget.take, [lambda: taken.append(budget.take())] * 2)
    assert sorted(taken) == [not has_lock, True]


def test_a_reset_leaves_a_lock_whose_thread_is_gone() -> None:
    budget = RetryBudget(capacity=2)
    holder = threading.Thread(target=budget._lock.__enter__)
    holder.start()
    holder.join()
    budget.reset_after_fork()
    assert budget.take()


def test_a_forked_child_keeps_the_budget_and_does_not_inherit_a_held_lock() -> None:
    program = """
import os, signal, threading
from receipt_dynamo.utils.retry.budget import RetryBudget
from receipt_dynamo.utils.retry.policy import make_policy

budget = RetryBudget(capacity=5)
assert budget.take()
held, leave = threading.Event(), threading.Event()

def hold():
    with budget._lock:
        held.set()
        leave.wait()

holder = threading.Thread(target=hold)
holder.start()
held.wait()
pid = os.fork()
if pid == 0:
    signal.alarm(30)  # a child that hangs dies of it
    os._exit(0 if budget.take() and budget.tokens == 3 else 1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
leave.set()
holder.join()
assert budget.tokens == 4
"""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program]
    subprocess.run(command, check=True, timeout=60)


async def test_test_mode_removes_waits_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)

    @retry_with_backoff(3, 3600.0, 3600.0)
    async def call() -> None:
        raise ValueError

    with no_waits(), pytest.raises(RetryExhaustedError):
        await call()
    assert slept == [0, 0]  # other tasks still get their turn


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_attempts", 0),
        ("max_attempts", 1.5),
        ("base_delay", -1),
        ("max_delay", float("inf")),
        ("multiplier", 0),
        ("deadline", 0),
        ("deadline", float("nan")),
        ("max_attempts", None),
        ("base_delay", None),
        ("max_delay", None),
        ("multiplier", None),
    ],
)
def test_a_bad_argument_names_itself_and_its_value(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value!r}"):
        retry_with_backoff(**{name: value})


@pytest.mark.parametrize("exceptions", ["ValueError", 3, (ValueError, 3), int])
def test_a_bad_filter_is_named(exceptions: Any) -> None:
    with pytest.raises(TypeError, match="exceptions is"):
        retry_with_backoff(exceptions=exceptions)


@pytest.mark.parametrize(
    "name", ["retry_on_result", "on_retry", "sleep", "async_sleep", "clock", "random"]
)
def test_what_is_called_later_names_itself_at_once_when_it_cannot_be(name: str) -> None:
    """Found out after the first failure, it would hide that failure."""
    with pytest.raises(TypeError, match=f"{name} is 'x'; accepted is what can be called"):
        retry_with_backoff(**{name: "x"})


@pytest.mark.parametrize("name", ["on_retry", "sleep", "async_sleep", "clock", "random"])
def test_a_loops_bad_argument_names_itself_too(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} is 'x'; accepted is what can be called"):
        retrying(**{name: "x"})


def test_a_budget_is_none_or_a_retry_budget() -> None:
    with pytest.raises(TypeError, match="budget is of type int; accepted are RetryBudget and None"):
        retry_with_backoff(budget=5)  # type: ignore[arg-type]


def test_a_share_of_jitter_is_refused() -> None:
    """It is one of a breaker's; taken for True, it would not do what it says."""
    with pytest.raises(TypeError, match=r"jitter is 0\.1; accepted are True and False"):
        retry_with_backoff(jitter=0.1)  # type: ignore[call-overload]


def test_an_exception_type_in_the_first_place_is_refused() -> None:
    """Taken for the function, it would be what the decorated name stands for."""
    complaint = (
        "^max_attempts is <class 'ValueError'>; accepted are whole numbers of 1 or more, "
        "and exceptions= takes what to retry$"
    )
    with pytest.raises(TypeError, match=complaint):
        retry_with_backoff(ValueError)


def test_what_cannot_be_called_cannot_be_decorated() -> None:
    with pytest.raises(TypeError, match="function is 3; accepted is what can be called"):
        retry_with_backoff(3)(3)  # type: ignore[arg-type]


def test_a_generator_is_refused() -> None:
    def generate() -> Any:
        yield 1

    async def generate_async() -> Any:
        yield 1

    for function in (generate, generate_async):
        with pytest.raises(TypeError, match="is a generator"):
            retry_with_backoff(function)


async def test_an_object_with_an_async_call_is_tried_again() -> None:
    class Job:
        def __init__(self) -> None:
            self.run = fail_times(1)

        async def __call__(self) -> str:
            return self.run()

    time = FakeTime()
    assert await retry_with_backoff(**time.settings())(Job())() == "done"
    assert len(time.sleeps) == 1


def test_a_generator_of_an_object_is_refused() -> None:
    class Job:
        def __call__(self) -> Any:
            yield 1

    with pytest.raises(TypeError, match="is a generator"):
        retry_with_backoff(Job())


def test_a_coroutine_of_a_plain_function_is_refused() -> None:
    """It fails only when it is awaited, which no try would see."""

    async def call() -> None:
        raise ValueError

    def start() -> Any:
        return call()

    with pytest.raises(TypeError, match=r"start returned a coroutine.* async functions"):
        retry_with_backoff(start)()


def test_threads_do_not_mix_their_attempts() -> None:
    everybody, attempts = threading.Barrier(8), threading.local()

    @retry_with_backoff(3, 0.0)
    def call(fails: int) -> int:
        everybody.wait(30)  # in step, from try to try
        attempts.made = getattr(attempts, "made", 0) + 1
        if attempts.made <= fails:
            raise ValueError
        return attempts.made

    made: list[int] = []
    threads = [threading.Thread(target=lambda: made.append(call(2)), daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert made == [3] * 8


def test_a_block_of_code_is_tried_again() -> None:
    time = FakeTime()
    fail, numbers = fail_times(2), []
    settings = time.settings(max_attempts=5, base_delay=1.0, jitter=False)
    for attempt in retrying(**settings):
        with attempt:
            numbers.append(attempt.number)
            result = fail()
    assert (result, numbers, time.sleeps) == ("done", [1, 2, 3], [1.0, 2.0])


async def test_an_async_block_is_tried_again() -> None:
    time = FakeTime()
    fail, done = fail_times(1), []
    async for attempt in retrying(**time.settings()):
        with attempt:
            await asyncio.sleep(0)
            done.append(fail())
    assert done == ["done"]


def test_a_block_gives_up_like_a_function() -> None:
    time, error = FakeTime(), ValueError("no")
    loop = retrying(**time.settings(max_attempts=2))
    for _ in range(2):  # each `for` begins anew
        with pytest.raises(RetryExhaustedError) as caught:
            for attempt in loop:
                with attempt:
                    raise error
        assert caught.value.__cause__ is error
        assert caught.value.attempts == 2
    with pytest.raises(KeyError):
        for attempt in retrying(**time.settings(exceptions=ValueError)):
            with attempt:
                raise KeyError
    with pytest.raises(KeyboardInterrupt):
        for attempt in loop:
            with attempt:
                raise KeyboardInterrupt


def test_a_block_has_three_tries_by_default() -> None:
    with pytest.raises(RetryExhaustedError) as caught:
        for attempt in retrying(**FakeTime().settings()):
            with attempt:
                raise ValueError
    assert caught.value.attempts == 3


def test_leaving_the_block_ends_the_loop() -> None:
    budget = RetryBudget(capacity=2, refund=1)
    budget.take()
    for attempt in retrying(budget=budget):
        with attempt:
            break
    assert budget.tokens == 2
