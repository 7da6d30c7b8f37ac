"""A loopback server that answers as the OpenAI and Anthropic HTTP APIs do.

The real SDKs talk to it over a real socket, so that a test or the demo needs no
account, no network and no mock. Standard library only.
"""

from __future__ import annotations

import email
import email.policy
import itertools
import json
import re
import secrets
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self

from receipt_label.testing.anthropic_answers import (
    answer_anthropic_error,
    answer_message,
    stream_anthropic_error,
    stream_message,
)
from receipt_label.testing.openai_answers import (
    answer_chat_completion,
    answer_embedding,
    answer_openai_error,
    stream_chat_completion,
    stream_openai_error,
)
from receipt_label.testing.openai_more_answers import (
    answer_image,
    answer_moderation,
    answer_response,
    answer_speech,
    answer_transcription,
    stream_response,
)
from receipt_label.testing.stub_server import HOST, BodyFault, Events, StubAnswer, StubServer

Service = Literal["openai", "anthropic"]

_ERROR_STATUSES: Final = range(400, 600)
# Azure names the model in the path.
_AZURE: Final = re.compile(r"^/openai/deployments/[^/]+")


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """One path of one provider: what it needs and how it answers."""

    service: Service
    required: tuple[str, ...]
    answer: Callable[[Mapping[str, Any], str], dict[str, Any] | bytes]
    stream: Callable[[Mapping[str, Any], Mapping[str, Any]], Events] | None = None


_ENDPOINTS: Final[Mapping[str, _Endpoint]] = {
    "/v1/chat/completions": _Endpoint(
        "openai", ("model", "messages"), answer_chat_completion, stream_chat_completion
    ),
    "/v1/responses": _Endpoint("openai", ("model", "input"), answer_response, stream_response),
    "/v1/embeddings": _Endpoint("openai", ("model", "input"), answer_embedding),
    "/v1/images/generations": _Endpoint("openai", ("prompt",), answer_image),
    "/v1/audio/speech": _Endpoint("openai", ("model", "input", "voice"), answer_speech),
    "/v1/audio/transcriptions": _Endpoint("openai", ("model",), answer_transcription),
    "/v1/moderations": _Endpoint("openai", ("input",), answer_moderation),
    "/v1/messages": _Endpoint(
        "anthropic", ("model", "messages", "max_tokens"), answer_message, stream_message
    ),
}

_ERROR_FORMS: Final[Mapping[Service, Callable[[int, str, str], dict[str, Any]]]] = {
    "openai": answer_openai_error,
    "anthropic": answer_anthropic_error,
}
_ERROR_EVENTS: Final[Mapping[Service, tuple[str | None, Any]]] = {
    "openai": stream_openai_error(),
    "anthropic": stream_anthropic_error(),
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


class ProviderStub:
    """The OpenAI and Anthropic HTTP APIs on a loopback port, for real SDK clients.

    It serves ``POST /v1/chat/completions``, ``/v1/responses`` and ``/v1/messages``, whole or
    streamed (``"stream": true``), ``/v1/embeddings``, ``/v1/images/generations``,
    ``/v1/audio/speech``, ``/v1/audio/transcriptions`` and ``/v1/moderations``, over
    keep-alive connections with a thread each; OpenAI's under Azure's paths too. Token
    counts depend on the request alone, ids are unique, the model is the one asked for. Any
    API key is accepted. Other paths get a 404 in the provider's form.

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
        self._faults: deque[BodyFault | int] = deque()
        self._held: list[threading.Event] = []
        self._requests: list[StubRequest] = []
        self._series = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self._stopping = threading.Event()
        self._server: StubServer | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> Self:
        """Listen on a free loopback port.

        Raises:
            RuntimeError: It is running already.
        """
        if self._server is not None:
            raise RuntimeError("the provider stub is running already")
        self._stopping.clear()
        self._server = StubServer(self._answer)
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
        for held in self._held:
            held.set()
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
        return f"http://{HOST}:{self._port}/v1"

    @property
    def anthropic_base_url(self) -> str:
        """``base_url`` for ``anthropic.Anthropic`` and ``AsyncAnthropic``."""
        return f"http://{HOST}:{self._port}"

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

    def cut_next(self, after: int) -> None:
        """Cut the connection in the middle of the next successful reply.

        Args:
            after: Events of a stream, or bytes of a plain body, that are sent before.
        """
        self._add_fault(BodyFault(after))

    def hold_next(self, after: int) -> threading.Event:
        """Hold the next successful reply back in its middle.

        Args:
            after: As of :meth:`cut_next`.

        Returns:
            The rest is sent when this event is set, or the stub stops.
        """
        held = threading.Event()
        self._held.append(held)
        self._add_fault(BodyFault(after, held))
        return held

    def fail_next_stream(self, after: int) -> None:
        """End the next stream with an error of the provider's.

        Args:
            after: Events that are sent before.
        """
        self._add_fault(after)

    def _add_fault(self, fault: BodyFault | int) -> None:
        with self._lock:
            self._faults.append(fault)

    @property
    def _port(self) -> int:
        if self._server is None:
            raise RuntimeError("the provider stub is not running; call start() first")
        return self._server.server_port

    def _answer(self, path: str, headers: Mapping[str, str], raw_body: bytes) -> StubAnswer:
        """Wait, decide the answer to one request, and log it."""
        self._stopping.wait(self._latency)
        endpoint = _ENDPOINTS.get(_AZURE.sub("/v1", path))
        body = _parse_body(headers, raw_body)
        service = _name_service(endpoint, headers)
        answer = self._decide(endpoint, service, path, body)
        response_id = answer.reply.get("id") if isinstance(answer.reply, dict) else None
        entry = StubRequest(service, path, body or {}, headers, answer.status, response_id)
        with self._lock:
            self._requests.append(entry)
        return answer

    def _decide(
        self,
        endpoint: _Endpoint | None,
        service: Service,
        path: str,
        body: dict[str, Any] | None,
    ) -> StubAnswer:
        unique, failure = self._take_number_and_failure()
        headers = {_REQUEST_ID_HEADERS[service]: f"req_{unique}"}
        refusal = (
            _refuse(endpoint, path, body)
            if failure is None
            else (failure, f"The stub was told to answer {failure}.")
        )
        if refusal is not None or endpoint is None or body is None:
            status, message = refusal or (500, "The stub is broken.")
            return StubAnswer(status, _ERROR_FORMS[service](status, message, unique), headers)
        return self._compose(endpoint, body, unique, headers)

    def _compose(
        self, endpoint: _Endpoint, body: dict[str, Any], unique: str, headers: dict[str, str]
    ) -> StubAnswer:
        fault, failing = self._take_fault()
        reply = endpoint.answer(body, unique)
        if isinstance(reply, bytes):
            return StubAnswer(200, reply, headers, fault=fault)
        reply |= self._take_override(endpoint.service)
        events = endpoint.stream(body, reply) if body.get("stream") and endpoint.stream else None
        if events is not None and failing is not None:
            last = iter([_ERROR_EVENTS[endpoint.service]])
            events = itertools.chain(itertools.islice(events, failing), last)
        return StubAnswer(200, reply, headers, events, fault)

    def _take_number_and_failure(self) -> tuple[str, int | None]:
        with self._lock:
            unique = f"{self._series}{next(self._numbers):08d}"
            return unique, self._failures.popleft() if self._failures else None

    def _take_fault(self) -> tuple[BodyFault | None, int | None]:
        """Return a fault on the way, or after how many events the provider itself fails."""
        with self._lock:
            fault = self._faults.popleft() if self._faults else None
        return (None, fault) if isinstance(fault, int) else (fault, None)

    def _take_override(self, service: Service) -> dict[str, Any]:
        with self._lock:
            waiting = self._overrides[service]
            return waiting.popleft() if waiting else {}


def _refuse(
    endpoint: _Endpoint | None, path: str, body: dict[str, Any] | None
) -> tuple[int, str] | None:
    """Return status and message for a request that cannot be answered."""
    if endpoint is None:
        return 404, f"Unknown request URL: {path}"
    if body is None:
        return 400, "The request body is not a JSON object."
    if missing := [name for name in endpoint.required if name not in body]:
        return 400, f"{', '.join(missing)}: field required"
    if body.get("stream") and endpoint.stream is None:
        return 400, "This endpoint does not stream."
    return None


def _name_service(endpoint: _Endpoint | None, headers: Mapping[str, str]) -> Service:
    """Return whose API was meant, also for an unknown path."""
    if endpoint is not None:
        return endpoint.service
    return "anthropic" if "anthropic-version" in headers else "openai"


def _parse_body(headers: Mapping[str, str], raw_body: bytes) -> dict[str, Any] | None:
    kind = headers.get("content-type", "")
    if kind.startswith("multipart/form-data"):
        return _parse_form(kind, raw_body)
    try:
        document = json.loads(raw_body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _parse_form(kind: str, raw_body: bytes) -> dict[str, Any]:
    """Return a form's texts; its files are left out."""
    head = f"content-type: {kind}\r\n\r\n".encode()
    form = email.message_from_bytes(head + raw_body, policy=email.policy.HTTP)
    fields: dict[str, Any] = {}
    for part in form.iter_parts():
        if part.get_filename() is None:
            name = part.get_param("name", header="content-disposition")
            fields[str(name)] = part.get_content().removesuffix("\n")
    return fields
