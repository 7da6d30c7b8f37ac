"""The ends and the beginnings of processes, in real ones."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from receipt_dynamo import DynamoClient

PREAMBLE = """
import os, sys, threading
from datetime import UTC, datetime, timedelta
from receipt_dynamo import AIUsageMetric, DynamoClient, ResilientDynamoClient

TABLE, ENDPOINT = sys.argv[1:3]
START = datetime(2026, 3, 1, 12, tzinfo=UTC)

def make_metrics(count, first=0):
    return [
        AIUsageMetric("openai", "gpt-4o", "completion", START + timedelta(seconds=number),
                      request_id=f"id-{number}")
        for number in range(first, first + count)
    ]

def open_client(**settings):
    return ResilientDynamoClient(TABLE, "us-east-1", endpoint_url=ENDPOINT, **settings)
"""


@pytest.fixture
def table(moto_endpoint: str, table_name: str) -> DynamoClient:
    client = DynamoClient(table_name, "us-east-1", moto_endpoint)
    client.create_table()
    return client


def run_program(
    tmp_path: Path, table: DynamoClient, body: str, *, endpoint: str | None = None
) -> subprocess.CompletedProcess[str]:
    program = tmp_path / "program.py"
    program.write_text(PREAMBLE + textwrap.dedent(body), encoding="utf-8")
    target = table.target
    return subprocess.run(
        # Newer Pythons warn of any fork beside threads; that it works is what is shown here.
        [
            *(sys.executable, "-W", "ignore::DeprecationWarning", str(program)),
            *(table.table_name, endpoint or str(target.endpoint_url)),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def read_ids(table: DynamoClient) -> list[str]:
    rows = table.query_ai_usage_metrics_by_date("2026-03-01", "openai")
    return sorted((row.request_id for row in rows), key=lambda name: int(name.split("-")[1]))


def test_a_process_that_just_ends_delivers_first(tmp_path: Path, table: DynamoClient) -> None:
    done = run_program(
        tmp_path,
        table,
        """
        client = open_client(batch_flush_interval=60)
        assert client.batch_put_ai_usage_metrics(make_metrics(60)) == []
        """,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert read_ids(table) == [f"id-{number}" for number in range(60)]


def test_records_of_an_exit_handler_that_runs_first_are_delivered(
    tmp_path: Path, table: DynamoClient
) -> None:
    """No thread can be started in atexit on Python 3.12 and later."""
    done = run_program(
        tmp_path,
        table,
        """
        import atexit
        client = open_client()
        atexit.register(client.batch_put_ai_usage_metrics, make_metrics(30))
        """,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(read_ids(table)) == 30


def test_an_exit_during_an_outage_is_bounded_and_says_what_is_lost(
    tmp_path: Path, table: DynamoClient
) -> None:
    done = run_program(
        tmp_path,
        table,
        """
        import atexit
        from receipt_dynamo.data import lifecycle
        atexit.unregister(lifecycle.close_all)
        atexit.register(lifecycle.close_all, 0.5)
        client = open_client(durability="memory")
        client.batch_put_ai_usage_metrics(make_metrics(3))
        """,
        endpoint="http://127.0.0.1:9",
    )
    assert done.returncode == 0
    assert "3 records were not delivered within 0." in done.stderr
    assert "0 of them from the journal, 3 are lost" in done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_starts_empty_and_the_parent_keeps_its_records(
    tmp_path: Path, table: DynamoClient
) -> None:
    """A child that flushed the parent's queue would double the rows' writes, or hang."""
    done = run_program(
        tmp_path,
        table,
        """
        client = open_client(batch_flush_interval=60)
        client.batch_put_ai_usage_metrics(make_metrics(10))
        pid = os.fork()
        if pid == 0:
            stats = client.get_stats()
            ok = (stats.accepted, stats.pending) == (0, 0)
            client.batch_put_ai_usage_metrics(make_metrics(5, first=100))
            ok = client.flush(timeout=20) and ok
            ok = ok and client.get_stats().delivered == 5
            os._exit(0 if ok else 1)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        in_table = DynamoClient(TABLE, "us-east-1", ENDPOINT)
        rows = list(in_table.query_ai_usage_metrics_by_date("2026-03-01", "openai"))
        assert sorted(row.request_id for row in rows) == [f"id-{n}" for n in range(100, 105)]
        assert client.get_stats().pending == 10
        assert client.close().delivered == 10
        """,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(read_ids(table)) == 15


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forks_in_the_middle_of_sending_neither_hang_nor_lose(
    tmp_path: Path, table: DynamoClient
) -> None:
    done = run_program(
        tmp_path,
        table,
        """
        client = open_client(batch_flush_interval=0.0)
        children = []
        for number in range(8):
            client.batch_put_ai_usage_metrics(make_metrics(20, first=number * 20))
            pid = os.fork()
            if pid == 0:
                client.batch_put_ai_usage_metrics(make_metrics(1, first=1000 + number))
                os._exit(0 if client.close(timeout=20).delivered == 1 else 1)
            children.append(pid)
        for pid in children:
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert client.close(timeout=20).delivered == 160
        """,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(read_ids(table)) == 168


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_workers_deliver_their_own(
    tmp_path: Path, table: DynamoClient, method: str
) -> None:
    done = run_program(
        tmp_path,
        table,
        f"""
        import multiprocessing

        def work(number):
            with open_client() as client:
                client.batch_put_ai_usage_metrics(make_metrics(10, first=number * 10))
                assert client.flush(timeout=20)

        if __name__ == "__main__":
            context = multiprocessing.get_context({method!r})
            workers = [context.Process(target=work, args=(number,)) for number in range(3)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            assert [worker.exitcode for worker in workers] == [0, 0, 0]
        """,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(read_ids(table)) == 30
