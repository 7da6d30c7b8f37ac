"""What OpenAI's HTTP API answers: replies, streams and errors as plain JSON documents.

The shapes are those of https://platform.openai.com/docs/api-reference.
"""

from __future__ import annotations

import base64
import hashlib
import struct
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from receipt_label.testing.tokens import (
    compose_reply,
    count_message_tokens,
    count_tokens,
    cut_to_tokens,
    split_words,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# text-embedding-3-small: https://platform.openai.com/docs/guides/embeddings
DEFAULT_DIMENSIONS: Final = 1536

_ERROR_TYPES: Final = {429: ("requests", "rate_limit_exceeded"), 401: (None, "invalid_api_key")}


def answer_chat_completion(request: Mapping[str, Any], unique: str) -> dict[str, Any]:
    """Return a chat completion that repeats the last message of the request.

    Args:
        request: The request's body.
        unique: Text that makes the reply's id unique.
    """
    limit = request.get("max_completion_tokens") or request.get("max_tokens")
    whole = compose_reply(request["messages"])
    text = cut_to_tokens(whole, limit)
    choices: list[dict[str, Any]] = [
        {
            "index": index,
            "message": {
                "role": "assistant",
                "content": text,
                "refusal": None,
                "annotations": [],
            },
            "logprobs": None,
            "finish_reason": "stop" if text == whole else "length",
        }
        for index in range(request.get("n") or 1)
    ]
    prompt_tokens = count_message_tokens(request["messages"])
    completion_tokens = count_tokens(text) * len(choices)
    return {
        "id": f"chatcmpl-{unique}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": request["model"],
        "choices": choices,
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        "service_tier": "default",
        "system_fingerprint": None,
    }


def stream_chat_completion(
    request: Mapping[str, Any], reply: Mapping[str, Any]
) -> Iterator[tuple[str | None, Any]]:
    """Iterate over the server-sent events, as (event name, data), that make up ``reply``.

    The usage comes in a last chunk, and only when the request asks for it.
    """
    wants_usage = bool((request.get("stream_options") or {}).get("include_usage"))
    common = {
        name: reply[name] for name in ("id", "created", "model", "service_tier") if name in reply
    }
    common |= {"object": "chat.completion.chunk", "system_fingerprint": None}
    if wants_usage:
        common["usage"] = None

    def chunk(index: int, delta: dict[str, Any], finish_reason: str | None = None) -> Any:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {**common, "choices": [choice]}

    for choice in reply["choices"]:
        index = choice["index"]
        yield None, chunk(index, {"role": "assistant", "content": "", "refusal": None})
        for word in split_words(choice["message"].get("content") or ""):
            yield None, chunk(index, {"content": word})
        yield None, chunk(index, {}, choice["finish_reason"])
    if wants_usage:
        yield None, {**common, "choices": [], "usage": reply["usage"]}
    yield None, "[DONE]"


def answer_embedding(request: Mapping[str, Any], unique: str) -> dict[str, Any]:  # noqa: ARG001
    """Return embeddings that depend on nothing but the text; OpenAI gives them no id."""
    given = request["input"]
    # Tokens themselves are accepted as well: one list of them, or several.
    texts = given if isinstance(given, list) and not _is_token_list(given) else [given]
    tokens = max(sum(_count_input(text) for text in texts), 1)
    dimensions = request.get("dimensions") or DEFAULT_DIMENSIONS
    as_base64 = request.get("encoding_format") == "base64"
    return {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": _embed(str(text), dimensions, as_base64=as_base64),
            }
            for index, text in enumerate(texts)
        ],
        "model": request["model"],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def answer_openai_error(status: int, message: str, unique: str) -> dict[str, Any]:  # noqa: ARG001
    """Return an error's body for an HTTP status; the request's id is in a header only."""
    default = (
        "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
    )
    kind, code = _ERROR_TYPES.get(status, (None, None))
    return {"error": {"message": message, "type": kind or default, "param": None, "code": code}}


def stream_openai_error() -> tuple[str | None, Any]:
    """Return the event that ends a stream which fails on OpenAI's side."""
    return None, {"error": {"message": "overloaded", "type": "server_error", "code": "overloaded"}}


def _is_token_list(given: list[Any]) -> bool:
    return bool(given) and isinstance(given[0], int)


def _count_input(text: Any) -> int:
    return count_tokens(text) if isinstance(text, str) else len(text)


def _embed(text: str, dimensions: int, *, as_base64: bool) -> str | list[float]:
    digest = hashlib.shake_256(text.encode("utf-8", "surrogatepass")).digest(dimensions)
    vector = [(byte - 128) / 128 for byte in digest]
    if as_base64:
        return base64.b64encode(struct.pack(f"<{dimensions}f", *vector)).decode("ascii")
    return vector
