"""The read side: one record by its key, many by date, job or batch."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from receipt_dynamo.data.table_schema import (
    BATCH_OF_JOB_INDEX,
    COST_INDEX,
    GROUP_INDEX,
    SERVICE_INDEX,
)
from receipt_dynamo.entities.ai_usage_metric import AIUsageMetric
from receipt_dynamo.entities.wire_form import (
    COST_PARTITION_KEY,
    ITEM_TYPE,
    batch_partition_key,
    cost_sort_key,
    job_partition_key,
    service_partition_key,
    service_sort_key,
    usage_partition_key,
    usage_sort_key,
)
from receipt_dynamo.errors import ReceiptDynamoError

if TYPE_CHECKING:
    from receipt_dynamo.data.connection import Connection

_logger = logging.getLogger(__name__)
_T = TypeVar("_T")

# Sorts after every service name that may follow a date in a GSI2 sort key.
_AFTER_ALL_SERVICES = "\U0010ffff"


class MissingIndexError(ReceiptDynamoError):
    """The table lacks an index that the query needs; the message names it."""


class MetricQueries:
    """Typed reads of AIUsageMetric records; items of other types are passed over.

    Every query is an iterator that reads page after page as it is consumed, to the end
    or to ``limit``. A ``date`` is a UTC day, given as :class:`datetime.date`, an aware
    datetime or "YYYY-MM-DD"; ranges include both ends. A query raises
    ``botocore.exceptions.ClientError`` when DynamoDB refuses it, and
    :class:`InvalidItemError` at an item that is not a whole record. A bad argument is a
    ``ValueError`` that names it, its value and what is accepted, when the query is made.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def table_name(self) -> str:
        """Name or ARN of the table."""
        return self._connection.table_name

    def get_ai_usage_metric(
        self, service: str, model: str, timestamp: datetime, request_id: str
    ) -> AIUsageMetric | None:
        """Return one record by its key, read consistently, or None when there is none.

        Args:
            service: Provider, in any case.
            model: Model that served the call.
            timestamp: Start of the call; a naive time is taken as UTC. Records that
                earlier writers stored under a naive timestamp are found as well.
            request_id: The record's request id.
        """
        for name, text in {"service": service, "model": model, "request_id": request_id}.items():
            _check_text(name, text)
        if not isinstance(timestamp, datetime):
            raise ValueError(f"timestamp is {timestamp!r}; accepted is a datetime")  # noqa: TRY004
        utc = timestamp.replace(tzinfo=UTC) if timestamp.tzinfo is None else timestamp
        utc = utc.astimezone(UTC)
        partition_key = usage_partition_key(service.lower(), model)
        for moment in (utc, utc.replace(tzinfo=None)):
            reply = self._connection.client().get_item(
                TableName=self.table_name,
                Key={
                    "PK": {"S": partition_key},
                    "SK": {"S": usage_sort_key(moment.isoformat(), request_id)},
                },
                ConsistentRead=True,
            )
            if "Item" in reply:
                return AIUsageMetric.from_dynamodb_item(reply["Item"])
        return None

    def query_ai_usage_metrics_by_date(
        self, date: date | str, service: str, *, limit: int | None = None
    ) -> Iterator[AIUsageMetric]:
        """Iterate over one service's records of one day."""
        return self.query_ai_usage_metrics_by_service(service, date, date, limit=limit)

    def query_ai_usage_metrics_by_service(
        self,
        service: str,
        start_date: date | str,
        end_date: date | str,
        *,
        limit: int | None = None,
    ) -> Iterator[AIUsageMetric]:
        """Iterate over one service's records of a range of days, day by day."""
        _check_text("service", service)
        start, end = _check_range(start_date, end_date)
        return _take(
            self._query(
                SERVICE_INDEX,
                service_partition_key(service.lower()),
                (service_sort_key(start), service_sort_key(end)),
            ),
            limit,
        )

    def query_ai_usage_metrics_by_job(
        self, job_id: str, *, limit: int | None = None
    ) -> Iterator[AIUsageMetric]:
        """Iterate over one job's records, oldest first."""
        _check_text("job_id", job_id)
        return _take(self._query(GROUP_INDEX, job_partition_key(job_id)), limit)

    def query_ai_usage_metrics_by_batch(
        self,
        batch_id: str,
        *,
        start_date: date | str | None = None,
        end_date: date | str | None = None,
        limit: int | None = None,
    ) -> Iterator[AIUsageMetric]:
        """Iterate over one batch's records: first those without a job, then those with one.

        Args:
            batch_id: The batch.
            start_date: First day to look at, on a table without GSI4 only: there the
                records that have a job too are found by reading all records of the days.
            end_date: Last day to look at, likewise.
            limit: At most so many records.

        Raises:
            MissingIndexError: The table has no GSI4 and no days are given.
        """
        _check_text("batch_id", batch_id)
        return _take(
            self._query_batch(batch_id, _check_optional_range(start_date, end_date)), limit
        )

    def query_ai_usage_costs_by_date(
        self,
        start_date: date | str,
        end_date: date | str | None = None,
        *,
        limit: int | None = None,
    ) -> Iterator[AIUsageMetric]:
        """Iterate over all services' records of a range of days, day by day, for their cost.

        Args:
            start_date: First day.
            end_date: Last day; by default the first.
            limit: At most so many records.
        """
        start, end = _check_range(start_date, start_date if end_date is None else end_date)
        return _take(self._query_costs(start, end), limit)

    def _query_costs(self, start: str, end: str) -> Iterator[AIUsageMetric]:
        sort_keys = (cost_sort_key(start, ""), cost_sort_key(end, _AFTER_ALL_SERVICES))
        return self._query(COST_INDEX, COST_PARTITION_KEY, sort_keys)

    def _query_batch(self, batch_id: str, days: tuple[str, str] | None) -> Iterator[AIUsageMetric]:
        partition_key = batch_partition_key(batch_id)
        yield from self._query(GROUP_INDEX, partition_key)
        try:
            yield from self._query(BATCH_OF_JOB_INDEX, partition_key)
        except MissingIndexError:
            if days is None:
                raise
            _logger.warning(
                "table %s has no index %s; reading all records from %s to %s instead",
                self.table_name,
                BATCH_OF_JOB_INDEX,
                *days,
            )
            for metric in self._query_costs(*days):
                if metric.batch_id == batch_id and metric.job_id:
                    yield metric

    def _query(
        self, index: str, partition_key: str, sort_keys: tuple[str, str] | None = None
    ) -> Iterator[AIUsageMetric]:
        condition = f"{index}PK = :pk"
        values: dict[str, Any] = {":pk": {"S": partition_key}}
        if sort_keys is not None:
            condition += f" AND {index}SK BETWEEN :first AND :last"
            values |= {":first": {"S": sort_keys[0]}, ":last": {"S": sort_keys[1]}}
        client = self._connection.client()
        pages = client.get_paginator("query").paginate(
            TableName=self.table_name,
            IndexName=index,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=values,
        )
        try:
            for page in pages:
                for item in page["Items"]:
                    if item.get("TYPE") == {"S": ITEM_TYPE}:
                        yield AIUsageMetric.from_dynamodb_item(item)
        except client.exceptions.ClientError as error:
            if _says_index_is_missing(error, index):
                raise MissingIndexError(
                    f"table {self.table_name} has no index {index}; create it, or see "
                    "what the query accepts in its place"
                ) from error
            raise


def _says_index_is_missing(error: Any, index: str) -> bool:
    """Tell a missing index from other refusals; DynamoDB has no error code of its own for it."""
    details = error.response.get("Error", {})
    message = str(details.get("Message", ""))
    # DynamoDB says the first, moto the second.
    return details.get("Code") in ("ValidationException", "ResourceNotFoundException") and (
        "index" in message.lower() and index in message
    )


def _take(metrics: Iterable[_T], limit: int | None) -> Iterator[_T]:
    if limit is not None and (type(limit) is not int or limit < 1):
        raise ValueError(f"limit is {limit!r}; accepted are None and whole numbers of 1 or more")
    return islice(metrics, limit)


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} is {value!r}; accepted is a non-empty str")


def _check_optional_range(
    start: date | str | None, end: date | str | None
) -> tuple[str, str] | None:
    if start is not None and end is not None:
        return _check_range(start, end)
    if start is None and end is None:
        return None
    missing = "start_date" if start is None else "end_date"
    raise ValueError(
        f"{missing} is None; accepted are a date and 'YYYY-MM-DD', or neither of the two"
    )


def _check_range(start: date | str, end: date | str) -> tuple[str, str]:
    first, last = _format_day(start, "start_date"), _format_day(end, "end_date")
    if first > last:
        raise ValueError(f"start_date {first} is after end_date {last}; accepted is the reverse")
    return first, last


def _format_day(day: date | str, name: str) -> str:
    if isinstance(day, datetime):
        return (day if day.tzinfo is None else day.astimezone(UTC)).date().isoformat()
    if isinstance(day, date):
        return day.isoformat()
    try:
        # strptime, because fromisoformat accepts other forms, such as week dates.
        return datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).date().isoformat()
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {day!r}; accepted are a date and 'YYYY-MM-DD'") from None
