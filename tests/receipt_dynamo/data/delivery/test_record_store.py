"""Where accepted records are kept: this process's journal, and those that it adopted."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from receipt_dynamo.data.delivery import record_store
from receipt_dynamo.data.delivery.backlog import Backlog, PendingRecord
from receipt_dynamo.data.delivery.chores import Chore
from receipt_dynamo.data.delivery.events import DeliveryEvent, DeliveryEventKind, EventHub
from receipt_dynamo.data.delivery.record_store import (
    DAMAGED,
    DELETES_AT_ONCE,
    LATEST_DELETE,
    MAX_ADOPTED,
    RecordStore,
)
from receipt_dynamo.data.delivery.reports import Fate, Reports, Watch
from receipt_dynamo.data.journal.directory import SET_ASIDE, JournalDirectory, JournalTarget
from receipt_dynamo.data.journal.file import list_files
from receipt_dynamo.data.journal.journal import JournalCounts
from support.damaged_journals import flip

TARGET = JournalTarget("table", "us-east-1", "http://127.0.0.1:9")


def make_record(number: int, watch: Watch | None = None) -> PendingRecord:
    key = ("p", str(number))
    body = b'{"PK":{"S":"p"},"SK":{"S":"%d"}}' % number
    return PendingRecord(key, body, watch)


def watch(number: int) -> Watch:
    return Watch(("p", str(number)), lambda report: None)


class Heard(Reports):
    """Writes down what it is told."""

    def __init__(self) -> None:
        super().__init__(EventHub())
        self.events.add(self.hear)
        self.degraded: list[str | None] = []
        self.set_aside: list[str | None] = []
        self.dead: list[tuple[int, str | None]] = []
        self.dead_watches: list[Watch] = []

    def hear(self, event: DeliveryEvent) -> None:
        if event.kind is DeliveryEventKind.DEGRADED:
            self.degraded.append(event.detail)
        elif event.kind is DeliveryEventKind.SET_ASIDE:
            self.set_aside.append(event.detail)

    def report(
        self, fate: Fate, records: int, watches: Iterable[Watch | None], reason: str | None = None
    ) -> None:
        super().report(fate, records, ())
        if fate is Fate.DEAD:
            self.dead_watches += filter(None, watches)
            if records:
                self.dead.append((records, reason))


class Bench:
    """A store of its own clock, with a queue that has room or not, and what it tells."""

    def __init__(self, path: Path, max_bytes: int = 10**9) -> None:
        self.directory = JournalDirectory(path)
        self.now = 0.0
        self.heard = Heard()
        self.chores: list[Chore] = []
        self.queue: list[PendingRecord] = []
        self.store = RecordStore(
            self.directory,
            TARGET,
            sync=False,
            max_bytes=max_bytes,
            reports=self.heard,
            ask=self.chores.append,
            clock=lambda: self.now,
        )

    def accept(self, record: PendingRecord, *, spill: bool = False) -> str:
        """Put a record; return where it is: "journal", "memory" or why nowhere."""

        def offer(offered: PendingRecord) -> bool:
            if not spill:
                self.queue.append(offered)
            return not spill

        refusal = self.store.accept(record, offer)
        return refusal or ("memory" if record.backlog is None else "journal")

    def adopt(self, path: Path) -> None:
        held = self.directory.open_abandoned(path)
        assert held is not None
        assert self.store.adopt(held)

    def change(self, sql: str) -> None:
        """Change every journal behind the store's back."""
        for path in self.directory.list():
            with closing(sqlite3.connect(path)) as connection, connection:
                connection.execute(sql)

    def read_rows(self) -> list[int]:
        """Return the records that are on disk, by number, in their order."""
        (path,) = self.directory.list()
        with closing(sqlite3.connect(path)) as connection:
            rows = connection.execute("SELECT item FROM records ORDER BY seq").fetchall()
        return [int(json.loads(item)["SK"]["S"]) for (item,) in rows]

    def fail_writes(self) -> None:
        """Have the disk refuse whatever is inserted."""
        refused = sqlite3.SQLITE_INSERT
        self._authorize(
            lambda action, *_: sqlite3.SQLITE_DENY if action == refused else sqlite3.SQLITE_OK
        )

    def allow_writes(self) -> None:
        self._authorize(lambda *_: sqlite3.SQLITE_OK)

    def _authorize(self, authorize: Callable[..., int]) -> None:
        for backlog in self.store._backlogs():
            backlog.journal._end_snapshot()
            backlog.journal._writer.set_authorizer(authorize)

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
    assert bench.accept(make_record(1)) == "journal"
    assert len(bench.directory.list()) == 1


def test_without_a_directory_records_are_in_memory_by_choice_and_not_counted_as_undurable() -> None:
    heard, chores = Heard(), list[Chore]()
    store = RecordStore(None, TARGET, sync=False, max_bytes=1, reports=heard, ask=chores.append)
    assert store.accept(make_record(1), lambda record: True) is None
    assert (store.undurable, store.is_degraded, store.bytes) == (0, False, 0)
    assert store.close().pending == 0
    assert (heard.degraded, chores) == ([], [])


def test_what_is_refused_was_never_counted_as_accepted(
    tmp_path: Path, open_bench: Callable[..., Bench]
) -> None:
    """It was counted, and taken back: whoever looked in between saw more than there was."""
    seen: list[int] = []

    def refuse(record: PendingRecord) -> bool:
        seen.append(store.ledger.accounts.accepted)
        return False

    store = RecordStore(
        None, TARGET, sync=False, max_bytes=1, reports=Heard(), ask=lambda chore: None
    )
    assert store.accept(make_record(1), refuse) == "full"
    assert (seen, store.ledger.accounts.accepted) == ([0], 0)
    bench = open_bench(tmp_path / "journal", max_bytes=1)
    assert bench.accept(make_record(1)) == "full"
    assert bench.store.ledger.accounts.accepted == 0


def test_what_follows_others_on_disk_is_not_offered_to_the_queue(bench: Bench) -> None:
    bench.accept(make_record(1), spill=True)
    bench.accept(make_record(2))
    assert (bench.queue, bench.store.on_disk) == ([], 2)
    assert numbers(bench.store.take(9)) == [1, 2]
    bench.accept(make_record(3))
    assert numbers(bench.queue) == [3]


def test_only_when_all_that_is_pending_is_on_disk_somebody_is_asked_to_fetch_it(
    bench: Bench,
) -> None:
    """Else the next batch fetches it: a chore for each record would wake a thread for each."""
    bench.accept(make_record(1))
    bench.accept(make_record(2), spill=True)
    assert bench.chores == []
    bench.store.settle(bench.queue, Fate.DROPPED)
    bench.accept(make_record(3))
    assert bench.chores == [Chore.PULL]


def test_what_is_spilled_is_handed_out_once_in_order_with_its_watch(bench: Bench) -> None:
    second = watch(2)
    bench.accept(make_record(0))
    bench.accept(make_record(1), spill=True)
    bench.accept(make_record(2, second), spill=True)
    bench.accept(make_record(3), spill=True)
    assert bench.store.on_disk == 3
    first = bench.store.take(2)
    assert numbers(first) == [1, 2]
    assert first[1].watch is second
    assert numbers(bench.store.take(9)) == [3]
    assert bench.store.take(9) == []


def test_at_the_bound_there_is_no_place_until_rows_are_settled(
    tmp_path: Path, open_bench: Callable[..., Bench]
) -> None:
    bench = open_bench(tmp_path, max_bytes=250)
    kept = [make_record(number) for number in range(2)]
    assert [bench.accept(record) for record in kept] == ["journal"] * 2
    assert bench.accept(make_record(9)) == "full"
    bench.store.settle(kept, Fate.DROPPED)
    assert bench.store.bytes == 0
    assert bench.accept(make_record(9)) == "journal"


def test_settled_rows_are_deleted_many_at_once_or_when_asked(bench: Bench) -> None:
    records = [make_record(number) for number in range(DELETES_AT_ONCE)]
    for record in records:
        bench.accept(record)
    bench.store.settle(records[:-1], Fate.DELIVERED)
    assert bench.count().pending == DELETES_AT_ONCE
    bench.store.settle(records[-1:], Fate.DELIVERED)
    assert bench.count().pending == 0
    assert not bench.store.delete_settled()


def test_settled_rows_are_deleted_after_a_second_however_few_they_are(bench: Bench) -> None:
    records = [make_record(number) for number in range(3)]
    for record in records:
        bench.accept(record)
    bench.store.settle(records[:1], Fate.DELIVERED)
    bench.now += LATEST_DELETE / 2
    bench.store.delete_late()
    assert bench.count().pending == 3
    bench.now += LATEST_DELETE / 2
    bench.store.delete_late()
    assert bench.count().pending == 2
    bench.now += LATEST_DELETE
    bench.store.settle(records[1:2], Fate.DELIVERED)
    bench.store.delete_late()
    assert bench.count().pending == 2


def test_an_empty_journal_goes_when_the_store_closes_and_another_one_stays(
    bench: Bench, open_bench: Callable[..., Bench]
) -> None:
    records = [make_record(number) for number in range(3)]
    for record in records:
        bench.accept(record)
    bench.store.settle(records[:2], Fate.DELIVERED)
    assert bench.store.close().pending == 1
    later = open_bench(bench.directory.path)
    (path,) = later.directory.list()
    later.adopt(path)
    (record,) = later.store.take(9)
    assert record.body == records[2].body
    later.store.settle([record], Fate.DROPPED)
    assert later.store.close().pending == 0
    assert list(bench.directory.path.iterdir()) == []


def test_records_of_dead_processes_come_before_this_ones(
    bench: Bench, open_bench: Callable[..., Bench]
) -> None:
    bench.accept(make_record(1), spill=True)
    bench.store.close()
    later = open_bench(bench.directory.path)
    later.accept(make_record(2), spill=True)
    (path,) = [path for path in later.directory.list() if not later.store.holds(path)]
    later.adopt(path)
    assert numbers(later.store.take(9)) == [1]
    assert numbers(later.store.take(9)) == [2]


def test_a_damaged_row_is_never_handed_out_but_kept_as_a_dead_letter(bench: Bench) -> None:
    second = watch(2)
    for number in range(1, 6):
        bench.accept(make_record(number, second if number == 2 else None), spill=True)
    bench.change("UPDATE records SET item = X'7b7d' WHERE seq IN (2, 4)")
    assert numbers(bench.store.take(9)) == [1, 3, 5]
    assert bench.heard.dead == [(1, DAMAGED), (1, DAMAGED)]
    assert bench.heard.dead_watches == [second]
    assert (bench.count().pending, bench.count().dead) == (3, 2)
    assert bench.store.redrive(None, lambda: 0) == 0
    assert (bench.store.on_disk, bench.count().dead) == (0, 2)


def test_the_attempts_of_a_dead_letter_go_on_when_it_is_sent_again(bench: Bench) -> None:
    record = make_record(1)
    bench.accept(record)
    record.attempts = 3
    assert bench.store.bury(record, "why")
    assert bench.store.redrive(None, lambda: 0) == 1
    (again,) = bench.store.take(9)
    again.attempts += 1
    assert bench.store.bury(again, "why")
    assert [row.attempts for _, row in bench.store.read_dead()] == [4]
    assert bench.store.ledger.accounts.dead == 1


def test_a_page_of_damaged_rows_does_not_hide_the_whole_ones_behind_it(bench: Bench) -> None:
    for number in range(1, 8):
        bench.accept(make_record(number), spill=True)
    bench.change("UPDATE records SET mark = 0 WHERE seq <= 5")
    assert numbers(bench.store.take(3)) == [6]
    assert numbers(bench.store.take(3)) == [7]
    assert len(bench.heard.dead) == 5


def test_a_whole_row_that_is_no_record_is_damaged_too(bench: Bench) -> None:
    """An older release may have damaged it before it had a mark."""
    bench.accept(PendingRecord(("p", "1"), b"no json"), spill=True)
    bench.accept(make_record(2), spill=True)
    assert numbers(bench.store.take(9)) == [2]
    assert bench.heard.dead == [(1, DAMAGED)]


def test_rows_that_are_not_there_any_more_are_counted_and_nobody_waits_for_them(
    bench: Bench,
) -> None:
    for number in range(1, 4):
        bench.accept(make_record(number), spill=True)
    bench.change("DELETE FROM records WHERE seq > 1")
    assert numbers(bench.store.take(9)) == [1]
    assert bench.store.take(9) == []
    assert bench.store.on_disk == 0
    assert [records for records, _ in bench.heard.dead] == [2]


def test_a_record_that_is_being_accepted_is_handed_out_to_nobody(bench: Bench) -> None:
    """Else what interrupts its put, and flushes, has it in the queue twice."""
    bench.accept(make_record(1), spill=True)
    assert numbers(bench.store.take(9)) == [1]
    taken: list[PendingRecord] = []

    def offer(record: PendingRecord) -> bool:
        taken.extend(bench.store.take(9))
        return False

    assert bench.store.accept(make_record(2), offer) is None
    assert taken == []
    assert bench.store.on_disk == 1
    assert numbers(bench.store.take(9)) == [2]
    assert bench.store.take(9) == []


def block(bench: Bench) -> Path:
    """Put a file where the directory should be."""
    path = bench.directory.path
    path.write_text("in the way")
    return path


def test_a_journal_that_cannot_be_made_is_said_and_counted_and_tried_again(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    in_the_way = block(bench)
    assert bench.accept(make_record(1)) == "memory"
    assert (bench.store.is_degraded, bench.store.undurable) == (True, 1)
    assert len(bench.heard.degraded) == 1
    assert bench.chores == [Chore.REGAIN]
    assert not bench.store.regain()
    in_the_way.unlink()
    assert bench.accept(make_record(2)) == "memory"
    assert (bench.store.undurable, len(bench.heard.degraded)) == (2, 2)
    assert bench.store.regain()
    assert (bench.store.is_degraded, bench.store.undurable) == (False, 0)
    assert bench.accept(make_record(3)) == "journal"
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "cannot make the journal" in said[0]
    assert said[1] == (
        "the journal is written again; 2 records that were in memory only are in it now"
    )
    assert bench.read_rows() == [1, 2, 3]
    assert bench.store.regain()
    assert bench.read_rows() == [1, 2, 3]


def test_what_was_in_memory_is_in_the_journal_in_the_order_in_which_it_was_accepted(
    bench: Bench, open_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And before what comes in while it is written, in several commits."""
    monkeypatch.setattr(record_store, "WRITTEN_AT_ONCE", 0)
    in_the_way = block(bench)
    for number in range(1, 6):
        bench.accept(make_record(number))
    in_the_way.unlink()
    append_all = Backlog.append_all

    def append_and_accept(self: Backlog, records: Sequence[PendingRecord]) -> None:
        append_all(self, records)
        if len(bench.queue) < 8:
            assert bench.accept(make_record(len(bench.queue) + 1)) == "memory"

    monkeypatch.setattr(Backlog, "append_all", append_and_accept)
    assert bench.store.regain()
    assert bench.store.undurable == 0
    assert bench.accept(make_record(9)) == "journal"
    assert bench.read_rows() == list(range(1, 10))
    assert bench.store.take(99) == []  # They are in the queue.
    bench.store.settle(bench.queue[:4], Fate.DROPPED)
    assert bench.read_rows() == [5, 6, 7, 8, 9]
    assert bench.store.close().pending == 5
    later = open_bench(bench.directory.path)
    later.adopt(*later.directory.list())
    assert numbers(later.store.take(99)) == [5, 6, 7, 8, 9]


def test_what_was_settled_while_the_disk_was_bad_is_not_written(bench: Bench) -> None:
    in_the_way = block(bench)
    for number in range(1, 4):
        bench.accept(make_record(number))
    bench.store.settle(bench.queue[:2], Fate.DELIVERED)
    in_the_way.unlink()
    assert bench.store.regain()
    assert bench.read_rows() == [3]
    assert bench.store.undurable == 2  # Those were never on disk.


def test_what_comes_from_memory_is_not_handed_out_beside_others_that_are_on_disk_only(
    bench: Bench,
) -> None:
    bench.accept(make_record(1))
    bench.accept(make_record(2), spill=True)
    bench.accept(make_record(3), spill=True)
    bench.fail_writes()
    for number in (4, 5):
        assert bench.accept(make_record(number)) == "memory"
    assert not bench.store.regain()
    bench.allow_writes()
    assert bench.store.regain()
    bench.accept(make_record(6), spill=True)
    assert (bench.read_rows(), bench.store.on_disk) == ([1, 2, 3, 4, 5, 6], 3)
    assert numbers(bench.store.take(1)) == [2]
    assert numbers(bench.store.take(1)) == [3]
    assert numbers(bench.store.take(1)) == [6]
    assert bench.store.take(9) == []
    assert bench.heard.dead == []
    bench.store.settle(bench.queue, Fate.DROPPED)
    assert bench.read_rows() == [2, 3, 6]


@pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be moved there")
def test_what_comes_from_memory_is_not_rescued_from_a_damaged_journal_a_second_time(
    bench: Bench,
) -> None:
    for number in range(400):
        bench.accept(make_record(number), spill=True)
    bench.fail_writes()
    bench.accept(make_record(400))
    bench.allow_writes()
    assert bench.store.regain()
    (path,) = bench.directory.list()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    bench.store._set_aside(bench.store._backlogs()[0])
    rescued = [number for _ in range(9) for number in numbers(bench.store.take(99))]
    assert rescued == list(range(400))
    assert (bench.store.on_disk, numbers(bench.queue)) == (0, [400])


def test_a_disk_that_fails_in_the_middle_of_it_keeps_what_it_has_and_gets_the_rest_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_store, "WRITTEN_AT_ONCE", 0)
    in_the_way = block(bench)
    for number in range(1, 6):
        bench.accept(make_record(number))
    in_the_way.unlink()
    append_all = Backlog.append_all

    def append_one(self: Backlog, records: Sequence[PendingRecord]) -> None:
        append_all(self, records)
        bench.fail_writes()

    with monkeypatch.context() as patch:
        patch.setattr(Backlog, "append_all", append_one)
        assert not bench.store.regain()
    assert (bench.read_rows(), bench.store.undurable) == ([1], 4)
    assert bench.accept(make_record(6)) == "memory"
    bench.allow_writes()
    assert bench.store.regain()
    assert (bench.read_rows(), bench.store.undurable) == ([1, 2, 3, 4, 5, 6], 0)


def test_a_disk_that_still_fails_does_not_pass_for_well_when_memory_is_empty(bench: Bench) -> None:
    bench.accept(make_record(1))
    bench.fail_writes()
    assert bench.accept(make_record(2)) == "memory"
    bench.store.settle(bench.queue[1:], Fate.DROPPED)
    assert not bench.store.regain()
    assert bench.store.is_degraded
    bench.allow_writes()
    assert bench.store.regain()
    assert not bench.store.is_degraded


def test_a_store_that_closes_tries_the_disk_once_more(bench: Bench) -> None:
    in_the_way = block(bench)
    bench.accept(make_record(1))
    in_the_way.unlink()
    assert bench.store.close().pending == 1
    assert bench.read_rows() == [1]


def test_a_failure_that_lasts_is_said_once_a_minute(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    block(bench)
    bench.accept(make_record(1))
    for _ in range(4):
        bench.now += 30
        assert not bench.store.regain()
    assert len(caplog.records) == 3
    assert len(bench.heard.degraded) == 5


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
        bench.accept(record)
    for number in range(2, 5):
        bench.accept(make_record(number), spill=True)
    (path,) = bench.directory.list()
    content = damage_pages(path)
    assert bench.store.take(9) == []
    assert [records for records, _ in bench.heard.dead] == [3]
    assert bench.heard.set_aside == [f"journal {path.name} is damaged"]
    assert bench.store.set_aside == bench.directory.count_set_aside() == 1
    aside = list_files(path.parent / SET_ASIDE / path.name)
    assert [name.read_bytes() for name in aside[:2]] == content
    assert "is set aside" in caplog.text

    bench.store.settle(in_memory, Fate.DROPPED)  # They go on in memory, and are settled.
    assert bench.accept(make_record(9)) == "journal"
    assert bench.store.undurable == 0
    assert bench.store.close().pending == 1
    (new,) = bench.directory.list()
    assert new.name != path.name


@pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be moved there")
def test_what_waits_on_the_other_pages_of_a_damaged_journal_goes_on(bench: Bench) -> None:
    """A million records may wait there; and who watches a lost one is told."""
    watches = [watch(number) for number in range(400)]
    bench.accept(make_record(1_000))
    for number, each in enumerate(watches):
        bench.accept(make_record(number, each), spill=True)
    bench.store.checkpoint()
    taken = bench.store.take(10)
    (path,) = bench.directory.list()
    flip(path, 4 * 4096, 4096)
    forget_pages(bench)
    while bench.store.on_disk:
        taken += bench.store.take(50)
    assert bench.store.take(1) == []
    (missing,) = [records for records, _ in bench.heard.dead if records]
    assert len(taken) + missing == 400
    assert 10 < missing < 100
    assert numbers(taken) == sorted(set(numbers(taken)))
    assert all(record.body == make_record(int(record.key[1])).body for record in taken)
    found = {record.watch for record in taken}
    assert set(bench.heard.dead_watches) == set(watches) - found
    assert bench.store.set_aside == 1
    bench.store.settle(taken, Fate.DROPPED)
    assert bench.store.close().pending == 0
    assert [name.name for name in path.parent.iterdir()] == [SET_ASIDE]


@pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be moved there")
@pytest.mark.parametrize("work", ["accept", "settle", "bury", "redrive"])
def test_damage_below_it_is_met_by_whatever_touches_the_journal_next(
    bench: Bench, work: str
) -> None:
    record = make_record(1)
    bench.accept(record)
    letter = make_record(2)
    bench.accept(letter)
    assert bench.store.bury(letter, "why")
    (path,) = bench.directory.list()
    damage_pages(path)
    forget_pages(bench)
    if work == "accept":
        bench.accept(make_record(3))
    elif work == "settle":
        bench.store.settle([record], Fate.DROPPED)
    elif work == "bury":
        assert not bench.store.bury(record, "why")
    else:
        assert bench.store.redrive(None, lambda: 0) == 0
    assert bench.store.set_aside == 1
    assert not bench.store.delete_settled()
    assert bench.accept(make_record(4)) == "journal"


def test_a_journal_that_somebody_deleted_is_missed_and_a_new_one_begins(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Commits to a file without a name succeed, and nobody finds them when the process ends."""
    bench.accept(make_record(1))
    bench.accept(make_record(2), spill=True)
    (path,) = bench.directory.list()
    bench.store.check_own()
    assert bench.heard.degraded == []
    for name in path.parent.iterdir():
        name.unlink()
    bench.store.check_own()
    assert bench.store.undurable == 2
    assert bench.heard.degraded == [f"journal {path.name} was moved or deleted"]
    assert "its 2 records end with this process" in caplog.text
    assert bench.accept(make_record(3), spill=True) == "journal"
    (new,) = bench.directory.list()
    assert new.name != path.name
    assert numbers(bench.store.take(9)) == [2]  # Still readable, from the nameless file.
    assert numbers(bench.store.take(9)) == [3]
    assert bench.store.close().pending == 1
    assert bench.directory.list() == [new]


@pytest.mark.skipif(sys.platform == "win32", reason="no lease there")
def test_a_lock_file_that_somebody_deleted_is_made_again(bench: Bench) -> None:
    """What cleans up old files takes it for one; the journal would be adopted from the living."""
    bench.accept(make_record(1))
    (path,) = bench.directory.list()
    path.with_suffix(".lock").unlink()
    assert bench.directory.find_owner(path) is None
    bench.store.check_own()
    assert bench.directory.find_owner(path) == os.getpid()
    assert bench.heard.degraded == []
    assert bench.directory.open_abandoned(path) is None


@pytest.mark.skipif(sys.platform == "win32", reason="no lease there")
def test_a_journal_that_somebody_else_holds_by_now_is_not_this_processs_any_more(
    bench: Bench,
) -> None:
    bench.accept(make_record(1))
    (path,) = bench.directory.list()
    path.with_suffix(".lock").unlink()
    thief = bench.directory.open_abandoned(path)
    assert thief is not None
    bench.store.check_own()
    assert bench.store.undurable == 1
    bench.accept(make_record(2))
    assert len(bench.directory.list()) == 2
    assert bench.store.close().pending == 1
    thief.close()
    assert len(bench.directory.list()) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="no lease there")
def test_a_journal_that_cannot_be_looked_after_now_is_kept(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a disk that is full, where no lock file can be made."""
    bench.accept(make_record(1))
    (path,) = bench.directory.list()
    lock = path.with_suffix(".lock")
    lock.unlink()
    lock.mkdir()
    bench.store.check_own()
    assert "cannot look after the journal" in caplog.text
    assert (bench.store.undurable, bench.heard.degraded) == (0, [])
    lock.rmdir()
    bench.store.check_own()
    assert bench.directory.find_owner(path) == os.getpid()


def test_files_that_are_kept_look_young_to_what_cleans_up(bench: Bench) -> None:
    bench.accept(make_record(1))
    (path,) = bench.directory.list()
    files = [path, path.with_suffix(".lock")]
    for name in files:
        os.utime(name, (0, 0))
    bench.store.check_own()
    assert min(name.stat().st_mtime for name in files) > 0


def test_journals_are_adopted_up_to_the_bound(bench: Bench) -> None:
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
