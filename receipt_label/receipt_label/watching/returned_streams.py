"""A decorated function returns the stream of a client that is not tracked: watch its response."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from receipt_label.calls.call import CallSink, Start
from receipt_label.calls.recorded import mark_recorded
from receipt_label.calls.reply import Reply
from receipt_label.providers.endpoints import ANTHROPIC, OPENAI, Endpoint
from receipt_label.watching.requests import Call, CallWatch
from receipt_label.watching.responses import tap_response

_PROVIDERS: Final = {provider.service: provider for provider in (OPENAI, ANTHROPIC)}


def watch_returned_stream(
    stream: Any,
    sink: CallSink,
    start: Start,
    *,
    service: str,
    operation: str,
    model: str | None,
    read: Callable[[object], Reply],
) -> bool:
    """Let the call of an SDK's stream be recorded when the stream ends.

    The stream stays as it is. One that is read from already, or that is no SDK's, is not
    watched.

    Args:
        stream: What a function returned.
        sink: Takes the call.
        start: When it began.
        service: Provider.
        operation: Kind of call.
        model: The model asked for, where that is known.
        read: Reads what its events add up to.

    Returns:
        Whether it is watched.
    """
    response: Any = getattr(stream, "response", None)
    if service not in _PROVIDERS or getattr(response, "is_stream_consumed", True):
        return False
    watch = CallWatch(_PROVIDERS[service], response.request.url.host, sink)
    endpoint = Endpoint(operation, lambda reply, request: read(reply))  # noqa: ARG005
    request = {} if model is None else {"model": model}
    streamed = watch.note_response(Call(endpoint, request, start), response, 0)
    if streamed is None:
        return False
    tap_response(response, streamed)
    mark_recorded(stream, None)
    return True
