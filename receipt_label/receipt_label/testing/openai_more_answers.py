"""What OpenAI's HTTP API answers beside chats and embeddings: responses, images, sound.

The shapes are those of https://platform.openai.com/docs/api-reference.
"""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any, Final

from receipt_label.testing.tokens import count_tokens, cut_to_tokens, find_texts, split_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Whatever the picture: https://platform.openai.com/docs/guides/image-generation#cost
_IMAGE_TOKENS: Final = 272
_PIXEL: Final = base64.b64encode(b"not really a picture").decode()


def answer_response(request: Mapping[str, Any], unique: str) -> dict[str, Any]:
    """Return a response that repeats the input."""
    texts = _find_input(request["input"])
    whole = f"You said: {texts[-1]}" if texts else "You said nothing."
    text = cut_to_tokens(whole, request.get("max_output_tokens"))
    read = sum(map(count_tokens, [*texts, *find_texts(request.get("instructions"))]))
    written = count_tokens(text)
    content = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {
        "id": f"resp_{unique}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "completed" if text == whole else "incomplete",
        "error": None,
        "incomplete_details": None if text == whole else {"reason": "max_output_tokens"},
        "instructions": request.get("instructions"),
        "model": request["model"],
        "output": [
            {
                "type": "message",
                "id": f"msg_{unique}",
                "status": "completed",
                "role": "assistant",
                "content": [content],
            }
        ],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "service_tier": "default",
        "usage": {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": written,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": read + written,
        },
    }


def stream_response(
    request: Mapping[str, Any],  # noqa: ARG001
    reply: Mapping[str, Any],
) -> Iterator[tuple[str | None, Any]]:
    """Iterate over the server-sent events, as (event name, data), that make up ``reply``."""
    begun = {**reply, "status": "in_progress", "output": [], "usage": None}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    ]
    for index, item in enumerate(reply["output"]):
        if item["type"] == "message":
            events += _stream_message_item(index, item)
    events.append({"type": f"response.{reply['status']}", "response": reply})
    for number, event in enumerate(events):
        yield event["type"], {**event, "sequence_number": number}


def answer_image(request: Mapping[str, Any], unique: str) -> dict[str, Any]:  # noqa: ARG001
    """Return images; the models before gpt-image have no usage."""
    images = request.get("n") or 1
    reply: dict[str, Any] = {
        "created": int(time.time()),
        "data": [{"b64_json": _PIXEL} for _ in range(images)],
    }
    if str(request.get("model")).startswith("gpt-image"):
        read, written = count_tokens(request["prompt"]), _IMAGE_TOKENS * images
        reply["usage"] = {
            "input_tokens": read,
            "input_tokens_details": {"text_tokens": read, "image_tokens": 0},
            "output_tokens": written,
            "total_tokens": read + written,
        }
    return reply


def answer_speech(request: Mapping[str, Any], unique: str) -> bytes:  # noqa: ARG001
    """Return bytes in place of sound."""
    return b"ID3" + str(request["input"]).encode("utf-8", "surrogatepass")


def answer_transcription(request: Mapping[str, Any], unique: str) -> dict[str, Any]:  # noqa: ARG001
    """Return a text that was never spoken, billed by seconds or, for newer models, by tokens."""
    text = "You said something."
    if request["model"] == "whisper-1":
        return {"text": text, "usage": {"type": "duration", "seconds": 3}}
    written = count_tokens(text)
    usage = {
        "type": "tokens",
        "input_tokens": 30,
        "input_token_details": {"text_tokens": 0, "audio_tokens": 30},
        "output_tokens": written,
        "total_tokens": 30 + written,
    }
    return {"text": text, "usage": usage}


def answer_moderation(request: Mapping[str, Any], unique: str) -> dict[str, Any]:
    """Return that nothing is wrong with the input."""
    result = {"flagged": False, "categories": {}, "category_scores": {}}
    model = request.get("model") or "omni-moderation-latest"
    return {"id": f"modr-{unique}", "model": model, "results": [result]}


def _find_input(given: Any) -> list[str]:
    if isinstance(given, str):
        return [given]
    return [text for message in given for text in find_texts(message.get("content"))]


def _stream_message_item(index: int, item: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    place = {"item_id": item["id"], "output_index": index, "content_index": 0}
    content = item["content"][0]
    empty = {**content, "text": ""}
    begun = {**item, "status": "in_progress", "content": []}
    yield {"type": "response.output_item.added", "output_index": index, "item": begun}
    yield {"type": "response.content_part.added", **place, "part": empty}
    for word in split_words(content["text"]):
        yield {"type": "response.output_text.delta", **place, "delta": word, "logprobs": []}
    yield {
        "type": "response.output_text.done",
        **place,
        "text": content["text"],
        "logprobs": [],
    }
    yield {"type": "response.content_part.done", **place, "part": content}
    yield {"type": "response.output_item.done", "output_index": index, "item": item}
