"""Replies that come in without a call: from a batch's results, a queue, another process.

Sources: https://platform.openai.com/docs/guides/batch and
https://docs.anthropic.com/en/docs/build-with-claude/batch-processing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from receipt_label.calls.error_words import read_error_word
from receipt_label.calls.reply import Reply, get_field
from receipt_label.providers.anthropic import read_message
from receipt_label.providers.openai import read_embedding, read_reply, read_response
from receipt_label.tracking.lenient_metric import UNKNOWN_MODEL, make_metric

if TYPE_CHECKING:
    from receipt_dynamo import AIUsageMetric

BATCH_TIER: Final = "batch"

Reader = Callable[[object], Reply]

# By what OpenAI calls a reply's ``object``.
_OPENAI: Final[Mapping[str, tuple[str, Reader]]] = {
    "chat.completion": ("completion", read_reply),
    "text_completion": ("completion", read_reply),
    "response": ("response", read_response),
    "list": ("embedding", read_embedding),
}
_DEFAULTS: Final[Mapping[str, Reader]] = {"openai": read_reply, "anthropic": read_message}
_NO_REPLIES: Final = (str, bytes, int, float, list, tuple, type(None))


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldResponse:
    """What a response tells.

    Attributes:
        operation: Kind of call.
        source: The object that is marked as recorded.
        reply: What it tells.
        error: How the call failed; None when it did not.
        metadata: More for the record.
    """

    operation: str
    source: object
    reply: Reply = field(default_factory=Reply)
    error: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def make_metric(
        self, service: str, operation: str | None, timestamp: datetime
    ) -> AIUsageMetric:
        """Return the record of it, without a price."""
        reply = self.reply
        metadata: dict[str, Any] = {**self.metadata, **reply.details}
        if reply.invalid_fields:
            metadata["invalid_fields"] = list(reply.invalid_fields)
        known: dict[str, Any] = {
            "service": service,
            "model": reply.model or UNKNOWN_MODEL,
            "operation": operation or self.operation,
            "timestamp": timestamp,
            "error": self.error,
            "metadata": metadata,
        }
        if reply.request_id is not None:
            known["request_id"] = reply.request_id
        if reply.usage is not None:
            known["input_tokens"] = reply.usage.input_tokens
            known["output_tokens"] = reply.usage.output_tokens
        return make_metric(known)


def check_response(response: object, service: object) -> None:
    """Refuse what can be no response of a service that is known here.

    Raises:
        TypeError: ``response`` is neither an object of an SDK nor a dict.
        ValueError: ``service`` is unknown.
    """
    if service not in _DEFAULTS:
        raise ValueError(f"service is {service!r}; accepted are {' and '.join(_DEFAULTS)}")
    if isinstance(response, _NO_REPLIES):
        raise TypeError(
            f"response is of type {type(response).__name__}; accepted are an object of the "
            "provider's SDK and a dict"
        )


def read_told_response(response: object, service: str, *, batch: bool) -> ToldResponse:
    """Read a reply, or one line of a batch's results.

    Args:
        response: The reply.
        service: "openai" or "anthropic".
        batch: Whether the Batch API served it; a line of its results says so itself.
    """
    if get_field(response, "custom_id") is None:
        return _read(response, service, batch=batch)
    result = get_field(response, "result" if service == "anthropic" else "response")
    reply = get_field(result, "message" if service == "anthropic" else "body")
    error = _describe_failure(response, result, reply)
    told = (
        _read(reply, service, batch=True)
        if error is None
        else ToldResponse(operation="completion", source=response, error=error)
    )
    custom_id = get_field(response, "custom_id")
    return replace(told, metadata={**told.metadata, "custom_id": custom_id})


def _read(reply: object, service: str, *, batch: bool) -> ToldResponse:
    kind = get_field(reply, "object")
    known = _OPENAI.get(kind) if service == "openai" and isinstance(kind, str) else None
    operation, read = known or ("completion", _DEFAULTS[service])
    told = read(reply)
    if batch:
        told = mark_as_batch(told)
    return ToldResponse(operation=operation, source=reply, reply=told)


def mark_as_batch(reply: Reply) -> Reply:
    """Return a reply as the Batch API's, which gives it at a price of its own."""
    usage = None if reply.usage is None else replace(reply.usage, service_tier=BATCH_TIER)
    return replace(reply, usage=usage, details={**reply.details, "service_tier": BATCH_TIER})


def _describe_failure(line: object, result: object, reply: object) -> str | None:
    """Return how a request of a batch failed, in a few words; None when it did not."""
    status, kind = get_field(result, "status_code"), get_field(result, "type")
    error = get_field(line, "error") or get_field(result, "error") or get_field(reply, "error")
    error = get_field(error, "error") or error  # Anthropic's is nested in another one.
    if error is None and reply is not None:
        return None
    words = [
        kind if isinstance(kind, str) and kind in ("errored", "expired", "canceled") else None,
        f"HTTP {status}" if isinstance(status, int) else None,
        read_error_word(error),
    ]
    return " ".join(word for word in words if word) or "failed"
