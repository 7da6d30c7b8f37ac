"""Where the journals may be: the directory that was chosen, or one of this user's own."""

from __future__ import annotations

import logging
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from receipt_dynamo.utils.state_directory import find_place, find_state_directory

_logger = logging.getLogger(__name__)

_VARIABLE: Final = "AI_USAGE_JOURNAL_DIR"
_MEMORY_FILE_SYSTEMS: Final = ("tmpfs", "ramfs")

Find = Callable[[], Path]
"""Finds the directory; another one when what this user may do, or what is mounted, is another."""


def make_finder(given: str | os.PathLike[str] | None) -> Find:
    """Return what finds the journals' directory; none of it raises, whatever the disks are like.

    Environment and working directory are read now, permissions each time. ``given`` is that of
    :func:`find_directory`.
    """
    return partial(_choose, _list_places(given))


def find_directory(given: str | os.PathLike[str] | None) -> Path:
    """Return where the journals are; an absolute path, of a directory that need not exist.

    Args:
        given: The caller's choice; None takes ``AI_USAGE_JOURNAL_DIR``, else the first of these
            that this user can write to: ``receipt_dynamo/journal`` under ``$XDG_STATE_HOME`` or
            ``~/.local/state``, and a directory of this user's in the one for temporary files.

    Returns:
        Where the directory is somebody else's, or everybody may write to it, a folder in it
        that is named by this user's id.
    """
    return make_finder(given)()


def find_unusable_choice(given: str | os.PathLike[str] | None) -> str | None:
    """Return the chosen directory when it names no place, else None; see :func:`find_place`."""
    chosen = _find_choice(given)
    return str(chosen) if chosen and find_place(chosen) is None else None


def warn_of(given: str | os.PathLike[str] | None, path: Path) -> None:
    """Return what is unusual about the directory that was found.

    Args:
        given: That of :func:`find_directory`.
        path: What it returned.
    """
    unusable = find_unusable_choice(given)
    if unusable is not None:
        _logger.warning(
            "the journal directory %r cannot be resolved: there is no such home directory, the "
            "working directory was deleted, or no file can have that name; the journal goes to %s",
            unusable,
            path,
        )
    if is_in_memory(path):
        _logger.warning(
            "the journal directory %s is on a RAM disk (tmpfs): the journal survives the "
            "process, not a restart of the host",
            path,
        )


def _find_choice(given: str | os.PathLike[str] | None) -> str | os.PathLike[str]:
    return given or os.environ.get(_VARIABLE, "").strip()


def _list_places(given: str | os.PathLike[str] | None) -> tuple[Path, ...]:
    chosen = _find_choice(given)
    place = find_place(chosen) if chosen else None
    if place is not None:
        return (place,)
    state = find_state_directory()
    states = [] if state is None else [state / "receipt_dynamo"]
    temporary = [each / name_own_folder() for each in _list_temporary_directories()]
    return tuple(each / "journal" for each in (*states, *temporary))


def _list_temporary_directories() -> Iterator[Path]:
    """Iterate over the directories that :mod:`tempfile` would try.

    Not asked itself: it writes a file to find out, so that a disk that is full for a moment has
    it take the working directory, or raise, and the next process would look elsewhere.
    """
    for variable in ("TMPDIR", "TEMP", "TMP"):
        named = Path(os.environ.get(variable, ""))
        if named.is_absolute():
            yield named
    if sys.platform == "win32":
        yield Path(tempfile.gettempdir())
    else:
        yield from map(Path, ("/tmp", "/var/tmp"))  # noqa: S108 - a private folder in them


def name_own_folder() -> str:
    """Return the name of this user's folder in a directory that is others' too."""
    return f"receipt_dynamo-{os.geteuid() if sys.platform != 'win32' else 'user'}"


def _choose(places: tuple[Path, ...]) -> Path:
    place = next(filter(can_write, places), places[0])
    return place / name_own_folder() if _is_shared(place) else place


def can_write(path: Path) -> bool:
    """Return whether this user could write to a directory, or make it. It is not tried."""
    effective = os.access in os.supports_effective_ids
    for each in (path, *path.parents):
        if os.path.lexists(each):
            may = os.access(each, os.W_OK | os.X_OK, effective_ids=effective)
            return may and os.path.isdir(each)  # noqa: PTH112 - Path's raises
    return False


def _is_shared(path: Path) -> bool:
    if sys.platform == "win32":
        return False
    try:
        found = path.stat()
    except OSError:
        return False  # It is to be made, or cannot be reached.
    return stat.S_ISDIR(found.st_mode) and find_stranger(found) is not None


def find_stranger(found: os.stat_result) -> str | None:
    """Return who else could write to a directory of ours, or None."""
    if sys.platform == "win32":
        return None
    if found.st_uid != os.geteuid():
        return "belongs to another user"
    if stat.S_IMODE(found.st_mode) & stat.S_IWOTH:
        return "can be written by every user"
    return None


def name_file_system(path: Path) -> str | None:
    """Return the type of the file system under ``path``, or None if it is unknown."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    real = Path(os.path.realpath(path))  # Path.resolve() raises where links form a circle.
    found: tuple[str, str | None] = ("", None)
    for line in mounts.splitlines():
        _, mount, kind, *_ = line.split(" ")
        point = mount.replace("\\040", " ")
        if real.is_relative_to(point) and len(point) >= len(found[0]):
            found = (point, kind)
    return found[1]


def is_in_memory(path: Path) -> bool:
    """Return whether ``path`` lies on a RAM disk, which a restart of the host empties."""
    return name_file_system(path) in _MEMORY_FILE_SYSTEMS
