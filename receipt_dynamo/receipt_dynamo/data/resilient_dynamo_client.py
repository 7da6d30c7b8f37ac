"""Accept records at once, and deliver them in the background whatever DynamoDB does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final, Self, Unpack, cast

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
from receipt_dynamo.data.delivery.settings import DeliveryOptions, DeliverySettings
from receipt_dynamo.data.delivery.stats import CloseReport, DeliveryStats
from receipt_dynamo.data.dynamo_client import DynamoClient, check_metric
from receipt_dynamo.data.endpoints import require_region
from receipt_dynamo.data.journal.directory import describe_target, open_directory
from receipt_dynamo.data.queries.metric_queries import MetricQueries
from receipt_dynamo.data.table.schema import create_table
from receipt_dynamo.entities.ai_usage_metric import AIUsageMetric, ItemTooLargeError
from receipt_dynamo.entities.item_form import ItemForm
from receipt_dynamo.utils.batch.outcome import QueueFullError
from receipt_dynamo.utils.beside_loop import call_beside_loop
from receipt_dynamo.utils.settings import takes_settings

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


@takes_settings(DeliverySettings)
class ResilientDynamoClient(MetricQueries):
    """Accepts records at once, and delivers them in the background whatever DynamoDB does.

    ``put_ai_usage_metric`` never waits for DynamoDB and never fails because of it. A
    record is committed to a journal on disk before that returns, and stays there until
    DynamoDB confirms it, through throttling, an outage, missing credentials and the end of
    the process. The next process for the same table and directory, with the same credentials or
    account, delivers what is left.
    The queries, ``get_ai_usage_metric`` and ``create_table`` are those of
    :class:`DynamoClient`, and answer directly.

    Args:
        table_name: Name or ARN of the table.
        region: AWS region; by default ``AWS_REGION``, else what boto3 finds, else the
            one in the table's ARN.
        endpoint_url: Of another DynamoDB; by default ``AWS_ENDPOINT_URL_DYNAMODB``,
            else what boto3 finds.
        aws_access_key_id: With the secret key: credentials to use in place of what
            boto3 finds.
        aws_secret_access_key: See ``aws_access_key_id``.
        aws_session_token: Of temporary credentials.
        **settings: How it delivers, see below; ``docs/environments.md`` has their bounds.

    Attributes:
        item_form: How items are written: ``gsi_shards`` and ``retention_days``.

    Raises:
        ValueError: An argument is out of bounds; the message names it, its value and
            what is accepted. Or the region is nowhere to be found: no record could ever be
            delivered.
        TypeError: A setting is unknown.
    """

    def __init__(
        self,
        table_name: str,
        region: str | None = None,
        *,
        endpoint_url: str | None = None,
        aws_access_key_id: str | None = None,
        aws_secret_access_key: str | None = None,
        aws_session_token: str | None = None,
        **settings: Unpack[DeliveryOptions],
    ) -> None:
        credentials = make_credentials(aws_access_key_id, aws_secret_access_key, aws_session_token)
        target = Target(table_name, region, endpoint_url, credentials)
        self._start(target, DeliverySettings(**settings))

    @classmethod
    def from_client(
        cls,
        client: DynamoClient | DynamoDBClient,
        table_name: str | None = None,
        **settings: Unpack[DeliveryOptions],
    ) -> Self:
        """Make a resilient client of a plain one: same endpoint, region and credentials.

        The boto3 client itself is not used: its own retries would multiply ours.

        Args:
            client: A :class:`DynamoClient`, or a boto3 DynamoDB client.
            table_name: The table; by default that of the DynamoClient.
            **settings: As of the constructor. Of ``gsi_shards`` the larger is taken, the
                DynamoClient's or this one, and its ``retention_days`` where none are given.

        Raises:
            TypeError: ``client`` is of another type.
            ValueError: A boto3 client without ``table_name``, or a bad setting.
        """
        chosen = DeliverySettings(**settings)
        if issubclass(type(client), DynamoClient):  # A mock may lie to isinstance.
            plain = cast("DynamoClient", client)
            target = replace(plain.target, table_name=table_name or plain.table_name)
            chosen = _keep_form(plain.item_form, chosen)
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
        instance._start(target, chosen)  # noqa: SLF001 - of this class
        return instance

    def _start(self, target: Target, settings: DeliverySettings) -> None:
        require_region(target.table_name, target.region)
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
        ask for the figures. Its exceptions are logged by type, and not raised.
        """
        self._delivery.events.add(listener)

    def remove_listener(self, listener: EventListener) -> None:
        """Call ``listener`` no more."""
        self._delivery.events.remove(listener)

    def add_accept_listener(self, listener: Callable[[AIUsageMetric], object]) -> None:
        """Have ``listener`` called with each record that this process accepts, once.

        It runs in the caller's thread, with no lock held: keep it short. What it raises is
        logged by type, and not raised. :mod:`receipt_dynamo.metrics` counts calls with it.
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
                raises is logged by type, and not raised.

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
            ItemTooLargeError: (a ValueError) One exceeds 400 KB; none was written.
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
        """Like :meth:`put_ai_usage_metric`, for asyncio code.

        A commit to the journal takes microseconds. One that syncs to disk
        (``durability="journal-sync"``) takes milliseconds, and leaves the event loop.
        """
        if self._syncs:
            return await asyncio.to_thread(self.put_ai_usage_metric, metric)
        return self.put_ai_usage_metric(metric)

    async def aflush(self, timeout: float | None = lifecycle.FLUSH_TIMEOUT) -> bool:  # noqa: ASYNC109
        """Like :meth:`flush`, without blocking the event loop.

        When its awaiting is cancelled (``asyncio.wait_for``), a thread waits on for the rest
        of ``timeout``; neither the loop nor the process waits for that thread.
        """
        return await call_beside_loop(partial(self.flush, timeout))

    async def aclose(self, timeout: float | None = lifecycle.EXIT_TIMEOUT) -> CloseReport:  # noqa: ASYNC109
        """Like :meth:`close`, without blocking the event loop."""
        return await call_beside_loop(partial(self.close, timeout))

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


def _keep_form(form: ItemForm, settings: DeliverySettings) -> DeliverySettings:
    """Return the settings with what a plain client's items had: nothing is kept for longer."""
    return replace(
        settings,
        gsi_shards=max(settings.gsi_shards, form.gsi_shards),
        retention_days=settings.retention_days or form.retention_days,
    )
