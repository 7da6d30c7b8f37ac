"""The files that commands write, which only this user can read; "-" is standard output."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final, TextIO

from receipt_dynamo.cli.arguments import CommandError
from receipt_dynamo.utils.private_files import write_new, write_whole

__all__ = ["STANDARD_OUTPUT", "open_new_output", "open_output", "write_new", "write_whole"]

STANDARD_OUTPUT: Final = "-"


def open_output(name: str) -> AbstractContextManager[TextIO]:
    """Return a file that is there when it is whole: see :func:`write_whole`.

    Args:
        name: Of the file; one that exists is replaced.

    Raises:
        OSError: It cannot be written.
    """
    return nullcontext(sys.stdout) if name == STANDARD_OUTPUT else write_whole(Path(name))


def open_new_output(name: str) -> AbstractContextManager[TextIO]:
    """Return a new file: see :func:`write_new`.

    Args:
        name: Of the file.

    Raises:
        CommandError: It exists.
        OSError: It cannot be written.
    """
    if name == STANDARD_OUTPUT:
        return nullcontext(sys.stdout)
    if os.path.lexists(name):
        raise CommandError(f"FILE is {name}, which exists; accepted is a new file")
    return write_new(Path(name))
