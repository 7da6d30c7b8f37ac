"""Find out whether commits are missing from a write-ahead log; SQLite does not say so.

After a crash SQLite reads the log up to the first frame that does not match its checksum, and
drops the rest. That is right for a frame that was being written, and silent loss behind a
damaged one. The forms are those of "WAL-mode File Format" (sqlite.org/walformat.html).
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import BinaryIO, Final, Literal, NamedTuple

_Order = Literal["<", ">"]

_NATIVE: Final[_Order] = "<" if sys.byteorder == "little" else ">"
_HEADER_SIZE: Final = 32
_FRAME_HEADER_SIZE: Final = 24
_ORDERS: Final[dict[int, _Order]] = {0x377F0682: "<", 0x377F0683: ">"}
"""In which the words of a log are added up, by its magic number."""

_INDEX: Final = struct.Struct("=12xBx2xI12x8s2I")
_INDEX_CHECKED: Final = 40
_COPIED: Final = struct.Struct("=I")

_Sums = tuple[int, int]


class LogIndex(NamedTuple):
    """What the index in shared memory says of the log.

    Attributes:
        frames: How many are committed.
        copied: How many of them are in the database as well.
        salts: Of the log that it is for; another one begins with each restart.
    """

    frames: int
    copied: int
    salts: bytes


def read_index(path: Path) -> LogIndex | None:
    """Read the index, which outlives its process; None when it is not there, or proves nothing.

    Call it only while this process has no connection to the database: closing the file would
    drop SQLite's locks on it.
    """
    try:
        with path.open("rb") as file:
            first, second = file.read(_INDEX.size), file.read(_INDEX.size)
            rest = file.read(_COPIED.size)
    except OSError:
        return None
    # Two copies, written one after the other: different ones were being changed.
    if first != second or len(rest) != _COPIED.size:
        return None
    is_begun, frames, salts, *sums = _INDEX.unpack(first)
    if not is_begun or _add_up(first[:_INDEX_CHECKED], _NATIVE) != tuple(sums):
        return None
    (copied,) = _COPIED.unpack(rest)
    return LogIndex(frames, copied, salts)


def is_unreadable(log: Path) -> bool:
    """Return whether SQLite accepts nothing of the log, because its header is damaged.

    Raises:
        OSError: The file cannot be read.
    """
    try:
        with log.open("rb") as file:
            header = file.read(_HEADER_SIZE)
    except FileNotFoundError:
        return False
    return len(header) == _HEADER_SIZE and not _is_sound(header)


def misses_commits(log: Path, recovered: int, index: LogIndex | None) -> bool:
    """Return whether the log once held commits that SQLite cannot see in it any more.

    Args:
        log: The file; it may be gone.
        recovered: The number of frames that SQLite accepts.
        index: What the process that died knew of the log, if that is known.

    Raises:
        OSError: The file cannot be read.
    """
    try:
        with log.open("rb") as file:
            header = file.read(_HEADER_SIZE)
            if _is_sound(header):
                if index is not None and index.salts == header[16:24]:
                    # What it accepts, SQLite takes for newer than what was copied.
                    return (recovered or index.copied) < index.frames
                if _has_commit_behind_damage(file, header, recovered):
                    return True
            elif len(header) == _HEADER_SIZE:
                return True
    except FileNotFoundError:
        pass
    return index is not None and index.copied < index.frames


def _is_sound(header: bytes) -> bool:
    order = _ORDERS.get(int.from_bytes(header[:4], "big"))
    if order is None or len(header) != _HEADER_SIZE:
        return False
    return _add_up(header[:24], order) == struct.unpack(">2I", header[24:])


def _has_commit_behind_damage(file: BinaryIO, header: bytes, recovered: int) -> bool:
    """Look for a commit of this log behind the first frame that SQLite does not accept.

    That frame alone proves nothing, it may have been just written. A later one is there only
    when it was committed.
    """
    magic, page_size = struct.unpack(">I4xI", header[:12])
    frame_size = _FRAME_HEADER_SIZE + page_size
    file.seek(_HEADER_SIZE + recovered * frame_size)
    sums: _Sums | None = None
    while len(head := file.read(_FRAME_HEADER_SIZE)) == _FRAME_HEADER_SIZE:
        size_after_commit, salts, *next_sums = struct.unpack(">4xI8s2I", head)
        if sums is not None and size_after_commit and salts == header[16:24]:
            page = file.read(page_size)
            if _add_up(head[:8] + page, _ORDERS[magic], sums) == tuple(next_sums):
                return True
        else:
            file.seek(page_size, 1)
        sums = (next_sums[0], next_sums[1])
    return False


def _add_up(data: bytes, order: _Order, sums: _Sums = (0, 0)) -> _Sums:
    """Return SQLite's checksum; ``sums`` is that of what comes before."""
    first, second = sums
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data[: len(data) // 8 * 8]))
    for word in words:
        first = (first + word + second) & 0xFFFFFFFF
        second = (second + next(words) + first) & 0xFFFFFFFF
    return first, second
