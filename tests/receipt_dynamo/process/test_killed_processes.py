"""What a killed process accepted is delivered by the next one, without anybody's word for it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from receipt_dynamo import AIUsageMetric, DynamoClient, ResilientDynamoClient
from receipt_dynamo.data.journal.journal import Journal
from receipt_dynamo.data.journal.peek import peek
from receipt_dynamo.data.table.evidence import TABLE_ARN
from support.inside_client import look_for_journals, wait_for_proof
from support.left_journals import read_ids

PREAMBLE = """
import os, signal, sys
from datetime import UTC, datetime, timedelta
from receipt_dynamo import AIUsageMetric, ResilientDynamoClient

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
client = ResilientDynamoClient(
    sys.argv[1], "us-east-1", endpoint_url=sys.argv[2], batch_flush_interval=60
)

def put(*names):
    for name in names:
        metric = AIUsageMetric("openai", "gpt-4o", "completion", START, request_id=name)
        assert client.put_ai_usage_metric(metric)

def wait_for_proof():
    assert client._delivery._chores.looks.flush(30)

def kill():
    os.kill(os.getpid(), signal.SIGKILL)
"""


def run_until_killed(tmp_path: Path, table: DynamoClient, body: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(PREAMBLE + textwrap.dedent(body), encoding="utf-8")
    target = table.target
    done = subprocess.run(
        [
            *(sys.executable, "-W", "ignore::DeprecationWarning", str(program)),
            *(target.table_name, str(target.endpoint_url)),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def deliver_what_is_left(table: DynamoClient) -> int:
    target = table.target
    with ResilientDynamoClient(
        target.table_name, "us-east-1", endpoint_url=target.endpoint_url
    ) as successor:
        assert successor.flush(30)
        return successor.get_stats().adopted


def test_records_of_a_process_killed_before_its_first_delivery_are_adopted(
    tmp_path: Path, table: DynamoClient
) -> None:
    """A short-lived process never sends: it is the first record that makes it ask for proof."""
    run_until_killed(tmp_path, table, "put('a', 'b'); wait_for_proof(); kill()")
    assert deliver_what_is_left(table) == 2
    assert read_ids(table) == {"a", "b"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_records_of_a_killed_worker_are_adopted_whatever_its_parent_had_proven(
    tmp_path: Path, table: DynamoClient
) -> None:
    """The child's journal is its own: the proof that its parent noted is not in it."""
    run_until_killed(
        tmp_path,
        table,
        """
        put('parent')
        assert client.flush()
        wait_for_proof()
        pid = os.fork()
        if pid == 0:
            put('a', 'b')
            wait_for_proof()
            kill()
        os.waitpid(pid, 0)
        kill()
        """,
    )
    assert deliver_what_is_left(table) == 2
    assert read_ids(table) == {"parent", "a", "b"}


def test_a_proof_that_could_not_be_written_is_written_with_the_next_look(
    table: DynamoClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk that was full for a moment. Left unproven, the journal would not be adopted."""
    target, write_notes = table.target, Journal.write_notes

    def fail(self: Journal, values: Iterable[tuple[str, str]]) -> None:
        noted = dict(values)
        if TABLE_ARN in noted:
            raise sqlite3.OperationalError("database or disk is full")
        write_notes(self, noted.items())

    def read_proof() -> str | None:
        (path,) = (tmp_path / "journal").glob("*.db")
        with peek(path) as journal:
            return journal.read_target().get(TABLE_ARN)

    with ResilientDynamoClient(
        target.table_name, "us-east-1", endpoint_url=target.endpoint_url, batch_flush_interval=60
    ) as client:
        metric = AIUsageMetric("openai", "gpt-4o", "completion", datetime.now(UTC))
        with monkeypatch.context() as full_disk:
            full_disk.setattr(Journal, "write_notes", fail)
            assert client.put_ai_usage_metric(metric)
            wait_for_proof(client)
            assert read_proof() is None
        look_for_journals(client)
        assert read_proof() is not None
