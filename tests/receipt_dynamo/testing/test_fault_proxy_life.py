"""Starting, stopping, and an upstream or a client that does not behave."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError, HTTPClientError

from receipt_dynamo.testing import FaultProxy, Latency, Stall, Throttle


def list_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if "fault-proxy" in thread.name}


def port_of(proxy: FaultProxy) -> int:
    return int(proxy.endpoint_url.rpartition(":")[2])


def ask(port: int, request: bytes) -> bytes:
    """Return all that comes back over one connection, up to its end."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(request)
        return client.makefile("rb").read()


def receive(client: socket.socket) -> bytes:
    """Read one request to its end, as a server does before it answers; ``b""`` at the end."""
    request = b""
    while not request.endswith(b"{}"):  # Head and body may come one after the other.
        piece = client.recv(65536)
        if not piece:
            break
        request += piece
    return request


@contextlib.contextmanager
def serve_once(*replies: bytes) -> Iterator[str]:
    """Answer the connections, one after the other, by these bytes, and close each."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def run() -> None:
            for reply in replies:
                client, _ = server.accept()
                with client:
                    receive(client)
                    client.sendall(reply)

        thread = threading.Thread(target=run)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join(30)


OK = b"HTTP/1.1 200 OK\r\n"
EMPTY_OBJECT = OK + b"Content-Length: 2\r\n\r\n{}"
POST = b"POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"


@pytest.mark.parametrize("fault", [Stall(), Latency(3600)], ids=repr)
def test_stop_interrupts_what_waits_and_leaves_no_thread(
    fault: Any, moto_endpoint: str, caller: Any
) -> None:
    entered = threading.Event()

    def faults_for(seen: int) -> Any:
        entered.set()
        return fault

    proxy = FaultProxy(moto_endpoint)
    before = list_threads()
    proxy.start()
    proxy.schedule(faults_for)
    caller.client.meta.events.register_first(
        "before-sign.dynamodb.*",
        lambda request, **_: setattr(request, "url", f"{proxy_url}/"),
    )
    proxy_url = proxy.endpoint_url
    with ThreadPoolExecutor(1) as pool:
        reply = pool.submit(caller.put)
        assert entered.wait(30)
        proxy.stop()
        with pytest.raises(HTTPClientError):
            reply.result(30)
    assert list_threads() <= before


def test_a_stopped_proxy_refuses_and_says_so(moto_endpoint: str) -> None:
    with FaultProxy(moto_endpoint) as proxy:
        port = port_of(proxy)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    for call in (proxy.up, proxy.down, lambda: proxy.endpoint_url):
        with pytest.raises(RuntimeError, match="not started"):
            call()
    proxy.stop()  # Twice is once.


def test_a_stopped_proxy_can_be_started_again(moto_endpoint: str) -> None:
    proxy = FaultProxy(moto_endpoint)
    for _ in range(2):
        with proxy:
            assert b"200 OK" in ask(port_of(proxy), b"GET /moto-api/ HTTP/1.0\r\n\r\n")


def test_starting_twice_is_an_error(moto_endpoint: str) -> None:
    with FaultProxy(moto_endpoint) as proxy, pytest.raises(RuntimeError, match="started already"):
        proxy.start()


def test_stop_works_while_down(moto_endpoint: str) -> None:
    with FaultProxy(moto_endpoint) as proxy:
        proxy.down()


def test_many_threads_may_direct_it_at_once(moto_endpoint: str) -> None:
    with FaultProxy(moto_endpoint) as proxy, ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(call)
            for _ in range(25)
            for call in (proxy.down, proxy.up, proxy.heal, lambda: proxy.always(Throttle()))
        ]
        for job in jobs:
            job.result(30)
        proxy.up()
        assert b"HTTP/1.1 200" in ask(port_of(proxy), b"GET /moto-api/ HTTP/1.0\r\n\r\n")


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1:1",
        "127.0.0.1:8000",
        "http://127.0.0.1",
        "http://127.0.0.1:1/path",
        "http://:80",
        "",
    ],
)
def test_an_upstream_url_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"upstream_url is .*; accepted is http://host:port"):
        FaultProxy(url)


def test_a_missing_upstream_is_a_bad_gateway(caller: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with FaultProxy(f"http://127.0.0.1:{port}") as proxy:
        reply = ask(port_of(proxy), POST)
    assert reply.startswith(b"HTTP/1.1 502 ")
    assert json.loads(reply.partition(b"\r\n\r\n")[2])["__type"].endswith("#BadGateway")


def post_twice(proxy: FaultProxy) -> list[bytes]:
    """Return the status lines of two requests over one connection to the proxy."""
    statuses = []
    with (
        socket.create_connection(("127.0.0.1", port_of(proxy)), timeout=30) as client,
        client.makefile("rb") as stream,
    ):
        for _ in range(2):
            client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
            statuses.append(stream.readline())
            while stream.readline() != b"\r\n":
                continue
            assert stream.read(2) == b"{}"
    return statuses


def test_an_upstream_that_closes_idle_connections_loses_nothing() -> None:
    """A write into a connection that the other end has closed would be lost."""
    with serve_once(EMPTY_OBJECT, EMPTY_OBJECT) as url, FaultProxy(url) as proxy:
        assert post_twice(proxy) == [OK, OK]


def test_an_upstream_that_closes_as_the_next_request_leaves_loses_nothing() -> None:
    """No look at a connection can tell, and the request must not be sent again."""

    def serve(server: socket.socket) -> None:
        for _ in range(2):
            client, _ = server.accept()
            with client:
                receive(client)
                client.sendall(EMPTY_OBJECT)
                receive(client)  # Another request, which it never answers, or the end.

    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        server.settimeout(30)
        served = pool.submit(serve, server)
        with FaultProxy(f"http://127.0.0.1:{server.getsockname()[1]}") as proxy:
            assert post_twice(proxy) == [OK, OK]
        served.result(30)


def test_a_chunked_reply_is_passed_on_with_a_length() -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    with serve_once(answer) as url, FaultProxy(url) as proxy:
        reply = ask(port_of(proxy), POST)
    assert b"Content-Length: 2\r\n" in reply
    assert b"chunked" not in reply
    assert reply.endswith(b"\r\n\r\n{}")


def test_a_request_that_is_no_http_is_refused_and_harms_nobody(
    proxy: FaultProxy, caller: Any
) -> None:
    reply = ask(port_of(proxy), b"hello\r\n\r\n")
    assert reply.startswith(b"HTTP/1.1 400 ")
    caller.put()
    assert caller.stored == {"a"}


def test_a_client_that_leaves_in_the_middle_writes_nothing(proxy: FaultProxy, caller: Any) -> None:
    with socket.create_connection(("127.0.0.1", port_of(proxy))) as client:
        client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
    caller.put()
    assert caller.stored == {"a"}


def test_dynamodb_s_own_errors_pass(proxy: FaultProxy, caller: Any) -> None:
    with pytest.raises(ClientError, match="ResourceNotFound"):
        caller.client.put_item(TableName="nobody-s", Item={"PK": {"S": "a"}})
    assert caller.checksum_matches
