"""Everything the demo needs, on loopback: a table, its faults, the providers, the clients."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Final

from receipt_dynamo import DynamoClient, ReadTally, ResilientDynamoClient
from receipt_dynamo.testing import FaultProxy
from receipt_label.cli.demo.embedded_dynamodb import start_dynamodb
from receipt_label.cli.demo.workload import SdkClients, TransportTimer
from receipt_label.reporting.period import Period
from receipt_label.reporting.selection import Selection
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
"""Keys and secrets: the embedded DynamoDB and the stub take any."""


@dataclass(frozen=True, slots=True)
class DemoSetup:
    """The demo's parts.

    Args:
        proxy: Stands before the table and makes its faults.
        client: Delivers the records through the proxy.
        untracked: The SDK clients as they are.
        tracked: The same, wrapped by the tracker.
        timer: Measures the time that calls wait for the providers.
        reader: Reads the table, past the proxy.
        began_on: The UTC day on which all was started.
    """

    proxy: FaultProxy
    client: ResilientDynamoClient
    untracked: SdkClients
    tracked: SdkClients
    timer: TransportTimer
    reader: DynamoClient
    began_on: date

    @property
    def selection(self) -> Selection:
        """All of the table's rows."""
        return Selection(period=Period(datetime.combine(self.began_on, time.min, UTC), None, UTC))

    def read_rows(self, tally: ReadTally) -> list[AIUsageMetric]:
        """Read every row back from the table, as a report does."""
        return list(self.selection.read(self.reader, _today(), tally))


@contextlib.contextmanager
def start_all() -> Iterator[DemoSetup]:
    """Start all servers, create the table, and make the clients; stop all in the end."""
    with contextlib.ExitStack() as stack:
        wait_for_url = stack.enter_context(start_dynamodb())
        stub = stack.enter_context(ProviderStub(latency=PROVIDER_LATENCY))
        timer = TransportTimer()
        sdks = _make_sdks(stack, stub, timer)
        dynamodb_url = wait_for_url()
        proxy = stack.enter_context(FaultProxy(dynamodb_url))
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
        yield DemoSetup(
            proxy,
            client,
            untracked=sdks,
            tracked=SdkClients(
                tracker.wrap_openai(sdks.openai), tracker.wrap_anthropic(sdks.anthropic)
            ),
            timer=timer,
            reader=reader,
            began_on=_today(),
        )


def _make_client(endpoint_url: str) -> ResilientDynamoClient:
    # As in production, but for the waits, since the demo has seconds, not minutes, and for the
    # journal: nothing of the demo is left for the next process to deliver.
    return ResilientDynamoClient(
        TABLE_NAME,
        _REGION,
        endpoint_url=endpoint_url,
        circuit_breaker_timeout=0.5,
        retry_base_delay=0.1,
        batch_flush_interval=0.25,
        durability="memory",
        aws_access_key_id=_NOBODY,
        aws_secret_access_key=_NOBODY,
    )


def _make_sdks(
    stack: contextlib.ExitStack, stub: ProviderStub, timer: TransportTimer
) -> SdkClients:
    """Make the real SDKs' clients; the slowest imports of all happen here."""
    import anthropic
    import openai

    openai_http = timer.watch(openai.DefaultHttpxClient(trust_env=False))
    anthropic_http = timer.watch(anthropic.DefaultHttpxClient(trust_env=False))
    return SdkClients(
        stack.enter_context(
            openai.OpenAI(api_key=_NOBODY, base_url=stub.openai_base_url, http_client=openai_http)
        ),
        stack.enter_context(
            anthropic.Anthropic(
                api_key=_NOBODY, base_url=stub.anthropic_base_url, http_client=anthropic_http
            )
        ),
    )


def _today() -> date:
    return datetime.now(UTC).date()
