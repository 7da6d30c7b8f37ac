"""HTTP/1.1 on the client's side of the proxy: reading requests, writing replies."""

from __future__ import annotations

import http
from typing import BinaryIO, Final

from receipt_dynamo.testing.exchange import Reply, Request, compute_checksum

_LONGEST_LINE: Final = 64 * 1024
_MOST_HEADERS: Final = 200
_REQUEST_LINE_WORDS: Final = 3

# What belongs to one connection (RFC 9110, 7.6.1) or is written anew by the proxy.
_NOT_FORWARDED: Final = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-amz-crc32",
    }
)


class UnreadableRequestError(Exception):
    """What came over the connection is no HTTP request that the proxy can read."""


def read_request(stream: BinaryIO) -> Request | None:
    """Read the next request of a connection.

    Returns:
        The request, or None at the end of the connection, even within a request.

    Raises:
        UnreadableRequestError: It is no HTTP/1.x request with a Content-Length.
    """
    line = stream.readline(_LONGEST_LINE)
    if not line.endswith(b"\n"):
        return None
    words = line.decode("latin-1").split()
    if len(words) != _REQUEST_LINE_WORDS or not words[2].startswith("HTTP/1."):
        raise UnreadableRequestError("the first line is no HTTP/1.x request")
    headers = _read_headers(stream)
    if headers is None:
        return None
    fields = {name.lower(): value for name, value in headers}
    length = _read_length(fields)
    body = stream.read(length)
    if len(body) < length:
        return None
    wants = fields.get("connection", "" if words[2] == "HTTP/1.1" else "close").lower()
    return Request(words[0], words[1], tuple(headers), body, keep_alive="close" not in wants)


def _read_headers(stream: BinaryIO) -> list[tuple[str, str]] | None:
    headers: list[tuple[str, str]] = []
    while len(headers) <= _MOST_HEADERS:
        line = stream.readline(_LONGEST_LINE)
        if not line.endswith(b"\n"):
            return None
        text = line.decode("latin-1").strip()
        if not text:
            return headers
        name, colon, value = text.partition(":")
        if not colon:
            raise UnreadableRequestError("a header has no colon")
        headers.append((name.strip(), value.strip()))
    raise UnreadableRequestError(f"more than {_MOST_HEADERS} headers")


def _read_length(fields: dict[str, str]) -> int:
    length = fields.get("content-length", "0")
    if "transfer-encoding" in fields or not (length.isascii() and length.isdigit()):
        raise UnreadableRequestError("the body has no Content-Length")
    return int(length)


def select_forwarded(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Return the headers that are passed on from one side to the other."""
    return tuple(header for header in headers if header[0].lower() not in _NOT_FORWARDED)


def encode_reply(reply: Reply, *, keep_alive: bool) -> bytes:
    """Write a reply as it goes over the wire, with its length and checksum.

    Args:
        reply: The reply.
        keep_alive: Whether the connection stays open after it.
    """
    checksum = compute_checksum(reply.body) if reply.checksum is None else reply.checksum
    length = len(reply.body) if reply.length is None else reply.length
    headers = (
        *reply.headers,
        ("x-amz-crc32", str(checksum)),
        ("Content-Length", str(length)),
        ("Connection", "keep-alive" if keep_alive else "close"),
    )
    lines = [f"HTTP/1.1 {reply.status} {_name_status(reply.status)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + reply.body


def _name_status(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:  # A status of the user's own.
        return "Unknown"
