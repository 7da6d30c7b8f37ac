"""A lease says which living process owns a journal; it ends with the process, however that ends.

``flock`` on a lock file of its own, never on the database: SQLite's locks on that are the
process's, and opening and closing the file by hand would drop them.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

if sys.platform != "win32":
    import fcntl

_TRIES: Final = 10


class Lease:
    """The right to a journal. Held until :meth:`release` or the end of the process."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path) -> Lease | None:
        """Take the lease of the lock file at ``path``; None when another holder lives.

        Raises:
            OSError: The file can be neither made nor locked.
        """
        for _ in range(_TRIES):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if not _lock(descriptor):
                os.close(descriptor)
                return None
            if _is_still(path, descriptor):
                return cls(path, descriptor)
            # Unlinked between open and lock: this lock would keep nobody else out.
            os.close(descriptor)
        return None

    def release(self, *, unlink: bool) -> None:
        """Give the lease back.

        Args:
            unlink: Whether the journal is gone, and the lock file with it.
        """
        if unlink:
            with suppress(OSError):
                self._path.unlink()
        self.abandon()

    def abandon(self) -> None:
        """Close the descriptor, which a forked child inherits, without unlocking it.

        Unlocking in the child would free the living parent's lease; keeping it open would
        hold the lease of a parent that is dead.
        """
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _lock(descriptor: int) -> bool:
    if sys.platform == "win32":
        return True  # One process a journal directory, by documentation.
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(path: Path, descriptor: int) -> bool:
    """Tell whether ``path`` still names the file that was opened."""
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    opened = os.fstat(descriptor)
    return (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)
