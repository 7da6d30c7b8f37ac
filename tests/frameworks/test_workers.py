"""Real worker frameworks: what their processes put arrives, though they end by os._exit.

They take seconds each, and are run by ``make frameworks``.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from receipt_dynamo import DynamoClient
from support.programs import name_ids, read_ids

pytestmark = pytest.mark.frameworks

PATIENCE = 40.0
RECORDS = """
import os
from datetime import UTC, datetime, timedelta
from receipt_dynamo import AIUsageMetric, ResilientDynamoClient

client = ResilientDynamoClient(
    os.environ["TABLE"], "us-east-1", endpoint_url=os.environ["ENDPOINT"],
    batch_flush_interval=60, durability=os.environ["DURABILITY"],
)

def put(number):
    start = datetime(2026, 3, 1, 12, tzinfo=UTC) + timedelta(seconds=number)
    assert client.put_ai_usage_metric(
        AIUsageMetric("openai", "gpt-4o", "completion", start, request_id=f"id-{number}")
    )
    with open(os.environ["DONE"], "a") as done:
        done.write(f"{number}\\n")
"""
CELERY = """
import os
from celery import Celery
from records import put
from receipt_dynamo.workers import deliver_at_end_of_celery_workers

app = Celery("tasks", broker=os.environ["REDIS"])
deliver_at_end_of_celery_workers()
record = app.task(name="record")(put)
"""


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("redis-server is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--loglevel"]
    with subprocess.Popen([*command, "warning"], cwd=tmp_path) as process:
        try:
            wait_until(lambda: is_open(port))
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()


@pytest.fixture(params=["journal", "memory"])
def environment(
    request: pytest.FixtureRequest, tmp_path: Path, table: DynamoClient, redis_url: str
) -> dict[str, str]:
    (tmp_path / "records.py").write_text(RECORDS, encoding="utf-8")
    return {
        **os.environ,
        "TABLE": table.table_name,
        "ENDPOINT": str(table.target.endpoint_url),
        "DURABILITY": request.param,
        "DONE": str(tmp_path / "done"),
        "REDIS": redis_url,
        "PYTHONPATH": str(tmp_path),
    }


def is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def wait_until(is_done: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not is_done():
        assert time.monotonic() < end
        time.sleep(0.05)


def count_done(environment: dict[str, str]) -> int:
    done = Path(environment["DONE"])
    return len(done.read_text(encoding="utf-8").split()) if done.exists() else 0


def run_python(program: str, environment: dict[str, str]) -> None:
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=PATIENCE)


def test_the_processes_of_celerys_pool_deliver_before_they_are_recycled_or_stopped(
    environment: dict[str, str], tmp_path: Path, table: DynamoClient
) -> None:
    pytest.importorskip("celery")
    (tmp_path / "tasks.py").write_text(CELERY, encoding="utf-8")
    run_python("import tasks; [tasks.record.delay(n) for n in range(6)]", environment)
    command = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--concurrency", "2"]
    with subprocess.Popen(
        [*command, "--max-tasks-per-child=2"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as worker:
        try:
            wait_until(lambda: count_done(environment) == 6)
            worker.send_signal(signal.SIGTERM)
            worker.wait(PATIENCE)
        finally:
            worker.kill()
    assert read_ids(table) == name_ids(range(6))


def test_a_work_horse_of_rq_delivers_before_it_ends(
    environment: dict[str, str], table: DynamoClient
) -> None:
    pytest.importorskip("rq")
    enqueue = (
        "import os, rq, redis\n"
        "queue = rq.Queue(connection=redis.Redis.from_url(os.environ['REDIS']))\n"
        "for number in range(5): queue.enqueue('records.put', number)"
    )
    run_python(enqueue, environment)
    command = [str(Path(sys.executable).parent / "rq"), "worker", "--burst"]
    subprocess.run(
        [
            *command,
            "--worker-class",
            "receipt_dynamo.workers.RqWorker",
            "--url",
            environment["REDIS"],
        ],
        env=environment,
        check=True,
        timeout=PATIENCE,
        capture_output=True,
    )
    assert read_ids(table) == name_ids(range(5))
