"""Find the directory for files that programs write for this user."""

from __future__ import annotations

import os
from pathlib import Path


def find_state_directory() -> Path | None:
    """Return ``$XDG_STATE_HOME``, else ``~/.local/state``; it need not exist.

    Returns:
        None without a home directory that this user can write to.
    """
    given = Path(os.environ.get("XDG_STATE_HOME", ""))
    # "If [...] relative, the path should be ignored": XDG Base Directory Specification 0.8.
    if given.is_absolute():
        return given
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home() raises without a home
    if not home.is_absolute() or not os.access(home, os.W_OK):
        return None
    return home / ".local" / "state"


def find_place(given: str | os.PathLike[str]) -> Path | None:
    """Return a path that a user chose as an absolute one, which a later ``chdir`` does not move.

    Args:
        given: The path; ``~`` is a home directory. It need not exist.

    Returns:
        None when it names no place: there is no such user or no home directory, the working
        directory is gone, or no file can have that name.
    """
    try:
        named = os.path.expanduser(os.fsdecode(given))  # noqa: PTH111 - Path's raises without a home
        if named.startswith("~") or b"\0" in os.fsencode(named):
            return None
        return Path(named).absolute()
    except (OSError, ValueError):  # The latter: half of a surrogate pair.
        return None
