"""DynamoDB data layer for AI usage records, with the resilience patterns that deliver them.

Importing this package does not import boto3; the first request does.
"""

from receipt_dynamo.data.connection import UnreadableReplyError
from receipt_dynamo.data.delivery_events import DeliveryEvent, DeliveryEventKind
from receipt_dynamo.data.delivery_stats import CloseReport, DeliveryStats
from receipt_dynamo.data.dynamo_client import DynamoClient
from receipt_dynamo.data.lifecycle import flush_on_sigterm
from receipt_dynamo.data.metric_queries import MissingIndexError
from receipt_dynamo.data.pending_record import DeliveryReport, Fate
from receipt_dynamo.data.resilient_dynamo_client import DeadRecord, ResilientDynamoClient
from receipt_dynamo.entities.ai_usage_metric import AIUsageMetric, InvalidItemError
from receipt_dynamo.errors import ReceiptDynamoError
from receipt_dynamo.utils.batch_queue import BatchQueue, FlushResult, QueueFullError
from receipt_dynamo.utils.circuit_breaker import (
    CircuitBreaker,
    CircuitBreakerOpenError,
    CircuitBreakerState,
)
from receipt_dynamo.utils.retry_with_backoff import RetryExhaustedError, retry_with_backoff

__all__ = [
    "AIUsageMetric",
    "BatchQueue",
    "CircuitBreaker",
    "CircuitBreakerOpenError",
    "CircuitBreakerState",
    "CloseReport",
    "DeadRecord",
    "DeliveryEvent",
    "DeliveryEventKind",
    "DeliveryReport",
    "DeliveryStats",
    "DynamoClient",
    "Fate",
    "FlushResult",
    "InvalidItemError",
    "MissingIndexError",
    "QueueFullError",
    "ReceiptDynamoError",
    "ResilientDynamoClient",
    "RetryExhaustedError",
    "UnreadableReplyError",
    "flush_on_sigterm",
    "retry_with_backoff",
]
