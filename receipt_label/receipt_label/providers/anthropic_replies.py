"""What Anthropic's replies tell. Source: https://docs.anthropic.com/en/api/messages."""

from __future__ import annotations

from typing import Any, Final

from receipt_label.pricing import TokenUsage
from receipt_label.providers.reply import Reply, ReplyReader

_DETAILS: Final = (
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "cache_creation.ephemeral_1h_input_tokens",
    "output_tokens_details.thinking_tokens",
    "server_tool_use.web_search_requests",
)


def read_message(reply: object) -> Reply:
    """Read a message. ``input_tokens`` there leaves out what a cache read or wrote."""
    reader = ReplyReader(reply)
    plain = reader.count("usage.input_tokens")
    counts = reader.counts("usage", _DETAILS)
    read = counts.get("cache_read_input_tokens", 0)
    written = counts.get("cache_creation_input_tokens", 0)
    tier, speed = reader.text("usage.service_tier"), reader.text("usage.speed")
    usage = TokenUsage(
        input_tokens=None if plain is None else plain + read + written,
        output_tokens=reader.count("usage.output_tokens"),
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=counts.get("ephemeral_1h_input_tokens", 0),
        web_searches=counts.get("web_search_requests", 0),
        service_tier=tier,
        speed=speed,
    )
    details: dict[str, Any] = {"usage": counts} if counts else {}
    details |= {
        name: text for name, text in (("service_tier", tier), ("speed", speed)) if text is not None
    }
    return Reply(
        model=reader.text("model"),
        request_id=reader.text("id"),
        usage=None if usage.is_unknown else usage,
        details=details,
        invalid_fields=reader.invalid_fields,
    )
