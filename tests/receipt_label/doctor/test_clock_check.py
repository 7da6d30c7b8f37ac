"""The local clock against the table's: over a loopback proxy whose replies bear another date."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest

from left_journals import Ended
from receipt_dynamo import DynamoClient
from receipt_dynamo.commands.clock import ReplyClock

Doctor = Callable[..., Ended]


class DateProxy(ThreadingHTTPServer):
    """Passes requests on, and sets the date of the replies."""

    daemon_threads = True

    def __init__(self, upstream: str, date: str | None) -> None:
        super().__init__(("127.0.0.1", 0), DateHandler)
        self.upstream = urlsplit(upstream).netloc
        self.date = date


class DateHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: DateProxy

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=30)
        upstream.request("POST", self.path, body, dict(self.headers))
        reply = upstream.getresponse()
        answer = reply.read()
        upstream.close()
        self.send_response_only(reply.status)
        if self.server.date is not None:
            self.send_header("Date", self.server.date)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def set_date(upstream: str, date: str | None) -> Iterator[str]:
    with DateProxy(upstream, date) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(10)


@pytest.mark.parametrize(
    ("ahead", "status", "said"),
    [
        # Of the machine; a loaded one may take its time, so that no case is near a limit.
        (0, 0, "ok: clock: as DynamoDB's"),
        (150, 1, " s ahead of DynamoDB's; set it by NTP\n"),
        (-150, 1, " s behind DynamoDB's; set it by NTP\n"),
        (400, 2, " s ahead of DynamoDB's; set it by NTP: AWS refuses more than 5 minutes"),
        (-400, 2, " s behind DynamoDB's; set it by NTP: AWS refuses more than 5 minutes"),
    ],
)
def test_a_clock_that_is_off_is_a_warning_and_then_an_error(
    ahead: int, status: int, said: str, table: DynamoClient, moto_endpoint: str, doctor: Doctor
) -> None:
    with set_date(moto_endpoint, formatdate(time.time() - ahead, usegmt=True)) as endpoint:
        ended = doctor("--endpoint-url", endpoint)
        document = doctor("--endpoint-url", endpoint, "--json").document
    assert ended.status == status
    assert said in ended.out
    assert abs(document["clock_skew_seconds"] - ahead) < 50


def test_a_refusal_bears_a_date_too(moto_endpoint: str, doctor: Doctor) -> None:
    """So does AWS's of a signature that is out of time: then the clock is the finding."""
    with set_date(moto_endpoint, formatdate(time.time() - 400, usegmt=True)) as endpoint:
        ended = doctor("--table", "no-such-test", "--endpoint-url", endpoint)
    assert "error: clock: 40" in ended.out


@pytest.mark.parametrize("date", [None, "yesterday"])
def test_without_a_date_nothing_is_said_of_the_clock(
    date: str | None, table: DynamoClient, moto_endpoint: str, doctor: Doctor
) -> None:
    with set_date(moto_endpoint, date) as endpoint:
        ended = doctor("--endpoint-url", endpoint)
    assert ended.status == 0
    assert "clock" not in ended.out


def test_the_skew_is_what_the_local_clock_is_ahead() -> None:
    watcher = ReplyClock(lambda: 1_000_060.0)
    assert watcher.skew is None
    watcher._note({"headers": {"date": formatdate(1_000_000, usegmt=True)}})
    assert watcher.skew == 60.0
    watcher._note(None)
    assert watcher.skew == 60.0
