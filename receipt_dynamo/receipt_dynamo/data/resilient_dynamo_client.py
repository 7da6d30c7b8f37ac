"""Accept records at once, and deliver them in the background whatever DynamoDB does."""

from __future__ import annotations

import asyncio
import atexit
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Self
from weakref import WeakSet

from receipt_dynamo.data.batch_sender import BatchSender, PendingRecord, make_breaker
from receipt_dynamo.data.connection import (
    Connection,
    SdkSettings,
    Target,
    make_credentials,
    prepare_process,
    read_target,
)
from receipt_dynamo.data.delivery_settings import DeliverySettings, Overflow
from receipt_dynamo.data.delivery_stats import CloseReport, DeliveryStats
from receipt_dynamo.data.dynamo_client import DynamoClient, check_metric
from receipt_dynamo.data.metric_queries import MetricQueries
from receipt_dynamo.data.table_schema import create_table
from receipt_dynamo.entities.ai_usage_metric import AIUsageMetric
from receipt_dynamo.entities.attribute_values import measure_item
from receipt_dynamo.utils.batch_queue import BatchQueue, FlushResult

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from receipt_dynamo.utils.circuit_breaker import CircuitBreaker

_logger = logging.getLogger(__name__)

# A stalled DynamoDB must not hold a sender for botocore's 60 s.
_CONNECT_TIMEOUT: Final = 3.0
_READ_TIMEOUT: Final = 5.0

LONGEST_QUEUE_DELAY: Final = 5.0
"""Seconds between two rounds in an outage that has not opened the breaker, at most."""

EXIT_TIMEOUT: Final = 10.0
"""Seconds that the end of the process waits for what is pending."""


@dataclass(frozen=True, slots=True)
class DeadRecord:
    """A record that DynamoDB rejected for good.

    Attributes:
        metric: The record.
        reason: DynamoDB's answer.
        attempts: How often it was sent.
    """

    metric: AIUsageMetric
    reason: str
    attempts: int


class ResilientDynamoClient(MetricQueries):
    """Accepts records at once, and delivers them in the background whatever DynamoDB does.

    ``put_ai_usage_metric`` never waits for DynamoDB and never fails because of it. A
    record stays queued until DynamoDB confirms it, through throttling, an outage, and
    missing credentials. What is pending is in this process's memory: it survives
    everything but the end of the process, which waits for it (``close``, or at exit).
    The queries, ``get_ai_usage_metric`` and ``create_table`` are those of
    :class:`DynamoClient`, and answer directly.

    Args:
        table_name: Name or ARN of the table.
        region: AWS region; by default ``AWS_REGION``, else what boto3 finds.
        circuit_breaker_threshold: Failed wire attempts in a row that open the breaker.
        circuit_breaker_timeout: Seconds that it stays open at first.
        max_retry_attempts: Wire attempts in one round; after it the records go back to
            the front of the queue, and are tried again for as long as it takes.
        retry_base_delay: Seconds before the first retry of a round, at most; doubled
            for each further one, with full jitter.
        batch_size: Records in a request, 1 to 25.
        batch_flush_interval: Seconds that a record waits for others to fill a batch.
        enable_batch_processing: False sends each record by itself and without that
            wait, still in the background.
        endpoint_url: Of another DynamoDB; by default ``AWS_ENDPOINT_URL_DYNAMODB``,
            else what boto3 finds.
        senders: Requests to DynamoDB at a time, at most.
        max_pending_records: Bound of the queue in records.
        max_pending_bytes: Bound of the queue in bytes of DynamoDB's item size.
        overflow: At a bound, "refuse" the new record (put returns False), "drop_oldest",
            or "raise" :class:`QueueFullError` from put.
        aws_access_key_id: With the secret key: credentials to use in place of what
            boto3 finds.
        aws_secret_access_key: See ``aws_access_key_id``.
        aws_session_token: Of temporary credentials.

    Raises:
        ValueError: An argument is out of bounds; the message names it, its value and
            what is accepted.
    """

    def __init__(
        self,
        table_name: str,
        region: str | None = None,
        *,
        circuit_breaker_threshold: int = 5,
        circuit_breaker_timeout: float = 30.0,
        max_retry_attempts: int = 3,
        retry_base_delay: float = 1.0,
        batch_size: int = 25,
        batch_flush_interval: float = 5.0,
        enable_batch_processing: bool = True,
        endpoint_url: str | None = None,
        senders: int = 4,
        max_pending_records: int = 10_000,
        max_pending_bytes: int = 64 * 1024 * 1024,
        overflow: Overflow = "refuse",
        aws_access_key_id: str | None = None,
        aws_secret_access_key: str | None = None,
        aws_session_token: str | None = None,
    ) -> None:
        credentials = make_credentials(aws_access_key_id, aws_secret_access_key, aws_session_token)
        settings = DeliverySettings(
            circuit_breaker_threshold=circuit_breaker_threshold,
            circuit_breaker_timeout=circuit_breaker_timeout,
            max_retry_attempts=max_retry_attempts,
            retry_base_delay=retry_base_delay,
            batch_size=batch_size,
            batch_flush_interval=batch_flush_interval,
            enable_batch_processing=enable_batch_processing,
            senders=senders,
            max_pending_records=max_pending_records,
            max_pending_bytes=max_pending_bytes,
            overflow=overflow,
        )
        self._start(Target(table_name, region, endpoint_url, credentials), settings)

    @classmethod
    def from_client(
        cls,
        client: DynamoClient | DynamoDBClient,
        table_name: str | None = None,
        **settings: Any,
    ) -> Self:
        """Make a resilient client of a plain one: same endpoint, region and credentials.

        The boto3 client itself is not used: its own retries would multiply ours.

        Args:
            client: A :class:`DynamoClient`, or a boto3 DynamoDB client.
            table_name: The table; by default that of the DynamoClient.
            **settings: As of the constructor, from ``circuit_breaker_threshold`` on.

        Raises:
            TypeError: ``client`` is of another type.
            ValueError: A boto3 client without ``table_name``, or a bad setting.
        """
        if isinstance(client, DynamoClient):
            target = replace(client.target, table_name=table_name or client.table_name)
        elif _is_boto3_client(client):
            if table_name is None:
                raise ValueError("table_name is None; with a boto3 client it is needed")
            target = read_target(client, table_name)
        else:
            raise TypeError(
                f"client is of type {type(client).__name__}; "
                "accepted are DynamoClient and a boto3 DynamoDB client"
            )
        instance = cls.__new__(cls)
        instance._start(target, DeliverySettings(**settings))  # noqa: SLF001 - of this class
        return instance

    def _start(self, target: Target, settings: DeliverySettings) -> None:
        prepare_process()
        super().__init__(Connection(target, SdkSettings()))
        # One wire attempt: botocore's own retries would multiply ours and hide from the breaker.
        writer = SdkSettings(
            total_max_attempts=1,
            connect_timeout=_CONNECT_TIMEOUT,
            read_timeout=_READ_TIMEOUT,
            max_pool_connections=settings.senders,
            parameter_validation=False,
        )
        self._breaker = make_breaker(settings, target.table_name)
        batches = settings.enable_batch_processing
        self._queue: BatchQueue[PendingRecord] = BatchQueue(
            self._send,
            settings.batch_size if batches else 1,
            settings.batch_flush_interval if batches else 0.0,
            max_items=settings.max_pending_records,
            max_bytes=settings.max_pending_bytes,
            size_of=_size_of,
            key_of=_key_of,
            overflow=settings.overflow,
            workers=settings.senders,
            retry_max_delay=LONGEST_QUEUE_DELAY,
            name=f"dynamodb:{target.table_name}",
        )
        self._sender = BatchSender(
            Connection(target, writer),
            self._breaker,
            settings,
            wait=self._queue.wait,
            redrive=self._queue.redrive,
        )
        _open_clients.add(self)

    def _send(self, batch: list[PendingRecord]) -> FlushResult[PendingRecord]:
        return self._sender.send(batch)

    @property
    def circuit_breaker(self) -> CircuitBreaker:
        """The breaker for this client's writes, for listeners and for ``isolate()``."""
        return self._breaker

    def put_ai_usage_metric(self, metric: AIUsageMetric) -> bool:
        """Accept one record for delivery, at once.

        Returns:
            True when it was accepted, False when it was refused because the queue is
            full or the client closed; ``get_stats().refused`` counts these.

        Raises:
            TypeError: ``metric`` is not an AIUsageMetric.
            QueueFullError: The queue is full, with ``overflow="raise"`` only.
        """
        item = check_metric(metric).to_dynamodb_item()
        return self._queue.add_item(PendingRecord(metric.key, item, measure_item(item)))

    def batch_put_ai_usage_metrics(self, metrics: Iterable[AIUsageMetric]) -> list[AIUsageMetric]:
        """Accept records for delivery, at once; return those that were refused.

        Raises:
            TypeError: One is not an AIUsageMetric; none is accepted then.
            QueueFullError: The queue is full, with ``overflow="raise"`` only.
        """
        checked = [check_metric(metric) for metric in metrics]
        return [metric for metric in checked if not self.put_ai_usage_metric(metric)]

    def create_table(self) -> None:
        """Create the table with its indexes and wait; see :meth:`DynamoClient.create_table`."""
        create_table(self._connection.client(), self.table_name)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until every record accepted before this call is settled.

        Args:
            timeout: Seconds to wait, at most; None waits for as long as it takes, which
                is until the end of an outage.

        Returns:
            True when all are delivered, dead or dropped; False when the time was up.
            What is left stays queued.
        """
        return self._queue.flush(timeout)

    def close(self, timeout: float | None = EXIT_TIMEOUT) -> CloseReport:
        """Refuse new records, deliver what is pending, and stop. May be called again.

        Args:
            timeout: Seconds to wait, at most; None waits for as long as it takes.

        Returns:
            What was delivered and what was not.
        """
        self._queue.stop(timeout)
        _open_clients.discard(self)
        stats = self._queue.get_stats()
        if stats.pending:
            _logger.error(
                "table %s: %d records were not delivered within %s s; they are in this "
                "process's memory only. Last failure: %s",
                self.table_name,
                stats.pending,
                timeout,
                self._sender.last_error,
            )
        return CloseReport(delivered=stats.delivered, pending=stats.pending, dead=stats.dead)

    def get_stats(self) -> DeliveryStats:
        """Return one consistent snapshot of what became of the records."""
        queued = self._queue.get_stats()
        return DeliveryStats(
            accepted=queued.accepted,
            delivered=queued.delivered,
            pending=queued.pending,
            dead=queued.dead,
            dropped=queued.dropped,
            refused=queued.refused,
            in_flight=queued.in_flight,
            pending_bytes=queued.pending_bytes,
            throttled=self._sender.throttled,
            circuit_breaker_state=self._breaker.state,
            last_error=self._sender.last_error,
        )

    def dead_letters(self) -> list[DeadRecord]:
        """Return the records that DynamoDB rejected for good, with its reason."""
        return [
            DeadRecord(
                AIUsageMetric.from_dynamodb_item(letter.item.item), letter.reason, letter.attempts
            )
            for letter in self._queue.dead_letters()
        ]

    def redrive(self) -> int:
        """Take all dead letters back into the queue; return how many."""
        return self._queue.redrive()

    async def aput(self, metric: AIUsageMetric) -> bool:
        """As :meth:`put_ai_usage_metric`, which blocks nothing, for asyncio code."""
        return self.put_ai_usage_metric(metric)

    async def aflush(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109
        """As :meth:`flush`, without blocking the event loop."""
        return await asyncio.to_thread(self.flush, timeout)

    async def aclose(self, timeout: float | None = EXIT_TIMEOUT) -> CloseReport:  # noqa: ASYNC109
        """As :meth:`close`, without blocking the event loop."""
        return await asyncio.to_thread(self.close, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self in _open_clients:  # An explicit close has waited already.
            self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self in _open_clients:
            await self.aclose()


def _size_of(record: PendingRecord) -> int:
    return record.size


def _key_of(record: PendingRecord) -> tuple[str, str]:
    return record.key


def _is_boto3_client(client: object) -> bool:
    meta = getattr(client, "meta", None)
    return getattr(getattr(meta, "service_model", None), "service_name", None) == "dynamodb"


_open_clients: WeakSet[ResilientDynamoClient] = WeakSet()


def _close_at_exit() -> None:
    """Deliver what is pending when the process ends without a ``close``."""
    for client in list(_open_clients):
        client.close(EXIT_TIMEOUT)


atexit.register(_close_at_exit)
