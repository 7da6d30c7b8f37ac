"""What the events of a stream add up to: the document that a plain call would have given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from receipt_label.calls.error_words import read_error_word

# Of a chat's chunks, of what responses and messages nest in their events.
_FIELDS: Final = ("id", "model", "service_tier", "output")

# After these a provider counts nothing any more.
_LAST_EVENTS: Final = frozenset(
    {
        "response.completed",
        "response.incomplete",
        "response.failed",
        "message_stop",
        "speech.audio.done",
        "transcript.text.done",
    }
)


class StreamDocument:
    """Adds up the events of one stream of OpenAI's or Anthropic's.

    Attributes:
        fields: What a reader of plain replies reads: model, id, usage and the like.
        has_content: Whether an event brought part of the answer.
        is_final: Whether the usage is the last word.
        is_over: Whether no event is to come, be it that the provider failed.
        error_code: The provider's word for what went wrong within the stream, if it did.
    """

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self.has_content = False
        self.is_final = False
        self.is_over = False
        self.error_code: str | None = None

    def fold(self, event: Mapping[str, Any]) -> None:
        """Take one event in, as the provider's JSON tells it."""
        told = event.get("type")
        kind = told if isinstance(told, str) else ""
        for part in (event.get("response"), event.get("message"), event):
            if isinstance(part, Mapping):
                self._take(part)
        self.has_content = self.has_content or _brings_content(kind, event)
        if kind in _LAST_EVENTS:
            self.is_over = self.is_final = True
        self.is_final = self.is_final or _is_last_count(kind, event)

    def _take(self, part: Mapping[str, Any]) -> None:
        for name in _FIELDS:
            if (value := part.get(name)) is not None:
                self.fields[name] = value
        if isinstance(usage := part.get("usage"), Mapping):
            # Anthropic tells what was read first, and later what was written.
            told = {name: count for name, count in usage.items() if count is not None}
            self.fields["usage"] = {**self.fields.get("usage", {}), **told}
        if (error := part.get("error")) is not None or part.get("type") == "error":
            word = read_error_word(part if error is None else error)
            self.error_code = word or "unknown_error"
            self.is_over = True


def _brings_content(kind: str, event: Mapping[str, Any]) -> bool:
    if kind:
        return kind.endswith(("delta", "partial_image")) and kind != "message_delta"
    choices = event.get("choices")
    return isinstance(choices, list) and any(map(_says_something, choices))


def _says_something(choice: object) -> bool:
    """Tell whether a choice has more than a role: text, a tool call, audio, reasoning."""
    if not isinstance(choice, Mapping):
        return False
    delta = choice.get("delta")
    if not isinstance(delta, Mapping):
        return bool(choice.get("text"))
    return any(value for name, value in delta.items() if name != "role")


def _is_last_count(kind: str, event: Mapping[str, Any]) -> bool:
    if kind == "message_delta":
        delta = event.get("delta")
        return isinstance(delta, Mapping) and delta.get("stop_reason") is not None
    return "choices" in event and isinstance(event.get("usage"), Mapping)
