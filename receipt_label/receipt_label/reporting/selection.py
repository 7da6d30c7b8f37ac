"""The records of a report or an export: the filters, and the query that finds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final

from receipt_dynamo import MissingIndexError
from receipt_label.reporting.period import Period

if TYPE_CHECKING:
    from receipt_dynamo import AIUsageMetric, DynamoClient, ReadTally

_ATTRIBUTES: Final[Mapping[str, str]] = {
    "service": "service",
    "model": "model",
    "operation": "operation",
    "user": "user_id",
    "job": "job_id",
    "batch": "batch_id",
    "environment": "environment",
    "pull_request": "github_pr",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The records of a period that have all the values that are given.

    Attributes:
        period: From when to when.
        service: Provider, in any case.
        model: Model that served the call.
        operation: Kind of call.
        user: On whose behalf.
        job: The job's id.
        batch: The batch's id.
        environment: The deployment's name.
        pull_request: For which pull request.
    """

    period: Period
    service: str | None = None
    model: str | None = None
    operation: str | None = None
    user: str | None = None
    job: str | None = None
    batch: str | None = None
    environment: str | None = None
    pull_request: int | None = None

    @property
    def filters(self) -> dict[str, str | int]:
        """The filters that are given, by name."""
        given = {each.name: getattr(self, each.name) for each in fields(self)[1:]}
        return {name: value for name, value in given.items() if value is not None}

    def _wanted(self) -> list[tuple[str, str | int]]:
        wanted = dict(self.filters)
        if self.service is not None:
            wanted["service"] = self.service.lower()
        return [(_ATTRIBUTES[name], value) for name, value in wanted.items()]

    def read(
        self, client: DynamoClient, today: date, tally: ReadTally | None = None
    ) -> Iterator[AIUsageMetric]:
        """Read the records, page by page, by the narrowest query that finds all of them.

        Args:
            client: Reads the table.
            today: In UTC; a period without an end is read until the day after it.
            tally: Counts what is read. Items that are no whole record are counted there and
                left out.

        Raises:
            ValueError: The period has no beginning, and neither a job nor a batch is given.
            MissingIndexError: A batch without a beginning is asked of a table without GSI4.
        """
        wanted, period = self._wanted(), self.period
        try:
            for record in self._query(client, today, {"tally": tally, "skip_invalid": True}):
                if period.holds(record.timestamp) and all(
                    getattr(record, attribute) == value for attribute, value in wanted
                ):
                    yield record
        except MissingIndexError as error:
            if self.job is not None or self.batch is None or period.start is not None:
                raise
            raise MissingIndexError(
                f"{error}: --since reads all records from then on instead"
            ) from None

    def _query(
        self, client: DynamoClient, today: date, how: dict[str, Any]
    ) -> Iterator[AIUsageMetric]:
        days = self.period.list_utc_days(today)
        first, last = days or (None, None)
        if self.job is not None:
            return client.query_ai_usage_metrics_by_job(
                self.job, start_date=first, end_date=last, **how
            )
        if self.batch is not None:
            return client.query_ai_usage_metrics_by_batch(
                self.batch, start_date=first, end_date=last, **how
            )
        if first is None or last is None:
            raise ValueError("--since is missing; without it accepted are --job and --batch")
        return self._query_days(client, first, last, how)

    def _query_days(
        self, client: DynamoClient, first: date, last: date, how: dict[str, Any]
    ) -> Iterator[AIUsageMetric]:
        if self.service is not None and self.model is not None:
            return client.query_ai_usage_metrics_by_model(
                self.service, self.model, first, last, **how
            )
        if self.service is not None:
            return client.query_ai_usage_metrics_by_service(self.service, first, last, **how)
        if self.user is not None:
            return client.query_ai_usage_metrics_by_user(self.user, first, last, **how)
        if self.environment is not None:
            return client.query_ai_usage_metrics_by_environment(
                self.environment, first, last, **how
            )
        return client.query_ai_usage_costs_by_date(first, last, **how)

    def split_by_day(self, today: date) -> list[Selection]:
        """Return the same selection for each UTC day, one after the other.

        Without a beginning it cannot be split, and is returned as it is.
        """
        days = self.period.list_utc_days(today)
        if days is None:
            return [self]
        count = (days[1] - days[0]).days + 1
        return [self._cut(days[0] + timedelta(days=number)) for number in range(count)]

    def _cut(self, day: date) -> Selection:
        begin = datetime.combine(day, time.min, UTC)
        end = begin + timedelta(days=1)
        period = self.period
        return replace(
            self,
            period=Period(
                begin if period.start is None else max(begin, period.start),
                end if period.end is None else min(end, period.end),
                period.zone,
            ),
        )
