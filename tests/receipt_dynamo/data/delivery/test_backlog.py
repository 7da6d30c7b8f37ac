"""How far the rows of one journal have been handed out: each row once, in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from receipt_dynamo.data.delivery.ages import PendingAges
from receipt_dynamo.data.delivery.backlog import Backlog, PendingRecord
from receipt_dynamo.data.delivery.reports import Watch
from receipt_dynamo.data.journal.directory import HeldJournal, JournalDirectory, JournalTarget
from receipt_dynamo.data.journal.journal import ROW_OVERHEAD, JournalRow


@pytest.fixture
def make_held(tmp_path: Path) -> Iterator[Callable[[], HeldJournal]]:
    directory = JournalDirectory(tmp_path / "journal")
    made: list[HeldJournal] = []

    def make() -> HeldJournal:
        made.append(directory.create(JournalTarget("table", "", ""), sync=False))
        return made[-1]

    yield make
    for held in made:
        held.close()


@pytest.fixture
def backlog(make_held: Callable[[], HeldJournal]) -> Backlog:
    return Backlog(make_held(), PendingAges(time.monotonic))


def make_record(number: int, watch: Watch | None = None) -> PendingRecord:
    body = b'{"PK":{"S":"p"},"SK":{"S":"%d"}}' % number
    return PendingRecord(("p", str(number)), body, watch)


def spill(backlog: Backlog, *numbers: int) -> None:
    for number in numbers:
        record = make_record(number)
        backlog.append(record)
        backlog.leave_on_disk(record)


def hand_out(backlog: Backlog, limit: int = 100) -> list[int]:
    records, damaged = backlog.hand_out(backlog.read(limit))
    assert damaged == []
    return [int(record.key[1]) for record in records]


def test_rows_and_bytes_are_counted_as_they_come_and_go(backlog: Backlog) -> None:
    records = [make_record(number) for number in range(3)]
    for record in records:
        backlog.append(record)
        backlog.handed_out = record.seq
    size = sum(record.size + ROW_OVERHEAD for record in records)
    assert (backlog.rows, backlog.bytes, backlog.on_disk) == (3, size, 0)
    backlog.forget(records[:2])
    assert (backlog.rows, backlog.bytes) == (1, records[2].size + ROW_OVERHEAD)


def test_the_counts_begin_with_what_the_journal_held(
    backlog: Backlog, make_held: Callable[[], HeldJournal]
) -> None:
    held = make_held()
    held.journal.restore(
        [JournalRow(4, b"a", True), JournalRow(5, b"b", True, "why", 1), JournalRow(6, b"c", True)]
    )
    held.counts = held.journal.count()
    adopted = Backlog(held, PendingAges(time.monotonic), is_adopted=True)
    assert (adopted.on_disk, adopted.rows, adopted.is_adopted) == (2, 3, True)


def test_what_is_in_memory_is_not_handed_out_and_what_is_spilled_is_once(backlog: Backlog) -> None:
    kept = make_record(0)
    backlog.append(kept)
    backlog.handed_out = kept.seq
    spill(backlog, 1, 2, 3)
    assert hand_out(backlog, 2) == [1, 2]
    assert backlog.on_disk == 1
    assert hand_out(backlog) == [3]
    assert hand_out(backlog) == []
    assert backlog.on_disk == 0


def test_rows_that_were_read_twice_are_handed_out_once(backlog: Backlog) -> None:
    spill(backlog, 1, 2)
    rows = backlog.read(9)
    assert len(backlog.hand_out(rows)[0]) == 2
    assert backlog.hand_out(rows) == ([], [])
    assert backlog.on_disk == 0


def test_damaged_rows_are_told_apart_and_not_handed_out_later(backlog: Backlog) -> None:
    spill(backlog, 1, 2, 3)
    first, second, third = backlog.read(9)
    records, damaged = backlog.hand_out([first, second._replace(is_whole=False), third])
    assert [record.seq for record in records] == [1, 3]
    assert [row.seq for row in damaged] == [2]
    assert backlog.on_disk == 0


def test_who_watches_a_row_gets_its_record_or_is_told_that_it_is_lost(
    backlog: Backlog, make_held: Callable[[], HeldJournal]
) -> None:
    watches = [Watch(("p", str(number)), lambda report: None) for number in range(2)]
    for number, watch in enumerate(watches):
        record = make_record(number, watch)
        backlog.append(record)
        backlog.leave_on_disk(record)
    rows = backlog.read(9)
    rescue = make_held()
    rescue.journal.restore(rows[:1])
    rescue.counts = rescue.journal.count()

    later = backlog.continue_in(rescue)
    assert (later.on_disk, backlog.watches) == (1, {})
    assert later.take_lost_watches() == []
    (record,), _ = later.hand_out(later.read(9))
    assert record.watch is watches[0]
    assert later.take_lost_watches() == [watches[1]]
    assert later.take_lost_watches() == []


def test_what_is_given_up_is_not_on_disk_any_more(backlog: Backlog) -> None:
    watch = Watch(("p", "1"), lambda report: None)
    record = make_record(1, watch)
    backlog.append(record)
    backlog.leave_on_disk(record)
    assert backlog.give_up() == (1, [watch])
    assert backlog.give_up() == (0, [])
