"""Everything the demo needs, on loopback: a table, its faults, the providers, the clients."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final

from receipt_dynamo.testing import FaultProxy

from receipt_dynamo import DynamoClient, ResilientDynamoClient
from receipt_label.demo.workload import TransportTimer
from receipt_label.testing import ProviderStub
from receipt_label.tracking import ResilientAIUsageTracker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from receipt_dynamo import AIUsageMetric

TABLE_NAME: Final = "receipt-usage-demo"
PROVIDER_LATENCY: Final = 0.02
"""Seconds that the provider stub takes for an answer."""

_REGION: Final = "us-east-1"
_NOBODY: Final = "demo"
"""Credentials: the embedded DynamoDB takes any."""


@dataclass(frozen=True, slots=True)
class World:
    """The demo's parts.

    Args:
        proxy: Stands before the table and makes its faults.
        client: Delivers the records through the proxy.
        openai: A tracked ``openai.OpenAI``.
        anthropic: A tracked ``anthropic.Anthropic``.
        timer: Measures the time that calls wait for the providers.
        reader: Reads the table, past the proxy.
        began_on: The UTC day on which it was opened.
    """

    proxy: FaultProxy
    client: ResilientDynamoClient
    openai: Any
    anthropic: Any
    timer: TransportTimer
    reader: DynamoClient
    began_on: date

    def read_rows(self) -> list[AIUsageMetric]:
        """Read every row back from the table, by a query."""
        return list(self.reader.query_ai_usage_costs_by_date(self.began_on, _today()))


@contextlib.contextmanager
def open_world() -> Iterator[World]:
    """Start all servers, create the table, and make the clients; stop all in the end."""
    with contextlib.ExitStack() as stack:
        dynamodb_url = stack.enter_context(_run_dynamodb())
        proxy = stack.enter_context(FaultProxy(dynamodb_url))
        stub = stack.enter_context(ProviderStub(latency=PROVIDER_LATENCY))
        reader = DynamoClient(
            TABLE_NAME,
            _REGION,
            dynamodb_url,
            aws_access_key_id=_NOBODY,
            aws_secret_access_key=_NOBODY,
        )
        reader.create_table()
        client = stack.enter_context(_make_client(proxy.endpoint_url))
        tracker = ResilientAIUsageTracker(client, table_name=TABLE_NAME, user_id="demo")
        timer = TransportTimer()
        yield World(
            proxy,
            client,
            tracker.wrap_openai(stack.enter_context(_make_openai(stub, timer))),
            tracker.wrap_anthropic(stack.enter_context(_make_anthropic(stub, timer))),
            timer,
            reader,
            began_on=_today(),
        )


@contextlib.contextmanager
def _run_dynamodb() -> Iterator[str]:
    """Run the embedded DynamoDB; give its URL."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def _make_client(endpoint_url: str) -> ResilientDynamoClient:
    # As in production, but for the waits: the demo has seconds, not minutes.
    return ResilientDynamoClient(
        TABLE_NAME,
        _REGION,
        endpoint_url=endpoint_url,
        circuit_breaker_timeout=0.5,
        retry_base_delay=0.1,
        batch_flush_interval=0.25,
        aws_access_key_id=_NOBODY,
        aws_secret_access_key=_NOBODY,
    )


def _make_openai(stub: ProviderStub, timer: TransportTimer) -> Any:
    import openai

    http_client = timer.watch(openai.DefaultHttpxClient(trust_env=False))
    return openai.OpenAI(api_key="demo", base_url=stub.openai_base_url, http_client=http_client)


def _make_anthropic(stub: ProviderStub, timer: TransportTimer) -> Any:
    import anthropic

    http_client = timer.watch(anthropic.DefaultHttpxClient(trust_env=False))
    return anthropic.Anthropic(
        api_key="demo", base_url=stub.anthropic_base_url, http_client=http_client
    )


def _today() -> date:
    return datetime.now(UTC).date()
