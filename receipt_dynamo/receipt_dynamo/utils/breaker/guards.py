"""Calls through a circuit breaker: functions, async functions, generators of both kinds.

The ticket of a closed breaker is read without the lock, which makes the ordinary call
cheap; any other call asks for a permit, and is refused or becomes a probe.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from types import CoroutineType
from typing import Any, Final, ParamSpec, TypeVar, cast

from receipt_dynamo.utils.arguments import check_callable
from receipt_dynamo.utils.breaker.shell import BreakerShell, Permit

P = ParamSpec("P")
R = TypeVar("R")

_LAZY_FLAGS: Final = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


def guard(shell: BreakerShell, function: Callable[P, R]) -> Callable[P, R]:
    """Return ``function`` with each call going through ``shell``."""
    check_callable(function=function)
    wrapped: Callable[..., Any]
    if inspect.iscoroutinefunction(function):
        wrapped = _guard_async(shell, function)
    elif inspect.isasyncgenfunction(function):
        wrapped = _guard_async_generator(shell, function)
    elif inspect.isgeneratorfunction(function):
        wrapped = _guard_generator(shell, function)
    else:
        wrapped = _guard_sync(shell, function)
    return cast("Callable[P, R]", functools.wraps(function)(wrapped))


def call(shell: BreakerShell, function: Callable[..., R], args: Any, kwargs: Any) -> R:
    """Call ``function`` through ``shell``, whatever kind of function it is."""
    code = getattr(function, "__code__", None)
    if code is None or code.co_flags & _LAZY_FLAGS:
        return guard(shell, function)(*args, **kwargs)
    return _call(shell, function, args, kwargs)


def _guard_sync(shell: BreakerShell, function: Callable[P, R]) -> Callable[P, R]:
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return _call(shell, function, args, kwargs)

    return call


def _call(shell: BreakerShell, function: Callable[..., R], args: Any, kwargs: Any) -> R:
    ticket = shell.machine.free_ticket
    if ticket is None:
        return _call_with_permit(shell, function, args, kwargs)
    timer = shell.call_timer
    started = 0.0 if timer is None else timer()
    try:
        result = function(*args, **kwargs)
    except BaseException as error:
        shell.record_error(ticket, started, error)
        raise
    if type(result) is CoroutineType:
        return cast("R", _await(shell, ticket, started, cast("Awaitable[Any]", result)))
    shell.record_result(ticket, started, result)
    return result


def _call_with_permit(shell: BreakerShell, function: Callable[..., R], args: Any, kwargs: Any) -> R:
    permit = Permit(shell)
    permit.enter()
    try:
        result = function(*args, **kwargs)
    except BaseException as error:
        permit.record_error(error)
        raise
    finally:
        permit.leave()
    if type(result) is CoroutineType:
        late = cast("Awaitable[Any]", result)
        return cast("R", _await(shell, permit.ticket, permit.started, late))
    permit.record_result(result)
    return result


async def _await(shell: BreakerShell, ticket: int, started: float, result: Awaitable[R]) -> R:
    """Await what a function that is not async returned: its call is over only then."""
    try:
        value = await result
    except BaseException as error:
        shell.record_error(ticket, started, error)
        raise
    shell.record_result(ticket, started, value)
    return value


def _guard_async(
    shell: BreakerShell, function: Callable[P, Awaitable[R]]
) -> Callable[P, Coroutine[Any, Any, R]]:
    async def call(*args: P.args, **kwargs: P.kwargs) -> R:
        ticket = shell.machine.free_ticket
        if ticket is None:
            return await _await_with_permit(shell, function, args, kwargs)
        timer = shell.call_timer
        started = 0.0 if timer is None else timer()
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            shell.record_error(ticket, started, error)
            raise
        shell.record_result(ticket, started, result)
        return result

    return call


async def _await_with_permit(
    shell: BreakerShell, function: Callable[..., Awaitable[R]], args: Any, kwargs: Any
) -> R:
    permit = Permit(shell)
    permit.enter()
    try:
        result = await function(*args, **kwargs)
    except BaseException as error:
        permit.record_error(error)
        raise
    finally:
        permit.leave()
    permit.record_result(result)
    return result


def _guard_generator(
    shell: BreakerShell, function: Callable[P, Generator[Any, Any, R]]
) -> Callable[P, Generator[Any, Any, R]]:
    def iterate(*args: P.args, **kwargs: P.kwargs) -> Generator[Any, Any, R]:
        permit = Permit(shell, is_timed=False)
        try:
            result = yield from function(*args, **kwargs)
        except BaseException as error:
            _record_end(permit, error)
            raise
        permit.success()
        return result

    return iterate


def _guard_async_generator(
    shell: BreakerShell, function: Callable[P, AsyncGenerator[Any, Any]]
) -> Callable[P, AsyncGenerator[Any, Any]]:
    async def iterate(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Any, Any]:
        permit = Permit(shell, is_timed=False)
        items = function(*args, **kwargs)
        step = anext(items)
        try:
            while True:
                item = await step
                try:
                    sent = yield item
                except GeneratorExit:
                    await items.aclose()
                    raise
                except BaseException as thrown:  # noqa: BLE001 - the generator's to handle
                    step = items.athrow(thrown)
                else:
                    step = items.asend(sent)
        except StopAsyncIteration:
            permit.success()
        except BaseException as error:
            _record_end(permit, error)
            raise

    return iterate


def _record_end(permit: Permit, error: BaseException) -> None:
    if isinstance(error, GeneratorExit):
        # Closed early by its consumer, which has got an item: the service answered.
        permit.success()
    else:
        permit.record_error(error)
