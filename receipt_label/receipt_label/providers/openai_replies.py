"""What OpenAI's replies tell. Source: https://platform.openai.com/docs/api-reference."""

from __future__ import annotations

from typing import Any, Final

from receipt_label.pricing import TokenUsage
from receipt_label.providers.reply import Reply, ReplyReader

_DETAILS: Final = (
    "prompt_tokens_details.cached_tokens",
    "prompt_tokens_details.cache_write_tokens",
    "completion_tokens_details.reasoning_tokens",
    "completion_tokens_details.accepted_prediction_tokens",
    "completion_tokens_details.rejected_prediction_tokens",
)


def read_chat_completion(reply: object) -> Reply:
    """Read a chat completion. The prompt's tokens include the cached ones."""
    reader = ReplyReader(reply)
    tier = reader.text("service_tier")
    cached = reader.count("usage.prompt_tokens_details.cached_tokens")
    written = reader.count("usage.prompt_tokens_details.cache_write_tokens")
    input_audio = reader.count("usage.prompt_tokens_details.audio_tokens")
    output_audio = reader.count("usage.completion_tokens_details.audio_tokens")
    usage = TokenUsage(
        input_tokens=reader.count("usage.prompt_tokens"),
        output_tokens=reader.count("usage.completion_tokens"),
        cache_read_tokens=cached or 0,
        cache_write_tokens=written or 0,
        input_audio_tokens=input_audio or 0,
        output_audio_tokens=output_audio or 0,
        service_tier=tier,
    )
    details: dict[str, Any] = {}
    audio = {"input_audio_tokens": input_audio, "output_audio_tokens": output_audio}
    counts = reader.counts("usage", _DETAILS)
    counts |= {name: count for name, count in audio.items() if count}
    if counts:
        details["usage"] = counts
    if tier:
        details["service_tier"] = tier
    return Reply(
        model=reader.text("model"),
        request_id=reader.text("id"),
        usage=None if usage.is_unknown else usage,
        details=details,
        invalid_fields=reader.invalid_fields,
    )


def read_embedding(reply: object) -> Reply:
    """Read embeddings: they have no id, and no output tokens by nature."""
    reader = ReplyReader(reply)
    input_tokens = reader.count("usage.prompt_tokens")
    return Reply(
        model=reader.text("model"),
        usage=None
        if input_tokens is None
        else TokenUsage(input_tokens=input_tokens, output_tokens=0),
        invalid_fields=reader.invalid_fields,
    )
