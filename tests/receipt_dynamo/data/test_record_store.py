"""Where accepted records are kept: this process's journal, and those that it adopted."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest

from receipt_dynamo.data.journal import JournalCounts
from receipt_dynamo.data.journal_directory import JournalDirectory, JournalTarget
from receipt_dynamo.data.pending_record import PendingRecord, Watch
from receipt_dynamo.data.record_store import DAMAGED, DELETES_AT_ONCE, Placement, RecordStore

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
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "journal")


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


def test_at_the_bound_there_is_no_place_until_rows_are_settled(tmp_path: Path) -> None:
    bench = Bench(tmp_path, max_bytes=250)
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


def test_an_empty_journal_goes_when_the_store_closes_and_another_one_stays(bench: Bench) -> None:
    records = [make_record(number) for number in range(3)]
    for record in records:
        bench.append(record)
    bench.store.forget(records[:2], at_once=False)
    assert bench.store.close() == 1
    later = Bench(bench.directory.path)
    (path,) = later.directory.list()
    later.adopt(path)
    (record,) = later.store.take(9)
    assert record.body == records[2].body
    later.store.forget([record], at_once=True)
    assert later.store.close() == 0
    assert list(bench.directory.path.iterdir()) == []


def test_records_of_dead_processes_come_before_this_ones(bench: Bench) -> None:
    bench.append(make_record(1), spill=True)
    bench.store.close()
    later = Bench(bench.directory.path)
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
