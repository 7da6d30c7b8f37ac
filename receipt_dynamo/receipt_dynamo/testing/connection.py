"""One client's connection, and the connections upstream that serve it: one for each request."""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import threading
from collections.abc import Callable
from typing import BinaryIO, Final, TypeAlias

from receipt_dynamo.testing.exchange import Answer, Reply, Request
from receipt_dynamo.testing.throttling import make_error_reply
from receipt_dynamo.testing.wire import (
    UnreadableRequestError,
    encode_reply,
    read_request,
    select_forwarded,
)

Handler: TypeAlias = Callable[[Request, "ClientConnection"], Answer]
"""Answers one request; forwards it by the connection's ``forward``."""

_UPSTREAM_TIMEOUT: Final = 60.0
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # linger on, for 0 seconds: close sends RST


class ClientConnection:
    """Serves the requests of one accepted connection, one after the other, in a thread.

    Args:
        client: The accepted socket; this object closes it.
        upstream: Host and port of the real DynamoDB.
        handler: Answers a request.
        on_end: Called with this object when the connection has ended.
    """

    def __init__(
        self,
        client: socket.socket,
        upstream: tuple[str, int],
        handler: Handler,
        on_end: Callable[[ClientConnection], None],
    ) -> None:
        self._client = client
        self._upstream = upstream
        self._upstream_socket: socket.socket | None = None
        self._handler = handler
        self._on_end = on_end
        self._aborted = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fault-proxy-client", daemon=True)

    def start(self) -> None:
        """Start to serve."""
        self._thread.start()

    def abort(self) -> None:
        """Have the connection reset at once, from any thread."""
        self._aborted = True
        self._ended.set()
        # The thread may be blocked on either side; a shutdown wakes it, a close would not.
        _shut(self._client, socket.SHUT_RD)
        if self._upstream_socket is not None:
            _shut(self._upstream_socket, socket.SHUT_RDWR)

    def join(self, timeout: float) -> None:
        """Wait until the connection has ended; do not wait for the calling thread itself."""
        if self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def forward(self, request: Request, body: bytes | None) -> Reply:
        """Send a request upstream and return its reply, or a 502 if none comes.

        Args:
            request: The client's request.
            body: Sent instead of the request's own body; None for that one.

        Raises:
            ConnectionAbortedError: This connection was aborted.
        """
        try:
            return self._exchange_upstream(request, request.body if body is None else body)
        except (OSError, http.client.HTTPException) as error:
            if self._aborted:
                raise ConnectionAbortedError from error
            return make_error_reply(502, "BadGateway", f"The upstream failed: {error!r}")

    def _exchange_upstream(self, request: Request, body: bytes) -> Reply:
        # Never a connection that has been idle: the other end may close it just as the request
        # leaves. Whether the request was carried out is unknown then, so that it could neither
        # be answered nor sent again.
        upstream = http.client.HTTPConnection(*self._upstream, timeout=_UPSTREAM_TIMEOUT)
        with contextlib.closing(upstream):
            upstream.connect()
            self._upstream_socket = upstream.sock
            if self._aborted:  # Before abort could see the socket.
                raise ConnectionAbortedError
            upstream.putrequest(
                request.method, request.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in select_forwarded(request.headers):
                upstream.putheader(name, value)
            upstream.putheader("Content-Length", str(len(body)))
            upstream.putheader("Connection", "close")
            upstream.endheaders(body)
            with upstream.getresponse() as response:
                content = response.read()
                headers = select_forwarded(tuple(response.getheaders()))
                return Reply(response.status, headers, content)

    def _run(self) -> None:
        try:
            with self._client:
                # A client may leave at any moment: that ends its connection, no more.
                with contextlib.suppress(OSError), self._client.makefile("rb") as stream:
                    while self._serve(stream):
                        pass
                if self._aborted:
                    self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        finally:
            self._on_end(self)

    def _serve(self, stream: BinaryIO) -> bool:
        """Serve one request; return whether another one may follow."""
        try:
            request = read_request(stream)
        except UnreadableRequestError as error:
            refusal = make_error_reply(400, "SerializationException", str(error))
            self._client.sendall(encode_reply(refusal, keep_alive=False))
            return False
        if request is None:
            return False
        answer = self._handler(request, self)
        self._aborted |= answer.reset
        if answer.reply is None or self._aborted:
            return False
        keep_alive = request.keep_alive and answer.reply.is_whole
        self._send(encode_reply(answer.reply, keep_alive=keep_alive), answer.trickle)
        return keep_alive and not self._aborted

    def _send(self, reply: bytes, trickle: float) -> None:
        if not trickle:
            self._client.sendall(reply)
            return
        for position in range(len(reply)):
            if self._ended.wait(trickle):
                return
            self._client.sendall(reply[position : position + 1])


def _shut(sock: socket.socket, how: int) -> None:
    with contextlib.suppress(OSError):  # Closed meanwhile: just as well.
        sock.shutdown(how)
