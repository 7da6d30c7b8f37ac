"""Accept records at once, and deliver them in the background whatever DynamoDB does."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Self, cast

from pydantic_core import from_json

from receipt_dynamo.data.batch_write import accept_prepared_bodies
from receipt_dynamo.data.connection import (
    Connection,
    SdkSettings,
    Target,
    is_boto3_client,
    make_credentials,
    prepare_process,
    read_target,
)
from receipt_dynamo.data.delivery import lifecycle
from receipt_dynamo.data.delivery.delivery import Delivery
from receipt_dynamo.data.delivery.events import EventListener
from receipt_dynamo.data.delivery.reports import DeliveryReport
from receipt_dynamo.data.delivery.settings import DeliverySettings, Durability
from receipt_dynamo.data.delivery.stats import CloseReport, DeliveryStats
from receipt_dynamo.data.dynamo_client import DynamoClient, check_metric
from receipt_dynamo.data.journal.directory import describe_target, open_directory
from receipt_dynamo.data.queries.metric_queries import MetricQueries
from receipt_dynamo.data.table.schema import create_table
from receipt_dynamo.entities.ai_usage_metric import AIUsageMetric, ItemTooLargeError
from receipt_dynamo.entities.item_form import ItemForm
from receipt_dynamo.utils.batch.outcome import Overflow, QueueFullError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from receipt_dynamo.utils.circuit_breaker import CircuitBreaker

# A stalled DynamoDB must not hold a sender for botocore's 60 s.
_CONNECT_TIMEOUT: Final = 3.0
_READ_TIMEOUT: Final = 5.0

_FULL: Final = "the bound of the journal, or of the memory, is reached"


@dataclass(frozen=True, slots=True)
class DeadRecord:
    """A record that DynamoDB rejected for good, or that is damaged on disk.

    Attributes:
        metric: The record; None when it is damaged.
        reason: DynamoDB's answer, or what is damaged.
        attempts: How often it was sent.
    """

    metric: AIUsageMetric | None
    reason: str
    attempts: int


class ResilientDynamoClient(MetricQueries):
    """Accepts records at once, and delivers them in the background whatever DynamoDB does.

    ``put_ai_usage_metric`` never waits for DynamoDB and never fails because of it. A
    record is committed to a journal on disk before that returns, and stays there until
    DynamoDB confirms it, through throttling, an outage, missing credentials and the end of
    the process; the next process for the same table and directory delivers what is left.
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
        max_pending_records: Bound of the memory in records; what is more waits in the
            journal alone.
        max_pending_bytes: Bound of the memory in bytes, as on the wire.
        overflow: At the journal's bound (without a journal: at the memory's), "refuse" the
            new record (put returns False), "drop_oldest", or "raise"
            :class:`QueueFullError` from put.
        durability: "journal" survives the end of the process, ``kill -9`` too;
            "journal-sync" a loss of power as well, at the price of a sync to disk for each
            record; "memory" needs no disk. By default ``AI_USAGE_DURABILITY``, else
            "journal".
        journal_dir: The journals' directory. By default ``AI_USAGE_JOURNAL_DIR``, else
            ``receipt_dynamo/journal`` under ``$XDG_STATE_HOME`` or ``~/.local/state``,
            else one of this user's in the directory for temporary files.
        journal_max_bytes: Bound of this process's journal. By default
            ``AI_USAGE_JOURNAL_MAX_BYTES``, else 512 MiB.
        aws_access_key_id: With the secret key: credentials to use in place of what
            boto3 finds.
        aws_secret_access_key: See ``aws_access_key_id``.
        aws_session_token: Of temporary credentials.
        gsi_shards: Over so many partitions the index keys of services and costs are spread, 1
            to 100: about 1,000 records a second for each; see ``docs/queries.md``.
        retention_days: So many days after its timestamp a record may be deleted by
            DynamoDB's TTL, 1 to 36,500; by default it has no end.

    Attributes:
        item_form: The last two.

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
        senders: int = 2,
        max_pending_records: int = 10_000,
        max_pending_bytes: int = 64 * 1024 * 1024,
        overflow: Overflow = "refuse",
        durability: Durability | None = None,
        journal_dir: str | os.PathLike[str] | None = None,
        journal_max_bytes: int | None = None,
        aws_access_key_id: str | None = None,
        aws_secret_access_key: str | None = None,
        aws_session_token: str | None = None,
        gsi_shards: int = 1,
        retention_days: int | None = None,
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
            durability=durability,
            journal_dir=journal_dir,
            journal_max_bytes=journal_max_bytes,
            gsi_shards=gsi_shards,
            retention_days=retention_days,
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
            **settings: As of the constructor, from ``circuit_breaker_threshold`` on. Of
                ``gsi_shards`` the larger is taken, the DynamoClient's or this one, and its
                ``retention_days`` where none are given.

        Raises:
            TypeError: ``client`` is of another type.
            ValueError: A boto3 client without ``table_name``, or a bad setting.
        """
        if issubclass(type(client), DynamoClient):  # A mock may lie to isinstance.
            plain = cast("DynamoClient", client)
            target = replace(plain.target, table_name=table_name or plain.table_name)
            settings = _keep_form(plain.item_form, settings)
        elif is_boto3_client(client):
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
        self._accept_listeners: tuple[Callable[[AIUsageMetric], object], ...] = ()
        # One wire attempt: botocore's own retries would multiply ours and hide from the breaker.
        writer = SdkSettings(
            total_max_attempts=1,
            connect_timeout=_CONNECT_TIMEOUT,
            read_timeout=_READ_TIMEOUT,
            max_pool_connections=settings.senders,
            parameter_validation=False,
        )
        self._raises = settings.overflow == "raise"
        self.item_form = settings.item_form()
        durability = settings.find_durability()
        self._syncs = durability == "journal-sync"
        self._delivery = Delivery(
            Connection(target, writer, prepare=accept_prepared_bodies),
            settings,
            None if durability == "memory" else open_directory(settings.journal_dir),
            describe_target(target),
        )
        lifecycle.close_at_exit(self._delivery)

    @property
    def circuit_breaker(self) -> CircuitBreaker:
        """The breaker for this client's writes, for listeners and for ``isolate()``."""
        return self._delivery.breaker

    def add_listener(self, listener: EventListener) -> None:
        """Have ``listener`` called with each :class:`DeliveryEvent`, to count or export it.

        It runs in the thread in which it happened, with no lock held, and may put, flush and
        ask for the figures. What it raises is logged by type, and harms nobody.
        """
        self._delivery.events.add(listener)

    def remove_listener(self, listener: EventListener) -> None:
        """Call ``listener`` no more."""
        self._delivery.events.remove(listener)

    def add_accept_listener(self, listener: Callable[[AIUsageMetric], object]) -> None:
        """Have ``listener`` called with each record that this process accepts, once.

        It runs in the caller's thread, with no lock held: keep it short. What it raises is
        logged by type, and harms nobody. :mod:`receipt_dynamo.metrics` counts calls with it.
        """
        self._accept_listeners = (*self._accept_listeners, listener)

    def remove_accept_listener(self, listener: Callable[[AIUsageMetric], object]) -> None:
        """Call ``listener`` no more."""
        self._accept_listeners = tuple(
            known for known in self._accept_listeners if known != listener
        )

    def put_ai_usage_metric(
        self,
        metric: AIUsageMetric,
        *,
        on_settled: Callable[[DeliveryReport], object] | None = None,
    ) -> bool:
        """Accept one record for delivery, at once.

        Args:
            metric: The record.
            on_settled: Called once, in a background thread, with what became of it. What it
                raises is logged by type, and harms nobody.

        Returns:
            True when it was accepted, False when it was refused because the bounds are
            reached, the client closed, or the item exceeds 400 KB in this client's form;
            ``get_stats().refused`` counts these.

        Raises:
            TypeError: ``metric`` is not an AIUsageMetric.
            QueueFullError: The bounds are reached, with ``overflow="raise"`` only.
            ItemTooLargeError: (a ValueError) It exceeds 400 KB, with ``overflow="raise"`` only.
        """
        checked = check_metric(metric)
        refusal = self._accept(checked, on_settled)
        if self._raises and refusal in ("full", "too_large"):
            raise _explain(refusal)
        return refusal is None

    def submit_ai_usage_metric(self, metric: AIUsageMetric) -> Future[DeliveryReport]:
        """Accept one record, and return a future of what becomes of it.

        The future ends with a :class:`QueueFullError` or an :class:`ItemTooLargeError` when the
        record is refused. It cannot be cancelled. A client that closes ends it with the fate
        "pending".

        Raises:
            TypeError: ``metric`` is not an AIUsageMetric.
        """
        future: Future[DeliveryReport] = Future()
        future.set_running_or_notify_cancel()
        checked = check_metric(metric)
        refusal = self._accept(checked, future.set_result)
        if refusal is not None:
            future.set_exception(_explain(refusal))
        return future

    def batch_put_ai_usage_metrics(self, metrics: Iterable[AIUsageMetric]) -> list[AIUsageMetric]:
        """Accept records for delivery, at once; return those that were refused.

        Raises:
            TypeError: One is not an AIUsageMetric; none is accepted then.
            QueueFullError: The queue is full, with ``overflow="raise"`` only.
            ItemTooLargeError: (a ValueError) One exceeds 400 KB, likewise.
        """
        checked = [check_metric(metric) for metric in metrics]
        return [metric for metric in checked if not self.put_ai_usage_metric(metric)]

    def _accept(
        self, metric: AIUsageMetric, on_settled: Callable[[DeliveryReport], object] | None
    ) -> str | None:
        """Hand a record to delivery; return why it was refused, or None."""
        form = self.item_form
        body = metric.to_dynamodb_json(form.gsi_shards, form.retention_days)
        refusal = self._delivery.accept(metric.key, body, on_settled)
        if refusal is None:
            for listener in self._accept_listeners:
                self._delivery.events.call(listener, metric)
        return refusal

    def create_table(self) -> None:
        """Create the table with its indexes and wait; see :meth:`DynamoClient.create_table`."""
        create_table(self._connection.client(), self.table_name)

    def flush(self, timeout: float | None = lifecycle.FLUSH_TIMEOUT) -> bool:
        """Wait until every record accepted before this call is settled.

        Args:
            timeout: Seconds to wait, at most, 30 by default; None waits for as long as it
                takes, which is until the end of an outage.

        Returns:
            True when nothing is left: all are delivered, dead or dropped. False when the
            time was up and something is left: ``get_stats().pending`` says how much. It stays
            queued, and in the journal. For a listener it does not wait at all.
        """
        return self._delivery.flush(timeout)

    def close(self, timeout: float | None = lifecycle.EXIT_TIMEOUT) -> CloseReport:
        """Refuse new records, deliver what is pending, and stop. May be called again.

        Args:
            timeout: Seconds to wait, at most; None waits for as long as it takes.

        Returns:
            What was delivered, what stays on disk, and what is lost: nothing, as long as
            there is a journal.
        """
        return lifecycle.close(self._delivery, timeout)

    def get_stats(self) -> DeliveryStats:
        """Return one snapshot of what became of the records; cheap enough to be polled."""
        return self._delivery.get_stats()

    def dead_letters(self) -> list[DeadRecord]:
        """Return the records that DynamoDB rejected for good, with its reason, and damaged ones."""
        return [
            DeadRecord(_read_metric(letter.item), letter.reason, letter.attempts)
            for letter in self._delivery.read_dead()
        ]

    def redrive(self) -> int:
        """Take all dead letters but damaged ones back into the queue; return how many."""
        return self._delivery.redrive()

    async def aput(self, metric: AIUsageMetric) -> bool:
        """As :meth:`put_ai_usage_metric`, for asyncio code.

        A commit to the journal takes microseconds. One that syncs to disk
        (``durability="journal-sync"``) takes milliseconds, and leaves the event loop.
        """
        if self._syncs:
            return await asyncio.to_thread(self.put_ai_usage_metric, metric)
        return self.put_ai_usage_metric(metric)

    async def aflush(self, timeout: float | None = lifecycle.FLUSH_TIMEOUT) -> bool:  # noqa: ASYNC109
        """As :meth:`flush`, without blocking the event loop."""
        return await asyncio.to_thread(self.flush, timeout)

    async def aclose(self, timeout: float | None = lifecycle.EXIT_TIMEOUT) -> CloseReport:  # noqa: ASYNC109
        """As :meth:`close`, without blocking the event loop."""
        return await asyncio.to_thread(self.close, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if lifecycle.is_open(self._delivery):  # An explicit close has waited already.
            self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if lifecycle.is_open(self._delivery):
            await self.aclose()


def _explain(refusal: str) -> Exception:
    if refusal == "too_large":
        return ItemTooLargeError()
    return QueueFullError(_FULL if refusal == "full" else f"the record was refused: {refusal}")


def _read_metric(body: bytes | None) -> AIUsageMetric | None:
    try:
        return None if body is None else AIUsageMetric.from_dynamodb_item(from_json(body))
    except ValueError:  # It was no record when it was accepted.
        return None


def _keep_form(form: ItemForm, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings with what a plain client's items had: nothing is kept for longer."""
    asked = ItemForm(settings.get("gsi_shards", 1), settings.get("retention_days"))
    return settings | {
        "gsi_shards": max(asked.gsi_shards, form.gsi_shards),
        "retention_days": asked.retention_days or form.retention_days,
    }
