"""The hook around a provider's method: what it returns and raises passes, and is taken down."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from receipt_label.calls.call import CallSink, ObservedCall

CallT = TypeVar("CallT")


class MethodWatch(Protocol[CallT]):
    """Makes an :class:`ObservedCall` of each call of a method. No method here raises."""

    @property
    def sink(self) -> CallSink:
        """Takes the calls."""

    def begin(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> CallT | None:
        """Return the call that begins; None when it is not one to record."""

    def finish(self, call: CallT | None, result: object) -> ObservedCall | None:
        """Return what there is to record of a call that gave ``result``."""

    def fail(self, call: CallT | None, failure: BaseException) -> ObservedCall | None:
        """Return what there is to record of a call that raised ``failure``."""


def observe(
    watch: MethodWatch[CallT],
    method: Callable[..., Any],
    invoke: Callable[..., Any] | None = None,
) -> Callable[..., Any]:
    """Return ``method``, sync or async, with its calls going down in the watch's sink.

    Args:
        watch: Describes them.
        method: The method.
        invoke: Calls it, with the call before its own arguments; by default as it is. Async
            when the method is.
    """
    if inspect.iscoroutinefunction(method):
        return _observe_async(watch, method, invoke)
    return _observe_sync(watch, method, invoke)


def _observe_sync(
    watch: MethodWatch[CallT], method: Callable[..., Any], invoke: Callable[..., Any] | None
) -> Callable[..., Any]:
    @functools.wraps(method)
    def observed(*args: Any, **kwargs: Any) -> Any:
        call = watch.begin(args, kwargs)
        try:
            result = invoke(call, *args, **kwargs) if invoke else method(*args, **kwargs)
        except BaseException as error:
            if (ended := watch.fail(call, error)) is not None:
                watch.sink.take(ended)
            raise
        if (ended := watch.finish(call, result)) is not None:
            watch.sink.take(ended)
        return result

    return observed


def _observe_async(
    watch: MethodWatch[CallT], method: Callable[..., Any], invoke: Callable[..., Any] | None
) -> Callable[..., Any]:
    @functools.wraps(method)
    async def observed(*args: Any, **kwargs: Any) -> Any:
        call = watch.begin(args, kwargs)
        try:
            pending = invoke(call, *args, **kwargs) if invoke else method(*args, **kwargs)
            result = await pending
        except BaseException as error:
            if (ended := watch.fail(call, error)) is not None:
                if isinstance(error, GeneratorExit):  # Nothing may be awaited any more.
                    watch.sink.take(ended)
                else:
                    await watch.sink.atake(ended)
            raise
        if (ended := watch.finish(call, result)) is not None:
            await watch.sink.atake(ended)
        return result

    return observed
