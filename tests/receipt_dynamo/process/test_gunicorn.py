"""A prefork server, the real one: the client is made before the fork, the workers record calls."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from receipt_dynamo import DynamoClient
from receipt_dynamo.data.journal.directory import JournalDirectory
from receipt_dynamo.data.journal.peek import peek
from support.programs import deliver_what_is_left, name_ids, read_ids

if sys.platform == "win32":
    pytest.skip("gunicorn needs a system that can fork", allow_module_level=True)

APP = """
import os
from datetime import UTC, datetime, timedelta
from receipt_dynamo import AIUsageMetric, ResilientDynamoClient

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
client = ResilientDynamoClient(
    os.environ["TABLE"], "us-east-1", endpoint_url=os.environ["ENDPOINT"], batch_flush_interval=60
)

def put(number):
    start = START + timedelta(seconds=number)
    return client.put_ai_usage_metric(
        AIUsageMetric("openai", "gpt-4o", "completion", start, request_id=f"id-{number}")
    )

assert put(0)  # by the master, before the fork

def app(environ, start_response):
    is_accepted = put(int(environ["PATH_INFO"][1:]))
    start_response("200 OK" if is_accepted else "500 No", [])
    return [str(os.getpid()).encode()]
"""
PATIENCE = 60.0


class Server:
    """A running gunicorn with two workers, and how many records it has accepted."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.accepted = 1
        self.workers: set[int] = set()
        self._port = port

    def record_call(self) -> None:
        """Have a worker record a call."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        connection.request("GET", f"/{self.accepted}")
        with connection.getresponse() as response:
            assert response.status == 200
            self.workers.add(int(response.read()))
        connection.close()
        self.accepted += 1

    def record_calls_of(self, workers: int) -> None:
        """Have calls recorded until so many workers have, and a few more."""
        wait_until(lambda: self.record_call() or len(self.workers) >= workers)
        for _ in range(10):
            self.record_call()

    def stop(self) -> None:
        """Stop it as a service manager does."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == 0


@pytest.fixture
def server(tmp_path: Path, table: DynamoClient) -> Iterator[Server]:
    (tmp_path / "prefork_app.py").write_text(APP, encoding="utf-8")
    target = table.target
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        descriptor = listener.fileno()
        with subprocess.Popen(
            [
                *(sys.executable, "-W", "ignore::DeprecationWarning", "-m", "gunicorn"),
                *("--preload", "--workers", "2", "--bind", f"fd://{descriptor}"),
                *("--log-level", "warning", "prefork_app:app"),
            ],
            cwd=tmp_path,
            env={**os.environ, "TABLE": target.table_name, "ENDPOINT": str(target.endpoint_url)},
            pass_fds=[descriptor],
        ) as process:
            try:
                yield Server(process, listener.getsockname()[1])
            finally:
                process.terminate()


def wait_until(is_done: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not is_done():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_workers_of_a_preloaded_application_deliver_before_they_stop(
    server: Server, table: DynamoClient
) -> None:
    server.record_calls_of(2)
    server.stop()
    assert read_ids(table) == name_ids(range(server.accepted))


def test_what_a_killed_worker_has_accepted_is_delivered_by_others(
    server: Server, table: DynamoClient, tmp_path: Path
) -> None:
    server.record_calls_of(2)
    wait_until(lambda: count_proven(tmp_path / "journal") == 3)
    victim = server.workers.pop()
    os.kill(victim, signal.SIGKILL)
    server.record_calls_of(2)
    assert victim not in server.workers
    server.stop()
    deliver_what_is_left(table)
    assert read_ids(table) == name_ids(range(server.accepted))


def count_proven(directory: Path) -> int:
    """Return how many journals are known to be for which table, that of the master included."""
    proven = 0
    for path in JournalDirectory(directory).list():
        with peek(path) as journal:
            proven += "table_arn" in journal.read_target()
    return proven
