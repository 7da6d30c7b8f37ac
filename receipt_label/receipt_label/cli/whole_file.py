"""A file that is there when it is whole, and not before."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

STANDARD_OUTPUT: Final = "-"


@contextmanager
def write_whole(name: str) -> Iterator[TextIO]:
    """Open a new file for writing, which takes its place when the block ends well.

    Until then it has another name beside it, and is removed when the block fails or is
    interrupted: a reader never sees half of it. Only this user can read it.

    Args:
        name: Of the file; one that exists is replaced. "-" is standard output.

    Raises:
        OSError: It cannot be written.
    """
    if name == STANDARD_OUTPUT:
        yield sys.stdout
        return
    path = Path(name)
    if path.is_dir():
        raise IsADirectoryError(f"{name} is a directory; accepted is a file")
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
