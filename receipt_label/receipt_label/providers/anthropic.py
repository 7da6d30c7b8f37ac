"""Anthropic: its operations, and how to read its replies.

Source: https://docs.anthropic.com/en/api/messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from receipt_label.calls.reply import ProviderReply, ReplyReader, keep_positive
from receipt_label.pricing import TokenUsage
from receipt_label.providers.provider import (
    BatchLine,
    Operation,
    Provider,
    Request,
    RequestClients,
    StreamEvents,
)


def read_message(reply: object, request: Request) -> ProviderReply:  # noqa: ARG001
    """Read a message. ``input_tokens`` there leaves out what a cache read or wrote."""
    reader = ReplyReader(reply)
    reported = reader.part("usage")
    plain = reported.count("input_tokens")
    read = reported.count("cache_read_input_tokens") or 0
    written = reported.count("cache_creation_input_tokens") or 0
    written_1h = reported.part("cache_creation").count("ephemeral_1h_input_tokens") or 0
    thinking = reported.part("output_tokens_details").count("thinking_tokens") or 0
    tools = reported.part("server_tool_use")
    searches = tools.count("web_search_requests") or 0
    usage = TokenUsage(
        input_tokens=None if plain is None else plain + read + written,
        output_tokens=reported.count("output_tokens"),
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=written_1h,
        reasoning_tokens=thinking,
        web_searches=searches,
        service_tier=reported.text("service_tier"),
        speed=reported.text("speed"),
        inference_geo=reported.text("inference_geo"),
    )
    counts = {
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": written,
        "ephemeral_1h_input_tokens": written_1h,
        "thinking_tokens": thinking,
        "web_search_requests": searches,
        "web_fetch_requests": tools.count("web_fetch_requests") or 0,
    }
    served = {
        "service_tier": usage.service_tier,
        "speed": usage.speed,
        "inference_geo": usage.inference_geo,
    }
    details: dict[str, Any] = {name: text for name, text in served.items() if text is not None}
    if counts := keep_positive(counts):
        details["usage"] = counts
    return ProviderReply(
        model=reader.text("model"),
        request_id=reader.text("id"),
        usage=None if usage.is_unknown else usage,
        details=details,
        invalid_fields=reader.invalid_fields,
    )


def _brings_content(kind: str, event: Mapping[str, Any]) -> bool:  # noqa: ARG001
    return kind.endswith("delta") and kind != "message_delta"


def _is_last_count(kind: str, event: Mapping[str, Any]) -> bool:
    if kind != "message_delta":
        return False
    delta = event.get("delta")
    return isinstance(delta, Mapping) and delta.get("stop_reason") is not None


EVENTS: Final = StreamEvents(
    last=frozenset({"message_stop"}),
    brings_content=_brings_content,
    is_last_count=_is_last_count,
)

_MESSAGE: Final = Operation(name="completion", read=read_message, streams=True, events=EVENTS)

PROVIDER: Final = Provider(
    service="anthropic",
    clients=(
        RequestClients(
            classes=("anthropic.Anthropic", "anthropic.AsyncAnthropic"),
            host="api.anthropic.com",
            prefix="v1/",
            operations={"messages": _MESSAGE},
            other=_MESSAGE,
        ),
    ),
    find_operation_of=lambda reply: _MESSAGE,  # noqa: ARG005
    batch=BatchLine(result="result", reply="message"),
)
