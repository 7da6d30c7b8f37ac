"""``journal erase``: no byte of a person's records stays, and what it cannot reach is said."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest

from receipt_dynamo import DynamoClient
from receipt_dynamo.data.journal.directory import SET_ASIDE, JournalDirectory, JournalTarget
from receipt_dynamo.data.journal.file import JournalError
from receipt_dynamo.data.journal.journal import Journal
from support.command_runs import Ended
from support.damaged_journals import flip
from support.left_journals import USER, Processes, make_journal, read_ids

Run = Callable[..., Ended]


def contains(directory: JournalDirectory, text: str) -> bool:
    """Look into every byte of every file."""
    files = [path for path in directory.path.rglob("*") if path.is_file()]
    return any(text.encode() in path.read_bytes() for path in files)


def make_item(user: str, number: int) -> bytes:
    """An item that takes several pages."""
    text = f"{user}:" * 1_000
    return b'{"PK":{"S":"p"},"SK":{"S":"%d"},"userId":{"S":"%b"},"error":{"S":"%b"}}' % (
        number,
        user.encode(),
        text.encode(),
    )


def test_no_byte_of_a_killed_processs_records_stays(
    run: Run, processes: Processes, directory: JournalDirectory
) -> None:
    """Pending and dead ones, and "first", which was delivered and deleted before."""
    processes.leave(pending=3, dead=1)
    assert contains(directory, USER)
    assert contains(directory, "#first")
    erased = run("erase", "--user-id", USER, "--json")
    assert (erased.status, erased.document["erased"]) == (0, 4)
    assert not contains(directory, USER)
    assert not contains(directory, "#first")


def test_others_records_stay_and_are_delivered(
    run: Run, processes: Processes, table: DynamoClient, directory: JournalDirectory
) -> None:
    together = [processes.keep(pending=2, user_id="other"), processes.keep(pending=3)]
    for process in together:
        process.kill()
    assert run("erase", "--user-id", USER).out == "3 records erased\n"
    assert not contains(directory, USER)
    assert run("drain").status == 0
    assert {"id-0", "id-1"} <= read_ids(table)
    assert "id-2" not in read_ids(table)


def test_records_of_several_pages_among_others_leave_no_byte(
    run: Run, directory: JournalDirectory
) -> None:
    path = make_journal(directory)
    journal = Journal.open(path)
    # As most builds of SQLite have it; some overwrite what is deleted by default.
    journal._writer.execute("PRAGMA secure_delete = OFF")
    for number in range(60):
        journal.append(make_item("gone" if number % 3 else "kept", number))
    for seq in range(1, 30):
        journal.bury(seq, "why", 1)
    journal.delete(range(1, 10))
    journal.checkpoint()
    journal.delete(range(10, 20))
    journal.close()
    assert contains(directory, "gone:gone")
    erased = run("erase", "--user-id", "gone", "--json").document["erased"]
    assert erased == sum(1 for number in range(19, 60) if number % 3)
    assert not contains(directory, "gone")
    assert contains(directory, "kept:kept")
    kept = Journal.open(path)
    counts = kept.count()
    kept.close()
    assert counts.pending + counts.dead == 41 - erased


def test_bytes_in_the_write_ahead_log_of_a_killed_process_go_too(
    run: Run, processes: Processes, directory: JournalDirectory
) -> None:
    processes.leave(pending=2, proven=False)
    (log,) = directory.path.glob("*-wal")
    assert USER.encode() in log.read_bytes()
    assert run("erase", "--user-id", USER).status == 0
    assert list(directory.path.iterdir()) == []


def test_a_user_whose_id_begins_alike_is_somebody_else(
    run: Run, directory: JournalDirectory
) -> None:
    make_journal(directory, pending=2)
    assert run("erase", "--user-id", "some").out == "0 records erased\n"
    assert run("erase", "--user-id", "someone").out == "2 records erased\n"


def test_a_damaged_record_with_the_id_in_it_is_erased(
    run: Run, directory: JournalDirectory
) -> None:
    journal = Journal.open(make_journal(directory, pending=1))
    journal.append(b'\xff{"userId":{"S":"gone"')
    journal.close()
    assert run("erase", "--user-id", "gone").out == "1 record erased\n"
    assert not contains(directory, "gone")


def test_a_living_processs_journal_is_named_and_not_touched(
    run: Run, processes: Processes, table: DynamoClient
) -> None:
    living = processes.keep(pending=2)
    erased = run("erase", "--user-id", USER)
    assert erased.status == 1
    assert f"not touched, because process {living.pid} lives; it holds 2 records" in erased.out
    assert list(run("erase", "--user-id", USER, "--json").document["living"].values()) == [2]
    assert living.end() == "0 pending, 0 dead"
    assert read_ids(table) == {"first", "id-0", "id-1"}


def test_journals_set_aside_are_to_be_deleted_by_hand(
    run: Run, directory: JournalDirectory
) -> None:
    directory.set_aside(make_journal(directory, pending=1))
    erased = run("erase", "--user-id", "someone")
    assert erased.status == 1
    assert "1 damaged journal set aside in" in erased.out
    assert "delete by hand" in erased.out


def test_a_damaged_journal_is_said(run: Run, directory: JournalDirectory) -> None:
    make_journal(directory, pending=1).write_bytes(b"no database at all " * 100)
    erased = run("erase", "--user-id", "someone")
    assert erased.status == 1
    assert "it is damaged" in erased.out


def test_a_reader_that_keeps_old_bytes_in_the_log_is_said(
    run: Run, directory: JournalDirectory
) -> None:
    """Else "erased" would be a lie: the log cannot be cut off below somebody who reads it."""
    path = make_journal(directory, JournalTarget("table", "", ""), pending=2)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM records").fetchone()
        erased = run("erase", "--user-id", "someone")
    assert erased.status == 1
    assert "is being read by another process" in erased.out
    assert run("erase", "--user-id", "someone").status == 0
    assert not contains(directory, "someone")


def test_the_journals_own_erase_reports_that_reader(directory: JournalDirectory) -> None:
    journal = Journal.open(make_journal(directory, pending=1))
    with closing(sqlite3.connect(journal.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM records").fetchone()
        with pytest.raises(JournalError, match="is being read by another process"):
            journal.erase([1])
    journal.close()


def test_a_log_whose_database_is_gone_is_found_and_to_be_deleted_by_hand(
    run: Run, directory: JournalDirectory
) -> None:
    """It may hold the user's records, and no command reads it."""
    path = make_journal(directory, pending=1)
    content = path.read_bytes()
    path.unlink()
    log = path.with_name(f"{path.name}-wal")
    log.write_bytes(content)
    erased = run("erase", "--user-id", "someone")
    assert (erased.status, "1 damaged journal set aside in" in erased.out) == (1, True)
    assert [each.name for each in directory.path.iterdir()] == [SET_ASIDE]


def test_no_byte_stays_of_a_damaged_record_whose_user_cannot_be_read_any_more(
    run: Run, directory: JournalDirectory
) -> None:
    path = make_journal(directory, pending=2)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE records SET item = X'ff' || item WHERE seq = 1")
    assert run("erase", "--user-id", "someone").out == "2 records erased\n"
    assert not contains(directory, "someone")


def test_what_is_whole_in_a_damaged_journal_is_erased_and_its_remains_are_said(
    run: Run, directory: JournalDirectory
) -> None:
    path = make_journal(directory, pending=60)
    flip(path, 33)  # Where SQLite looks for free pages.
    erased = run("erase", "--user-id", "someone")
    assert erased.status == 1
    assert erased.out.startswith("60 records erased\n")
    assert "1 damaged journal set aside in" in erased.out
    assert directory.list() == []
