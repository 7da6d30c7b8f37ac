"""Replies that come in without a call: from a batch's results, a queue, another process.

Sources: https://platform.openai.com/docs/guides/batch and
https://docs.anthropic.com/en/docs/build-with-claude/batch-processing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from receipt_label.calls.error_words import read_error_word
from receipt_label.calls.reply import ProviderReply, get_field, mark_as_batch
from receipt_label.providers.provider import Provider
from receipt_label.providers.registry import find_provider, join_words, list_providers
from receipt_label.tracking.lenient_metric import UNKNOWN_MODEL, make_metric

if TYPE_CHECKING:
    from receipt_dynamo import AIUsageMetric

_NO_REPLIES: Final = (str, bytes, int, float, list, tuple, type(None))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedReply:
    """A reply that was given to ``record_response``.

    Attributes:
        operation: Kind of call.
        source: The object that is marked as recorded.
        reply: The facts in it.
        error: How the call failed; None when it did not.
        metadata: More for the record.
    """

    operation: str
    source: object
    reply: ProviderReply = field(default_factory=ProviderReply)
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


def find_reader(response: object, service: object) -> Provider:
    """Return the provider whose reply this may be.

    Raises:
        TypeError: ``response`` is neither an object of an SDK nor a dict.
        ValueError: ``service`` is unknown.
    """
    provider = find_provider(service) if isinstance(service, str) else None
    if provider is None or provider.find_operation_of is None:
        known = [each.service for each in list_providers() if each.find_operation_of]
        raise ValueError(f"service is {service!r}; accepted are {join_words(known)}")
    if isinstance(response, _NO_REPLIES):
        raise TypeError(
            f"response is of type {type(response).__name__}; accepted are an object of the "
            "provider's SDK and a dict"
        )
    return provider


def read_reported_reply(response: object, provider: Provider, *, batch: bool) -> ReportedReply:
    """Read a reply, or one line of a batch's results.

    Args:
        response: The reply.
        provider: Whose it is.
        batch: Whether the Batch API served it; not needed for a line of its results.
    """
    line = provider.batch
    custom_id = None if line is None else get_field(response, "custom_id")
    if line is None or custom_id is None:
        return _read(response, provider, batch=batch)
    result = get_field(response, line.result)
    reply = get_field(result, line.reply)
    error = _describe_failure(response, result, reply)
    reported = (
        _read(reply, provider, batch=True)
        if error is None
        else ReportedReply(operation="completion", source=response, error=error)
    )
    return replace(reported, metadata={**reported.metadata, "custom_id": custom_id})


def _read(response: object, provider: Provider, *, batch: bool) -> ReportedReply:
    if provider.find_operation_of is None:
        raise ValueError(f"replies of {provider.service} cannot be read without their call")
    operation = provider.find_operation_of(response)
    reply = operation.read(response, {})
    return ReportedReply(
        operation=operation.name,
        source=response,
        reply=mark_as_batch(reply) if batch else reply,
    )


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
