"""A listening port that can refuse connections for a while, and is kept meanwhile."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable
from typing import Final

_HOST: Final = "127.0.0.1"
_BACKLOG: Final = 128


class ListeningPort:
    """Accepts connections on a free loopback port, in a thread, between open and close.

    While it is closed, the port is bound but not listened on: connections are refused,
    and no other program can take the port.

    Args:
        on_accept: Called with each accepted socket, in a thread of this object.
    """

    def __init__(self, on_accept: Callable[[socket.socket], None]) -> None:
        self._on_accept = on_accept
        self._socket = _bind(0)
        self.number: Final[int] = self._socket.getsockname()[1]
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._thread: threading.Thread | None = None

    @property
    def is_open(self) -> bool:
        """Whether connections are accepted."""
        return self._thread is not None

    def open(self) -> None:
        """Accept connections from now on."""
        self._socket.listen(_BACKLOG)
        self._socket.setblocking(False)  # A client may give up between select and accept.
        self._thread = threading.Thread(target=self._run, name="fault-proxy-accept", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Refuse connections from now on; those not yet accepted are reset."""
        if self._thread is None:
            return
        self._wake_writer.send(b"x")
        self._thread.join()
        self._thread = None
        self._wake_reader.recv(1)
        self._close_socket()
        self._socket = _bind(self.number)

    def dispose(self) -> None:
        """Close for good and give the port back."""
        self.close()
        self._close_socket()
        self._wake_reader.close()
        self._wake_writer.close()

    def _close_socket(self) -> None:
        # A forked child may hold a copy: only a shutdown ends the listening in all of them.
        with contextlib.suppress(OSError):  # Not listening, or a system that cannot.
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _run(self) -> None:
        while True:
            ready = select.select([self._socket, self._wake_reader], [], [])[0]
            if self._wake_reader in ready:
                return
            with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
                client, _ = self._socket.accept()
                client.setblocking(True)
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._on_accept(client)


def _bind(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((_HOST, port))
    return sock
