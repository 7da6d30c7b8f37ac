"""One journal file: what is appended comes back byte for byte, or is known to be damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from receipt_dynamo.data.journal import journal as journal_module
from receipt_dynamo.data.journal.file import (
    VERSION,
    CorruptJournalError,
    NewerJournalError,
    mark_of,
)
from receipt_dynamo.data.journal.journal import ROW_OVERHEAD, Journal, JournalRow
from receipt_dynamo.data.journal.peek import iterate, peek

# The form that files had before rows had marks.
VERSION_1 = """
BEGIN;
CREATE TABLE records (
    seq INTEGER PRIMARY KEY,
    item BLOB NOT NULL,
    reason TEXT,
    attempts INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX dead_letters ON records (seq) WHERE reason IS NOT NULL;
CREATE TABLE target (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
PRAGMA user_version = 1;
COMMIT;
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with closing(Journal.create(path, sync=False)) as made:
        yield made


def change(path: Path, sql: str, *values: object) -> None:
    """Change a file behind the journal's back."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(sql, values)


def read_pending(journal: Journal) -> list[JournalRow]:
    return list(iterate(journal.read_pending))


def read_dead(journal: Journal) -> list[JournalRow]:
    return list(iterate(journal.read_dead))


def test_rows_come_back_in_order_and_byte_for_byte(journal: Journal) -> None:
    items = [b"", b"\x00\xff", bytes(range(256)) * 100, "ü€".encode()]
    assert [journal.append(item) for item in items] == [1, 2, 3, 4]
    assert read_pending(journal) == [
        JournalRow(seq, item, True) for seq, item in enumerate(items, start=1)
    ]


def test_a_page_ends_at_its_limit_and_the_next_one_goes_on(journal: Journal) -> None:
    for number in range(5):
        journal.append(b"%d" % number)
    first = journal.read_pending(None, 2)
    assert [row.item for row in first] == [b"0", b"1"]
    assert [row.item for row in journal.read_pending(first[-1].seq, 9)] == [b"2", b"3", b"4"]


def test_a_page_of_large_items_is_short(journal: Journal) -> None:
    """A backlog of 400 KB items, read by thousands, would take gigabytes of memory."""
    for _ in range(30):
        journal.append(b"x" * 400_000)
    page = journal.read_pending(None, 10_000)
    assert sum(len(row.item) for row in page) < 9_000_000
    assert len(read_pending(journal)) == 30


def test_deleted_rows_are_gone_and_numbers_are_never_used_twice(journal: Journal) -> None:
    journal.append(b"a")
    journal.append(b"b")
    journal.delete([1, 2])
    assert read_pending(journal) == []
    assert journal.append(b"c") == 3


def test_rows_left_in_a_journal_are_counted(journal: Journal) -> None:
    for item in (b"a", b"bb", b"ccc"):
        journal.append(item)
    journal.bury(2, "why", 7)
    counts = journal.count()
    assert (counts.pending, counts.dead) == (2, 1)
    assert counts.bytes == 6 + 3 * ROW_OVERHEAD


def test_a_dead_letter_is_kept_with_its_reason_and_comes_back_with_its_attempts(
    journal: Journal,
) -> None:
    journal.append(b"a")
    journal.append(b"b")
    journal.bury(1, "why", 7)
    assert [row.seq for row in read_pending(journal)] == [2]
    (letter,) = read_dead(journal)
    assert letter == JournalRow(1, b"a", True, "why", 7)
    assert journal.redrive(letter)
    whole = [JournalRow(2, b"b", True), JournalRow(3, b"a", True, attempts=7)]
    assert read_pending(journal) == whole
    assert read_dead(journal) == []


def test_a_journal_that_is_opened_again_goes_on_where_it_was(path: Path) -> None:
    with closing(Journal.create(path, sync=True)) as journal:
        journal.append(b"a")
        journal.bury(journal.append(b"b"), "why", 1)
        journal.write_notes([("table_name", "t")])
        journal.write_notes([("table_name", "u")])
    with closing(Journal.open(path)) as journal:
        assert (journal.count().pending, journal.count().dead) == (1, 1)
        assert journal.read_target()["table_name"] == "t"
        assert journal.append(b"c") == 3


def measure_log(path: Path) -> int:
    return path.with_name("journal.db-wal").stat().st_size


def test_a_checkpoint_lets_the_log_begin_again(path: Path, journal: Journal) -> None:
    for _ in range(200):
        journal.append(b"x" * 1000)
    before = measure_log(path)
    journal.checkpoint()
    assert measure_log(path) == 0
    for _ in range(100):
        journal.append(b"x" * 1000)
    assert 0 < measure_log(path) < before
    assert len(read_pending(journal)) == 300


@pytest.mark.parametrize("meanwhile", [1, 3])
def test_a_log_is_cut_when_no_commit_came_in_while_it_was_copied(
    path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch, meanwhile: int
) -> None:
    copies: list[bool] = []
    copy_log = journal._copy_log

    def copy_and_append() -> bool:
        copies.append(copy_log())
        if len(copies) <= meanwhile:
            journal.append(b"meanwhile")
            assert measure_log(path) > 0
        return copies[-1]

    for _ in range(20):
        journal.append(b"x" * 1000)
    monkeypatch.setattr(journal, "_copy_log", copy_and_append)
    journal.checkpoint()
    assert copies == [True] * (meanwhile + 1)
    assert measure_log(path) == 0
    assert len(read_pending(journal)) == 20 + meanwhile


def test_a_log_that_is_never_left_alone_is_cut_while_callers_wait_but_only_when_it_is_very_long(
    path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log that is never copied to its end only grows."""
    copy_log = journal._copy_log

    def copy_and_append() -> bool:
        is_whole = copy_log()
        if not journal._is_writing():
            journal.append(b"meanwhile")
        return is_whole

    monkeypatch.setattr(journal, "_copy_log", copy_and_append)
    monkeypatch.setattr(journal_module, "LONGEST_LOG", 25)
    journal.append(b"first")
    for _ in range(2):
        journal.checkpoint()
        assert measure_log(path) > 0
    journal.checkpoint()
    assert measure_log(path) == 0
    assert len(read_pending(journal)) == 31


def test_a_log_that_somebody_reads_is_cut_the_next_time(path: Path, journal: Journal) -> None:
    for _ in range(5):
        journal.append(b"a")
    with closing(sqlite3.connect(path)) as reader:
        rows = reader.execute("SELECT seq FROM records")
        assert rows.fetchone() == (1,)
        journal.append(b"b")
        journal.checkpoint()
        assert measure_log(path) > 0
        rows.close()
    journal.append(b"c")
    journal.checkpoint()
    assert measure_log(path) == 0
    assert len(read_pending(journal)) == 7


def test_a_commit_comes_through_although_somebody_else_wrote_meanwhile(
    path: Path, journal: Journal
) -> None:
    """It keeps its read lock from commit to commit: SQLite refuses one that read before."""
    journal.append(b"a")
    change(path, "DELETE FROM records")
    assert journal.append(b"b") == 2
    change(path, "UPDATE records SET reason = 'why'")
    journal.delete([2])
    assert journal.is_empty()


def test_a_closed_journal_leaves_no_lock(path: Path, journal: Journal) -> None:
    journal.append(b"a")
    journal.close()
    change(path, "PRAGMA locking_mode = EXCLUSIVE")
    change(path, "DELETE FROM records")
    assert not path.with_name("journal.db-wal").exists()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE records SET item = CAST(REPLACE(item, 'b', 'c') AS BLOB) WHERE seq = 2",
        "UPDATE records SET item = SUBSTR(item, 1, 4) WHERE seq = 2",
        "UPDATE records SET item = NULL WHERE seq = 2",
        "UPDATE records SET item = X'ff' || item WHERE seq = 2",
        "UPDATE records SET item = 5 WHERE seq = 2",
        "UPDATE records SET mark = mark + 1 WHERE seq = 2",
        "UPDATE records SET mark = NULL WHERE seq = 2",
        "UPDATE records SET mark = 'text' WHERE seq = 2",
    ],
)
def test_a_row_whose_bytes_are_not_those_that_were_appended_is_known(
    path: Path, journal: Journal, damage: str
) -> None:
    """SQLite checks the structure of its pages, not what they hold."""
    for item in (b"aaaaa", b"bbbbb", b"ccccc"):
        journal.append(item)
    change(path, damage)
    assert [row.is_whole for row in read_pending(journal)] == [True, False, True]
    journal.bury(2, "damaged", 0)
    (letter,) = read_dead(journal)
    assert not letter.is_whole
    assert not journal.redrive(letter)
    assert [row.seq for row in read_dead(journal)] == [2]


@pytest.mark.parametrize("seq", [-(2**63) + 1, -1, 0, 9, 2**63 - 1])
def test_an_item_under_another_number_is_damaged_and_in_nobodys_way(
    path: Path, journal: Journal, seq: int
) -> None:
    for item in (b"a", b"b", b"c"):
        journal.append(item)
    journal.bury(3, "why", 1)
    journal.close()
    change(path, "UPDATE records SET seq = ? WHERE seq = 2", seq)
    with closing(Journal.open(path)) as again:
        found = {row.seq: row.is_whole for row in read_pending(again)}
        assert found == {1: True, seq: False}
        (letter,) = read_dead(again)
        assert again.redrive(letter)
        assert len(read_pending(again)) == 3


def test_damaged_reasons_and_attempts_do_not_hide_the_letter(path: Path, journal: Journal) -> None:
    journal.bury(journal.append(b"a"), "why", 1)
    change(path, "UPDATE records SET reason = CAST(X'fffe' AS TEXT), attempts = 'x'")
    (letter,) = read_dead(journal)
    assert (letter.item, letter.attempts, letter.is_whole) == (b"a", 0, True)


def test_marks_differ_by_number_and_by_each_bit() -> None:
    assert mark_of(1, b"item") != mark_of(2, b"item")
    for bit in range(8):
        assert mark_of(1, b"item") != mark_of(1, bytes([b"i"[0] ^ 1 << bit]) + b"tem")
    assert mark_of(-1, b"item") != mark_of(1, b"item")


def make_version_1(path: Path) -> None:
    """Make a file as an older release did, whose process was killed."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(VERSION_1)
        for seq, item, reason, attempts in [
            (3, b"three", None, 0),
            (4, b"four", "why", 2),
            (7, b"seven", None, 0),
        ]:
            connection.execute(
                "INSERT INTO records VALUES (?, ?, ?, ?)", (seq, item, reason, attempts)
            )
        connection.execute("INSERT INTO target VALUES ('table_name', 't')")


def test_a_journal_from_an_older_version_is_brought_to_this_one(path: Path) -> None:
    make_version_1(path)
    with closing(Journal.open(path)) as journal:
        assert read_pending(journal) == [
            JournalRow(3, b"three", True),
            JournalRow(7, b"seven", True),
        ]
        assert read_dead(journal) == [JournalRow(4, b"four", True, "why", 2)]
        assert journal.read_target() == {"table_name": "t"}
        assert journal.append(b"eight") == 8
    change(path, "UPDATE records SET item = X'00' WHERE seq = 3")
    with closing(Journal.open(path)) as journal:
        assert [row.is_whole for row in read_pending(journal)] == [False, True, True]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)


def test_a_journal_from_an_older_version_is_looked_into_without_changing_it(path: Path) -> None:
    make_version_1(path)
    before = path.read_bytes()
    with peek(path) as journal:
        assert read_pending(journal) == [
            JournalRow(3, b"three", True),
            JournalRow(7, b"seven", True),
        ]
        assert read_dead(journal) == [JournalRow(4, b"four", True, "why", 2)]
        assert journal.count().pending == 2
    assert path.read_bytes() == before


def test_a_newer_journal_is_refused(path: Path, journal: Journal) -> None:
    change(path, "PRAGMA user_version = 99")
    with pytest.raises(NewerJournalError, match="has version 99; accepted are up to"):
        Journal.open(path)


def test_what_is_no_database_is_damaged(path: Path) -> None:
    path.write_bytes(b"no database at all " * 100)
    with pytest.raises(CorruptJournalError):
        Journal.open(path)
