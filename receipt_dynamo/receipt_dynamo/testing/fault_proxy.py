"""A reverse proxy before a DynamoDB that fails on command, as the real one does."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from receipt_dynamo.testing.connection import ClientConnection
from receipt_dynamo.testing.exchange import Answer, Exchange, Reply, Request
from receipt_dynamo.testing.fault_plan import (
    WRITE_OPERATIONS,
    FaultPlan,
    Faults,
    Schedule,
    check_operations,
    combine,
)
from receipt_dynamo.testing.faults import Fault, Latency
from receipt_dynamo.testing.listening_port import ListeningPort

_LOG_SIZE: Final = 10_000
_STOP_TIMEOUT: Final = 10.0


@dataclass(frozen=True)
class RequestEntry:
    """One request that the proxy answered, or left without a reply.

    Attributes:
        operation: DynamoDB's name of the operation.
        items: How many items it would write.
        faults: What was done to it; ``()``: it was passed on.
        status: The HTTP status of the reply, None when there was no reply.
        at: When it was answered, in seconds of the proxy's clock.
    """

    operation: str
    items: int
    faults: tuple[Fault, ...]
    status: int | None
    at: float


class FaultProxy:
    """A DynamoDB endpoint on loopback that passes requests on, and fails on command.

    Faults meet write requests (``WRITE_OPERATIONS``) unless other ``operations`` are
    named; everything else passes. A change takes effect at once, and every method may
    be called from any thread. Use it as a context manager, or ``start`` and ``stop`` it.

    Args:
        upstream_url: The DynamoDB behind it, as ``http://host:port``.
        seed: Of the chance behind shares; default 0. With one client the same seed gives
            the same faults.
        clock: Gives the log its times, in seconds; default ``time.monotonic``.

    Raises:
        ValueError: ``upstream_url`` is not of that form.
    """

    def __init__(
        self, upstream_url: str, *, seed: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._upstream = _parse_upstream(upstream_url)
        self._clock = clock
        self._lock = threading.Lock()
        self._answered = threading.Condition(self._lock)
        self._dice = random.Random(seed)  # noqa: S311 - chance that can be repeated
        self._plan = FaultPlan(self._dice)
        self._release = threading.Event()
        self._records_seen = 0
        self._counts: Counter[str] = Counter()
        self._log: deque[RequestEntry] = deque(maxlen=_LOG_SIZE)
        self._connections: set[ClientConnection] = set()
        self._port_lock = threading.Lock()
        self._port: ListeningPort | None = None

    def start(self) -> None:
        """Listen on a free loopback port.

        Raises:
            RuntimeError: It is started already.
        """
        with self._port_lock:
            if self._port is not None:
                raise RuntimeError("the fault proxy is started already")
            self._port = ListeningPort(self._accept)
            self._port.open()

    def stop(self) -> None:
        """Reset every connection, end every wait and thread, and give the port back."""
        with self._port_lock:
            port, self._port = self._port, None
            if port is not None:
                port.dispose()
        self._hang_up()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def endpoint_url(self) -> str:
        """The URL to give to a DynamoDB client.

        Raises:
            RuntimeError: The proxy is not started.
        """
        with self._port_lock:
            return f"http://127.0.0.1:{self._get_port().number}"

    @property
    def requests(self) -> tuple[RequestEntry, ...]:
        """The last 10,000 requests, the oldest first."""
        with self._lock:
            return tuple(self._log)

    def wait_for_requests(
        self,
        count: int,
        timeout: float = 30.0,
        *,
        operations: Collection[str] = WRITE_OPERATIONS,
    ) -> bool:
        """Wait until ``count`` requests of these operations have come since the start.

        A request counts from when it was carried out or failed, so a stalled one counts.

        Args:
            count: How many.
            timeout: Seconds to wait at most; default 30.
            operations: Which ones; default the write operations.

        Returns:
            Whether they have come.
        """
        names = check_operations(operations)
        with self._answered:
            return self._answered.wait_for(
                lambda: sum(self._counts[name] for name in names) >= count, timeout
            )

    def script(
        self, *entries: Faults | None, operations: Collection[str] = WRITE_OPERATIONS
    ) -> None:
        """Apply these to the next requests, one by one; a later call adds to the script.

        Args:
            *entries: A fault, or latencies with at most one other fault, or None to let
                the request pass. Nothing else meets a request that takes an entry.
            operations: Whose requests take the entries; default the write operations.

        Raises:
            TypeError: Something else was given.
            ValueError: Two faults that cannot combine, or no operations.
        """
        with self._lock:
            self._plan.add_script(entries, operations)

    def always(
        self,
        faults: Faults,
        share: float = 1.0,
        *,
        operations: Collection[str] = WRITE_OPERATIONS,
    ) -> None:
        """Apply a fault to a share of the requests, until ``heal``.

        Several calls add up: each share is drawn for itself; all latencies that are drawn
        count, and of the other faults the first one.

        Args:
            faults: A fault, or latencies with at most one other fault.
            share: The chance of each request, above 0 and up to 1; default all.
            operations: Whose requests; default the write operations.

        Raises:
            TypeError: Something else was given.
            ValueError: The share is out of range, or faults cannot combine.
        """
        with self._lock:
            self._plan.add_rule(faults, share, operations)

    def schedule(
        self, faults_for: Schedule, *, operations: Collection[str] = WRITE_OPERATIONS
    ) -> None:
        """Take the faults from a function of the records that have arrived, until ``heal``.

        Args:
            faults_for: Called before each request with the number of records that write
                requests have brought before it since the start, re-sent ones included;
                returns the request's faults. It is called in many threads, without a lock.
            operations: Whose requests; default the write operations.

        Raises:
            TypeError: ``faults_for`` is not callable.
        """
        with self._lock:
            self._plan.set_schedule(faults_for, operations)

    def heal(self) -> None:
        """Clear script, rules and schedule, and end every latency and stall.

        What ``down`` did stays: ``up`` undoes it.
        """
        with self._lock:
            self._plan.clear()
            self._release_waits()

    def down(self) -> None:
        """Refuse new connections and reset the open ones, until ``up``.

        Raises:
            RuntimeError: The proxy is not started.
        """
        with self._port_lock:
            self._get_port().close()
        self._hang_up()

    def up(self) -> None:
        """Accept connections again, on the same port; faults stay as they are.

        Raises:
            RuntimeError: The proxy is not started.
        """
        with self._port_lock:
            port = self._get_port()
            if not port.is_open:
                port.open()

    def _get_port(self) -> ListeningPort:
        if self._port is None:
            raise RuntimeError("the fault proxy is not started; use it in a with block")
        return self._port

    def _accept(self, client: socket.socket) -> None:
        connection = ClientConnection(client, self._upstream, self._handle, self._forget)
        with self._lock:
            self._connections.add(connection)
        connection.start()

    def _forget(self, connection: ClientConnection) -> None:
        with self._lock:
            self._connections.discard(connection)

    def _hang_up(self) -> None:
        with self._lock:
            connections = tuple(self._connections)
        for connection in connections:
            connection.abort()
        with self._lock:
            self._release_waits()
        for connection in connections:
            connection.join(_STOP_TIMEOUT)

    def _release_waits(self) -> None:
        """End the waits of the requests so far; the caller holds the lock."""
        self._release.set()
        self._release = threading.Event()

    def _handle(self, request: Request, connection: ClientConnection) -> Answer:
        """Answer one request, in its connection's thread."""
        faults, release, dice = self._decide(request)

        def forward(body: bytes | None = None) -> Reply:
            return connection.forward(request, body)

        delay = sum(fault.seconds for fault in faults if isinstance(fault, Latency))
        if delay:
            _wait(release, delay)
        answer = (
            faults[-1].answer(Exchange(request, forward, dice)) if faults else Answer(forward())
        )
        self._log_request(request, faults, answer)
        if answer.hold:
            _wait(release, answer.hold)
        return answer

    def _decide(self, request: Request) -> tuple[tuple[Fault, ...], threading.Event, random.Random]:
        operation = request.operation
        with self._lock:
            seen = self._records_seen
            self._records_seen += request.items
            schedule = self._plan.find_schedule(operation)
        # The user's function runs without the lock: it may ask or change the proxy.
        scheduled = combine(schedule(seen)) if schedule else ()
        with self._lock:
            healed_meanwhile = self._plan.find_schedule(operation) is not schedule
            faults = self._plan.decide(operation, () if healed_meanwhile else scheduled)
            dice = random.Random(self._dice.random())  # noqa: S311 - chance that can be repeated
            return faults, self._release, dice

    def _log_request(self, request: Request, faults: tuple[Fault, ...], answer: Answer) -> None:
        status = answer.reply.status if answer.reply else None
        entry = RequestEntry(request.operation, request.items, faults, status, self._clock())
        with self._answered:
            self._log.append(entry)
            self._counts[request.operation] += 1
            self._answered.notify_all()


def _wait(release: threading.Event, seconds: float) -> None:
    release.wait(min(seconds, threading.TIMEOUT_MAX))


def _parse_upstream(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or not parts.port or parts.path.strip("/"):
        raise ValueError(f"upstream_url is {url!r}; accepted is http://host:port")
    return parts.hostname, parts.port
