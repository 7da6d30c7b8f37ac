"""What Anthropic's replies tell. Source: https://docs.anthropic.com/en/api/messages."""

from __future__ import annotations

from typing import Any

from receipt_label.calls.reply import Reply, ReplyReader, keep_positive
from receipt_label.pricing import TokenUsage


def read_message(reply: object) -> Reply:
    """Read a message. ``input_tokens`` there leaves out what a cache read or wrote."""
    reader = ReplyReader(reply)
    told = reader.part("usage")
    plain = told.count("input_tokens")
    read = told.count("cache_read_input_tokens") or 0
    written = told.count("cache_creation_input_tokens") or 0
    written_1h = told.part("cache_creation").count("ephemeral_1h_input_tokens") or 0
    thinking = told.part("output_tokens_details").count("thinking_tokens") or 0
    tools = told.part("server_tool_use")
    searches = tools.count("web_search_requests") or 0
    usage = TokenUsage(
        input_tokens=None if plain is None else plain + read + written,
        output_tokens=told.count("output_tokens"),
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=written_1h,
        reasoning_tokens=thinking,
        web_searches=searches,
        service_tier=told.text("service_tier"),
        speed=told.text("speed"),
        inference_geo=told.text("inference_geo"),
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
    return Reply(
        model=reader.text("model"),
        request_id=reader.text("id"),
        usage=None if usage.is_unknown else usage,
        details=details,
        invalid_fields=reader.invalid_fields,
    )
