"""A loopback server that answers as the OpenAI and Anthropic HTTP APIs do.

The real SDKs talk to it over a real socket, so that a test or the demo needs no
account, no network and no mock. Standard library only.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import secrets
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Final, Literal, Self

from receipt_label.testing.anthropic_answers import (
    answer_anthropic_error,
    answer_message,
    stream_message,
)
from receipt_label.testing.openai_answers import (
    answer_chat_completion,
    answer_embedding,
    answer_openai_error,
    stream_chat_completion,
)

Service = Literal["openai", "anthropic"]
_Events = Iterator[tuple[str | None, Any]]

_HOST: Final = "127.0.0.1"
_ERROR_STATUSES: Final = range(400, 600)


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """One path of one provider: what it needs and how it answers."""

    service: Service
    required: tuple[str, ...]
    answer: Callable[[Mapping[str, Any], str], dict[str, Any]]
    stream: Callable[[Mapping[str, Any], Mapping[str, Any]], _Events] | None = None


_ENDPOINTS: Final[Mapping[str, _Endpoint]] = {
    "/v1/chat/completions": _Endpoint(
        "openai", ("model", "messages"), answer_chat_completion, stream_chat_completion
    ),
    "/v1/embeddings": _Endpoint("openai", ("model", "input"), answer_embedding),
    "/v1/messages": _Endpoint(
        "anthropic", ("model", "messages", "max_tokens"), answer_message, stream_message
    ),
}

_ERROR_FORMS: Final[Mapping[Service, Callable[[int, str, str], dict[str, Any]]]] = {
    "openai": answer_openai_error,
    "anthropic": answer_anthropic_error,
}

_REQUEST_ID_HEADERS: Final[Mapping[Service, str]] = {
    "openai": "x-request-id",
    "anthropic": "request-id",
}


@dataclass(frozen=True, slots=True)
class StubRequest:
    """One request that reached the stub, and what became of it.

    Args:
        service: Whose API was asked.
        path: Path of the URL, without the query.
        body: The JSON document sent; empty when it was none.
        headers: The request's headers, names in lower case.
        status: HTTP status that was answered.
        response_id: The reply's ``id``; None for an error or an embedding.
    """

    service: Service
    path: str
    body: Mapping[str, Any] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    status: int
    response_id: str | None


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    reply: dict[str, Any]
    service: Service
    request_id: str
    events: _Events | None = None


class ProviderStub:
    """The OpenAI and Anthropic HTTP APIs on a loopback port, for real SDK clients.

    It serves ``POST /v1/chat/completions``, ``/v1/embeddings`` and ``/v1/messages``,
    whole or streamed (``"stream": true``), over keep-alive connections with a thread
    each. Token counts depend on the request alone, ids are unique, the model is the one
    asked for. Any API key is accepted. Other paths get a 404 in the provider's form.

    Use it as a context manager, or call :meth:`start` and :meth:`stop`::

        with ProviderStub() as stub:
            client = openai.OpenAI(api_key="any", base_url=stub.openai_base_url)

    Args:
        latency: Seconds to wait before each answer; 0 by default.

    Raises:
        ValueError: ``latency`` is negative.
    """

    def __init__(self, *, latency: float = 0.0) -> None:
        if latency < 0:
            raise ValueError(f"latency is {latency}; accepted are 0 and more seconds")
        self._latency = latency
        self._lock = threading.Lock()
        self._failures: deque[int] = deque()
        self._overrides: dict[Service, deque[dict[str, Any]]] = {
            service: deque() for service in _ERROR_FORMS
        }
        self._requests: list[StubRequest] = []
        self._series = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self._stopping = threading.Event()
        self._server: _StubServer | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> Self:
        """Listen on a free loopback port.

        Raises:
            RuntimeError: It is running already.
        """
        if self._server is not None:
            raise RuntimeError("the provider stub is running already")
        self._stopping.clear()
        self._server = _StubServer(self)
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.05},
            name="provider-stub",
            daemon=True,
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close every connection and wait for every thread; does nothing when not running."""
        server, thread = self._server, self._thread
        if server is None or thread is None:
            return
        self._stopping.set()
        server.shutdown()
        thread.join()
        server.close_connections()
        server.server_close()
        self._server = self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def openai_base_url(self) -> str:
        """``base_url`` for ``openai.OpenAI`` and ``AsyncOpenAI``."""
        return f"http://{_HOST}:{self._port}/v1"

    @property
    def anthropic_base_url(self) -> str:
        """``base_url`` for ``anthropic.Anthropic`` and ``AsyncAnthropic``."""
        return f"http://{_HOST}:{self._port}"

    @property
    def requests(self) -> list[StubRequest]:
        """A copy of the log: every request so far, oldest first."""
        with self._lock:
            return list(self._requests)

    def fail_next(self, status: int, times: int = 1) -> None:
        """Answer the next requests with an error in the provider's form.

        The SDKs repeat a call that got 408, 409, 429 or 5xx (twice by default), and each
        repetition is a request.

        Args:
            status: HTTP status, 400 to 599.
            times: Number of requests that fail; 1 by default.

        Raises:
            ValueError: ``status`` or ``times`` is out of range.
        """
        if status not in _ERROR_STATUSES:
            raise ValueError(f"status is {status}; accepted are 400 to 599")
        if times < 1:
            raise ValueError(f"times is {times}; accepted are 1 and more")
        with self._lock:
            self._failures.extend([status] * times)

    def answer_next(self, service: Service, **fields: Any) -> None:
        """Replace top-level fields of the service's next successful reply.

        Calls queue up: each is used for one reply. A streamed reply is made from the
        changed fields as well.

        Args:
            service: "openai" or "anthropic".
            **fields: Such as ``usage``, ``model`` or ``id``.

        Raises:
            ValueError: The service is unknown.
        """
        if service not in self._overrides:
            raise ValueError(f"service is {service!r}; accepted are 'openai' and 'anthropic'")
        with self._lock:
            self._overrides[service].append(fields)

    @property
    def _port(self) -> int:
        if self._server is None:
            raise RuntimeError("the provider stub is not running; call start() first")
        return self._server.server_port

    def _answer(self, path: str, headers: Mapping[str, str], raw_body: bytes) -> _Answer:
        """Wait, decide the answer to one request, and log it."""
        self._stopping.wait(self._latency)
        endpoint = _ENDPOINTS.get(path)
        body = _parse_object(raw_body)
        answer = self._decide(endpoint, _name_service(endpoint, headers), path, body)
        entry = StubRequest(
            answer.service, path, body or {}, headers, answer.status, answer.reply.get("id")
        )
        with self._lock:
            self._requests.append(entry)
        return answer

    def _decide(
        self,
        endpoint: _Endpoint | None,
        service: Service,
        path: str,
        body: dict[str, Any] | None,
    ) -> _Answer:
        unique, failure = self._take_number_and_failure()
        request_id = f"req_{unique}"

        def refuse(status: int, message: str) -> _Answer:
            reply = _ERROR_FORMS[service](status, message, unique)
            return _Answer(status, reply, service, request_id)

        if failure is not None:
            return refuse(failure, f"The stub was told to answer {failure}.")
        if endpoint is None:
            return refuse(404, f"Unknown request URL: {path}")
        if body is None:
            return refuse(400, "The request body is not a JSON object.")
        if missing := [name for name in endpoint.required if name not in body]:
            return refuse(400, f"{', '.join(missing)}: field required")
        if body.get("stream") and endpoint.stream is None:
            return refuse(400, "This endpoint does not stream.")
        reply = endpoint.answer(body, unique) | self._take_override(service)
        events = endpoint.stream(body, reply) if body.get("stream") and endpoint.stream else None
        return _Answer(200, reply, service, request_id, events)

    def _take_number_and_failure(self) -> tuple[str, int | None]:
        with self._lock:
            unique = f"{self._series}{next(self._numbers):08d}"
            return unique, self._failures.popleft() if self._failures else None

    def _take_override(self, service: Service) -> dict[str, Any]:
        with self._lock:
            waiting = self._overrides[service]
            return waiting.popleft() if waiting else {}


class _StubServer(ThreadingHTTPServer):
    """Accepts connections, and can close those that clients keep open."""

    request_queue_size = 128

    def __init__(self, stub: ProviderStub) -> None:
        self.stub = stub
        # Only the accepting thread changes it, which has ended before it is read elsewhere.
        self._handlers: list[tuple[socket.socket, threading.Thread]] = []
        super().__init__((_HOST, 0), _StubHandler)

    def server_bind(self) -> None:
        # HTTPServer's own looks up the host's name, which may ask the network.
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = self.socket.getsockname()[:2]

    def process_request(self, request: Any, client_address: Any) -> None:
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
        # A client may hang up whenever it likes; anything else is a fault of the stub.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _StubHandler(BaseHTTPRequestHandler):
    """Speaks HTTP/1.1 for the stub: reads one request after the other, writes its answer."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    # Head and body of an answer leave in one packet.
    wbufsize: ClassVar[int] = 64 * 1024
    server: _StubServer

    def do_POST(self) -> None:
        self._answer_request()

    def do_GET(self) -> None:
        self._answer_request()

    def _answer_request(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        raw_body = self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        path = self.path.partition("?")[0]
        answer = self.server.stub._answer(path, headers, raw_body)  # noqa: SLF001
        if answer.events is None:
            self._send_document(answer)
        else:
            self._send_stream(answer, answer.events)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Keep quiet: the stub has a log of its own."""

    def _send_document(self, answer: _Answer) -> None:
        document = json.dumps(answer.reply).encode()
        self._send_head(answer, "application/json")
        self.send_header("content-length", str(len(document)))
        self.end_headers()
        self.wfile.write(document)

    def _send_stream(self, answer: _Answer, events: _Events) -> None:
        self._send_head(answer, "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for name, data in events:
            text = data if isinstance(data, str) else json.dumps(data)
            event = f"event: {name}\n" if name else ""
            self._send_chunk(f"{event}data: {text}\n\n".encode())
        self._send_chunk(b"")

    def _send_head(self, answer: _Answer, content_type: str) -> None:
        self.send_response(answer.status)
        self.send_header("content-type", content_type)
        self.send_header(_REQUEST_ID_HEADERS[answer.service], answer.request_id)
        if answer.status >= HTTPStatus.BAD_REQUEST:
            # Spares tests the half second that the SDKs wait before they try again.
            self.send_header("retry-after-ms", "10")

    def _send_chunk(self, chunk: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        self.wfile.flush()


def _name_service(endpoint: _Endpoint | None, headers: Mapping[str, str]) -> Service:
    """Tell whose API was meant, also when the path is nobody's."""
    if endpoint is not None:
        return endpoint.service
    return "anthropic" if "anthropic-version" in headers else "openai"


def _parse_object(raw_body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(raw_body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
