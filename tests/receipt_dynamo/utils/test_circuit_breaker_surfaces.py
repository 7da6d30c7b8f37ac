"""The decorator, ``with``, ``call`` and permits; what exceptions and results mean."""

from __future__ import annotations

import functools
import inspect
import pickle
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

import pytest

from receipt_dynamo.errors import ReceiptDynamoError
from receipt_dynamo.utils.circuit_breaker import (
    CircuitBreaker,
    CircuitBreakerOpenError,
    CircuitBreakerState,
)
from receipt_dynamo.utils.retry_with_backoff import retry_with_backoff

CLOSED, OPEN, HALF_OPEN, ISOLATED, DISABLED = CircuitBreakerState


class RateLimitedError(Exception):
    def __init__(self, retry_after: Any) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after


def make_open_breaker(**rules: Any) -> CircuitBreaker:
    """Return a breaker that is open, and lets a probe pass at the next call."""
    now = 0.0
    breaker = CircuitBreaker(1, 30.0, clock=lambda: now, **rules)
    breaker.permit().failure()
    now = 1e9
    return breaker


def fail() -> None:
    raise ConnectionError


def count(breaker: CircuitBreaker) -> tuple[int, int, int]:
    snapshot = breaker.snapshot()
    return snapshot.successes, snapshot.failures, snapshot.ignored


# Functions


def test_a_decorated_function_keeps_its_name_arguments_and_result() -> None:
    @CircuitBreaker()
    def add(first: int, *, second: int = 2) -> int:
        """Add."""
        return first + second

    assert (add.__name__, add.__doc__, add(1, second=3)) == ("add", "Add.", 4)
    assert list(inspect.signature(add).parameters) == ["first", "second"]


def test_a_decorated_method_gets_its_object() -> None:
    breaker = CircuitBreaker(1)

    class Client:
        @breaker
        def read(self) -> Client:
            return self

        @staticmethod
        @breaker
        def fail() -> None:
            raise ConnectionError

    client = Client()
    assert client.read() is client
    with pytest.raises(ConnectionError):
        client.fail()
    with pytest.raises(CircuitBreakerOpenError):
        client.read()


def test_call_passes_arguments_even_one_named_function() -> None:
    def keep(*args: object, **kwargs: object) -> tuple[object, object]:
        return args, kwargs

    for breaker in (CircuitBreaker(), make_open_breaker()):
        assert breaker.call(keep, 1, function=2) == ((1,), {"function": 2})


def test_call_passes_arguments_to_a_generator_and_to_what_is_no_function() -> None:
    def items(*args: object, **kwargs: object) -> Iterator[object]:
        yield args, kwargs

    breaker = CircuitBreaker()
    assert list(breaker.call(items, 1, by=2)) == [((1,), {"by": 2})]
    assert breaker.call(functools.partial(int, "12"), base=3) == 5


def test_an_ordinary_call_reads_no_clock_and_draws_no_number() -> None:
    """It costs more than all the rest of the breaker."""

    def complain() -> float:
        raise AssertionError

    breaker = CircuitBreaker(clock=complain, random=complain)
    assert breaker(int)("7") == breaker.call(int, "7") == 7
    breaker.permit().success()
    with breaker:
        pass
    assert breaker.state is CLOSED


@pytest.mark.parametrize("protected", [int, functools.partial(int, "12"), "12".__len__])
def test_call_takes_whatever_can_be_called(protected: Any) -> None:
    breaker = CircuitBreaker()
    breaker.call(protected)
    assert count(breaker) == (1, 0, 0)


def test_the_error_of_the_function_comes_through_unchanged() -> None:
    error = ConnectionError("x")

    def fail_with() -> None:
        raise error

    with pytest.raises(ConnectionError) as caught:
        CircuitBreaker(1)(fail_with)()
    assert caught.value is error
    assert error.__cause__ is error.__context__ is None


def test_what_cannot_be_called_cannot_be_decorated() -> None:
    breaker: Any = CircuitBreaker()
    with pytest.raises(TypeError, match="function is 3"):
        breaker(3)


def test_a_probe_by_decorator_closes_it_and_its_failure_opens_it() -> None:
    breaker = make_open_breaker()
    assert breaker(lambda: 7)() == 7
    assert breaker.state is CLOSED
    breaker = make_open_breaker()
    with pytest.raises(ConnectionError):
        breaker(fail)()
    assert breaker.state is OPEN
    assert breaker.snapshot().openings == 2


def test_a_failure_of_the_only_allowed_kind_opens_it_from_one_call_to_the_next() -> None:
    calls = []
    breaker = CircuitBreaker(2)

    @breaker
    def read() -> None:
        calls.append(1)
        raise ConnectionError

    for _ in range(2):
        with pytest.raises(ConnectionError):
            read()
    for _ in range(3):
        with pytest.raises(CircuitBreakerOpenError):
            read()
    assert len(calls) == 2


# Blocks


def test_a_block_is_one_call() -> None:
    breaker = CircuitBreaker(1)
    with breaker:
        pass
    with pytest.raises(ConnectionError), breaker:
        fail()
    assert count(breaker) == (1, 1, 0)
    assert breaker.state is OPEN


def test_a_block_may_report_early_and_then_counts_once() -> None:
    breaker = CircuitBreaker(1)
    with breaker as permit:
        permit.failure(retry_after=200.0)
    assert count(breaker) == (0, 1, 0)
    assert breaker.retry_after == pytest.approx(200.0, rel=0.2)


def test_blocks_nest() -> None:
    breaker, other = CircuitBreaker(5), CircuitBreaker(5)
    with breaker, other, breaker:
        with pytest.raises(ConnectionError), breaker:
            fail()
        with other:
            pass
    assert count(breaker) == (2, 1, 0)
    assert count(other) == (2, 0, 0)


def test_what_a_probe_calls_is_part_of_the_probe() -> None:
    """Refused, it would fail its own probe each time, and the breaker would never close."""
    breaker = make_open_breaker()

    @breaker
    def inner() -> int:
        return 1

    @breaker
    def outer() -> int:
        with breaker:
            breaker.permit().failure()
            return inner() + breaker.call(inner)

    assert outer() == 2
    assert breaker.state is CLOSED
    assert count(breaker) == (1, 1, 0)


def test_a_failure_inside_of_a_probe_is_the_probes_when_it_gets_out() -> None:
    breaker = make_open_breaker()
    with pytest.raises(ConnectionError), breaker:
        breaker.call(fail)
    assert breaker.state is OPEN
    assert breaker.snapshot().openings == 2


def test_blocks_may_end_in_another_order_than_they_began() -> None:
    breaker, other = CircuitBreaker(), CircuitBreaker()

    def hold(held: CircuitBreaker) -> Iterator[None]:
        with held:
            yield

    first, second = hold(breaker), hold(other)
    next(first), next(second)
    list(first), list(second)
    assert count(breaker) == count(other) == (1, 0, 0)


def test_a_block_that_ends_in_another_context_says_so() -> None:
    breaker = CircuitBreaker(name="x")
    copy_context().run(breaker.__enter__)
    with pytest.raises(RuntimeError, match=r"'x' was entered in another context.*permit\(\)"):
        breaker.__exit__(None, None, None)
    breaker.__exit__(GeneratorExit, GeneratorExit(), None)


# Permits


@pytest.mark.parametrize("report", ["success", "failure", "cancel"])
def test_a_permit_counts_its_first_report_only(report: str) -> None:
    breaker = CircuitBreaker(1, clock=lambda: 0.0)
    permit = breaker.permit()
    getattr(permit, report)()
    state, counted = breaker.state, count(breaker)
    permit.success()
    permit.failure()
    permit.cancel()
    permit.record_error(ConnectionError())
    permit.record_result(1)
    assert (breaker.state, count(breaker)) == (state, counted)
    assert sum(counted) == 1


def test_a_permit_applies_the_rules_on_request() -> None:
    breaker = CircuitBreaker(
        9, expected_exception=OSError, failure_on_result=lambda status: status >= 500
    )
    breaker.permit().record_error(ConnectionError())
    breaker.permit().record_error(ValueError())
    breaker.permit().record_result(503)
    breaker.permit().record_result(200)
    assert count(breaker) == (2, 2, 0)


# Generators


@pytest.mark.parametrize("refused", [False, True])
def test_a_generators_call_begins_with_the_first_item(refused: bool) -> None:
    breaker = CircuitBreaker()
    items = breaker(lambda: (yield 1))()
    assert inspect.isgenerator(items)
    if refused:
        breaker.isolate()
        with pytest.raises(CircuitBreakerOpenError):
            next(items)
    else:
        assert next(items) == 1


def test_a_generator_passes_what_is_sent_thrown_and_returned() -> None:
    breaker = CircuitBreaker()

    @breaker
    def echo() -> Generator[Any, Any, str]:
        got = yield "ready"
        try:
            yield got
        except ValueError:
            yield "caught"
        return "done"

    items = echo()
    assert [next(items), items.send(5), items.throw(ValueError())] == ["ready", 5, "caught"]
    with pytest.raises(StopIteration) as stopped:
        next(items)
    assert stopped.value.value == "done"
    assert count(breaker) == (1, 0, 0)


def test_a_generator_closed_early_is_a_success_so_that_a_probe_can_end() -> None:
    breaker = make_open_breaker()
    items = breaker(lambda: (yield from range(9)))()
    next(items)
    assert breaker.state is HALF_OPEN
    items.close()
    assert breaker.state is CLOSED


def test_a_generator_that_is_never_started_is_no_call() -> None:
    breaker = make_open_breaker()
    breaker(lambda: (yield 1))().close()
    assert breaker.state is OPEN


def test_a_generator_is_never_slow() -> None:
    now = 0.0
    breaker = CircuitBreaker(
        slow_call_seconds=1.0, slow_call_rate=0.1, minimum_calls=1, clock=lambda: now
    )
    for _ in breaker.call(lambda: (yield from range(3))):
        now += 100.0
    assert breaker.state is CLOSED


def test_a_decorated_generator_makes_a_context_manager() -> None:
    breaker = CircuitBreaker(1)

    @contextmanager
    @breaker
    def session() -> Iterator[int]:
        yield 1

    with session():
        pass
    with pytest.raises(ConnectionError), session():
        fail()
    assert count(breaker) == (1, 1, 0)


# What exceptions and results mean


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionError(), (0, 1, 0)),
        (TimeoutError(), (1, 0, 0)),
        (BrokenPipeError(), (0, 0, 1)),
        (ValueError(), (1, 0, 0)),
        (KeyboardInterrupt(), (0, 0, 1)),
        (SystemExit(), (0, 0, 1)),
        (CircuitBreakerOpenError("other", OPEN, 1.0), (0, 0, 1)),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("form", ["types", "predicates"])
def test_each_exception_counts_as_failure_success_or_neither(
    error: BaseException, expected: tuple[int, int, int], form: str
) -> None:
    """Of two breakers in a row, the outer one learns nothing from the inner one's refusal."""
    rules: dict[str, Any] = {
        "expected_exception": (OSError, CircuitBreakerOpenError),
        "ignored_exceptions": BrokenPipeError,
        "success_exceptions": (TimeoutError,),
    }
    if form == "predicates":
        rules = {
            name: functools.partial(lambda kinds, got: isinstance(got, kinds), kinds)
            for name, kinds in rules.items()
        }
    breaker = CircuitBreaker(**rules)

    @breaker
    def read() -> None:
        raise error

    with pytest.raises(type(error)):
        read()
    assert count(breaker) == expected


def test_an_unexpected_exception_is_a_success_and_ends_the_row() -> None:
    breaker = CircuitBreaker(2, expected_exception=ConnectionError)
    for kind in (ConnectionError, KeyError, ConnectionError):
        breaker.permit().record_error(kind())
    assert breaker.state is CLOSED


@pytest.mark.parametrize(("answer", "expected"), [(None, (1, 0, 0)), ("yes", (0, 1, 0))])
def test_a_predicate_may_answer_with_anything(answer: Any, expected: tuple[int, int, int]) -> None:
    breaker = CircuitBreaker(expected_exception=lambda error: answer)
    breaker.permit().record_error(ConnectionError())
    assert count(breaker) == expected


@pytest.mark.parametrize(("hint", "wait"), [(120.0, 120.0), ("soon", 30.0), (None, 30.0)])
def test_an_exceptions_retry_after_lengthens_the_open_time(hint: Any, wait: float) -> None:
    breaker = CircuitBreaker(1, jitter=0.0, clock=lambda: 0.0)
    with pytest.raises(RateLimitedError), breaker:
        raise RateLimitedError(hint)
    assert breaker.retry_after == wait


def test_what_is_no_failure_is_not_asked_for_its_retry_after() -> None:
    class BrokenHintError(KeyError):
        @property
        def retry_after(self) -> float:
            raise AssertionError

    breaker = CircuitBreaker(expected_exception=OSError)
    with pytest.raises(BrokenHintError), breaker:
        raise BrokenHintError
    assert count(breaker) == (1, 0, 0)


@pytest.mark.parametrize("kind", ["decorator", "call"])
def test_a_result_can_be_a_failure(kind: str) -> None:
    breaker = CircuitBreaker(1, failure_on_result=lambda status: status == 503)
    answer = {"decorator": breaker(int), "call": functools.partial(breaker.call, int)}[kind]
    assert answer(200) == 200
    assert answer(503) == 503
    assert breaker.state is OPEN


def test_a_probes_result_can_be_a_failure() -> None:
    breaker = make_open_breaker(failure_on_result=lambda status: status == 503)
    assert breaker(int)(503) == 503
    assert breaker.state is OPEN


@pytest.mark.parametrize("rule", ["expected_exception", "failure_on_result"])
def test_a_predicate_that_fails_gives_the_place_of_the_probe_back(rule: str) -> None:
    def break_down(value: object) -> bool:
        raise LookupError

    breaker = make_open_breaker(**{rule: break_down})
    with pytest.raises(LookupError):
        breaker(int if rule == "failure_on_result" else fail)()
    assert (breaker.state, breaker.snapshot().probes) == (HALF_OPEN, 0)


# The error


def test_the_error_says_what_a_handler_needs_and_can_be_pickled() -> None:
    breaker = CircuitBreaker(1, 30.0, name="stripe", jitter=0.0, clock=lambda: 0.0)
    breaker.permit().failure()
    with pytest.raises(CircuitBreakerOpenError) as caught:
        breaker.permit()
    for error in (caught.value, pickle.loads(pickle.dumps(caught.value))):
        assert isinstance(error, ReceiptDynamoError)
        assert (error.name, error.state, error.retry_after) == ("stripe", OPEN, 30.0)
        assert str(error) == "circuit breaker 'stripe' is open; ask again in 30.000 s"
        assert error.args == ("stripe", OPEN, 30.0)
        assert error.retryable is False


def test_a_refusal_is_not_retried() -> None:
    breaker = CircuitBreaker()
    breaker.isolate()
    with pytest.raises(CircuitBreakerOpenError):
        retry_with_backoff(3, 0.0)(breaker(fail))()
    assert breaker.snapshot().rejections == 1
