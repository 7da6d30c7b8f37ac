"""Record the calls that a function makes: its duration, and what its return value tells."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar, cast

from receipt_label.providers.observed_call import CallSink, ObservedCall, Start, describe_error
from receipt_label.providers.recorded_calls import collect_recorded, is_recorded, mark_recorded
from receipt_label.providers.reply import Reply

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class TrackedFunction:
    """What a decorated function calls.

    Args:
        service: Provider, such as "openai".
        operation: Kind of call, such as "completion".
        read: Reads what the function returns.
        model: Of every call; by default the function's argument ``model``, where the
            reply does not name one.
    """

    service: str
    operation: str
    read: Callable[[object], Reply]
    model: str | None = None


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One call of a decorated function, under way."""

    start: Start
    requested_model: str | None
    recorded_inside: list[str | None]


def track(kind: TrackedFunction, sink: CallSink, function: Callable[P, R]) -> Callable[P, R]:
    """Return ``function``, sync or async, with its calls going down in ``sink``.

    Arguments, result and errors pass unchanged. A function that uses a wrapped client, or
    returns a response that is recorded already, gives no second record.

    Raises:
        TypeError: ``function`` is not callable.
    """
    if not callable(function):
        raise TypeError(
            f"function is of type {type(function).__name__}; accepted is a function, sync or async"
        )
    watch = _FunctionWatch(kind, sink)
    if inspect.iscoroutinefunction(function):
        return cast("Callable[P, R]", _track_async(watch, function))
    return cast("Callable[P, R]", _track_sync(watch, function))


def _track_sync(watch: _FunctionWatch, function: Any) -> Any:
    @functools.wraps(function)
    def tracked(*args: Any, **kwargs: Any) -> Any:
        with collect_recorded() as inside:
            attempt = watch.begin(kwargs, inside)
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                if (ended := watch.fail(attempt, error)) is not None:
                    watch.sink.take(ended)
                raise
        if (ended := watch.finish(attempt, result)) is not None:
            watch.sink.take(ended)
        return result

    return tracked


def _track_async(watch: _FunctionWatch, function: Any) -> Any:
    @functools.wraps(function)
    async def tracked(*args: Any, **kwargs: Any) -> Any:
        with collect_recorded() as inside:
            attempt = watch.begin(kwargs, inside)
            try:
                result = await function(*args, **kwargs)
            except BaseException as error:
                if (ended := watch.fail(attempt, error)) is not None:
                    if isinstance(error, GeneratorExit):  # Nothing may be awaited any more.
                        watch.sink.take(ended)
                    else:
                        await watch.sink.atake(ended)
                raise
        if (ended := watch.finish(attempt, result)) is not None:
            await watch.sink.atake(ended)
        return result

    return tracked


class _FunctionWatch:
    """Makes an :class:`ObservedCall` of each call of a function. No method raises."""

    def __init__(self, kind: TrackedFunction, sink: CallSink) -> None:
        self.sink = sink
        self._kind = kind

    def begin(self, kwargs: Mapping[str, Any], recorded_inside: list[str | None]) -> _Attempt:
        """Return the attempt that a call begins."""
        return _Attempt(self.sink.start(), self._kind.model or kwargs.get("model"), recorded_inside)

    def fail(self, attempt: _Attempt, error: BaseException) -> ObservedCall | None:
        """Return what there is to record of a function that raised ``error``."""
        if attempt.recorded_inside:
            # What went wrong is recorded, or came after a call that went well and is.
            return None
        mark_recorded(None, None)
        try:
            return self._describe(attempt, Reply(), describe_error(error))
        except Exception as failure:  # noqa: BLE001
            self.sink.count_failure(failure)
            return None

    def finish(self, attempt: _Attempt, result: object) -> ObservedCall | None:
        """Return what there is to record of a function that returned ``result``."""
        try:
            reply = self._kind.read(result)
            # What tells its usage is a whole reply, even if it can be iterated.
            if reply.usage is None and _is_stream(result):
                self.sink.count_untracked()
                return None
            if is_recorded(result) or _is_among(reply, attempt.recorded_inside):
                return None
            mark_recorded(result, reply.request_id)
        except Exception as error:  # noqa: BLE001
            self.sink.count_failure(error)
            return None
        return self._describe(attempt, reply, None)

    def _describe(self, attempt: _Attempt, reply: Reply, error: str | None) -> ObservedCall:
        return ObservedCall(
            service=self._kind.service,
            operation=self._kind.operation,
            start=attempt.start,
            reply=reply,
            requested_model=attempt.requested_model,
            error=error,
        )


def _is_among(reply: Reply, recorded_inside: list[str | None]) -> bool:
    """Tell whether what a function returned comes from a call that is recorded already.

    It does when the id is the same, and when nothing of a reply is left in it: then it was
    made of the reply, as the text alone.
    """
    if reply.usage is None:
        return bool(recorded_inside)
    return reply.request_id is not None and reply.request_id in recorded_inside


def _is_stream(result: object) -> bool:
    return hasattr(result, "__next__") or hasattr(result, "__anext__")
