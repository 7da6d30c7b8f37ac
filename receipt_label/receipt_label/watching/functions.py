"""Record the calls that a function makes: their duration, and the facts in what it returns."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, Protocol, TypeVar, cast

from receipt_label.watching.function_calls import FunctionCall
from receipt_label.watching.streams import follow_stream

P = ParamSpec("P")
R = TypeVar("R")


class Observer(Protocol):
    """Begins to observe a call of a function. No method raises."""

    def begin(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> FunctionCall | None:
        """Return the call that these arguments begin; None when it is not one to record."""


def track(observer: Observer, function: Callable[P, R]) -> Callable[P, R]:
    """Return ``function`` with its calls recorded.

    It stays of its kind: sync or async, a generator or not. Arguments, result, what goes into
    a generator and errors pass unchanged. A function that uses a wrapped client, or returns
    a response that is recorded already, gives no second record. A call of a generator begins
    with its first item; one that never begins is none.

    Raises:
        TypeError: ``function`` is not callable.
    """
    if not callable(function):
        raise TypeError(
            f"function is of type {type(function).__name__}; accepted is a function, sync or async"
        )
    for is_one, wrap in (
        (inspect.isasyncgenfunction, _track_async_generator),
        (inspect.isgeneratorfunction, _track_generator),
        (inspect.iscoroutinefunction, _track_async),
    ):
        # Of an object that can be called, its method says it.
        if is_one(function) or is_one(type(function).__call__):
            return cast("Callable[P, R]", wrap(observer, function))
    return cast("Callable[P, R]", _track_sync(observer, function))


def _track_sync(observer: Observer, function: Any) -> Any:
    @functools.wraps(function)
    def tracked(*args: Any, **kwargs: Any) -> Any:
        call = observer.begin(args, kwargs)
        if call is None:
            return function(*args, **kwargs)
        try:
            with call.inside:
                result = function(*args, **kwargs)
        except BaseException as error:
            call.fail(error)
            raise
        if inspect.iscoroutine(result):
            # The SDKs' own async methods are plain functions that return one.
            return _finish_later(call, lambda: result)
        if call.follows(result):
            return follow_stream(call, result)
        call.finish(result)
        return result

    return tracked


def _track_async(observer: Observer, function: Any) -> Any:
    @functools.wraps(function)
    async def tracked(*args: Any, **kwargs: Any) -> Any:
        call = observer.begin(args, kwargs)
        if call is None:
            return await function(*args, **kwargs)
        return await _finish_later(call, lambda: function(*args, **kwargs))

    return tracked


async def _finish_later(call: FunctionCall, begin: Callable[[], Any]) -> Any:
    try:
        with call.inside:
            result = await begin()
    except BaseException as error:
        await _fail(call, error)
        raise
    if call.follows(result):
        return follow_stream(call, result)
    await call.afinish(result)
    return result


async def _fail(call: FunctionCall, error: BaseException) -> None:
    if isinstance(error, GeneratorExit):
        call.fail(error)  # Nothing may be awaited any more.
    else:
        await call.afail(error)


def _start(
    call: FunctionCall, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    """Return a generator; that it cannot be made is how the call ends."""
    try:
        with call.inside:
            return function(*args, **kwargs)
    except BaseException as error:
        call.fail(error)
        raise


def _track_generator(observer: Observer, function: Any) -> Any:
    @functools.wraps(function)
    def tracked(*args: Any, **kwargs: Any) -> Any:
        call = observer.begin(args, kwargs)
        if call is None:
            return (yield from function(*args, **kwargs))
        generator = _start(call, function, args, kwargs)
        go_on, value = generator.send, None
        while True:
            try:
                with call.inside:
                    item = go_on(value)
            except StopIteration as end:
                call.exhaust(end.value)
                return end.value
            except BaseException as error:
                call.fail(error)
                raise
            call.take_item(item)
            try:
                go_on, value = generator.send, (yield item)
            except GeneratorExit:
                _close(call, generator)
                raise
            except BaseException as error:  # noqa: BLE001
                go_on, value = generator.throw, error

    return tracked


def _close(call: FunctionCall, generator: Any) -> None:
    try:
        with call.inside:
            generator.close()
    except BaseException as error:
        call.fail(error)
        raise
    call.leave()


def _track_async_generator(observer: Observer, function: Any) -> Any:  # noqa: C901 - as its twin
    @functools.wraps(function)
    async def tracked(*args: Any, **kwargs: Any) -> Any:
        call = observer.begin(args, kwargs)
        if call is None:
            async for item in function(*args, **kwargs):
                yield item
            return
        generator = _start(call, function, args, kwargs)
        go_on, value = generator.asend, None
        while True:
            try:
                with call.inside:
                    item = await go_on(value)
            except StopAsyncIteration:
                await call.aexhaust()
                return
            except BaseException as error:
                await _fail(call, error)
                raise
            call.take_item(item)
            try:
                go_on, value = generator.asend, (yield item)
            except GeneratorExit:
                await _aclose(call, generator)
                raise
            except BaseException as error:  # noqa: BLE001
                go_on, value = generator.athrow, error

    return tracked


async def _aclose(call: FunctionCall, generator: Any) -> None:
    try:
        with call.inside:
            await generator.aclose()
    except BaseException as error:
        await call.afail(error)
        raise
    await call.aleave()
