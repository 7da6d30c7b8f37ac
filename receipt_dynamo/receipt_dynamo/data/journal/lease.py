"""A lease says which living process owns a journal; it ends with the process, however that ends.

``flock`` on a separate lock file, never on the database: SQLite's locks on that are the
process's, and opening and closing the file by hand would drop them.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from receipt_dynamo.utils.fork_safety import no_fork, reset_in_child
from receipt_dynamo.utils.private_files import open_private

if sys.platform != "win32":
    import fcntl

_TRIES: Final = 10


class Lease:
    """The right to a journal. Held until :meth:`release` or the end of the process."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        reset_in_child(self)

    @classmethod
    def take(cls, path: Path) -> Lease | None:
        """Take the lease of the lock file at ``path``; None when another holder lives.

        Raises:
            OSError: The file can be neither made nor locked.
        """
        with no_fork():  # A child would keep a descriptor that is registered nowhere yet.
            for _ in range(_TRIES):
                descriptor = open_private(path, os.O_RDWR)
                if not _lock(descriptor):
                    os.close(descriptor)
                    return None
                if _is_still(path, descriptor):
                    return cls(path, descriptor)
                # Unlinked between open and lock: this lock would keep no other process out.
                os.close(descriptor)
            return None

    def is_still_ours(self) -> bool:
        """Make sure that others see the lease; False when another holder has it by now.

        What cleans up old files may have deleted the lock file.

        Raises:
            OSError: The file can be neither made nor locked.
        """
        if _is_still(self._path, self._descriptor):
            os.utime(self._path)
            return True
        renewed = Lease.take(self._path)
        if renewed is None:
            return False
        with no_fork():
            self._close()
            taken, renewed._descriptor = renewed._descriptor, -1  # noqa: SLF001 - of this class
            self._descriptor = taken
        return True

    def release(self, *, unlink: bool) -> None:
        """Give the lease back.

        Args:
            unlink: Whether the journal is gone, and the lock file with it.
        """
        if unlink:
            with suppress(OSError):
                self._path.unlink()
        self._close()

    def reset_after_fork(self) -> None:
        """Close the descriptor, which a forked child inherits, without unlocking it.

        Unlocking in the child would free the living parent's lease; keeping it open would
        hold the lease of a parent that is dead.
        """
        self._close()

    def _close(self) -> None:
        with no_fork():
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor >= 0:
                os.close(descriptor)


def find_holder(path: Path) -> int | None:
    """Return the id of the process that holds the lease; None if no process does.

    The id is as that process sees itself: in a container it is the container's. It is 0
    when the holder could not write it down.

    Raises:
        OSError: The file cannot be read.
    """
    with no_fork():  # A child would keep the descriptor, and its lock.
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            # A shared lock: whoever wants the lease meanwhile knows it from a holder's.
            if _try_lock(descriptor, shared=True):
                return None
            noted = os.pread(descriptor, 20, 0).strip()
            return int(noted) if noted.isdigit() else 0
        finally:
            os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Lock the file and write down whose it is; False when another holder lives."""
    for _ in range(_TRIES):
        if _try_lock(descriptor, shared=False):
            # Only for people to read: on a full disk the lease holds without it.
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, str(os.getpid()).encode())
            return True
        # Beside a shared lock there is no holder, only somebody who looks for one.
        if not _try_lock(descriptor, shared=True):
            return False
    return False


def _try_lock(descriptor: int, *, shared: bool) -> bool:
    if sys.platform == "win32":
        return True  # One process a journal directory, by documentation.
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(path: Path, descriptor: int) -> bool:
    """Return whether ``path`` still names the file that was opened."""
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    opened = os.fstat(descriptor)
    return (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)
