"""What the events of a stream add up to: the document that a plain call would have given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from receipt_label.calls.error_words import read_error_word
from receipt_label.providers.provider import StreamEvents

# In an event itself, or in what it nests as "response" or "message".
_FIELDS: Final = ("id", "model", "service_tier", "output")


class StreamDocument:
    """Adds up the events of one stream.

    Args:
        events: How to read the provider's events.

    Attributes:
        fields: What a reader of plain replies reads: model, id, usage and the like.
        has_content: Whether an event brought part of the answer.
        is_final: Whether the usage is the last word.
        is_over: Whether no event is to come, be it that the provider failed.
        error_code: The provider's word for what went wrong within the stream, if it did.
    """

    def __init__(self, events: StreamEvents) -> None:
        self._events = events
        self.fields: dict[str, Any] = {}
        self.has_content = False
        self.is_final = False
        self.is_over = False
        self.error_code: str | None = None

    def fold(self, event: Mapping[str, Any]) -> None:
        """Add one event, as the provider's JSON."""
        name = event.get("type")
        kind = name if isinstance(name, str) else ""
        for part in (event.get("response"), event.get("message"), event):
            if isinstance(part, Mapping):
                self._take(part)
        self.has_content = self.has_content or self._events.brings_content(kind, event)
        if kind in self._events.last:
            self.is_over = self.is_final = True
        self.is_final = self.is_final or self._events.is_last_count(kind, event)

    def _take(self, part: Mapping[str, Any]) -> None:
        for name in _FIELDS:
            if (value := part.get(name)) is not None:
                self.fields[name] = value
        if isinstance(usage := part.get("usage"), Mapping):
            # It may come in parts: what was read first, and later what was written.
            counts = {name: count for name, count in usage.items() if count is not None}
            self.fields["usage"] = {**self.fields.get("usage", {}), **counts}
        if (error := part.get("error")) is not None or part.get("type") == "error":
            word = read_error_word(part if error is None else error)
            self.error_code = word or "unknown_error"
            self.is_over = True
