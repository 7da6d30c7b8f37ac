"""The tracker that never makes a call wait for DynamoDB, and loses nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import receipt_dynamo
from receipt_label.environment import Environment, default_durability
from receipt_label.injected_client import MetricWriter, adopt_client
from receipt_label.tracking.usage_tracker import AIUsageTracker

if TYPE_CHECKING:
    from receipt_label.pricing import PriceBook
    from receipt_label.tracking.usage_log import UsageLogFile


class ResilientAIUsageTracker(AIUsageTracker):
    """Records AI calls; a ``ResilientDynamoClient`` delivers the records in the background.

    Args:
        dynamo_client: A ``ResilientDynamoClient``; a ``DynamoClient`` or a boto3 DynamoDB
            client, of which a resilient one is made; in the test environment any object with
            ``put_ai_usage_metric``. By default a resilient one is made.
        table_name: As of :class:`AIUsageTracker`, from here on.
        user_id: As above.
        environment: As above.
        usage_log: As above.
        price_book: As above.
        **settings: Of the ``ResilientDynamoClient`` that this tracker makes, such as
            ``batch_size``; a client that is used as it is keeps its own. In the test
            environment ``durability`` is "memory" unless it is given.

    Raises:
        ValueError: As of :class:`AIUsageTracker`, or a bad setting.
        TypeError: ``dynamo_client`` would bypass the resilience, or a setting is unknown.

    Warns:
        UserWarning: Production with a table that looks like a test table.
    """

    def __init__(
        self,
        dynamo_client: object = None,
        table_name: str | None = None,
        user_id: str | None = None,
        *,
        environment: Environment | None = None,
        usage_log: UsageLogFile | None = None,
        price_book: PriceBook | None = None,
        **settings: Any,
    ) -> None:
        self._settings = settings
        super().__init__(
            dynamo_client,
            table_name,
            user_id,
            environment=environment,
            usage_log=usage_log,
            price_book=price_book,
        )

    def _adopt_client(
        self, client: object, environment: Environment, table_name: str | None
    ) -> MetricWriter:
        settings = self._complete_settings(environment)
        return adopt_client(client, environment=environment, table_name=table_name, **settings)

    def _make_client(self, table_name: str, environment: Environment) -> MetricWriter:
        return receipt_dynamo.ResilientDynamoClient(
            table_name, **self._complete_settings(environment)
        )

    def _complete_settings(self, environment: Environment) -> dict[str, Any]:
        return {"durability": default_durability(environment), **self._settings}
