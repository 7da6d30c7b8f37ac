"""A decorated function returns the stream of a client that is not tracked: watch its response."""

from __future__ import annotations

from typing import Any

from receipt_label.calls.call import CallSink, Start
from receipt_label.calls.recorded import mark_recorded
from receipt_label.providers.provider import Operation, Request, RequestClients
from receipt_label.providers.registry import find_provider
from receipt_label.watching.request_calls import RequestCall, RequestObserver
from receipt_label.watching.responses import tap_response


def watch_returned_stream(
    stream: Any,
    sink: CallSink,
    start: Start,
    *,
    service: str,
    operation: Operation,
    request: Request,
) -> bool:
    """Let the call of an SDK's stream be recorded when the stream ends.

    The stream stays as it is. One that is read from already, or that is no SDK's, is not
    watched.

    Args:
        stream: What a function returned.
        sink: Records the call.
        start: When it began.
        service: The provider, as records name it.
        operation: What was asked for.
        request: By these arguments.

    Returns:
        Whether it is watched.
    """
    response: Any = getattr(stream, "response", None)
    api = _find_api(service)
    if api is None or getattr(response, "is_stream_consumed", True):
        return False
    observer = RequestObserver(service, api, response.request.url.host, sink)
    streamed = observer.accept_response(
        RequestCall(operation, operation.name, request, start), response, 0
    )
    if streamed is None:
        return False
    tap_response(response, streamed)
    mark_recorded(stream, None)
    return True


def _find_api(service: str) -> RequestClients | None:
    provider = find_provider(service)
    kinds = () if provider is None else provider.clients
    return next((kind for kind in kinds if isinstance(kind, RequestClients)), None)
