"""The end of the process: what is pending is delivered, or stays on disk."""

from __future__ import annotations

import atexit
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

if TYPE_CHECKING:
    from receipt_dynamo.data.resilient_dynamo_client import ResilientDynamoClient

EXIT_TIMEOUT: Final = 10.0
"""Seconds that the end of the process waits for what is pending."""

_open_clients: WeakSet[ResilientDynamoClient] = WeakSet()


def close_at_exit(client: ResilientDynamoClient) -> None:
    """Close ``client`` when the process ends, unless it is closed before."""
    _open_clients.add(client)


def forget_at_exit(client: ResilientDynamoClient) -> bool:
    """Note that ``client`` closes; False when it has before."""
    was_open = client in _open_clients
    _open_clients.discard(client)
    return was_open


def is_open(client: ResilientDynamoClient) -> bool:
    """Whether ``client`` has not been closed."""
    return client in _open_clients


def close_all(timeout: float = EXIT_TIMEOUT) -> None:
    """Close every open client.

    No thread can be started any more when the interpreter ends (Python 3.12 and later):
    what is left is sent by the calling thread.

    Args:
        timeout: Seconds to wait for all of them together, at most.
    """
    end = time.monotonic() + timeout
    for client in list(_open_clients):
        client.close(max(0.0, end - time.monotonic()))


def flush_on_sigterm(timeout: float = EXIT_TIMEOUT) -> None:
    """Have SIGTERM flush every open client before it does what it did until now.

    Call it in the main thread. The handler that was there before runs afterwards, in the
    main thread; without one the process ends by the signal, as it would have. A second
    SIGTERM while the flush lasts does so at once.

    Args:
        timeout: Seconds to wait for pending records, at most; keep it below what your
            platform waits before it kills (Kubernetes: 30 s).

    Raises:
        ValueError: This is not the main thread.
    """
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, _make_handler(timeout, before))


def _make_handler(timeout: float, before: Any) -> Callable[[int, FrameType | None], None]:
    is_flushing = False

    def flush_and_raise(number: int) -> None:
        end = time.monotonic() + timeout
        for client in list(_open_clients):
            client.flush(max(0.0, end - time.monotonic()))
        os.kill(os.getpid(), number)

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal is_flushing
        if not is_flushing:
            is_flushing = True
            # Not in this thread: what it was interrupted in may hold any lock.
            threading.Thread(target=flush_and_raise, args=(number,), daemon=True).start()
            return
        is_flushing = False
        if callable(before):
            before(number, frame)
        elif before is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    return handle


atexit.register(close_all)
