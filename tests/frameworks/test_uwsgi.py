"""Real uWSGI, which forks in C: a client that was made before works in each worker."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from receipt_dynamo import DynamoClient
from support.programs import deliver_what_is_left, name_ids, read_ids

pytestmark = pytest.mark.frameworks

UWSGI = Path(sys.executable).parent / "uwsgi"
PATIENCE = 40.0
APP = """
import os
from datetime import UTC, datetime, timedelta
from receipt_dynamo import AIUsageMetric, ResilientDynamoClient

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
client = ResilientDynamoClient(
    os.environ["TABLE"], "us-east-1", endpoint_url=os.environ["ENDPOINT"], batch_flush_interval=0.2
)

def put(number):
    start = START + timedelta(seconds=number)
    return client.put_ai_usage_metric(
        AIUsageMetric("openai", "gpt-4o", "completion", start, request_id=f"id-{number}")
    )

assert put(0)

def application(environ, start_response):
    is_accepted = put(int(environ["PATH_INFO"][1:]))
    start_response("200 OK" if is_accepted else "500 No", [])
    return [b"accepted"]
"""


@pytest.mark.skipif(not UWSGI.exists(), reason="uWSGI is not installed")
@pytest.mark.parametrize(
    "options",
    [
        ("--enable-threads",),
        ("--enable-threads", "--py-call-uwsgi-fork-hooks"),
        (),
    ],
    ids=" ".join,
)
def test_nothing_hangs_and_nothing_is_lost(
    tmp_path: Path, table: DynamoClient, options: tuple[str, ...]
) -> None:
    (tmp_path / "app.py").write_text(APP, encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(UWSGI), "--http-socket", f"127.0.0.1:{port}", "--master", "--processes", "2"]
    command += ["--die-on-term", "--virtualenv", sys.prefix, "--wsgi-file", "app.py", *options]
    environment = {"TABLE": table.table_name, "ENDPOINT": str(table.target.endpoint_url)}
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            for number in range(1, 21):
                record_call(port, number)
            server.send_signal(signal.SIGTERM)
            server.wait(PATIENCE)
        finally:
            server.kill()
    deliver_what_is_left(table)
    assert read_ids(table) == name_ids(range(21))


def record_call(port: int, number: int) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{number}", timeout=10) as reply:
                assert reply.read() == b"accepted"
                return
        except ConnectionRefusedError:
            assert time.monotonic() < end
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionRefusedError):
                raise
            assert time.monotonic() < end
        time.sleep(0.1)
