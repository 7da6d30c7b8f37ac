"""Files and directories that only this user can read, whatever the process's umask."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TextIO

_MODE: Final = 0o600


def open_private(path: Path, flags: int) -> int:
    """Open a file, made for this user only (0600) if need be; return the descriptor.

    A file that exists is opened as it is: its owner may have given it to others too.

    Args:
        path: The file.
        flags: As of ``os.open``, such as ``os.O_RDWR``; with ``os.O_EXCL`` it must be new.

    Raises:
        OSError: It can be neither made nor opened.
    """
    flags |= getattr(os, "O_CLOEXEC", 0)
    if not flags & os.O_EXCL:
        with suppress(FileNotFoundError):
            return os.open(path, flags)
    descriptor = os.open(path, flags | os.O_CREAT, _MODE)
    if sys.platform != "win32":
        # The umask may have taken from its owner what the next process needs. Where files
        # have no modes, as on FAT, there is nothing to give back.
        with suppress(PermissionError):
            os.fchmod(descriptor, _MODE)
    return descriptor


def make_private_directory(path: Path) -> None:
    """Make a directory and the missing ones above it, for this user only (0700).

    Raises:
        OSError: It cannot be made.
    """
    for folder in reversed([path, *path.parents]):
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
            # Where the mount decides about modes there is nothing to change, as on FAT.
            with suppress(PermissionError):
                folder.chmod(0o700)


@contextmanager
def write_new(path: Path) -> Iterator[TextIO]:
    """Open a file that does not exist yet for writing; it is removed when the block fails.

    Raises:
        FileExistsError: There is a file, or a link, of that name.
        OSError: It cannot be written.
    """
    with os.fdopen(open_private(path, os.O_WRONLY | os.O_EXCL), "w", encoding="utf-8") as stream:
        try:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise


@contextmanager
def write_whole(path: Path) -> Iterator[TextIO]:
    """Open a file for writing that takes the place of ``path`` when the block ends well.

    Until then it has another name beside it, and is removed when the block fails or is
    interrupted: a reader never sees half of it. A device or a pipe is written to as it is.

    Args:
        path: The file; one that exists is replaced.

    Raises:
        OSError: It cannot be written, or is a directory or a link to a file.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory; accepted is a file")
    if path.exists() and not path.is_file():
        with path.open("w", encoding="utf-8") as stream:
            yield stream
        return
    if path.is_symlink():
        # /dev/stdout is one: it would be replaced. What it leads to may be anybody's choice.
        raise FileExistsError(f"{path} is a link; accepted is a file")
    draft = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    with write_new(draft) as stream:
        yield stream
    try:
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
