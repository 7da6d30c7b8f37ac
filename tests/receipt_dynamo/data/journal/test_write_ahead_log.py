"""Missing commits are found, and what SQLite rightly forgets is not taken for one."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from receipt_dynamo.data.journal.file import list_files
from receipt_dynamo.data.journal.write_ahead_log import (
    is_unreadable,
    misses_commits,
    read_index,
)

HEADER = 32
FRAME = 24 + 4096


class Writer:
    """A process that commits one frame for each record, and can be killed at any moment."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode = WAL", "wal_autocheckpoint = 0", "cache_size = 5"):
            self.connection.execute(f"PRAGMA {pragma}")
        self.connection.execute("CREATE TABLE records (item BLOB)")
        self.run("PRAGMA wal_checkpoint(TRUNCATE)")

    def run(self, sql: str) -> None:
        self.connection.execute(sql).fetchall()

    def commit(self, records: int) -> None:
        for _ in range(records):
            self.run("INSERT INTO records VALUES (zeroblob(10))")

    def kill(self) -> Killed:
        """Take what its files hold at this moment, as the system keeps it."""
        path = self.path.with_name("killed.db")
        for source, copy in zip(list_files(self.path), list_files(path), strict=True):
            shutil.copy(source, copy)
        return Killed(path)


class Killed:
    """What a killed process left."""

    def __init__(self, path: Path) -> None:
        self.path, self.log, self.index = list_files(path)

    @property
    def frames(self) -> int:
        return (self.log.stat().st_size - HEADER) // FRAME

    def forget_index(self) -> None:
        self.index.unlink()

    def flip(self, offset: int) -> None:
        with self.log.open("r+b") as file:
            file.seek(offset)
            (byte,) = file.read(1)
            file.seek(offset)
            file.write(bytes([byte ^ 1]))

    def misses(self) -> bool:
        before = read_index(self.index)
        with closing(sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("PRAGMA user_version").fetchone()
        after = read_index(self.index)
        assert after is not None
        return misses_commits(self.log, after.frames, before)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    writer = Writer(tmp_path / "living.db")
    yield writer
    writer.connection.close()


def offset_of(frame: int) -> int:
    """Where a frame begins; the first is 1."""
    return HEADER + (frame - 1) * FRAME


with_and_without_index = pytest.mark.parametrize("index", ["known", "lost"])


def kill(writer: Writer, index: str) -> Killed:
    killed = writer.kill()
    if index == "lost":
        killed.forget_index()
    return killed


@with_and_without_index
def test_a_whole_log_misses_nothing(writer: Writer, index: str) -> None:
    writer.commit(10)
    assert not kill(writer, index).misses()


@with_and_without_index
def test_an_empty_log_misses_nothing(writer: Writer, index: str) -> None:
    writer.commit(10)
    writer.run("PRAGMA wal_checkpoint(TRUNCATE)")
    assert not kill(writer, index).misses()


@with_and_without_index
def test_a_log_that_is_copied_but_not_begun_again_misses_nothing(
    writer: Writer, index: str
) -> None:
    writer.commit(10)
    writer.run("PRAGMA wal_checkpoint")
    assert not kill(writer, index).misses()


@with_and_without_index
def test_what_is_behind_a_log_that_began_again_is_of_an_earlier_one(
    writer: Writer, index: str
) -> None:
    writer.commit(10)
    writer.run("PRAGMA wal_checkpoint")
    writer.commit(3)
    killed = kill(writer, index)
    assert killed.frames == 10
    assert not killed.misses()


@with_and_without_index
def test_what_a_transaction_left_that_was_rolled_back_was_never_committed(
    writer: Writer, index: str
) -> None:
    writer.commit(2)
    writer.run("BEGIN")
    for _ in range(20):
        writer.run("INSERT INTO records VALUES (zeroblob(5000))")
    writer.run("ROLLBACK")
    writer.commit(1)
    killed = kill(writer, index)
    assert killed.frames > 10
    assert not killed.misses()


@with_and_without_index
@pytest.mark.parametrize("written", [3, 24, 1_000])
def test_a_frame_that_was_being_written_was_never_committed(
    writer: Writer, index: str, written: int
) -> None:
    writer.commit(5)
    killed = kill(writer, index)
    writer.commit(1)
    sixth = list_files(writer.path)[1].read_bytes()[offset_of(6) :]
    with killed.log.open("ab") as file:
        file.write(sixth[:written])
    assert not killed.misses()


@with_and_without_index
@pytest.mark.parametrize("place", [4, 8, 16, 24, 2_000])
def test_commits_behind_a_damaged_frame_are_missed(writer: Writer, index: str, place: int) -> None:
    writer.commit(10)
    killed = kill(writer, index)
    killed.flip(offset_of(4) + place)
    assert killed.misses()


@with_and_without_index
@pytest.mark.parametrize("place", [0, 9, 17, 30])
def test_a_log_whose_header_is_damaged_misses_all(writer: Writer, index: str, place: int) -> None:
    writer.commit(10)
    killed = kill(writer, index)
    killed.flip(place)
    assert killed.misses()


@pytest.mark.parametrize("size", [0, 17, HEADER, offset_of(2), offset_of(7) + 99, offset_of(10)])
def test_a_log_that_was_cut_is_shorter_than_its_index_says(writer: Writer, size: int) -> None:
    writer.commit(10)
    killed = writer.kill()
    os.truncate(killed.log, size)
    assert killed.misses()


def test_a_log_that_is_gone_is_missed_unless_all_of_it_was_copied(writer: Writer) -> None:
    writer.commit(10)
    killed = writer.kill()
    killed.log.unlink()
    assert killed.misses()
    writer.run("PRAGMA wal_checkpoint")
    killed = writer.kill()
    killed.log.unlink()
    assert not killed.misses()


def test_the_last_frame_is_missed_when_it_is_damaged(writer: Writer) -> None:
    writer.commit(10)
    killed = writer.kill()
    killed.flip(offset_of(10) + 2_000)
    assert killed.misses()


def test_a_log_of_another_time_is_not_taken_for_this_ones(writer: Writer) -> None:
    """Somebody put an old copy back."""
    writer.commit(10)
    old = list_files(writer.path)[1].read_bytes()
    writer.run("PRAGMA wal_checkpoint")
    writer.commit(5)
    killed = writer.kill()
    killed.log.write_bytes(old)
    assert killed.misses()


@pytest.mark.parametrize("places", [(0,), (47,), (48,), (95,), (0, 48), (16, 64), (47, 95)])
def test_an_index_that_is_damaged_proves_nothing(writer: Writer, places: tuple[int, ...]) -> None:
    """It holds two copies of what counts; both may be damaged alike."""
    writer.commit(10)
    killed = writer.kill()
    content = bytearray(killed.index.read_bytes())
    for place in places:
        content[place] ^= 1
    killed.index.write_bytes(content)
    assert read_index(killed.index) is None
    assert not killed.misses()


@pytest.mark.parametrize("content", [b"", b"short", bytes(32_768)])
def test_an_index_that_was_never_written_proves_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "index"
    assert read_index(path) is None
    path.write_bytes(content)
    assert read_index(path) is None


@with_and_without_index
def test_a_commit_that_the_disk_had_no_room_for_was_never_made(writer: Writer, index: str) -> None:
    """Its frames have this log's salts, and the last one says "commit" over half a page."""
    writer.commit(5)
    killed = kill(writer, index)
    writer.commit(2)
    written = bytearray(list_files(writer.path)[1].read_bytes())
    for frame in (6, 7):
        written[offset_of(frame) + 1_000 : offset_of(frame + 1)] = bytes(FRAME - 1_000)
    killed.log.write_bytes(written)
    assert not killed.misses()


def test_what_is_copied_is_missed_below_what_is_left_of_the_log(writer: Writer) -> None:
    """SQLite takes what it accepts of the log for newer than the database."""
    writer.commit(10)
    writer.run("PRAGMA wal_checkpoint")
    killed = writer.kill()
    killed.flip(offset_of(4) + 99)
    assert killed.misses()


def test_what_is_copied_is_not_missed_when_no_frame_of_the_log_is_accepted(writer: Writer) -> None:
    writer.commit(10)
    writer.run("PRAGMA wal_checkpoint")
    killed = writer.kill()
    killed.flip(offset_of(1))
    assert not killed.misses()


def test_a_log_with_a_damaged_header_is_unreadable(writer: Writer) -> None:
    writer.commit(1)
    killed = writer.kill()
    assert not is_unreadable(killed.log)
    killed.flip(1)
    assert is_unreadable(killed.log)
    os.truncate(killed.log, HEADER - 1)
    assert not is_unreadable(killed.log)
    killed.log.unlink()
    assert not is_unreadable(killed.log)
