"""A DynamoDB that writes nothing, in a process of its own: what is left is the client's cost.

It answers every BatchWriteItem and PutItem at once with success, and DescribeTable with an
ARN. Run it by :func:`start_null_dynamodb`.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_ANSWERS = {
    b"BatchWriteItem": {"UnprocessedItems": {}},
    b"PutItem": {},
    b"DescribeTable": {
        "Table": {
            "TableName": "bench-test-table",
            "TableStatus": "ACTIVE",
            "TableArn": "arn:aws:dynamodb:us-east-1:000000000000:table/bench-test-table",
            "KeySchema": [
                {"AttributeName": "PK", "KeyType": "HASH"},
                {"AttributeName": "SK", "KeyType": "RANGE"},
            ],
            "AttributeDefinitions": [
                {"AttributeName": "PK", "AttributeType": "S"},
                {"AttributeName": "SK", "AttributeType": "S"},
            ],
        }
    },
}


def _encode(answer: dict[str, object]) -> bytes:
    body = json.dumps(answer).encode()
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\n"
        f"x-amz-crc32: {zlib.crc32(body)}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


_REPLIES = {name: _encode(answer) for name, answer in _ANSWERS.items()}


def _serve(connection: socket.socket) -> None:
    buffer = bytearray()
    with connection:
        while True:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                piece = connection.recv(1 << 18)
                if not piece:
                    return
                buffer += piece
                continue
            head = bytes(buffer[:end])
            lines = dict(
                line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line
            )
            if lines.get(b"expect") == b"100-continue":
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            missing = end + 4 + int(lines.get(b"content-length", b"0")) - len(buffer)
            while missing > 0:
                piece = connection.recv(1 << 18)
                if not piece:
                    return
                buffer += piece
                missing -= len(piece)
            del buffer[: end + 4 + int(lines.get(b"content-length", b"0"))]
            name = next(name for name in _REPLIES if b"DynamoDB_20120810." + name in head)
            connection.sendall(_REPLIES[name])


class NullDynamoDB(NamedTuple):
    """Where it is, and its process: one may stop it and let it go on."""

    url: str
    process: subprocess.Popen[str]


@contextmanager
def start_null_dynamodb() -> Iterator[NullDynamoDB]:
    """Run it in a process of its own."""
    with subprocess.Popen(
        [sys.executable, str(Path(__file__))], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            yield NullDynamoDB(server.stdout.readline().strip(), server)
        finally:
            server.kill()


def main() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
