"""How far long work is, on a terminal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

T = TypeVar("T")

STEP: Final = 1_000
"""The number of records between two updates of the display."""

_CLEAR: Final = "\r\033[K"


def show_progress(items: Iterable[T], chosen: argparse.Namespace, done: str) -> Iterator[T]:
    """Pass ``items`` on, and say on standard error how many it were, if that is a terminal.

    Args:
        items: They are read as they are asked for.
        chosen: The parsed arguments; with ``--quiet`` nothing is printed.
        done: The verb for the records, such as "redriven".
    """
    if chosen.quiet or not sys.stderr.isatty():
        yield from items
        return
    number = 0
    try:
        for number, item in enumerate(items, start=1):
            yield item
            if not number % STEP:
                sys.stderr.write(f"{_CLEAR}{number} {done}")
                sys.stderr.flush()
    finally:
        if number >= STEP:
            sys.stderr.write(_CLEAR)
            sys.stderr.flush()
