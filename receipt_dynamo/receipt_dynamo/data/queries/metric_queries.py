"""Read one record by its key, or many by date, model, job, batch, user or environment."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypeAlias, TypedDict, Unpack

from receipt_dynamo.data.item_reads import find_item, read_item
from receipt_dynamo.data.queries.arguments import (
    Day,
    Days,
    check_optional_range,
    check_range,
    check_reading,
)
from receipt_dynamo.data.queries.daily_costs import DailyCost, sum_by_day
from receipt_dynamo.data.queries.earlier_keys import list_times
from receipt_dynamo.data.queries.range_reader import (
    KeyedRecord,
    KeyRange,
    MissingIndexError,
    RangeReader,
)
from receipt_dynamo.data.read_tally import ReadTally
from receipt_dynamo.data.table.schema import (
    BATCH_OF_JOB_INDEX,
    COST_INDEX,
    GROUP_INDEX,
    SERVICE_INDEX,
)
from receipt_dynamo.entities.ai_usage_metric import AIUsageMetric
from receipt_dynamo.entities.wire_form import (
    batch_partition_key,
    cost_partition_key,
    cost_sort_key,
    job_partition_key,
    service_partition_key,
    service_sort_key,
    usage_partition_key,
    usage_sort_key,
)
from receipt_dynamo.utils.arguments import check_text

if TYPE_CHECKING:
    from receipt_dynamo.data.connection import Connection

_logger = logging.getLogger(__name__)

Records: TypeAlias = Generator[AIUsageMetric, None, None]
"""An iterator of records; ``close()`` ends it early."""

_LAST: Final = "\U0010ffff"
"""Sorts after whatever may follow a day in a sort key: a time, a zone, a service, an id."""


class Reading(TypedDict, total=False):
    """The arguments of every query, see :class:`MetricQueries`."""

    limit: int | None
    tally: ReadTally | None
    skip_invalid: bool


class MetricQueries:
    """Typed reads of AIUsageMetric records; items of other types are passed over.

    Every query is an iterator that reads page after page as it is consumed, to the end
    or to ``limit``; nothing is asked of DynamoDB before. A day is a UTC day, given as
    :class:`datetime.date`, an aware datetime or "YYYY-MM-DD"; ranges include both ends.
    ``docs/queries.md`` has the index, the order and the read units of each query. All take:

    * ``limit``: the largest number of records; None for all.
    * ``tally``: a :class:`ReadTally` to which the query adds what it read.
    * ``skip_invalid``: True passes over an item of our type that is not a whole record, and
      counts it in the tally. By default it ends the query with an
      :class:`InvalidItemError`.

    A bad argument is a ``ValueError`` that names it, its value and what is accepted, when
    the query is made. While it is consumed, a query raises :class:`MissingIndexError` when
    the table lacks its index, and ``botocore.exceptions.ClientError`` when DynamoDB refuses
    it otherwise. Reads of an index are eventually consistent: the newest records may be
    missing for a moment.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def table_name(self) -> str:
        """Name or ARN of the table."""
        return self._connection.table_name

    def get_ai_usage_metric(
        self, service: str, model: str, timestamp: datetime | str, request_id: str
    ) -> AIUsageMetric | None:
        """Return one record by its key, or None if it does not exist.

        The key of today is read consistently. Then the keys are tried that earlier writers may
        have made of the same instant: naive, with ``Z``, with any whole quarter of an hour as
        offset, with 3 or 6 digits of a second. That makes up to 4 requests of 100 keys.

        Args:
            service: Provider, in any case.
            model: Model that served the call.
            timestamp: Start of the call: a datetime, or a text in ISO 8601 with any offset. A
                naive time is taken as UTC.
            request_id: The record's request id.

        Raises:
            ValueError: An argument cannot be used; the message names it.
            UnreadableReplyError: The replies do not say whether it is there.
            RetryExhaustedError: DynamoDB left some of the keys out, 5 times.
            botocore.exceptions.ClientError: DynamoDB refused it.
        """
        check_text(ValueError, service=service, model=model, request_id=request_id)
        partition_key = usage_partition_key(service.strip().lower(), model.strip())
        today, *earlier = [
            (partition_key, usage_sort_key(time, request_id.strip()))
            for time in list_times(timestamp)
        ]
        item = read_item(self._connection, today) or find_item(self._connection, earlier)
        return None if item is None else AIUsageMetric.from_dynamodb_item(item)

    def query_ai_usage_metrics_by_date(
        self,
        date: Day,
        service: str,
        **reading: Unpack[Reading],
    ) -> Records:
        """Iterate over one service's records of one day, in no order, by GSI1."""
        return self.query_ai_usage_metrics_by_service(service, date, date, **reading)

    def query_ai_usage_metrics_by_service(
        self,
        service: str,
        start_date: Day,
        end_date: Day,
        **reading: Unpack[Reading],
    ) -> Records:
        """Iterate over one service's records of a range of days, by GSI1.

        They come day by day; within a day in no order.
        """
        check_text(ValueError, service=service)
        days = check_range(start_date, end_date)
        reader = self._make_reader(**reading)
        return reader.hand_out(self._read_service(reader, service, days))

    def query_ai_usage_metrics_by_model(
        self,
        service: str,
        model: str,
        start_date: Day,
        end_date: Day,
        **reading: Unpack[Reading],
    ) -> Records:
        """Iterate over one model's records of a range of days, oldest first, by the table's key.

        Records under a naive timestamp of earlier writers are found as well. One that they
        stored with another offset than UTC's is found on the day that its key says.
        """
        check_text(ValueError, service=service, model=model)
        days = check_range(start_date, end_date)
        reader = self._make_reader(**reading)
        key_range = KeyRange(
            None,
            usage_partition_key(service.lower(), model),
            _span("USAGE#", days),
        )
        return reader.hand_out(reader.read(key_range))

    def query_ai_usage_metrics_by_job(
        self,
        job_id: str,
        *,
        start_date: Day | None = None,
        end_date: Day | None = None,
        **reading: Unpack[Reading],
    ) -> Records:
        """Iterate over one job's records, oldest first, by GSI3.

        Args:
            job_id: The job.
            start_date: First day; by default all days.
            end_date: The last day, in the same forms.
            **reading: See the class.
        """
        check_text(ValueError, job_id=job_id)
        days = check_optional_range(start_date, end_date)
        reader = self._make_reader(**reading)
        key_range = KeyRange(GROUP_INDEX, job_partition_key(job_id), _span_group(days))
        return reader.hand_out(reader.read(key_range))

    def query_ai_usage_metrics_by_batch(
        self,
        batch_id: str,
        *,
        start_date: Day | None = None,
        end_date: Day | None = None,
        **reading: Unpack[Reading],
    ) -> Records:
        """Iterate over one batch's records, by GSI3 and GSI4.

        First those without a job, oldest first, then those with one, oldest first. On a table
        without GSI4 the latter are found by reading all records of the days (GSI2); they then
        come day by day.

        Args:
            batch_id: The batch.
            start_date: First day; by default all days, which needs GSI4.
            end_date: The last day, in the same forms.
            **reading: See the class.

        Raises:
            MissingIndexError: The table has no GSI4 and no days are given.
        """
        check_text(ValueError, batch_id=batch_id)
        days = check_optional_range(start_date, end_date)
        reader = self._make_reader(**reading)
        return reader.hand_out(self._read_batch(reader, batch_id, days))

    def query_ai_usage_metrics_by_user(
        self,
        user_id: str,
        start_date: Day,
        end_date: Day,
        **reading: Unpack[Reading],
    ) -> Records:
        """Iterate over one user's records of a range of days, day by day, then by service.

        No index has users: DynamoDB reads all records of the days (GSI2) and filters them,
        so that the read units are those of the whole range, whomever it is asked for.
        """
        check_text(ValueError, user_id=user_id)
        days = check_range(start_date, end_date)
        reader = self._make_reader(**reading)
        return reader.hand_out(self._read_costs(reader, days, (("userId",), user_id)))

    def query_ai_usage_metrics_by_environment(
        self,
        environment: str,
        start_date: Day,
        end_date: Day,
        **reading: Unpack[Reading],
    ) -> Records:
        """Iterate over one environment's records of a range of days, day by day, then by service.

        Those of earlier writers that have it in their metadata only are found as well. The read
        units are those of the whole range, as with :meth:`query_ai_usage_metrics_by_user`.
        """
        check_text(ValueError, environment=environment)
        days = check_range(start_date, end_date)
        reader = self._make_reader(**reading)
        return reader.hand_out(self._read_environment(reader, days, environment))

    def query_ai_usage_costs_by_date(
        self,
        start_date: Day,
        end_date: Day | None = None,
        **reading: Unpack[Reading],
    ) -> Records:
        """Iterate over all services' records of a range of days, by GSI2.

        They come day by day, within a day by service; within these in no order.

        Args:
            start_date: First day.
            end_date: Last day; by default the first.
            **reading: See the class.
        """
        days = check_range(start_date, start_date if end_date is None else end_date)
        reader = self._make_reader(**reading)
        return reader.hand_out(self._read_costs(reader, days))

    def sum_ai_usage_costs_by_day(
        self,
        start_date: Day,
        end_date: Day,
        *,
        service: str | None = None,
        tally: ReadTally | None = None,
        skip_invalid: bool = False,
    ) -> Generator[DailyCost, None, None]:
        """Iterate over the exact costs of each day and service, by day, then by service.

        Reads every record of the days, and holds one page and the sums of one day. A record
        counts for the day of its index key; days without records are left out.

        Args:
            start_date: First day.
            end_date: Last day.
            service: One service alone, by GSI1; by default all, by GSI2.
            tally: See the class.
            skip_invalid: See the class.
        """
        days = check_range(start_date, end_date)
        reader = self._make_reader(tally=tally, skip_invalid=skip_invalid)
        if service is None:
            return sum_by_day(self._read_costs(reader, days), reader)
        check_text(ValueError, service=service)
        return sum_by_day(self._read_service(reader, service, days), reader)

    def _make_reader(
        self,
        *,
        limit: int | None = None,
        tally: ReadTally | None = None,
        skip_invalid: bool = False,
    ) -> RangeReader:
        tally = check_reading(tally=tally, skip_invalid=skip_invalid, limit=limit)
        return RangeReader(self._connection, tally, skip_invalid=skip_invalid, limit=limit)

    def _read_service(
        self, reader: RangeReader, service: str, days: Days
    ) -> Generator[KeyedRecord, None, None]:
        sort_keys = (service_sort_key(days[0]), service_sort_key(days[1]))
        return reader.read_shards(
            lambda shard: KeyRange(
                SERVICE_INDEX, service_partition_key(service.lower(), shard), sort_keys
            )
        )

    def _read_costs(
        self,
        reader: RangeReader,
        days: Days,
        equal: tuple[tuple[str, ...], str] | None = None,
    ) -> Generator[KeyedRecord, None, None]:
        sort_keys = (cost_sort_key(days[0], ""), cost_sort_key(days[1], _LAST))
        return reader.read_shards(
            lambda shard: KeyRange(COST_INDEX, cost_partition_key(shard), sort_keys, equal)
        )

    def _read_environment(
        self, reader: RangeReader, days: Days, environment: str
    ) -> Generator[KeyedRecord, None, None]:
        equal = (("environment", "metadata.environment"), environment)
        with closing(self._read_costs(reader, days, equal)) as found:
            # One that says another environment itself may have this one in its metadata.
            yield from (pair for pair in found if pair[1].environment == environment)

    def _read_batch(
        self, reader: RangeReader, batch_id: str, days: Days | None
    ) -> Generator[KeyedRecord, None, None]:
        partition_key, sort_keys = batch_partition_key(batch_id), _span_group(days)
        yield from reader.read(KeyRange(GROUP_INDEX, partition_key, sort_keys))
        try:
            yield from reader.read(KeyRange(BATCH_OF_JOB_INDEX, partition_key, sort_keys))
        except MissingIndexError:
            if days is None:
                raise
            _logger.warning(
                "table %s has no index %s; reading all records from %s to %s instead",
                self.table_name,
                BATCH_OF_JOB_INDEX,
                *days,
            )
            with closing(self._read_costs(reader, days, (("batchId",), batch_id))) as of_batch:
                yield from (pair for pair in of_batch if pair[1].job_id)  # GSI3 had the others.


def _span(prefix: str, days: Days) -> tuple[str, str]:
    """Return the first and last sort key of the times of these days, naive and aware ones."""
    return f"{prefix}{days[0]}", f"{prefix}{days[1]}{_LAST}"


def _span_group(days: Days | None) -> tuple[str, str] | None:
    return None if days is None else _span("AI_USAGE#", days)
