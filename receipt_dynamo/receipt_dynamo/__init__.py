"""DynamoDB data layer for AI usage records, with the resilience patterns that deliver them.

Importing this package imports next to nothing: a name brings its module when it is first
used, and boto3 comes with the first request.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from receipt_dynamo.data.connection import UnreadableReplyError, is_boto3_client
    from receipt_dynamo.data.delivery.events import DeliveryEvent, DeliveryEventKind
    from receipt_dynamo.data.delivery.lifecycle import flush_on_sigterm
    from receipt_dynamo.data.delivery.reports import DeliveryReport, Fate
    from receipt_dynamo.data.delivery.stats import CloseReport, DeliveryStats
    from receipt_dynamo.data.dynamo_client import DynamoClient
    from receipt_dynamo.data.queries.daily_costs import DailyCost
    from receipt_dynamo.data.queries.range_reader import MissingIndexError
    from receipt_dynamo.data.read_tally import ReadTally
    from receipt_dynamo.data.resilient_dynamo_client import DeadRecord, ResilientDynamoClient
    from receipt_dynamo.entities.ai_usage_metric import (
        AIUsageMetric,
        InvalidItemError,
        ItemTooLargeError,
    )
    from receipt_dynamo.errors import ReceiptDynamoError
    from receipt_dynamo.utils.batch_queue import BatchQueue, FlushResult, QueueFullError
    from receipt_dynamo.utils.circuit_breaker import (
        BreakerEvent,
        CircuitBreaker,
        CircuitBreakerOpenError,
        CircuitBreakerState,
    )
    from receipt_dynamo.utils.retry_with_backoff import RetryExhaustedError, retry_with_backoff

__all__ = [
    "AIUsageMetric",
    "BatchQueue",
    "BreakerEvent",
    "CircuitBreaker",
    "CircuitBreakerOpenError",
    "CircuitBreakerState",
    "CloseReport",
    "DailyCost",
    "DeadRecord",
    "DeliveryEvent",
    "DeliveryEventKind",
    "DeliveryReport",
    "DeliveryStats",
    "DynamoClient",
    "Fate",
    "FlushResult",
    "InvalidItemError",
    "ItemTooLargeError",
    "MissingIndexError",
    "QueueFullError",
    "ReadTally",
    "ReceiptDynamoError",
    "ResilientDynamoClient",
    "RetryExhaustedError",
    "UnreadableReplyError",
    "flush_on_sigterm",
    "is_boto3_client",
    "retry_with_backoff",
]

_HOMES: Final = {
    "AIUsageMetric": "entities.ai_usage_metric",
    "BatchQueue": "utils.batch_queue",
    "BreakerEvent": "utils.circuit_breaker",
    "CircuitBreaker": "utils.circuit_breaker",
    "CircuitBreakerOpenError": "utils.circuit_breaker",
    "CircuitBreakerState": "utils.circuit_breaker",
    "CloseReport": "data.delivery.stats",
    "DailyCost": "data.queries.daily_costs",
    "DeadRecord": "data.resilient_dynamo_client",
    "DeliveryEvent": "data.delivery.events",
    "DeliveryEventKind": "data.delivery.events",
    "DeliveryReport": "data.delivery.reports",
    "DeliveryStats": "data.delivery.stats",
    "DynamoClient": "data.dynamo_client",
    "Fate": "data.delivery.reports",
    "FlushResult": "utils.batch_queue",
    "InvalidItemError": "entities.ai_usage_metric",
    "ItemTooLargeError": "entities.ai_usage_metric",
    "MissingIndexError": "data.queries.range_reader",
    "QueueFullError": "utils.batch_queue",
    "ReadTally": "data.read_tally",
    "ReceiptDynamoError": "errors",
    "ResilientDynamoClient": "data.resilient_dynamo_client",
    "RetryExhaustedError": "utils.retry_with_backoff",
    "UnreadableReplyError": "data.connection",
    "flush_on_sigterm": "data.delivery.lifecycle",
    "is_boto3_client": "data.connection",
    "retry_with_backoff": "utils.retry_with_backoff",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
