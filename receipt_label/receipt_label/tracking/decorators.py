"""Record the calls that a function makes: its duration, and what its return value tells."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
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
    if inspect.iscoroutinefunction(function):
        return cast("Callable[P, R]", _track_async(kind, sink, function))
    return cast("Callable[P, R]", _track_sync(kind, sink, function))


def _track_sync(kind: TrackedFunction, sink: CallSink, function: Any) -> Any:
    @functools.wraps(function)
    def tracked(*args: Any, **kwargs: Any) -> Any:
        start = sink.start()
        with collect_recorded() as inside:
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                if (ended := _describe_failure(kind, start, kwargs, inside, error)) is not None:
                    sink.take(ended)
                raise
        if (ended := _describe_result(kind, sink, start, kwargs, inside, result)) is not None:
            sink.take(ended)
        return result

    return tracked


def _track_async(kind: TrackedFunction, sink: CallSink, function: Any) -> Any:
    @functools.wraps(function)
    async def tracked(*args: Any, **kwargs: Any) -> Any:
        start = sink.start()
        with collect_recorded() as inside:
            try:
                result = await function(*args, **kwargs)
            except BaseException as error:
                if (ended := _describe_failure(kind, start, kwargs, inside, error)) is not None:
                    if isinstance(error, GeneratorExit):  # Nothing may be awaited any more.
                        sink.take(ended)
                    else:
                        await sink.atake(ended)
                raise
        if (ended := _describe_result(kind, sink, start, kwargs, inside, result)) is not None:
            await sink.atake(ended)
        return result

    return tracked


def _describe_failure(
    kind: TrackedFunction,
    start: Start,
    kwargs: dict[str, Any],
    inside: list[str | None],
    error: BaseException,
) -> ObservedCall | None:
    if inside:
        # What went wrong either is recorded, or came after a call that went well.
        return None
    mark_recorded(None, None)
    return ObservedCall(
        service=kind.service,
        operation=kind.operation,
        start=start,
        requested_model=kind.model or kwargs.get("model"),
        error=describe_error(error),
    )


def _describe_result(
    kind: TrackedFunction,
    sink: CallSink,
    start: Start,
    kwargs: dict[str, Any],
    inside: list[str | None],
    result: object,
) -> ObservedCall | None:
    try:
        if _is_stream(result):
            sink.count_untracked()
            return None
        reply = kind.read(result)
        if is_recorded(result) or (inside and _is_among(reply, inside)):
            return None
        mark_recorded(result, reply.request_id)
    except Exception as error:  # noqa: BLE001
        sink.count_failure(error)
        return None
    return ObservedCall(
        service=kind.service,
        operation=kind.operation,
        start=start,
        reply=reply,
        requested_model=kind.model or kwargs.get("model"),
    )


def _is_among(reply: Reply, inside: list[str | None]) -> bool:
    """Tell whether what a function returned comes from a call that is recorded already.

    It does when the id is the same, and when nothing of a reply is left in it: then it was
    made of the reply, as the text alone.
    """
    return reply.usage is None or reply.request_id in inside


def _is_stream(result: object) -> bool:
    return hasattr(result, "__next__") or hasattr(result, "__anext__")
