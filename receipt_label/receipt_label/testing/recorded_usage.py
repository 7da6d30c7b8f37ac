"""Where tests find the records of the calls that were made: in memory, or in a table."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from types import TracebackType
from typing import Final, Self, TypeVar

from receipt_dynamo import AIUsageMetric, DynamoClient
from receipt_label.client_config import ClientConfig
from receipt_label.client_manager import ClientManager
from receipt_label.environment import Environment
from receipt_label.lazy_part import LazyPart
from receipt_label.pricing import PriceBook
from receipt_label.tracking import ResilientAIUsageTracker

ClientT = TypeVar("ClientT")

FLUSH_TIMEOUT: Final = 30.0
"""Seconds that reading a table waits for the records that are under way."""


class MemoryUsageClient:
    """Takes usage records in place of a DynamoDB client, and keeps them.

    Attributes:
        records: In the order in which they came.
    """

    def __init__(self) -> None:
        self.records: list[AIUsageMetric] = []

    def put_ai_usage_metric(self, metric: AIUsageMetric) -> bool:
        """Keep a record."""
        self.records.append(metric)
        return True


class UsageInMemory:
    """A tracker whose records are a list; what the fixture ``ai_usage`` gives.

    Args:
        price_book: Prices the calls; by default as in production.

    Attributes:
        client: Takes the records; give it to ``ClientManager.from_env(dynamo_client=...)``.
        tracker: Records there.
    """

    def __init__(self, price_book: PriceBook | None = None) -> None:
        self.client = MemoryUsageClient()
        self.tracker = ResilientAIUsageTracker(
            self.client, environment=Environment.TEST, price_book=price_book
        )

    @property
    def records(self) -> list[AIUsageMetric]:
        """The records so far, oldest first."""
        return self.client.records

    @property
    def total_cost(self) -> Decimal:
        """The sum in USD of the costs that are known."""
        return _sum_costs(self.records)

    def wrap_openai(self, client: ClientT) -> ClientT:
        """Return a copy of an OpenAI client whose calls are recorded here."""
        return self.tracker.wrap_openai(client)

    def wrap_anthropic(self, client: ClientT) -> ClientT:
        """Return a copy of an Anthropic client whose calls are recorded here."""
        return self.tracker.wrap_anthropic(client)


class UsageTable:
    """A table of usage records; what the fixture ``ai_usage_table`` gives.

    Args:
        table_name: The table; made on entry.
    """

    def __init__(self, table_name: str) -> None:
        self.table_name = table_name
        self._client = DynamoClient(table_name)
        self._manager = LazyPart(lambda: ClientManager(ClientConfig.from_env()))

    @property
    def manager(self) -> ClientManager:
        """A ClientManager for this table, made by the environment's variables."""
        return self._manager.get()

    @property
    def records(self) -> list[AIUsageMetric]:
        """All rows of the table, by day and service, once ``manager`` delivered its own.

        Flush other clients and trackers before.

        Raises:
            AssertionError: The records were not delivered in time.
        """
        manager = self._manager.made
        if manager is not None and not manager.usage_tracker.flush(FLUSH_TIMEOUT):
            raise AssertionError(f"records were not delivered within {FLUSH_TIMEOUT} seconds")
        return list(self._client.query_ai_usage_costs_by_date(date.min, date.max))

    @property
    def total_cost(self) -> Decimal:
        """The sum in USD of the costs that are known."""
        return _sum_costs(self.records)

    def __enter__(self) -> Self:
        self._client.create_table()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if (manager := self._manager.close()) is not None:
            manager.close()


def _sum_costs(records: list[AIUsageMetric]) -> Decimal:
    return sum((record.cost_usd for record in records if record.cost_usd is not None), Decimal(0))
