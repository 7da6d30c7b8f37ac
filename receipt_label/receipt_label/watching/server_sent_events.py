"""Server-sent events, cut out of a body as it comes.

The form is that of https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

from __future__ import annotations

import re
from typing import Final

# A carriage return at the end of a chunk may be half of a line's end.
_LINE_END: Final = rb"(?:\r\n|\n|\r(?=[^\n]))"
_EVENT_END: Final = re.compile(_LINE_END + _LINE_END)
_LONGEST_END: Final = 4


class EventSplitter:
    """Cuts a stream of bytes into events, each with the blank line that ends it."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the events that this chunk completes, as they came."""
        # Not from the start: an event of megabytes (an image) comes in thousands of chunks.
        position = max(len(self._buffer) - _LONGEST_END, 0)
        self._buffer += chunk
        events, start = [], 0
        while found := _EVENT_END.search(self._buffer, position):
            position = found.end()
            events.append(bytes(self._buffer[start:position]))
            start = position
        del self._buffer[:start]
        return events

    def take_rest(self) -> bytes:
        """Return what came after the last whole event, and drop it."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest


def read_data(event: bytes) -> bytes:
    """Return an event's data; empty for one that has none, such as a comment."""
    lines = [
        line[5:].removeprefix(b" ") for line in event.splitlines() if line.startswith(b"data:")
    ]
    return b"\n".join(lines)
