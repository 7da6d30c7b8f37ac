"""Programs of a few lines that are run in processes of their own, with a real table behind them."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from receipt_dynamo import DynamoClient, ResilientDynamoClient

PREAMBLE = """
import os, signal, sys, threading
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

def open_patient_client(**settings):
    '''Open one that waits for a reply as long as it takes.'''
    from receipt_dynamo.data import resilient_dynamo_client
    resilient_dynamo_client._READ_TIMEOUT = 3600.0
    return open_client(**settings)

def put(client, count, first=0):
    assert client.batch_put_ai_usage_metrics(make_metrics(count, first)) == []

def wait_for_proof(client):
    assert client._delivery._chores.looks.flush(30)

def fork_in_c():
    '''Fork as a server written in C does: Python is not told. (PyDLL keeps its own lock.)'''
    import ctypes
    return ctypes.PyDLL(None).fork()

def run_child(check, fork=os.fork):
    '''Have a forked child run 'check', and end it by os._exit; it must not hang.'''
    pid = fork()
    if pid == 0:
        signal.alarm(60)
        try:
            check()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    return pid

def end_well(pid):
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == 0, status
"""


class Program:
    """A program in a file, with the table as its arguments."""

    def __init__(self, path: Path, table: DynamoClient, body: str, endpoint: str | None) -> None:
        self._folder = path.parent
        path.write_text(PREAMBLE + textwrap.dedent(body), encoding="utf-8")
        target = table.target
        self.command = [
            # Newer Pythons warn of any fork beside threads; that it works is what is shown.
            *(sys.executable, "-W", "ignore::DeprecationWarning", str(path)),
            *(target.table_name, endpoint or str(target.endpoint_url)),
        ]

    def run(self) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(
            self.command,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            cwd=self._folder,
        )

    @contextmanager
    def start(self) -> Iterator[subprocess.Popen[str]]:
        """Start it, with pipes to talk to it; what is still there at the end is killed."""
        with subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self._folder,
        ) as process:
            try:
                yield process
            finally:
                process.kill()


def say(process: subprocess.Popen[str], line: str) -> None:
    """Give a started program a line to read."""
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[str]) -> str:
    """Return the next line that a started program says."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def read_ids(table: DynamoClient) -> list[str]:
    rows = table.query_ai_usage_metrics_by_date("2026-03-01", "openai")
    return sorted((row.request_id for row in rows), key=lambda name: int(name.split("-")[1]))


def wait_for_ids(table: DynamoClient, ids: list[str]) -> None:
    """Wait until these rows are there; 30 s at most."""
    end = time.monotonic() + 30
    while not set(ids) <= set(read_ids(table)):
        assert time.monotonic() < end, f"{ids} are not there"
        time.sleep(0.05)


def name_ids(*ranges: range) -> list[str]:
    return [f"id-{number}" for numbers in ranges for number in numbers]


def deliver_what_is_left(table: DynamoClient, endpoint: str | None = None) -> int:
    """Do as the next process for this table; return how many records it adopted."""
    target = table.target
    with ResilientDynamoClient(
        target.table_name, "us-east-1", endpoint_url=endpoint or target.endpoint_url
    ) as successor:
        assert successor.flush(60)
        return successor.get_stats().adopted
