"""What Anthropic's HTTP API answers: replies, streams and errors as plain JSON documents.

The shapes are those of https://docs.anthropic.com/en/api/messages.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from receipt_label.testing.tokens import (
    compose_reply,
    count_message_tokens,
    count_tokens,
    cut_to_tokens,
    find_texts,
    split_words,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# https://docs.anthropic.com/en/api/errors
_ERROR_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def answer_message(request: Mapping[str, Any], unique: str) -> dict[str, Any]:
    """Return a message that repeats the last one of the request.

    Args:
        request: The request's body.
        unique: Text that makes the reply's id unique.
    """
    whole = compose_reply(request["messages"])
    text = cut_to_tokens(whole, request["max_tokens"])
    system_tokens = sum(count_tokens(text) for text in find_texts(request.get("system")))
    return {
        "id": f"msg_{unique}",
        "type": "message",
        "role": "assistant",
        "model": request["model"],
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn" if text == whole else "max_tokens",
        "stop_sequence": None,
        "usage": {
            "input_tokens": count_message_tokens(request["messages"]) + system_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": count_tokens(text),
            "service_tier": "standard",
        },
    }


def stream_message(
    request: Mapping[str, Any],  # noqa: ARG001
    reply: Mapping[str, Any],
) -> Iterator[tuple[str | None, Any]]:
    """Iterate over the server-sent events, as (event name, data), that make up ``reply``.

    The first event has the input tokens, the last but one has the output tokens.
    """
    usage = reply["usage"]
    start = {
        **reply,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**usage, "output_tokens": 1},
    }
    events: list[dict[str, Any]] = [{"type": "message_start", "message": start}]
    for index, block in enumerate(reply["content"]):
        events += _stream_block(index, block)
    events += [
        {
            "type": "message_delta",
            "delta": {"stop_reason": reply["stop_reason"], "stop_sequence": reply["stop_sequence"]},
            "usage": {"output_tokens": usage["output_tokens"]},
        },
        {"type": "message_stop"},
    ]
    for event in events:
        yield event["type"], event


def answer_anthropic_error(status: int, message: str, unique: str) -> dict[str, Any]:
    """Return an error's body for an HTTP status."""
    default = "api_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
    return {
        "type": "error",
        "error": {"type": _ERROR_TYPES.get(status, default), "message": message},
        "request_id": f"req_{unique}",
    }


def stream_anthropic_error() -> tuple[str | None, Any]:
    """Return the event that ends a stream which fails on Anthropic's side."""
    error = {"type": "overloaded_error", "message": "Overloaded"}
    return "error", {"type": "error", "error": error}


def _stream_block(index: int, block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    empty = {"type": "text", "text": ""}
    yield {"type": "content_block_start", "index": index, "content_block": empty}
    yield {"type": "ping"}
    for word in split_words(block["text"]):
        delta = {"type": "text_delta", "text": word}
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    yield {"type": "content_block_stop", "index": index}
