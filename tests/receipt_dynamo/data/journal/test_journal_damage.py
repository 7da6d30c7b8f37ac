"""Damaged journals, met by a real client: nothing is made worse, and nobody else is harmed."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from receipt_dynamo import DynamoClient, ResilientDynamoClient
from receipt_dynamo.cli.commands.survey import survey
from receipt_dynamo.data.delivery.events import DeliveryEvent, DeliveryEventKind
from receipt_dynamo.data.delivery.record_store import DAMAGED
from receipt_dynamo.data.delivery.stats import DeliveryStats
from receipt_dynamo.data.journal.directory import SET_ASIDE, JournalDirectory
from receipt_dynamo.data.journal.file import CorruptJournalError, list_files
from receipt_dynamo.data.journal.journal import Journal
from receipt_dynamo.data.journal.peek import iterate, peek
from support.damaged_journals import (
    DAMAGES,
    DEAD,
    PENDING,
    KilledJournal,
    flip,
    kill_a_process,
    make_metric,
)

if os.name == "nt":
    pytest.skip("the journal of a killed process is adopted under flock", allow_module_level=True)


@pytest.fixture(scope="module")
def table(moto_endpoint: str) -> DynamoClient:
    client = DynamoClient(
        "test-table-of-damaged-journals",
        "us-east-1",
        moto_endpoint,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    client.create_table()
    return client


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, table: DynamoClient) -> KilledJournal:
    return kill_a_process(tmp_path_factory.mktemp("killed"), table)


@pytest.fixture
def directory(tmp_path: Path) -> JournalDirectory:
    path = tmp_path / "journal"
    path.mkdir(mode=0o700)
    return JournalDirectory(path)


@dataclass
class Adoption:
    """What a client made of the journals that it found."""

    stats: DeliveryStats
    events: list[DeliveryEvent]
    delivered: list[int]

    def has_balance(self) -> bool:
        stats = self.stats
        settled = stats.delivered + stats.pending + stats.dead + stats.dropped
        return stats.accepted + stats.adopted == settled


def adopt(directory: JournalDirectory, table: DynamoClient) -> Adoption:
    """Have a client deliver what it finds, and close."""
    for row in list(table.query_ai_usage_metrics_by_date("2026-03-01", "openai")):
        delete(table, row.key)
    client = open_client(directory, table)
    events: list[DeliveryEvent] = []
    client.add_listener(events.append)
    try:
        assert client.flush(30)
    finally:
        client.close(0)
    return Adoption(client.get_stats(), events, read_numbers(table))


def open_client(directory: JournalDirectory, table: DynamoClient) -> ResilientDynamoClient:
    return ResilientDynamoClient(
        table.table_name,
        "us-east-1",
        endpoint_url=table.target.endpoint_url,
        journal_dir=directory.path,
    )


def delete(table: DynamoClient, key: tuple[str, str]) -> None:
    table._connection.client().delete_item(
        TableName=table.table_name, Key={"PK": {"S": key[0]}, "SK": {"S": key[1]}}
    )


def read_numbers(table: DynamoClient) -> list[int]:
    """Return which of the killed process's records are rows, which are as they were put."""
    numbers = []
    for row in table.query_ai_usage_metrics_by_date("2026-03-01", "openai"):
        number = int(row.request_id.removeprefix("id-"))
        assert row == make_metric(number)
        numbers.append(number)
    return sorted(numbers)


def read_content(path: Path) -> bytes | str | None:
    """Return what is at ``path``, of whatever kind it is; SQLite may put an empty log there."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return None
    return path.read_bytes() or None if stat.S_ISREG(kind) else oct(stat.S_IFMT(kind))


def damage_records(path: Path, *numbers: int) -> None:
    """Change a byte of some records, as a bad disk does; SQLite does not see it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = path.read_bytes()
    for number in numbers:
        flip(path, content.rindex(b"id-%d" % number), 1)


def test_the_journal_of_a_killed_process_is_delivered_as_a_whole(
    directory: JournalDirectory, killed: KilledJournal, table: DynamoClient
) -> None:
    killed.copy_to(directory.path)
    found = adopt(directory, table)
    assert found.delivered == list(PENDING)
    assert (found.stats.delivered, found.stats.dead) == (len(PENDING), len(DEAD))
    assert found.has_balance()


def test_each_damaged_journal_is_set_aside_untouched_and_said_once_and_the_whole_one_delivered(
    directory: JournalDirectory,
    killed: KilledJournal,
    table: DynamoClient,
    caplog: pytest.LogCaptureFixture,
) -> None:
    before: dict[str, list[bytes | str | None]] = {}
    for name, damage in DAMAGES.items():
        path, log, _ = list_files(killed.copy_to(directory.path, name))
        damage(path, log)
        before[path.name] = [read_content(path), read_content(log)]
    killed.copy_to(directory.path)
    with caplog.at_level(logging.WARNING):
        found = adopt(directory, table)
    # With the last commit of a log a dead letter may go back to what it was.
    assert set(PENDING) <= set(found.delivered) <= {*PENDING, *DEAD}
    assert found.has_balance()
    for name, content in before.items():
        path, log, _ = list_files(directory.path / SET_ASIDE / name)
        assert [read_content(path), read_content(log)] == content, name
    said = [record.getMessage() for record in caplog.records]
    for name in before:
        (line,) = [line for line in said if f"{name} is damaged" in line]
        assert "it is set aside" in line
        assert "gpt-4o" not in line
    assert found.stats.set_aside == directory.count_set_aside() == len(DAMAGES)
    kinds = [event.kind for event in found.events]
    assert kinds.count(DeliveryEventKind.SET_ASIDE) == len(DAMAGES)


@dataclass
class Remains:
    """What the journals hold that are not set aside."""

    pending: list[int]
    dead: list[int]
    notes: dict[str, str]


def rescue(directory: JournalDirectory, killed: KilledJournal, kind: str) -> Remains:
    """Meet a damaged journal; return what is whole in it, by the journal that it is in then."""
    path, log, _ = list_files(killed.copy_to(directory.path, kind))
    DAMAGES[kind](path, log)
    with pytest.raises(CorruptJournalError):
        directory.open_abandoned(path)
    remains = Remains([], [], {})
    for rescued in directory.list():
        with peek(rescued) as journal:
            remains.pending += [row.seq for row in iterate(journal.read_pending)]
            remains.dead += [row.seq for row in iterate(journal.read_dead)]
            remains.notes.update(journal.read_target())
    return remains


@pytest.mark.parametrize(
    ("kind", "lost"),
    [
        ("free-pages", []),
        ("inner-page", [12, 13, 14, 15]),
        ("cut", [36, *range(39, 61)]),
        ("below-the-log", [12]),
        ("log-frame", list(range(21, 61))),
        ("log-header", list(range(16, 61))),
        ("log-gone", list(range(16, 61))),
        ("log-cut-by-a-frame", []),
    ],
)
def test_what_is_whole_in_a_damaged_journal_goes_on_in_another_one(
    directory: JournalDirectory, killed: KilledJournal, kind: str, lost: list[int]
) -> None:
    """A page of four records must not keep back thousands of others."""
    remains = rescue(directory, killed, kind)
    assert set(remains.pending) | set(remains.dead) == {*PENDING, *DEAD} - set(lost)
    assert remains.notes["table_arn"].startswith("arn:aws:dynamodb:")
    assert remains.notes["process"] == str(os.getpid())


def test_one_flush_delivers_what_is_whole_in_a_damaged_journal(
    directory: JournalDirectory, killed: KilledJournal, table: DynamoClient
) -> None:
    path, log, _ = list_files(killed.copy_to(directory.path))
    DAMAGES["inner-page"](path, log)
    found = adopt(directory, table)
    assert found.delivered == [number for number in PENDING if number not in {12, 13, 14, 15}]
    assert found.has_balance()
    assert (found.stats.set_aside, found.stats.pending) == (1, 0)


@pytest.mark.parametrize(
    "kind", ["garbage", "magic", "root-page", "schema", "empty", "other-tables"]
)
def test_where_nothing_is_whole_no_other_journal_is_made(
    directory: JournalDirectory, killed: KilledJournal, kind: str
) -> None:
    assert rescue(directory, killed, kind).notes == {}
    assert directory.list() == []


def test_damaged_rows_are_not_taken_for_whole_ones(
    directory: JournalDirectory, killed: KilledJournal
) -> None:
    path = killed.copy_to(directory.path)
    damage_records(path, 9, 24, 60)
    flip(path, 33)  # A list of free pages: SQLite calls the file damaged.
    with pytest.raises(CorruptJournalError, match="52 records that are whole are in"):
        directory.open_abandoned(path)


def test_a_disk_that_is_full_leaves_a_damaged_journal_to_be_rescued_later(
    directory: JournalDirectory, killed: KilledJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, log, _ = list_files(killed.copy_to(directory.path))
    DAMAGES["inner-page"](path, log)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        with closing(sqlite3.connect(":memory:")) as full:
            full.execute("PRAGMA max_page_count = 1")
            full.execute("CREATE TABLE t (x)")

    monkeypatch.setattr(Journal, "restore", fail)
    with pytest.raises(sqlite3.OperationalError, match="full"):
        directory.open_abandoned(path)
    assert directory.list() == [path]
    assert path.read_bytes() == before
    assert directory.count_set_aside() == 0
    monkeypatch.undo()
    with pytest.raises(CorruptJournalError, match="51 records that are whole are in"):
        directory.open_abandoned(path)


DIE_WHILE_RESCUING = """
import os, signal, sys
from pathlib import Path
from receipt_dynamo.data.journal.journal import Journal
from receipt_dynamo.data.journal.directory import JournalDirectory

path, owner, method, moment = sys.argv[1:]
owner = {"Journal": Journal, "JournalDirectory": JournalDirectory}[owner]
real = getattr(owner, method)

def die(*args):
    if moment == "after":
        real(*args)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(owner, method, die)
JournalDirectory(Path(path).parent).open_abandoned(Path(path))
"""


@pytest.mark.parametrize(
    ("method", "moment"),
    [
        ("Journal.restore", "before"),
        ("Journal.restore", "after"),
        ("JournalDirectory.set_aside", "before"),
        ("JournalDirectory.set_aside", "after"),
    ],
)
def test_a_process_that_is_killed_while_it_rescues_leaves_all_to_the_next(
    method: str,
    moment: str,
    directory: JournalDirectory,
    killed: KilledJournal,
    table: DynamoClient,
) -> None:
    path, log, _ = list_files(killed.copy_to(directory.path))
    DAMAGES["free-pages"](path, log)
    command = [sys.executable, "-c", DIE_WHILE_RESCUING, path, *method.split("."), moment]
    assert subprocess.run(command, check=False, timeout=60).returncode == -signal.SIGKILL
    found = adopt(directory, table)
    assert found.delivered == list(PENDING)
    assert found.has_balance()
    assert found.stats.pending == 0


def test_damaged_records_are_kept_as_dead_letters_and_their_neighbours_delivered(
    directory: JournalDirectory, killed: KilledJournal, table: DynamoClient
) -> None:
    path = killed.copy_to(directory.path)
    damaged = (9, 24, 60)
    damage_records(path, *damaged)
    found = adopt(directory, table)
    assert found.delivered == [number for number in PENDING if number not in damaged]
    assert found.has_balance()
    assert (found.stats.dead, found.stats.pending) == (len(DEAD) + len(damaged), 0)
    with open_client(directory, table) as client:
        assert client.flush(30)
        reasons = [letter.reason for letter in client.dead_letters() if letter.metric is None]
        assert reasons == [DAMAGED] * len(damaged)
        assert client.redrive() == len(DEAD)
        assert client.flush(30)
        assert client.get_stats().dead == len(damaged)
    assert read_numbers(table) == sorted(
        number for number in (*PENDING, *DEAD) if number not in damaged
    )
    with peek(path) as journal:
        assert len(list(iterate(journal.read_dead))) == len(damaged)


def test_a_newer_journal_is_left_where_it_is_and_as_it_is(
    directory: JournalDirectory,
    killed: KilledJournal,
    table: DynamoClient,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = killed.copy_to(directory.path, "newer")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    killed.copy_to(directory.path)
    with caplog.at_level(logging.WARNING):
        found = adopt(directory, table)
    assert found.delivered == list(PENDING)
    assert path.read_bytes() == before
    assert found.stats.set_aside == 0
    (line,) = [record.getMessage() for record in caplog.records if path.name in record.message]
    assert "is left alone: NewerJournalError" in line


def test_a_journal_for_another_table_of_the_same_name_stays_as_it_is_to_the_byte(
    directory: JournalDirectory, killed: KilledJournal, table: DynamoClient
) -> None:
    """Opening it to see whose it is would already have copied its log, and deleted it."""
    path = killed.copy_to(directory.path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE target SET value = 'arn:other' WHERE name = 'table_arn'")
        connection.commit()
        before = [each.read_bytes() for each in list_files(path)[:2]]
        log = path.with_name(f"{path.name}-wal.kept")
        log.write_bytes(before[1])
    log.rename(path.with_name(f"{path.name}-wal"))
    path.write_bytes(before[0])
    found = adopt(directory, table)
    assert (found.delivered, found.stats.adopted) == ([], 0)
    assert [each.read_bytes() for each in list_files(path)[:2]] == before


def test_looking_at_a_log_with_a_damaged_header_says_so_at_once(
    directory: JournalDirectory, killed: KilledJournal
) -> None:
    """SQLite would try for 10 s to make sense of it."""
    path, log, index = list_files(killed.copy_to(directory.path))
    DAMAGES["log-header"](path, log)
    before = [read_content(each) for each in (path, log, index)]
    (view,) = survey(directory)
    assert view.trouble == "damaged"
    assert [read_content(each) for each in (path, log, index)] == before


def test_looking_at_a_dead_processs_journal_leaves_the_proof_that_its_log_was_cut(
    directory: JournalDirectory, killed: KilledJournal, table: DynamoClient
) -> None:
    """An operator runs ``status`` first; SQLite would make a new index then, for the cut log."""
    path, log, index = list_files(killed.copy_to(directory.path))
    DAMAGES["log-cut-by-a-frame"](path, log)
    before = index.read_bytes()
    (view,) = survey(directory)
    assert view.trouble is None
    assert index.read_bytes() == before
    assert adopt(directory, table).stats.set_aside == 1
