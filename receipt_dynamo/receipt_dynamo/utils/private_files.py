"""Files and directories that only this user can read, whatever the process's umask."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def open_private(path: Path, flags: int) -> int:
    """Open a file, made for this user only (0600) if need be; return the descriptor.

    Raises:
        OSError: It can be neither made nor opened.
    """
    descriptor = os.open(path, flags | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    if sys.platform != "win32" and not os.fstat(descriptor).st_size:
        # The umask may have taken from its owner what the next process needs.
        os.fchmod(descriptor, 0o600)
    return descriptor


def make_private_directory(path: Path) -> None:
    """Make a directory and the missing ones above it, for this user only (0700).

    Raises:
        OSError: It cannot be made.
    """
    for folder in reversed([path, *path.parents]):
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)
