"""A lease: one holder, and lookers who do not get into anybody's way."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from receipt_dynamo.data.journal.lease import Lease, find_holder

if sys.platform == "win32":
    pytest.skip("no flock", allow_module_level=True)

import fcntl


def test_the_holder_is_found_by_its_process_id(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    assert find_holder(path) is None
    lease = Lease.take(path)
    assert lease is not None
    assert find_holder(path) == os.getpid()
    lease.release(unlink=False)
    assert find_holder(path) is None


def test_a_holder_that_could_not_write_its_id_is_found_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    lease = Lease.take(path)
    assert lease is not None
    os.truncate(path, 0)
    assert find_holder(path) == 0
    lease.release(unlink=True)


def test_looking_makes_no_lock_file(tmp_path: Path) -> None:
    assert find_holder(tmp_path / "a.lock") is None
    assert list(tmp_path.iterdir()) == []


def test_an_adopter_is_not_turned_away_by_somebody_who_just_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The looker's lock is shared: who meets it knows that there is no holder, and tries again."""
    path = tmp_path / "a.lock"
    path.touch()
    looker = os.open(path, os.O_RDONLY)
    fcntl.flock(looker, fcntl.LOCK_SH | fcntl.LOCK_NB)
    real: Any = fcntl.flock
    tries: list[int] = []

    def flock(descriptor: int, operation: int) -> None:
        tries.append(operation)
        try:
            real(descriptor, operation)
        finally:
            if len(tries) == 2:  # It has met the looker, which is done now.
                real(looker, fcntl.LOCK_UN)

    monkeypatch.setattr(fcntl, "flock", flock)
    lease = Lease.take(path)
    os.close(looker)
    assert lease is not None
    assert len(tries) == 3
    lease.release(unlink=True)


def test_a_looker_that_stays_is_no_endless_wait(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    path.touch()
    looker = os.open(path, os.O_RDONLY)
    fcntl.flock(looker, fcntl.LOCK_SH | fcntl.LOCK_NB)
    assert Lease.take(path) is None
    os.close(looker)


def test_a_lock_file_that_is_unlinked_between_open_and_lock_is_not_taken_for_the_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock would keep nobody out: the next one makes a new file of that name."""
    path = tmp_path / "a.lock"
    first = Lease.take(path)
    assert first is not None
    real: Any = fcntl.flock
    taken: list[int] = []

    def flock(descriptor: int, operation: int) -> None:
        if not taken:  # It is open; now its holder deletes the journal, and the file with it.
            taken.append(descriptor)
            first.release(unlink=True)
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    lease = Lease.take(path)
    assert lease is not None
    assert find_holder(path) == os.getpid()
    assert Lease.take(path) is None
    lease.release(unlink=True)


def test_a_lease_is_kept_without_another_lock_and_its_file_made_young(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    lease = Lease.take(path)
    assert lease is not None
    os.utime(path, (0, 0))
    assert lease.is_still_ours()
    assert path.stat().st_mtime > 0
    assert Lease.take(path) is None
    lease.release(unlink=True)


def test_a_lease_whose_file_was_deleted_is_taken_again_or_lost(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    lease = Lease.take(path)
    assert lease is not None
    path.unlink()
    assert lease.is_still_ours()
    assert Lease.take(path) is None
    path.unlink()
    other = Lease.take(path)
    assert other is not None
    assert not lease.is_still_ours()
    other.release(unlink=False)
    lease.release(unlink=False)
    assert Lease.take(path) is not None
