"""Where programs keep what they write for this user."""

from __future__ import annotations

import os
from pathlib import Path


def find_state_directory() -> Path | None:
    """Return ``$XDG_STATE_HOME``, else ``~/.local/state``; it need not exist.

    Returns:
        None when there is no home directory that this user can write to.
    """
    given = Path(os.environ.get("XDG_STATE_HOME", ""))
    # "If [...] relative, the path should be ignored": XDG Base Directory Specification 0.8.
    if given.is_absolute():
        return given
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home() raises without a home
    if not home.is_absolute() or not os.access(home, os.W_OK):
        return None
    return home / ".local" / "state"
