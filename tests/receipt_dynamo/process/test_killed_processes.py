"""What a killed process accepted is delivered by the next one, without anybody's word for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from left_journals import read_ids
from receipt_dynamo import DynamoClient, ResilientDynamoClient

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
    assert client._delivery._looks.flush(30)

def kill():
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def table(moto_endpoint: str, table_name: str) -> DynamoClient:
    client = DynamoClient(table_name, "us-east-1", moto_endpoint)
    client.create_table()
    return client


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
