"""Journals and their disk, as the doctor sees them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from receipt_dynamo import DynamoClient
from receipt_dynamo.data.journal.directory import JournalDirectory
from support.command_runs import Ended
from support.left_journals import make_journal

Doctor = Callable[..., Ended]


def test_journals_that_somebody_should_look_at_are_warnings(
    table: DynamoClient, doctor: Doctor, tmp_path: Path
) -> None:
    directory = JournalDirectory(tmp_path / "journal")
    make_journal(directory, pending=3, dead=1)
    ended = doctor()
    assert ended.status == 1
    assert f"ok: 1 journal in {directory.path}, 3 pending" in ended.out
    assert "warning: dead processes left 3 records; 'journal drain' delivers them" in (ended.out)
    assert "warning: 1 dead letter; 'journal dead' says why" in ended.out
    document = doctor("--json").document["journals"]
    assert (document["pending"], document["dead"]) == (3, 1)


def test_a_journal_directory_that_cannot_be_read_is_an_error(
    table: DynamoClient, doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AI_USAGE_JOURNAL_DIR", str(tmp_path / "file"))
    ended = doctor("--quiet")
    assert ended.status == 2
    assert ended.out.startswith("error: ")
    assert "Not a directory" in ended.out


@pytest.fixture
def production(table: DynamoClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that does not look like one of tests, so that records wait on disk."""
    monkeypatch.setenv("ENVIRONMENT", "staging")


def test_the_free_room_for_the_journal_is_told(
    production: None, doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI_USAGE_JOURNAL_MAX_BYTES", "4096")
    assert " are free for the journal, whose bound is 4.0 KiB\n" in doctor().out
    monkeypatch.setenv("AI_USAGE_JOURNAL_MAX_BYTES", str(10**18))
    ended = doctor("--quiet")
    assert ended.status == 1
    assert "make room, or lower AI_USAGE_JOURNAL_MAX_BYTES" in ended.out
    assert not (tmp_path / "journal").exists()  # Looking makes nothing.


def test_records_that_wait_in_memory_need_no_disk(
    table: DynamoClient, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI_USAGE_JOURNAL_MAX_BYTES", str(10**18))
    ended = doctor()
    assert ended.status == 0
    assert "ok: records are in memory only, not on disk, because durability is memory" in ended.out


@pytest.fixture
def ram_disk() -> Iterator[Path]:
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        pytest.skip("there is no RAM disk")
    with TemporaryDirectory(dir=shared) as folder:
        yield Path(folder)


def test_a_ram_disk_is_a_warning(
    production: None, doctor: Doctor, ram_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI_USAGE_JOURNAL_DIR", str(ram_disk / "not" / "yet"))
    ended = doctor("--quiet")
    assert ended.status == 1
    assert "is on a RAM disk (tmpfs), which a restart of the host empties; set AI" in ended.out


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 0)() == 0, reason="root may write everywhere")
def test_a_disk_that_cannot_be_written_is_an_error(
    production: None, doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    monkeypatch.setenv("AI_USAGE_JOURNAL_DIR", str(locked / "journal"))
    ended = doctor("--quiet")
    assert ended.status == 2
    assert f"error: the journal cannot be made: {locked} cannot be written" in ended.out


def test_a_journal_directory_that_cannot_be_resolved_is_a_warning(
    production: None, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI_USAGE_JOURNAL_DIR", "~nobody-of-this-name/journal")
    said = doctor().out
    assert (
        "AI_USAGE_JOURNAL_DIR is '~nobody-of-this-name/journal', which cannot be resolved" in said
    )
