"""A configuration that can never work is no outage: it is said at once, and no breaker opens."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from receipt_dynamo import AIUsageMetric
from receipt_dynamo.data.batch_write import accept_prepared_bodies
from receipt_dynamo.data.connection import Connection, SdkSettings, Target
from receipt_dynamo.data.delivery.backlog import PendingRecord
from receipt_dynamo.data.delivery.sender import ConnectionWriter
from receipt_dynamo.data.failures import FailureKind, classify_failure, summarize_failure

NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def answer_by() -> Iterator[Callable[[bytes], str]]:
    """Return what makes a server that answers each connection by these bytes, and its address."""
    with ExitStack() as servers:
        yield lambda reply: servers.enter_context(_answer_by(reply))


@contextmanager
def _answer_by(reply: bytes) -> Iterator[str]:
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(reply)

    server = threading.Thread(target=serve)
    server.start()
    try:
        yield f"127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        server.join()


def fail_to_write(region: str = "us-east-1", endpoint_url: str | None = None) -> Exception:
    """Return what a write raises."""
    metric = AIUsageMetric("openai", "gpt-4o", "completion", datetime(2026, 1, 1, tzinfo=UTC))
    settings = SdkSettings(1, connect_timeout=5.0, parameter_validation=False)
    target = Target("test-table", region, endpoint_url)
    connection = Connection(target, settings, prepare=accept_prepared_bodies)
    with pytest.raises(Exception) as raised:
        ConnectionWriter(connection).write([PendingRecord(metric.key, metric.to_dynamodb_json())])
    return raised.value  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("variables", "where", "told"),
    [
        ({}, {"endpoint_url": "localhost:8000"}, "Invalid endpoint: localhost:8000"),
        ({"AWS_ENDPOINT_URL": "localhost:8000"}, {}, "Invalid endpoint: localhost:8000"),
        ({}, {"endpoint_url": "http://127.0.0.1:99999"}, "Port out of range"),
        ({}, {"endpoint_url": "http://a..b:8000"}, "Invalid endpoint|label"),
        ({"AWS_DEFAULTS_MODE": "fast"}, {"endpoint_url": NOBODY}, "invalid defaults mode: fast"),
        (
            {"AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "true"},
            {"region": "eu-isoe-west-1"},
            "fips",
        ),
        ({"HTTPS_PROXY": "http://[proxy"}, {}, "Invalid IPv6 URL"),
        ({"HTTPS_PROXY": "http://proxy:port"}, {}, "proxy"),
        ({}, {"region": "us east 1"}, "us east 1"),
        ({"AWS_PROFILE": "nobody"}, {"endpoint_url": NOBODY}, "nobody"),
    ],
    ids=str,
)
def test_what_can_never_work_is_misconfigured(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], where: Any, told: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(socket, "getaddrinfo", refuse_to_resolve)
    error = fail_to_write(**where)
    assert classify_failure(error) is FailureKind.MISCONFIGURED, summarize_failure(error)
    assert any(part in summarize_failure(error) for part in told.split("|"))


def refuse_to_resolve(host: str, *_: object, **__: object) -> Any:
    if host == "127.0.0.1":
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 9))]
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_a_misspelt_region_is_misconfigured_and_the_right_one_suggested(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", refuse_to_resolve)
    error = fail_to_write("us-esat-1")
    assert classify_failure(error) is FailureKind.MISCONFIGURED
    assert "'us-esat-1', which botocore does not know (did you mean us-east-1?)" in str(error)


@pytest.mark.parametrize(
    "where",
    [
        {},
        {"region": "cn-north-1"},
        {"region": "us-gov-west-1"},
        {"region": "us-esat-1", "endpoint_url": "http://dynamodb.example:8000"},
        {"region": "local", "endpoint_url": NOBODY},
    ],
    ids=str,
)
def test_a_host_that_is_not_found_for_now_is_an_outage(
    monkeypatch: pytest.MonkeyPatch, where: Any
) -> None:
    """With a region that exists, or an endpoint, it may come back."""
    monkeypatch.setattr(socket, "getaddrinfo", refuse_to_resolve)
    assert classify_failure(fail_to_write(**where)) is FailureKind.OUTAGE


def test_a_missing_file_of_certificates_is_misconfigured(
    monkeypatch: pytest.MonkeyPatch, answer_by: Callable[[bytes], str]
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "/none/ca.pem")
    error = fail_to_write(endpoint_url=f"https://{answer_by(b'')}")
    assert classify_failure(error) is FailureKind.MISCONFIGURED


def test_a_wrong_scheme_is_misconfigured(answer_by: Callable[[bytes], str]) -> None:
    """HTTPS, where HTTP is spoken."""
    server = answer_by(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    assert classify_failure(fail_to_write(endpoint_url=f"https://{server}")) is (
        FailureKind.MISCONFIGURED
    )


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("407 Proxy Authentication Required", FailureKind.MISCONFIGURED),
        ("403 Forbidden", FailureKind.MISCONFIGURED),
        ("502 Bad Gateway", FailureKind.OUTAGE),
        ("503 Service Unavailable", FailureKind.OUTAGE),
    ],
)
def test_a_proxy_that_refuses_is_misconfigured(
    monkeypatch: pytest.MonkeyPatch,
    answer_by: Callable[[bytes], str],
    status: str,
    kind: FailureKind,
) -> None:
    """One that cannot reach DynamoDB for now, or is down itself, is an outage."""
    proxy = answer_by(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@{proxy}")
    error = fail_to_write()
    assert classify_failure(error) is kind
    assert "secret" not in summarize_failure(error)
    monkeypatch.setenv("HTTPS_PROXY", NOBODY)
    assert classify_failure(fail_to_write()) is FailureKind.OUTAGE
