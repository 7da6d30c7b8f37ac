"""A request ends in time, as a whole: botocore's own timeouts begin anew with each byte.

A reply that trickles in by a byte a second never times out there. And what botocore allows for
sending a request is the time of a connection, however large the request is.
"""

from __future__ import annotations

import io
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_deadline = threading.local()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Have the requests of this thread end within so many seconds, or by a deadline around it.

    It bounds sending a request and reading its reply, of a client for which
    :func:`bound_requests` was called. Making a connection has a timeout of its own.
    """
    before = getattr(_deadline, "end", math.inf)
    _deadline.end = min(before, time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.end = before


def bound_requests(client: DynamoDBClient) -> None:
    """Have ``client`` heed :func:`within`."""
    endpoint: Any = client._endpoint  # type: ignore[attr-defined]  # noqa: SLF001
    # The one place where botocore chooses the classes, for proxies too. Without it, another
    # HTTP session for example, botocore's own timeouts hold.
    classes = getattr(endpoint.http_session, "_pool_classes_by_scheme", None)
    if isinstance(classes, dict):
        classes.update(_make_pool_classes())


def _limit(sock: Any) -> None:
    """Give a socket no more time than is left.

    Raises:
        TimeoutError: None is left.
    """
    left = getattr(_deadline, "end", math.inf) - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time for the request is up")
    if left < math.inf:
        sock.settimeout(left)


class _LimitedReader(io.RawIOBase):
    """Reads from a socket within what is left of the time."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        _limit(self._sock)
        read: int | None = self._raw.readinto(buffer)
        return read

    def close(self) -> None:
        self._raw.close()
        super().close()


class _LimitedSocket:
    """What http.client wants of a socket to read a reply."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def makefile(self, *_: object) -> io.BufferedReader:
        return io.BufferedReader(_LimitedReader(self._sock))


@cache
def _make_pool_classes() -> dict[str, type]:
    # Imported late, as boto3.
    from http.client import HTTPResponse

    from botocore import awsrequest
    from urllib3.exceptions import ReadTimeoutError

    class LimitedResponse(HTTPResponse):
        def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
            super().__init__(_LimitedSocket(sock), *args, **kwargs)  # type: ignore[arg-type]

    class LimitedConnection:
        response_class = LimitedResponse

        def send(self: Any, data: Any) -> None:
            if self.sock is None:
                self.connect()
            try:
                _limit(self.sock)
                super().send(data)  # type: ignore[misc]
            except TimeoutError as error:
                # Of urllib3's own, for which botocore has a name.
                raise ReadTimeoutError(self, self.host, "sending took too long") from error

    class LimitedHTTPConnection(LimitedConnection, awsrequest.AWSHTTPConnection):  # type: ignore[misc]
        pass

    class LimitedHTTPSConnection(LimitedConnection, awsrequest.AWSHTTPSConnection):  # type: ignore[misc]
        pass

    class LimitedHTTPPool(awsrequest.AWSHTTPConnectionPool):
        ConnectionCls = LimitedHTTPConnection

    class LimitedHTTPSPool(awsrequest.AWSHTTPSConnectionPool):
        ConnectionCls = LimitedHTTPSConnection

    return {"http": LimitedHTTPPool, "https": LimitedHTTPSPool}
