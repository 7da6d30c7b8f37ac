"""A relay on loopback before a DynamoDB engine, that sees each request and may answer itself."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

Judge = Callable[[str, dict[str, Any]], str | None]
"""Given an operation and its parameters, says why access is denied, or None."""

SetDate = Callable[[str | None], str | None]
"""Given the date of a reply, says which one to pass on."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, upstream: str, judge: Judge, set_date: SetDate) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream).netloc
        self.judge = judge
        self.set_date = set_date


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        operation = self.headers["X-Amz-Target"].partition(".")[2]
        why = self.server.judge(operation, json.loads(body))
        if why is None:
            self._pass_on(body)
        else:
            self._answer(400, None, make_denial(why))

    def _pass_on(self, body: bytes) -> None:
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=30)
        try:
            upstream.request("POST", self.path, body, dict(self.headers))
            reply = upstream.getresponse()
            self._answer(reply.status, self.server.set_date(reply.headers["Date"]), reply.read())
        finally:
            upstream.close()

    def _answer(self, status: int, date: str | None, body: bytes) -> None:
        self.send_response_only(status)
        if date is not None:
            self.send_header("Date", date)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def make_denial(why: str) -> bytes:
    kind = "com.amazon.coral.service#AccessDeniedException"
    return json.dumps({"__type": kind, "Message": why}).encode()


@contextmanager
def relay(
    upstream: str,
    *,
    judge: Judge = lambda _operation, _parameters: None,
    set_date: SetDate = lambda date: date,
) -> Iterator[str]:
    """Run a relay; give its URL."""
    with _Server(upstream, judge, set_date) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(10)
