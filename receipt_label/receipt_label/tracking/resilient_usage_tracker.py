"""The tracker that never makes a call wait for DynamoDB, and loses nothing."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import receipt_dynamo
from receipt_label.environment import Environment, default_durability
from receipt_label.injected_client import MetricWriter, accept_client
from receipt_label.tracking.usage_tracker import AIUsageTracker

if TYPE_CHECKING:
    from receipt_label.pricing import PriceBook
    from receipt_label.tracking.usage_log import UsageLogFile

_logger = logging.getLogger(__name__)


class ResilientAIUsageTracker(AIUsageTracker):
    """Records AI calls; a ``ResilientDynamoClient`` delivers the records in the background.

    Args:
        dynamo_client: A ``ResilientDynamoClient``; a ``DynamoClient`` or a boto3 DynamoDB
            client, of which a resilient one is made; in the test environment any object with
            ``put_ai_usage_metric``. By default a resilient one is made.
        table_name: See :class:`AIUsageTracker`, also for the next four.
        user_id: On whose behalf calls are made, where nothing else says it.
        environment: Stored with each record.
        usage_log: Gets a copy of each record.
        price_book: Prices the calls.
        **settings: Of the ``ResilientDynamoClient`` that this tracker makes, such as
            ``batch_size``. A ``ResilientDynamoClient`` that is given keeps its own, and a log
            line says so. In the test environment ``durability`` is "memory" unless it is given.

    Raises:
        KeyError: There is neither a client nor a table; see :class:`AIUsageTracker`.
        ValueError: An argument or a setting is out of bounds.
        TypeError: ``dynamo_client`` would bypass the resilience, or a setting is unknown.

    Warns:
        UserWarning: The table looks like one of another environment.
        DeprecationWarning: The table is that of ``DYNAMO_TABLE_NAME``.
    """

    def __init__(
        self,
        dynamo_client: object = None,
        table_name: str | None = None,
        user_id: str | None = None,
        *,
        environment: Environment | str | None = None,
        usage_log: UsageLogFile | None = None,
        price_book: PriceBook | None = None,
        **settings: Any,
    ) -> None:
        _check_settings(settings)
        self._settings = settings
        super().__init__(
            dynamo_client,
            table_name,
            user_id,
            environment=environment,
            usage_log=usage_log,
            price_book=price_book,
        )

    def _accept_client(
        self, client: object, environment: Environment, table_name: str | None
    ) -> MetricWriter:
        settings = self._complete_settings(environment)
        accepted = accept_client(client, environment=environment, table_name=table_name, **settings)
        if self._settings and accepted is client:
            _logger.warning(
                "the dynamo_client that is given keeps its own settings; not used: %s",
                ", ".join(self._settings),
            )
        return accepted

    def _make_client(self, table_name: str, environment: Environment) -> MetricWriter:
        return receipt_dynamo.ResilientDynamoClient(
            table_name, **self._complete_settings(environment)
        )

    def _complete_settings(self, environment: Environment) -> dict[str, Any]:
        return {"durability": default_durability(environment), **self._settings}


def _check_settings(settings: Mapping[str, object]) -> None:
    """Refuse a setting that no client has, also where the client that is given keeps its own."""
    known = inspect.signature(receipt_dynamo.ResilientDynamoClient).parameters
    for name in settings:
        if name not in known:
            raise TypeError(f"{name} is no setting; accepted are {', '.join(list(known)[1:])}")
