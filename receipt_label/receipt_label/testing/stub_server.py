"""The HTTP server below the providers' stub: connections, chunks, and how they are cut."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Final, TypeAlias

HOST: Final = "127.0.0.1"

Events: TypeAlias = Iterator[tuple[str | None, Any]]


@dataclass(frozen=True, slots=True)
class BodyFault:
    """What becomes of one body on its way.

    Args:
        after: Events that are sent before it, or bytes of a body that is no stream.
        held_until: Waited for there; when it is None the connection is cut.
    """

    after: int
    held_until: threading.Event | None = None


@dataclass(frozen=True, slots=True)
class StubAnswer:
    """The answer to one request.

    Args:
        status: HTTP status.
        reply: A JSON document, or bytes of sound.
        headers: More than those that every answer has.
        events: The reply as a stream, if it is one.
        fault: What becomes of it on its way.
    """

    status: int
    reply: dict[str, Any] | bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    events: Events | None = None
    fault: BodyFault | None = None


Respond: TypeAlias = Callable[[str, Mapping[str, str], bytes], StubAnswer]
"""Decides the answer to a path, headers with names in lower case, and a body."""


class StubServer(ThreadingHTTPServer):
    """Accepts connections, and can close those that clients keep open.

    Args:
        respond: Decides what is answered.
    """

    request_queue_size = 128

    def __init__(self, respond: Respond) -> None:
        self.respond = respond
        # Only the accepting thread changes it, which has ended before it is read elsewhere.
        self._handlers: list[tuple[socket.socket, threading.Thread]] = []
        super().__init__((HOST, 0), _StubHandler)

    def server_bind(self) -> None:
        """Listen on a free port."""
        # HTTPServer's own looks up the host's name, which may ask the network.
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = self.socket.getsockname()[:2]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in its own thread."""
        # Not the base class's: it joins no daemon threads, and others would keep a program
        # alive that failed before it could stop the stub.
        handler = threading.Thread(
            target=self.process_request_thread,
            args=(request, client_address),
            name="provider-stub-client",
            daemon=True,
        )
        self._handlers = [entry for entry in self._handlers if entry[1].is_alive()]
        self._handlers.append((request, handler))
        handler.start()

    def close_connections(self) -> None:
        """End the reads that handlers of idle keep-alive connections wait in, and the handlers."""
        for connection, _ in self._handlers:
            # The client may have closed it in the meantime.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for _, handler in self._handlers:
            handler.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report an error, unless it is the client's."""
        # A client may hang up whenever it likes; anything else is a fault of the stub.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _StubHandler(BaseHTTPRequestHandler):
    """Speaks HTTP/1.1 for the stub: reads one request after the other, writes its answer."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    # Head and body of an answer leave in one packet.
    wbufsize: ClassVar[int] = 64 * 1024
    server: StubServer

    def do_POST(self) -> None:
        self._answer_request()

    def do_GET(self) -> None:
        self._answer_request()

    def _answer_request(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        raw_body = self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        path = self.path.partition("?")[0]
        answer = self.server.respond(path, headers, raw_body)
        if answer.events is None:
            self._send_document(answer)
        else:
            self._send_stream(answer, answer.events)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Keep quiet: the stub has its own log."""

    def _send_document(self, answer: StubAnswer) -> None:
        reply, fault = answer.reply, answer.fault
        is_sound = isinstance(reply, bytes)
        document = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
        self._send_head(answer, "audio/mpeg" if is_sound else "application/json")
        self.send_header("content-length", str(len(document)))
        self.end_headers()
        if fault is not None:
            self._send_now(document[: fault.after])
            if self._suffer(fault):
                return
            document = document[fault.after :]
        self.wfile.write(document)

    def _send_stream(self, answer: StubAnswer, events: Events) -> None:
        self._send_head(answer, "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for number, (name, data) in enumerate(events):
            if answer.fault is not None and number == answer.fault.after:
                self.wfile.flush()
                if self._suffer(answer.fault):
                    return
            text = data if isinstance(data, str) else json.dumps(data)
            event = f"event: {name}\n" if name else ""
            self._send_chunk(f"{event}data: {text}\n\n".encode())
        self._send_chunk(b"")

    def _suffer(self, fault: BodyFault) -> bool:
        """Hold the answer back, or cut the connection; return whether it is cut."""
        if fault.held_until is not None:
            fault.held_until.wait()
            return False
        self.close_connection = True
        # Not a mere close: that waits for what the client may still send.
        self.connection.shutdown(socket.SHUT_RDWR)
        return True

    def _send_head(self, answer: StubAnswer, content_type: str) -> None:
        self.send_response(answer.status)
        self.send_header("content-type", content_type)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status >= HTTPStatus.BAD_REQUEST:
            # Spares tests the half second that the SDKs wait before they try again.
            self.send_header("retry-after-ms", "10")

    def _send_chunk(self, chunk: bytes) -> None:
        self._send_now(b"%x\r\n%s\r\n" % (len(chunk), chunk))

    def _send_now(self, chunk: bytes) -> None:
        self.wfile.write(chunk)
        self.wfile.flush()
