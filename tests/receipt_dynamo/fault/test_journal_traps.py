"""Traps that others' spools fell into: one test each, over real sockets and real files."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from engines.launch import Engine
from receipt_dynamo import DynamoClient, ResilientDynamoClient
from receipt_dynamo.cli.commands.survey import survey
from receipt_dynamo.data.delivery import adoption, record_store
from receipt_dynamo.data.journal.directory import JournalDirectory, JournalTarget
from receipt_dynamo.data.journal.peek import peek
from receipt_dynamo.data.table.evidence import TABLE_ARN
from receipt_dynamo.data.table.identity import prove_table
from receipt_dynamo.testing import ErrorReply, FaultProxy, Stall
from receipt_dynamo.testing.fault_proxy import _parse_upstream
from support.damaged_journals import flip, make_metric
from support.programs import Program

if sys.platform == "win32":
    pytest.skip("there is no lease there", allow_module_level=True)

DOWN = ErrorReply(500, "InternalServerError")


@pytest.fixture
def directory(tmp_path: Path) -> JournalDirectory:
    return JournalDirectory(tmp_path / "journal")


@pytest.fixture
def leave(
    directory: JournalDirectory, proxy: FaultProxy, table: DynamoClient
) -> Callable[..., Path]:
    """Return a function that leaves the proven journal of a process that is gone."""
    arn = prove_table(table._connection)

    def leave(*numbers: int) -> Path:
        target = JournalTarget(table.table_name, "us-east-1", proxy.endpoint_url)
        held = directory.create(target, sync=False)
        for number in numbers:
            held.journal.append(make_metric(number).to_dynamodb_json())
        held.journal.write_notes([(TABLE_ARN, arn)])
        held.close()
        return held.journal.path

    return leave


@pytest.fixture
def open_client(
    proxy: FaultProxy, table: DynamoClient
) -> Iterator[Callable[..., ResilientDynamoClient]]:
    opened = []

    def open_client(**settings: Any) -> ResilientDynamoClient:
        defaults = {
            "endpoint_url": proxy.endpoint_url,
            "batch_flush_interval": 0.02,
            "retry_base_delay": 0.001,
            "circuit_breaker_threshold": 10**6,
        }
        client = ResilientDynamoClient(table.table_name, "us-east-1", **(defaults | settings))
        opened.append(client)
        return client

    yield open_client
    for client in opened:
        client.close(0)


def read_numbers(table: DynamoClient) -> list[int]:
    rows = table.query_ai_usage_metrics_by_date("2026-03-01", "openai")
    return sorted(int(row.request_id.removeprefix("id-")) for row in rows)


def count_rows(path: Path) -> int:
    with peek(path) as journal:
        return journal.count().pending


def wait_for_adoption(client: ResilientDynamoClient) -> None:
    assert client._delivery._chores.looks.flush(30)


def test_recovery_deletes_nothing_before_it_is_delivered_and_inserts_nothing_again(
    leave: Callable[..., Path],
    open_client: Callable[..., ResilientDynamoClient],
    proxy: FaultProxy,
    table: DynamoClient,
    directory: JournalDirectory,
) -> None:
    path = leave(*range(30))
    proxy.always(DOWN)
    client = open_client()
    wait_for_adoption(client)
    assert client.get_stats().adopted == 30
    assert proxy.wait_for_requests(3)
    assert directory.list() == [path]
    assert count_rows(path) == 30
    proxy.heal()
    assert client.flush(30)
    assert read_numbers(table) == list(range(30))
    assert directory.list() == []


def test_an_adopter_that_is_killed_in_the_middle_leaves_the_rest_to_the_next(
    leave: Callable[..., Path],
    open_client: Callable[..., ResilientDynamoClient],
    proxy: FaultProxy,
    table: DynamoClient,
    tmp_path: Path,
) -> None:
    leave(*range(60))
    proxy.schedule(lambda records: Stall() if records else None)
    program = Program(
        tmp_path / "adopter.py",
        table,
        """
        client = open_client(senders=1)
        client.flush(60)
        """,
        proxy.endpoint_url,
    )
    with program.start() as adopter:
        assert proxy.wait_for_requests(2)
        adopter.kill()
    proxy.heal()
    client = open_client()
    assert client.flush(30)
    assert 35 <= client.get_stats().adopted <= 60
    assert read_numbers(table) == list(range(60))


def test_a_retry_limit_does_not_apply_to_persisted_records(
    leave: Callable[..., Path],
    open_client: Callable[..., ResilientDynamoClient],
    proxy: FaultProxy,
    table: DynamoClient,
) -> None:
    leave(*range(5))
    proxy.always(DOWN)
    client = open_client(max_retry_attempts=1)
    wait_for_adoption(client)
    assert proxy.wait_for_requests(4)
    stats = client.get_stats()
    assert (stats.pending, stats.dead, stats.dropped) == (5, 0, 0)
    proxy.heal()
    assert client.flush(30)
    assert read_numbers(table) == list(range(5))


def test_the_spool_directory_is_not_wiped_at_exit(
    open_client: Callable[..., ResilientDynamoClient],
    proxy: FaultProxy,
    table: DynamoClient,
    directory: JournalDirectory,
) -> None:
    proxy.always(DOWN)
    client = open_client()
    assert client.batch_put_ai_usage_metrics(map(make_metric, range(10))) == []
    wait_for_adoption(client)
    report = client.close(0)
    assert (report.pending, report.on_disk, report.lost) == (10, 10, 0)
    (path,) = directory.list()
    assert count_rows(path) == 10
    proxy.heal()
    assert open_client().flush(30)
    assert read_numbers(table) == list(range(10))


def test_a_backlog_is_never_loaded_as_a_whole(
    leave: Callable[..., Path],
    open_client: Callable[..., ResilientDynamoClient],
    proxy: FaultProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    leave(*range(2_000))
    proxy.always(DOWN)
    client = open_client(max_pending_records=100)
    wait_for_adoption(client)
    assert proxy.wait_for_requests(5)
    stats = client.get_stats()
    assert stats.pending == 2_000
    assert stats.spilled >= 1_900
    assert stats.pending_bytes < 100 * 2_000


def test_a_put_is_one_insert_and_counts_nothing(
    open_client: Callable[..., ResilientDynamoClient], proxy: FaultProxy
) -> None:
    """``COUNT(*)`` on every enqueue makes each one as slow as the backlog is long."""
    proxy.always(DOWN)
    client = open_client()
    client.put_ai_usage_metric(make_metric(0))
    wait_for_adoption(client)
    own = client._delivery._store._own
    assert own is not None
    statements: list[str] = []
    for connection in (own.journal._writer, own.journal._connect_reader()):
        connection.set_trace_callback(statements.append)
    for number in range(1, 51):
        client.put_ai_usage_metric(make_metric(number))
        client.get_stats()
    kinds = [statement.split("(")[0] for statement in statements]
    assert kinds == ["INSERT INTO records "] * 50


def test_a_second_process_does_not_take_what_the_first_one_has_in_flight(
    open_client: Callable[..., ResilientDynamoClient],
    proxy: FaultProxy,
    table: DynamoClient,
    tmp_path: Path,
) -> None:
    proxy.always(Stall())
    program = Program(
        tmp_path / "first.py",
        table,
        """
        client = open_client(batch_flush_interval=0)
        put(client, 5)
        assert client.flush(60)
        print(client.get_stats().delivered)
        """,
        proxy.endpoint_url,
    )
    with program.start() as first:
        assert proxy.wait_for_requests(1)
        second = open_client()
        wait_for_adoption(second)
        assert second.flush(30)
        assert second.get_stats().adopted == 0
        proxy.heal()
        out, err = first.communicate(timeout=60)
    assert (first.returncode, out, err) == (0, "5\n", "")
    assert read_numbers(table) == list(range(5))


def test_a_journal_that_is_damaged_below_a_running_process_costs_what_was_on_the_damaged_page(
    open_client: Callable[..., ResilientDynamoClient],
    proxy: FaultProxy,
    table: DynamoClient,
    directory: JournalDirectory,
) -> None:
    """What is in memory goes on, what waits on other pages too, and a new journal begins."""
    proxy.always(DOWN)
    client = open_client(max_pending_records=20)
    assert client.batch_put_ai_usage_metrics(map(make_metric, range(150))) == []
    own = client._delivery._store._own
    assert own is not None
    own.journal.checkpoint()
    flip(own.journal.path, 12 * 4096, 4096)
    for connection in (own.journal._writer, own.journal._connect_reader()):
        connection.execute("PRAGMA shrink_memory")  # Else SQLite reads what it has in memory.
    proxy.heal()
    assert client.flush(60)
    assert client.batch_put_ai_usage_metrics(map(make_metric, range(150, 160))) == []
    assert client.get_stats().durability == "journal"
    assert client.flush(60)
    stats = client.get_stats()
    assert (stats.accepted, stats.pending, stats.set_aside) == (160, 0, 1)
    assert 0 < stats.dead < 20
    assert stats.delivered == 160 - stats.dead
    assert len(read_numbers(table)) == stats.delivered
    assert directory.count_set_aside() == 1


TRY_TO_LOCK = """
import fcntl, sys
# "File Locking And Concurrency" and "WAL-mode File Format" (sqlite.org): what each connection
# holds a shared lock on, of the database and of the index.
for path, size, start in [(sys.argv[1], 510, 0x40000002), (sys.argv[1] + "-shm", 1, 128)]:
    with open(path, "r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, size, start)
        except OSError:
            continue
        sys.exit(f"nobody locks {path}")
"""


def test_looking_and_keeping_and_adopting_drop_none_of_sqlites_locks(
    leave: Callable[..., Path],
    open_client: Callable[..., ResilientDynamoClient],
    proxy: FaultProxy,
    directory: JournalDirectory,
) -> None:
    """Closing any descriptor of a file drops all of this process's POSIX locks on it."""
    proxy.always(DOWN)
    client = open_client()
    client.put_ai_usage_metric(make_metric(0))
    wait_for_adoption(client)
    own = client._delivery._store._own
    assert own is not None

    def check_locks() -> None:
        locked = [sys.executable, "-c", TRY_TO_LOCK, str(own.journal.path)]
        assert subprocess.run(locked, capture_output=True, check=False).stderr == b""

    check_locks()
    leave(1, 2)
    survey(directory)
    client._delivery._store.check_own()
    client._delivery._adoption.look()  # type: ignore[union-attr]
    client.dead_letters()
    directory.sweep()
    assert own.held.lease.is_still_ours()
    assert client.get_stats().adopted == 2
    check_locks()


def test_a_living_process_adopts_what_died_after_it_began(
    leave: Callable[..., Path],
    open_client: Callable[..., ResilientDynamoClient],
    table: DynamoClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(adoption, "INTERVAL", 0.0)  # Not the minute that a test cannot wait.
    client = open_client()
    client.put_ai_usage_metric(make_metric(0))
    wait_for_adoption(client)
    leave(1, 2)
    client.put_ai_usage_metric(make_metric(3))
    wait_for_adoption(client)
    assert client.flush(30)
    assert client.get_stats().adopted == 2
    assert read_numbers(table) == [0, 1, 2, 3]


def test_so_many_journals_that_they_are_not_all_opened_at_once_are_delivered_by_one_flush(
    leave: Callable[..., Path],
    open_client: Callable[..., ResilientDynamoClient],
    table: DynamoClient,
    directory: JournalDirectory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two hundred killed workers leave more files than a process may open."""
    monkeypatch.setattr(record_store, "MAX_ADOPTED", 2)
    most = 0
    adopt = record_store.RecordStore.adopt

    def adopt_and_count(store: record_store.RecordStore, held: Any) -> bool:
        nonlocal most
        is_adopted = adopt(store, held)
        most = max(most, len(store._adopted))
        return is_adopted

    monkeypatch.setattr(record_store.RecordStore, "adopt", adopt_and_count)
    for number in range(7):
        leave(number)
    client = open_client()
    assert client.flush(60)
    assert client.get_stats().adopted == 7
    assert read_numbers(table) == list(range(7))
    assert most == 2
    assert directory.list() == []


def test_a_journal_written_under_moto_is_not_replayed_where_the_endpoint_looks_the_same(
    open_client: Callable[..., ResilientDynamoClient],
    proxy: FaultProxy,
    table: DynamoClient,
    start_engine: Callable[[str], Engine],
    tmp_path: Path,
    directory: JournalDirectory,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A test run was killed; then something else listens on that port, with such a table."""
    moto = str(table.target.endpoint_url)
    program = Program(
        tmp_path / "test_run.py",
        table,
        """
        client = open_client(batch_flush_interval=60)
        put(client, 3)
        wait_for_proof(client)
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        proxy.endpoint_url,
    )
    assert program.run().returncode == -signal.SIGKILL
    (path,) = directory.list()

    other = DynamoClient(table.table_name, "us-east-1", start_engine("ministack").endpoint_url)
    other.create_table()
    lead_to(proxy, str(other.target.endpoint_url))
    production = open_client()
    production.put_ai_usage_metric(make_metric(9))
    with caplog.at_level(logging.WARNING):
        assert production.flush(30)
        wait_for_adoption(production)
    assert (production.get_stats().adopted, production.get_stats().delivered) == (0, 1)
    production.close(0)
    assert read_numbers(other) == [9]
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        f"journal {path.name} is left alone: it is for the same name in another account or place"
    ]

    lead_to(proxy, moto)
    again = open_client()
    assert again.flush(30)
    assert again.get_stats().adopted == 3
    assert read_numbers(table) == [0, 1, 2]


def lead_to(proxy: FaultProxy, endpoint_url: str) -> None:
    """Have something else listen on the proxy's port."""
    proxy.down()
    proxy._upstream = _parse_upstream(endpoint_url)
    proxy.up()


def test_a_journal_is_not_replayed_into_another_account_with_a_table_of_that_name(
    leave: Callable[..., Path],
    open_client: Callable[..., ResilientDynamoClient],
    proxy: FaultProxy,
    table: DynamoClient,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = leave(0, 1)
    keys = open_account(table, "222222222222")
    other = DynamoClient(table.table_name, "us-east-1", table.target.endpoint_url, **keys)
    other.create_table()
    client = open_client(**keys)
    with caplog.at_level(logging.WARNING):
        wait_for_adoption(client)
    assert client.get_stats().adopted == 0
    assert f"{path.name} is left alone: it is for the same name in another account" in caplog.text
    assert read_numbers(other) == []
    assert open_client().flush(30)
    assert read_numbers(table) == [0, 1]
    assert read_numbers(other) == []


def open_account(table: DynamoClient, number: str) -> dict[str, str]:
    """Return credentials of another account of moto's."""
    sts = boto3.client("sts", "us-east-1", endpoint_url=table.target.endpoint_url)
    made = sts.assume_role(RoleArn=f"arn:aws:iam::{number}:role/x", RoleSessionName="test")
    credentials = made["Credentials"]
    return {
        "aws_access_key_id": credentials["AccessKeyId"],
        "aws_secret_access_key": credentials["SecretAccessKey"],
        "aws_session_token": credentials["SessionToken"],
    }
