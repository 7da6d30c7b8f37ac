"""Read the body of a response along, while its reader reads it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from receipt_label.providers.provider import StreamEvents
from receipt_label.watching.server_sent_events import EventSplitter, read_data
from receipt_label.watching.stream_document import StreamDocument

MAX_DOCUMENT: Final = 64 * 1024 * 1024
"""Bytes of a plain body that are kept until its end, when its usage can be read."""

_DONE: Final = b"[DONE]"


class BodyReader(Protocol):
    """Sees the chunks of a body, and gathers their facts."""

    @property
    def is_over(self) -> bool:
        """Whether nothing that counts is to come, though the body may go on."""

    @property
    def is_final(self) -> bool:
        """Whether the usage is the last word."""

    @property
    def has_content(self) -> bool:
        """Whether a part of the answer came."""

    @property
    def error_code(self) -> str | None:
        """The provider's word for what went wrong within the body, if it did."""

    def feed(self, chunk: bytes) -> bytes:
        """Take a chunk, and return what its reader shall see of it."""

    def take_rest(self) -> bytes:
        """End a body that was read to its end, and return what was kept back of it."""

    def read(self) -> Mapping[str, Any]:
        """Return what is known so far, in the form of a plain reply."""


class EventsReader:
    """Reads a stream of server-sent events along.

    Args:
        events: How to read the provider's events.
        hides_usage: Whether the reader did not ask for the event that has no more than the
            usage, and does not get it.
        count_failure: Called for invalid events, which the reader still gets.
    """

    def __init__(
        self,
        events: StreamEvents,
        *,
        hides_usage: bool,
        count_failure: Callable[[Exception], None],
    ) -> None:
        self._is_done = False
        self._hides_usage = hides_usage
        self._count_failure = count_failure
        self._splitter = EventSplitter()
        self._document = StreamDocument(events)

    @property
    def is_over(self) -> bool:
        """Whether nothing that counts is to come, though the body may go on."""
        return self._is_done or self._document.is_over

    @property
    def is_final(self) -> bool:
        """Whether the usage is the last word."""
        return self._is_done or self._document.is_final

    @property
    def has_content(self) -> bool:
        """Whether a part of the answer came."""
        return self._document.has_content

    @property
    def error_code(self) -> str | None:
        """The provider's word for what went wrong within the stream."""
        return self._document.error_code

    def feed(self, chunk: bytes) -> bytes:
        """Take a chunk, and return what its reader shall see of it."""
        events = self._splitter.feed(chunk)
        shown = [event for event in events if not self._inspect(event)]
        return b"".join(shown) if self._hides_usage else chunk

    def take_rest(self) -> bytes:
        """Take the last event in, should the blank line after it be missing."""
        rest = self._splitter.take_rest()
        is_hidden = self._inspect(rest)
        return rest if self._hides_usage and not is_hidden else b""

    def read(self) -> Mapping[str, Any]:
        """Return what the events so far add up to."""
        return self._document.fields

    def _inspect(self, event: bytes) -> bool:
        """Take an event in; return whether it is to be hidden."""
        data = read_data(event)
        if not data:
            return False
        if data == _DONE:
            self._is_done = True
            return False
        try:
            content = json.loads(data)
            if not isinstance(content, dict):
                return False
            self._document.fold(content)
        except Exception as error:  # noqa: BLE001
            self._count_failure(error)
            return False
        return self._hides_usage and _has_usage_alone(content)


def _has_usage_alone(content: Mapping[str, Any]) -> bool:
    return content.get("choices") == [] and isinstance(content.get("usage"), dict)


class DocumentReader:
    """Reads a plain body along, which has nothing to read before its end.

    Args:
        is_json: Whether there is something to read in it; audio is not kept.
    """

    def __init__(self, *, is_json: bool) -> None:
        self.is_over = self.is_final = self.has_content = False
        self.error_code: str | None = None
        self._chunks: list[bytes] = []
        self._room = MAX_DOCUMENT if is_json else 0

    def feed(self, chunk: bytes) -> bytes:
        """Keep a chunk, unless there are too many."""
        self._room -= len(chunk)
        if self._room >= 0:
            self._chunks.append(chunk)
        else:
            self._chunks.clear()
        return chunk

    def take_rest(self) -> bytes:
        """Take in that the body is whole."""
        self.is_over = self.is_final = True
        return b""

    def read(self) -> Mapping[str, Any]:
        """Return the document; an empty one when the body is none."""
        try:
            document = json.loads(b"".join(self._chunks))
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}
