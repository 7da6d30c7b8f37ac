"""A real table behind the fault proxy."""

from __future__ import annotations

from typing import Any

from receipt_dynamo import DeliveryStats, DynamoClient, ResilientDynamoClient
from receipt_dynamo.testing import FaultProxy


def open_client(proxy: FaultProxy, table: DynamoClient, **settings: Any) -> ResilientDynamoClient:
    """Return a client that is quick to try again, for ``table`` through ``proxy``."""
    return ResilientDynamoClient(
        table.table_name,
        "us-east-1",
        endpoint_url=proxy.endpoint_url,
        **{
            "batch_flush_interval": 0.02,
            "retry_base_delay": 0.01,
            "circuit_breaker_timeout": 0.05,
            **settings,
        },
    )


def read_ids(table: DynamoClient) -> list[str]:
    """Return what is stored, in order, what is there twice twice."""
    return [row.request_id for row in table.query_ai_usage_metrics_by_date("2026-03-01", "openai")]


def balances(stats: DeliveryStats) -> bool:
    """Tell whether each accepted record is somewhere."""
    settled = stats.delivered + stats.dead + stats.dropped
    return stats.accepted + stats.adopted == settled + stats.pending
