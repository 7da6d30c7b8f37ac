"""The journals' directory: private, swept, and never the reason for a failure."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from receipt_dynamo.data.journal import file as journal_file
from receipt_dynamo.data.journal import journal
from receipt_dynamo.data.journal.directory import SET_ASIDE, JournalDirectory, JournalTarget
from receipt_dynamo.data.journal.file import JournalError, list_files
from receipt_dynamo.data.journal.lease import Lease
from support.left_journals import make_journal

TARGET = JournalTarget("table", "us-east-1", "http://127.0.0.1:9")


@pytest.fixture
def directory(tmp_path: Path) -> JournalDirectory:
    return JournalDirectory(tmp_path / "state" / "receipt_dynamo" / "journal")


def list_names(directory: JournalDirectory) -> list[str]:
    return sorted(path.name for path in directory.path.iterdir())


MAKE_AND_PRINT_MODES = """
import os, sys
os.umask(int(sys.argv[2], 8))
from pathlib import Path
from receipt_dynamo.data.journal.directory import JournalDirectory, JournalTarget
path = Path(sys.argv[1]) / "receipt_dynamo" / "journal"
directory = JournalDirectory(path)
held = directory.create(JournalTarget("table", "", ""), sync=False)
held.journal.append(b"item")
held.journal.checkpoint()
other = directory.create(JournalTarget("table", "", ""), sync=False)
other.journal.append(b"item")
directory.set_aside(other.journal.path)
for name in [path.parent, path, *path.rglob("*")]:
    print(oct(name.stat().st_mode & 0o777), "folder" if name.is_dir() else name.suffix)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no modes there")
@pytest.mark.parametrize("umask", ["0", "22", "77", "277", "777"])
def test_directories_and_files_are_private_under_any_umask(tmp_path: Path, umask: str) -> None:
    """Write-ahead log and index hold what the database holds."""
    done = subprocess.run(
        [sys.executable, "-c", MAKE_AND_PRINT_MODES, str(tmp_path), umask],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    modes = sorted(done.stdout.splitlines())
    kinds = [".db", ".db-shm", ".db-wal", ".lock"]
    assert modes == sorted(["0o700 folder"] * 3 + [f"0o600 {kind}" for kind in kinds] * 2)


def test_a_directory_that_is_there_keeps_its_mode(directory: JournalDirectory) -> None:
    directory.path.mkdir(parents=True)
    directory.path.chmod(0o750)
    directory.create(TARGET, sync=False).close()
    assert directory.path.stat().st_mode & 0o777 == 0o750


def test_an_empty_journal_leaves_nothing_when_it_is_closed(directory: JournalDirectory) -> None:
    held = directory.create(TARGET, sync=False)
    held.journal.append(b"item")
    held.journal.delete([1])
    held.close()
    assert list_names(directory) == []


def test_a_journal_is_deleted_only_when_it_is_seen_to_be_empty(
    directory: JournalDirectory,
) -> None:
    """Whatever anybody has counted."""
    held = directory.create(TARGET, sync=False)
    held.journal.append(b"item")
    assert (held.counts.pending, held.counts.dead) == (0, 0)
    held.close()
    assert len(directory.list()) == 1


def test_another_file_under_the_journals_name_is_not_deleted(directory: JournalDirectory) -> None:
    held = directory.create(TARGET, sync=False)
    path = held.journal.path
    path.rename(path.with_suffix(".elsewhere"))
    path.write_bytes(b"somebody's")
    held.close()
    assert path.read_bytes() == b"somebody's"


def test_a_journal_has_no_name_before_it_is_whole(
    directory: JournalDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is killed in between leaves no journal that looks damaged."""
    seen: list[list[Path]] = []
    make_file = journal_file.make_file

    def make_and_look(path: Path, *arguments: object, **keywords: object) -> None:
        make_file(path, *arguments, **keywords)  # type: ignore[arg-type]
        seen.append(directory.list())

    monkeypatch.setattr(journal, "make_file", make_and_look)
    held = directory.create(TARGET, sync=False)
    assert seen == [[]]
    assert directory.list() == [held.journal.path]
    held.close()


def test_a_file_system_without_a_write_ahead_log_is_refused_and_left_clean(
    directory: JournalDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_log(monkeypatch)
    with pytest.raises(JournalError, match="its file system has no WAL mode"):
        directory.create(TARGET, sync=False)
    assert list_names(directory) == []


def refuse_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have SQLite use a way to the disk that has no shared memory, as on a network file system.

    It is one of SQLite's own ("The Unix VFSes", sqlite.org/vfs.html), and it is SQLite that
    refuses the log.
    """
    connect = journal_file.connect

    def connect_without_shared_memory(path: Path, mode: str = "rw") -> object:
        return connect(path, f"{mode}&vfs=unix-dotfile")

    monkeypatch.setattr(journal_file, "connect", connect_without_shared_memory)


def leave_a_name(directory: JournalDirectory) -> Path:
    """Return the name of a journal that is gone."""
    path = make_journal(directory, TARGET, pending=1)
    for each in [*list_files(path), path.with_suffix(".lock")]:
        each.unlink(missing_ok=True)
    return path


def test_what_a_killed_process_left_of_a_journal_it_was_making_is_swept(
    directory: JournalDirectory,
) -> None:
    path = leave_a_name(directory)
    for ending in (".new", ".new-journal", ".new-wal", ".new-shm", ".lock"):
        path.with_suffix(ending).write_bytes(b"half")
    directory.sweep()
    assert list_names(directory) == []


def test_what_a_living_process_is_making_is_not_swept(directory: JournalDirectory) -> None:
    path = leave_a_name(directory)
    lease = Lease.take(path.with_suffix(".lock"))
    assert lease is not None
    unfinished = path.with_suffix(".new")
    unfinished.write_bytes(b"half")
    directory.sweep()
    assert unfinished.read_bytes() == b"half"
    lease.release(unlink=True)


def test_a_log_without_its_database_may_hold_records_and_is_set_aside(
    directory: JournalDirectory,
) -> None:
    """Its process was killed while it set the journal aside, or somebody moved the database."""
    path = leave_a_name(directory)
    log = list_files(path)[1]
    log.write_bytes(b"records")
    directory.sweep()
    assert list_names(directory) == [SET_ASIDE]
    assert (directory.path / SET_ASIDE / log.name).read_bytes() == b"records"
    assert directory.count_set_aside() == 1


def test_sweeping_touches_neither_whole_journals_nor_what_is_not_ours(
    directory: JournalDirectory,
) -> None:
    kept = make_journal(directory, TARGET, pending=1)
    for name in ("notes.txt", "other.lock", "other.db-wal", "a-1-2.new"):
        (directory.path / name).write_text("mine")
    directory.set_aside(shutil.copy(kept, directory.path / f"{'0' * 16}-1-2.db"))
    before = list_names(directory)
    directory.sweep()
    assert list_names(directory) == before


def test_a_directory_that_is_not_there_is_swept_in_vain(directory: JournalDirectory) -> None:
    directory.sweep()
    assert not directory.path.exists()


@pytest.mark.skipif(os.name == "nt", reason="no owner and no modes there")
def test_what_another_user_could_have_put_there_is_not_adopted(
    directory: JournalDirectory,
) -> None:
    path = make_journal(directory, TARGET, pending=1)
    directory.path.chmod(0o777)
    with pytest.raises(PermissionError, match="can be written by every user"):
        directory.open_abandoned(path)
    with pytest.raises(PermissionError, match="can be written by every user"):
        directory.create(TARGET, sync=False)
