"""OpenAI: its operations, and how to read its replies.

Source: https://platform.openai.com/docs/api-reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from receipt_label.calls.reply import ProviderReply, ReplyReader, get_field, keep_positive
from receipt_label.pricing import TokenUsage
from receipt_label.providers.provider import (
    BatchLine,
    Operation,
    Provider,
    ReadReply,
    Request,
    RequestClients,
    StreamEvents,
)

_PREDICTIONS: Final = ("accepted_prediction_tokens", "rejected_prediction_tokens")

# Images of DALL-E, unless the request says otherwise.
_IMAGE_SIZE: Final = "1024x1024"
_IMAGE_QUALITY: Final = "standard"


def read_reply(reply: object, request: Request) -> ProviderReply:  # noqa: ARG001
    """Read a chat completion, or another reply with tokens; the input includes the cached."""
    reader = ReplyReader(reply)
    reported = reader.part("usage")
    tier = reader.text("service_tier")
    usage = _read_usage(reported, tier)
    details: dict[str, Any] = {"service_tier": tier} if tier else {}
    if counts := keep_positive(_count_parts(usage) | _count_predictions(reported)):
        details["usage"] = counts
    return ProviderReply(
        model=reader.text("model"),
        request_id=reader.text("id"),
        usage=None if usage.is_unknown else usage,
        details=details,
        invalid_fields=reader.invalid_fields,
    )


def read_response(reply: object, request: Request) -> ProviderReply:
    """Read a response; tools that OpenAI ran for it are billed by the call."""
    known = read_reply(reply, request)
    tools = keep_positive(_count_tools(get_field(reply, "output")))
    if known.usage is None or not tools:
        return known
    usage = replace(
        known.usage,
        web_searches=tools.get("web_searches", 0),
        file_searches=tools.get("file_searches", 0),
        code_executions=tools.get("code_executions", 0),
    )
    counts = {**known.details.get("usage", {}), **tools}
    return replace(known, usage=usage, details={**known.details, "usage": counts})


def read_embedding(reply: object, request: Request) -> ProviderReply:
    """Read embeddings: they have no id, and no output tokens by nature."""
    known = read_reply(reply, request)
    if known.usage is None or known.usage.input_tokens is None:
        return replace(known, usage=None)
    return replace(known, usage=replace(known.usage, output_tokens=0))


def read_image(reply: object, request: Request) -> ProviderReply:
    """Read images: newer models bill tokens, DALL-E bills images by what was asked for."""
    known = read_reply(reply, request)
    images = get_field(reply, "data")
    if known.usage is not None or not isinstance(images, list):
        return known
    usage = TokenUsage(
        images=len(images),
        image_size=_read_choice(request, "size") or _IMAGE_SIZE,
        image_quality=_read_choice(request, "quality") or _IMAGE_QUALITY,
    )
    return replace(known, usage=usage, details={"images": len(images)})


def read_transcription(reply: object, request: Request) -> ProviderReply:
    """Read a transcription or translation, billed by tokens or by the audio's seconds."""
    known = read_reply(reply, request)
    seconds = ReplyReader(reply).part("usage").seconds("seconds")
    if seconds is None:
        return known
    return replace(
        known, usage=TokenUsage(audio_seconds=seconds), details={"audio_seconds": seconds}
    )


def read_speech(reply: object, request: Request) -> ProviderReply:
    """Read what speech cost: the reply is sound, unless it is a stream that ends with counts."""
    known = read_reply(reply, request)
    text = request.get("input")
    if known.usage is not None or not isinstance(text, str):
        return known
    return replace(
        known,
        usage=TokenUsage(input_characters=len(text)),
        details={"input_characters": len(text)},
    )


def read_moderation(reply: object, request: Request) -> ProviderReply:
    """Read a moderation, which is free and has no usage."""
    return replace(read_reply(reply, request), usage=TokenUsage(sku="moderation"))


def _read_usage(reported: ReplyReader, tier: str | None) -> TokenUsage:
    """Read tokens: chats, completions and embeddings spell them in one way, all else in another."""
    is_chat = any(
        reported.value(name) is not None for name in ("prompt_tokens", "completion_tokens")
    )
    input_name, output_name = ("prompt", "completion") if is_chat else ("input", "output")
    read = _find_details(reported, input_name)
    written = _find_details(reported, output_name)
    return TokenUsage(
        input_tokens=reported.count(f"{input_name}_tokens"),
        output_tokens=reported.count(f"{output_name}_tokens"),
        cache_read_tokens=read.count("cached_tokens") or 0,
        cache_write_tokens=read.count("cache_write_tokens") or 0,
        input_audio_tokens=read.count("audio_tokens") or 0,
        input_image_tokens=read.count("image_tokens") or 0,
        reasoning_tokens=written.count("reasoning_tokens") or 0,
        output_audio_tokens=written.count("audio_tokens") or 0,
        output_image_tokens=written.count("image_tokens") or 0,
        service_tier=tier,
    )


def _find_details(reported: ReplyReader, name: str) -> ReplyReader:
    # Transcriptions spell it in the singular.
    singular = f"{name}_token_details"
    return reported.part(
        singular if reported.value(singular) is not None else f"{name}_tokens_details"
    )


def _count_parts(usage: TokenUsage) -> dict[str, int]:
    return {
        "cached_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "input_audio_tokens": usage.input_audio_tokens,
        "input_image_tokens": usage.input_image_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "output_audio_tokens": usage.output_audio_tokens,
        "output_image_tokens": usage.output_image_tokens,
    }


def _count_predictions(reported: ReplyReader) -> dict[str, int]:
    written = reported.part("completion_tokens_details")
    return {name: written.count(name) or 0 for name in _PREDICTIONS}


def _count_tools(output: object) -> dict[str, int]:
    """Count what OpenAI ran for a response and bills apart."""
    items = output if isinstance(output, list) else []
    kinds = [get_field(item, "type") for item in items]
    containers = {
        get_field(item, "container_id")
        for item, kind in zip(items, kinds, strict=True)
        if kind == "code_interpreter_call"
    }
    return {
        "web_searches": sum(map(_is_search, items)),
        "file_searches": kinds.count("file_search_call"),
        "code_executions": len(containers),
    }


def _is_search(item: object) -> bool:
    """Return whether an item is a search; opening a page found by one costs nothing."""
    if get_field(item, "type") != "web_search_call":
        return False
    return get_field(get_field(item, "action"), "type") in {None, "search"}


def _read_choice(request: Request, name: str) -> str | None:
    """Return what a request chose; None where it left the choice to OpenAI."""
    value = request.get(name)
    return value if isinstance(value, str) and value != "auto" else None


def _brings_content(kind: str, event: Mapping[str, Any]) -> bool:
    if kind:
        return kind.endswith(("delta", "partial_image"))
    choices = event.get("choices")
    return isinstance(choices, list) and any(map(_says_something, choices))


def _says_something(choice: object) -> bool:
    """Return whether a choice has more than a role: text, a tool call, audio, reasoning."""
    if not isinstance(choice, Mapping):
        return False
    delta = choice.get("delta")
    if not isinstance(delta, Mapping):
        return bool(choice.get("text"))
    return any(value for name, value in delta.items() if name != "role")


def _is_last_count(kind: str, event: Mapping[str, Any]) -> bool:  # noqa: ARG001
    return "choices" in event and isinstance(event.get("usage"), Mapping)


EVENTS: Final = StreamEvents(
    last=frozenset(
        {
            "response.completed",
            "response.incomplete",
            "response.failed",
            "speech.audio.done",
            "transcript.text.done",
        }
    ),
    brings_content=_brings_content,
    is_last_count=_is_last_count,
)


def _make_operation(name: str, read: ReadReply, *, has_stream_options: bool = False) -> Operation:
    return Operation(
        name=name,
        read=read,
        streams=True,
        events=EVENTS,
        has_stream_options=has_stream_options,
    )


_COMPLETION: Final = _make_operation("completion", read_reply, has_stream_options=True)
_RESPONSE: Final = _make_operation("response", read_response)
_EMBEDDING: Final = _make_operation("embedding", read_embedding)

# By what a reply is called in its ``object``.
_BY_OBJECT: Final[Mapping[str, Operation]] = {
    "chat.completion": _COMPLETION,
    "text_completion": _COMPLETION,
    "response": _RESPONSE,
    "list": _EMBEDDING,
}


def _find_operation_of(reply: object) -> Operation:
    kind = get_field(reply, "object")
    return _BY_OBJECT.get(kind, _COMPLETION) if isinstance(kind, str) else _COMPLETION


PROVIDER: Final = Provider(
    service="openai",
    clients=(
        RequestClients(
            classes=("openai.OpenAI", "openai.AsyncOpenAI"),
            host="api.openai.com",
            operations={
                "chat/completions": _COMPLETION,
                "completions": _COMPLETION,
                "responses": _RESPONSE,
                "embeddings": _EMBEDDING,
                "images/generations": _make_operation("image_generation", read_image),
                "images/edits": _make_operation("image_edit", read_image),
                "images/variations": _make_operation("image_variation", read_image),
                "audio/speech": _make_operation("speech", read_speech),
                "audio/transcriptions": _make_operation("transcription", read_transcription),
                "audio/translations": _make_operation("translation", read_transcription),
                "moderations": _make_operation("moderation", read_moderation),
            },
            other=_COMPLETION,
        ),
    ),
    find_operation_of=_find_operation_of,
    batch=BatchLine(result="response", reply="body"),
)
