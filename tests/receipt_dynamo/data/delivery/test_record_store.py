"""Where accepted records are kept: this process's journal, and those that it adopted."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from receipt_dynamo.data.delivery.backlog_reader import DAMAGED
from receipt_dynamo.data.delivery.journal_health import RETRY_DELAY
from receipt_dynamo.data.delivery.pending_record import PendingRecord, Watch
from receipt_dynamo.data.delivery.record_store import (
    DELETES_AT_ONCE,
    MAX_ADOPTED,
    Placement,
    RecordStore,
)
from receipt_dynamo.data.journal.directory import SET_ASIDE, JournalDirectory, JournalTarget
from receipt_dynamo.data.journal.file import list_files
from receipt_dynamo.data.journal.journal import JournalCounts
from support.damaged_journals import flip

TARGET = JournalTarget("table", "us-east-1", "http://127.0.0.1:9")


def make_record(number: int, watch: Watch | None = None) -> PendingRecord:
    key = ("p", str(number))
    body = b'{"PK":{"S":"p"},"SK":{"S":"%d"}}' % number
    return PendingRecord(key, body, watch=watch)


class Bench:
    """A store of its own clock, which notes what it is told."""

    def __init__(self, path: Path, max_bytes: int = 10**9) -> None:
        self.directory = JournalDirectory(path)
        self.now = 0.0
        self.degraded: list[str] = []
        self.set_aside: list[str] = []
        self.damaged: list[tuple[int, str]] = []
        self.damaged_watches: list[Watch] = []
        self.store = RecordStore(
            self.directory,
            TARGET,
            sync=False,
            max_bytes=max_bytes,
            on_degraded=self.degraded.append,
            on_damaged=self.note_damage,
            on_set_aside=self.set_aside.append,
            clock=lambda: self.now,
        )

    def note_damage(self, records: int, reason: str, watches: Iterable[Watch]) -> None:
        self.damaged.append((records, reason))
        self.damaged_watches += watches

    def append(self, record: PendingRecord, *, spill: bool = False) -> Placement:
        placement = self.store.append(record)
        if placement is Placement.JOURNAL:
            (self.store.spill if spill else self.store.keep_in_memory)(record)
        self.store.report_trouble()
        return placement

    def adopt(self, path: Path) -> None:
        held = self.directory.open_abandoned(path)
        assert held is not None
        assert self.store.adopt(held)

    def change(self, sql: str) -> None:
        """Change every journal behind the store's back."""
        for path in self.directory.list():
            with closing(sqlite3.connect(path)) as connection, connection:
                connection.execute(sql)

    def count(self) -> JournalCounts:
        (path,) = self.directory.list()
        with closing(sqlite3.connect(path)) as connection:
            pending, dead = connection.execute(
                "SELECT COUNT(*) - COUNT(reason), COUNT(reason) FROM records"
            ).fetchone()
        return JournalCounts(pending, dead, 0)


@pytest.fixture
def open_bench() -> Iterator[Callable[..., Bench]]:
    opened: list[Bench] = []

    def open_bench(path: Path, **bounds: int) -> Bench:
        opened.append(Bench(path, **bounds))
        return opened[-1]

    yield open_bench
    for bench in opened:
        bench.store.close()


@pytest.fixture
def bench(tmp_path: Path, open_bench: Callable[..., Bench]) -> Bench:
    return open_bench(tmp_path / "journal")


def numbers(records: Iterable[PendingRecord]) -> list[int]:
    return [int(record.key[1]) for record in records]


def test_nothing_is_made_before_the_first_record(bench: Bench) -> None:
    assert not bench.directory.path.exists()
    assert bench.append(make_record(1)) is Placement.JOURNAL
    assert len(bench.directory.list()) == 1


def test_without_a_directory_records_are_in_memory_by_choice_and_not_counted(
    tmp_path: Path,
) -> None:
    store = RecordStore(
        None,
        TARGET,
        sync=False,
        max_bytes=1,
        on_degraded=pytest.fail,
        on_damaged=pytest.fail,
        on_set_aside=pytest.fail,
    )
    assert store.append(make_record(1)) is Placement.MEMORY
    assert (store.undurable, store.is_degraded, store.bytes) == (0, False, 0)
    assert store.close() == 0


def test_what_is_spilled_is_handed_out_once_in_order_with_its_watch(bench: Bench) -> None:
    watch = Watch(("p", "2"), lambda report: None)
    bench.append(make_record(0))
    bench.append(make_record(1), spill=True)
    bench.append(make_record(2, watch), spill=True)
    bench.append(make_record(3), spill=True)
    assert bench.store.waiting == 3
    assert bench.store.spills
    first = bench.store.take(2)
    assert numbers(first) == [1, 2]
    assert first[1].watch is watch
    assert numbers(bench.store.take(9)) == [3]
    assert bench.store.take(9) == []
    assert not bench.store.spills


def test_at_the_bound_there_is_no_place_until_rows_are_settled(
    tmp_path: Path, open_bench: Callable[..., Bench]
) -> None:
    bench = open_bench(tmp_path, max_bytes=250)
    kept = [make_record(number) for number in range(2)]
    assert [bench.append(record) for record in kept] == [Placement.JOURNAL] * 2
    assert bench.append(make_record(9)) is Placement.NOWHERE
    bench.store.forget(kept, at_once=True)
    assert bench.store.bytes == 0
    assert bench.append(make_record(9)) is Placement.JOURNAL


def test_settled_rows_are_deleted_many_at_once_or_when_asked(bench: Bench) -> None:
    records = [make_record(number) for number in range(DELETES_AT_ONCE)]
    for record in records:
        bench.append(record)
    bench.store.forget(records[:-1], at_once=False)
    assert bench.count().pending == DELETES_AT_ONCE
    bench.store.forget(records[-1:], at_once=False)
    assert bench.count().pending == 0
    assert not bench.store.delete_settled()


def test_an_empty_journal_goes_when_the_store_closes_and_another_one_stays(
    bench: Bench, open_bench: Callable[..., Bench]
) -> None:
    records = [make_record(number) for number in range(3)]
    for record in records:
        bench.append(record)
    bench.store.forget(records[:2], at_once=False)
    assert bench.store.close() == 1
    later = open_bench(bench.directory.path)
    (path,) = later.directory.list()
    later.adopt(path)
    (record,) = later.store.take(9)
    assert record.body == records[2].body
    later.store.forget([record], at_once=True)
    assert later.store.close() == 0
    assert list(bench.directory.path.iterdir()) == []


def test_records_of_dead_processes_come_before_this_ones(
    bench: Bench, open_bench: Callable[..., Bench]
) -> None:
    bench.append(make_record(1), spill=True)
    bench.store.close()
    later = open_bench(bench.directory.path)
    later.append(make_record(2), spill=True)
    (path,) = [path for path in later.directory.list() if not later.store.holds(path)]
    later.adopt(path)
    assert numbers(later.store.take(9)) == [1]
    assert numbers(later.store.take(9)) == [2]


def test_a_damaged_row_is_never_handed_out_but_kept_as_a_dead_letter(bench: Bench) -> None:
    watch = Watch(("p", "2"), lambda report: None)
    for number in range(1, 6):
        bench.append(make_record(number, watch if number == 2 else None), spill=True)
    bench.change("UPDATE records SET item = X'7b7d' WHERE seq IN (2, 4)")
    assert numbers(bench.store.take(9)) == [1, 3, 5]
    assert bench.damaged == [(1, DAMAGED), (1, DAMAGED)]
    assert bench.damaged_watches == [watch]
    assert (bench.count().pending, bench.count().dead) == (3, 2)
    assert bench.store.revive(bench.store.read_dead()) == 0
    assert (bench.store.waiting, bench.count().dead) == (0, 2)


def test_a_page_of_damaged_rows_does_not_hide_the_whole_ones_behind_it(bench: Bench) -> None:
    for number in range(1, 8):
        bench.append(make_record(number), spill=True)
    bench.change("UPDATE records SET mark = 0 WHERE seq <= 5")
    assert numbers(bench.store.take(3)) == [6]
    assert numbers(bench.store.take(3)) == [7]
    assert len(bench.damaged) == 5


def test_a_whole_row_that_is_no_record_is_damaged_too(bench: Bench) -> None:
    """An older release may have damaged it before it had a mark."""
    bench.append(PendingRecord(("p", "1"), b"no json"), spill=True)
    bench.append(make_record(2), spill=True)
    assert numbers(bench.store.take(9)) == [2]
    assert bench.damaged == [(1, DAMAGED)]


def test_rows_that_are_not_there_any_more_are_counted_and_nobody_waits_for_them(
    bench: Bench,
) -> None:
    for number in range(1, 4):
        bench.append(make_record(number), spill=True)
    bench.change("DELETE FROM records WHERE seq > 1")
    assert numbers(bench.store.take(9)) == [1]
    assert bench.store.take(9) == []
    assert bench.store.waiting == 0
    assert [records for records, _ in bench.damaged] == [2]


def test_a_record_between_its_commit_and_its_place_is_handed_out_to_nobody(bench: Bench) -> None:
    """Else it is in the queue twice, or counted as waiting although it has left."""
    bench.append(make_record(1), spill=True)
    committed = make_record(2)
    bench.store.append(committed)
    assert numbers(bench.store.take(9)) == [1]
    assert bench.store.take(9) == []
    bench.store.spill(committed)
    assert numbers(bench.store.take(9)) == [2]
    assert bench.store.waiting == 0

    bench.append(make_record(3), spill=True)
    committed = make_record(4)
    bench.store.append(committed)
    assert numbers(bench.store.take(9)) == [3]
    bench.store.keep_in_memory(committed)
    bench.append(make_record(5), spill=True)
    assert numbers(bench.store.take(9)) == [5]
    assert (bench.store.waiting, bench.damaged) == (0, [])


def block(bench: Bench) -> Path:
    """Put a file where the directory should be."""
    path = bench.directory.path
    path.write_text("in the way")
    return path


def test_a_journal_that_cannot_be_made_is_said_and_counted_and_tried_again(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    in_the_way = block(bench)
    assert bench.append(make_record(1)) is Placement.MEMORY
    assert (bench.store.is_degraded, bench.store.undurable) == (True, 1)
    assert len(bench.degraded) == 1
    in_the_way.unlink()
    bench.now = RETRY_DELAY - 1
    assert bench.append(make_record(2)) is Placement.MEMORY
    assert (bench.store.undurable, len(bench.degraded)) == (2, 1)
    bench.now = RETRY_DELAY
    assert bench.append(make_record(3)) is Placement.JOURNAL
    assert (bench.store.is_degraded, bench.store.undurable) == (False, 2)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "cannot make the journal" in said[0]
    assert said[1] == "the journal is written again; so far 2 records were in memory only"


def test_a_failure_that_lasts_is_said_once_a_minute(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    block(bench)
    for _ in range(5):
        bench.append(make_record(1))
        bench.now += RETRY_DELAY
    assert len(caplog.records) == 3
    assert len(bench.degraded) == 5


def damage_pages(path: Path) -> list[bytes]:
    """Overwrite the files below an open journal; return what they are now."""
    for name in list_files(path)[:2]:
        name.write_bytes(b"\x00\xff" * (name.stat().st_size // 2))
    return [name.read_bytes() for name in list_files(path)[:2]]


def forget_pages(bench: Bench) -> None:
    """Have SQLite read from the files what it still has in memory."""
    for backlog in bench.store._backlogs():
        for connection in (backlog.journal._writer, backlog.journal._connect_reader()):
            connection.execute("PRAGMA shrink_memory")


@pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be moved there")
def test_this_processs_journal_damaged_below_it_is_set_aside_and_a_new_one_begins(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    in_memory = [make_record(number) for number in range(2)]
    for record in in_memory:
        bench.append(record)
    for number in range(2, 5):
        bench.append(make_record(number), spill=True)
    (path,) = bench.directory.list()
    content = damage_pages(path)
    assert bench.store.take(9) == []
    assert [records for records, _ in bench.damaged] == [3]
    assert bench.set_aside == [f"journal {path.name} is damaged"]
    assert bench.store.set_aside == bench.directory.count_set_aside() == 1
    aside = list_files(path.parent / SET_ASIDE / path.name)
    assert [name.read_bytes() for name in aside[:2]] == content
    assert "is set aside" in caplog.text

    bench.store.forget(in_memory, at_once=True)  # They go on in memory, and are settled.
    assert bench.append(make_record(9)) is Placement.JOURNAL
    assert bench.store.undurable == 0
    assert bench.store.close() == 1
    (new,) = bench.directory.list()
    assert new.name != path.name


@pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be moved there")
def test_what_waits_on_the_other_pages_of_a_damaged_journal_goes_on(bench: Bench) -> None:
    """A million records may wait there; and who watches a lost one is told."""
    watches = [Watch(("p", str(number)), lambda report: None) for number in range(400)]
    bench.append(make_record(1_000))
    for number, watch in enumerate(watches):
        bench.append(make_record(number, watch), spill=True)
    bench.store.checkpoint()
    taken = bench.store.take(10)
    (path,) = bench.directory.list()
    flip(path, 4 * 4096, 4096)
    forget_pages(bench)
    while bench.store.waiting:
        taken += bench.store.take(50)
    assert bench.store.take(1) == []
    (missing,) = [records for records, _ in bench.damaged if records]
    assert len(taken) + missing == 400
    assert 10 < missing < 100
    assert numbers(taken) == sorted(set(numbers(taken)))
    assert all(record.body == make_record(int(record.key[1])).body for record in taken)
    found = {record.watch for record in taken}
    assert set(bench.damaged_watches) == set(watches) - found
    assert bench.store.set_aside == 1
    bench.store.forget(taken, at_once=True)
    assert bench.store.close() == 0
    assert [name.name for name in path.parent.iterdir()] == [SET_ASIDE]


@pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be moved there")
@pytest.mark.parametrize("work", ["append", "settle", "bury", "revive"])
def test_damage_below_it_is_met_by_whatever_touches_the_journal_next(
    bench: Bench, work: str
) -> None:
    record = make_record(1)
    bench.append(record)
    letter = make_record(2)
    bench.append(letter)
    assert bench.store.bury(letter, "why")
    dead = bench.store.read_dead()
    (path,) = bench.directory.list()
    damage_pages(path)
    forget_pages(bench)
    if work == "append":
        bench.append(make_record(3))
    elif work == "settle":
        bench.store.forget([record], at_once=True)
    elif work == "bury":
        assert not bench.store.bury(record, "why")
    else:
        assert bench.store.revive(dead) == 0
    assert bench.store.set_aside == 1
    assert not bench.store.delete_settled()
    assert bench.append(make_record(4)) is Placement.JOURNAL


def test_a_journal_that_somebody_deleted_is_missed_and_a_new_one_begins(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Commits to a file without a name succeed, and nobody finds them when the process ends."""
    bench.append(make_record(1))
    bench.append(make_record(2), spill=True)
    (path,) = bench.directory.list()
    bench.store.keep_own()
    assert bench.degraded == []
    for name in path.parent.iterdir():
        name.unlink()
    bench.store.keep_own()
    assert bench.store.undurable == 2
    assert bench.degraded == [f"journal {path.name} was moved or deleted by somebody"]
    assert "its 2 records end with this process" in caplog.text
    assert bench.append(make_record(3), spill=True) is Placement.JOURNAL
    (new,) = bench.directory.list()
    assert new.name != path.name
    assert numbers(bench.store.take(9)) == [2]  # Still readable, from the nameless file.
    assert numbers(bench.store.take(9)) == [3]
    assert bench.store.close() == 1
    assert bench.directory.list() == [new]


@pytest.mark.skipif(sys.platform == "win32", reason="no lease there")
def test_a_lock_file_that_somebody_deleted_is_made_again(bench: Bench) -> None:
    """What cleans up old files takes it for one; the journal would be adopted from the living."""
    bench.append(make_record(1))
    (path,) = bench.directory.list()
    path.with_suffix(".lock").unlink()
    assert bench.directory.find_owner(path) is None
    bench.store.keep_own()
    assert bench.directory.find_owner(path) == os.getpid()
    assert bench.degraded == []
    assert bench.directory.open_abandoned(path) is None


@pytest.mark.skipif(sys.platform == "win32", reason="no lease there")
def test_a_journal_that_somebody_else_holds_by_now_is_not_this_processs_any_more(
    bench: Bench,
) -> None:
    bench.append(make_record(1))
    (path,) = bench.directory.list()
    path.with_suffix(".lock").unlink()
    thief = bench.directory.open_abandoned(path)
    assert thief is not None
    bench.store.keep_own()
    assert bench.store.undurable == 1
    bench.append(make_record(2))
    assert len(bench.directory.list()) == 2
    assert bench.store.close() == 1
    thief.close()
    assert len(bench.directory.list()) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="no lease there")
def test_a_journal_that_cannot_be_looked_after_now_is_kept(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a disk that is full, where no lock file can be made."""
    bench.append(make_record(1))
    (path,) = bench.directory.list()
    lock = path.with_suffix(".lock")
    lock.unlink()
    lock.mkdir()
    bench.store.keep_own()
    assert "cannot look after the journal" in caplog.text
    assert (bench.store.undurable, bench.degraded) == (0, [])
    lock.rmdir()
    bench.store.keep_own()
    assert bench.directory.find_owner(path) == os.getpid()


def test_files_that_are_kept_look_young_to_what_cleans_up(bench: Bench) -> None:
    bench.append(make_record(1))
    (path,) = bench.directory.list()
    files = [path, path.with_suffix(".lock")]
    for name in files:
        os.utime(name, (0, 0))
    bench.store.keep_own()
    assert min(name.stat().st_mtime for name in files) > 0


def test_so_many_journals_are_adopted_and_no_more(bench: Bench) -> None:
    assert bench.store.has_room
    for number in range(MAX_ADOPTED):
        held = bench.directory.create(TARGET, sync=False)
        held.journal.append(b"%d" % number)
        assert bench.store.adopt(held)
    assert not bench.store.has_room
    bench.store.close()


def test_what_is_adopted_too_late_stays_for_the_next_process(bench: Bench) -> None:
    bench.store.close()
    held = bench.directory.create(TARGET, sync=False)
    held.journal.append(b"late")
    assert not bench.store.adopt(held)
    held.close()
    assert len(bench.directory.list()) == 1
