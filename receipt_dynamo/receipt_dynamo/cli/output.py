"""Print the commands' output, safe for a terminal whatever a journal holds."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from typing import Any, Final, TextIO

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR

_KILO: Final = 1024


def make_printable(text: str) -> str:
    """Escape what a terminal obeys instead of showing.

    These are control characters, characters that reverse the direction of writing, and
    invisible ones: all that Unicode counts among "other" or as a separator, save the space.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def say(line: str, *, to: TextIO | None = None) -> None:
    """Print a line, by default to standard output."""
    stream = to or sys.stdout
    encoding = stream.encoding or "utf-8"
    shown = make_printable(line).encode(encoding, "backslashreplace").decode(encoding)
    stream.write(f"{shown}\n")


def remark(chosen: argparse.Namespace, line: str) -> None:
    """Print to standard error what was not asked for, unless ``--quiet`` is given."""
    if not chosen.quiet:
        say(line, to=sys.stderr)


def say_json(document: Any) -> None:
    """Print a JSON document."""
    sys.stdout.write(f"{to_json(document, indent=2)}\n")


def to_json(document: Any, indent: int | None = None) -> str:
    """Return JSON in printable ASCII."""
    return json.dumps(document, indent=indent, ensure_ascii=True, allow_nan=False)


def say_all(lines: Iterable[str]) -> None:
    """Print lines to standard output."""
    for line in lines:
        say(line)


def count_of(number: int, what: str) -> str:
    """Return the number with its noun, in the plural where it belongs."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def describe_bytes(number: int) -> str:
    """Return a size for people."""
    if number < _KILO:
        return f"{number} bytes"
    size, units = number / _KILO, ["KiB", "MiB", "GiB"]
    while size >= _KILO and len(units) > 1:
        size, units = size / _KILO, units[1:]
    return f"{size:.1f} {units[0]}"


def describe_age(seconds: float) -> str:
    """Return a time for people."""
    for size, unit in ((_DAY, "days"), (_HOUR, "hours"), (_MINUTE, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
