"""The tracker that writes straight through, and what both trackers have in common."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import receipt_dynamo
from receipt_label.arguments import check_bool, check_mapping, check_text, check_type
from receipt_label.calls.recorded import is_recorded, mark_recorded
from receipt_label.client_config import check_table_name, read_table_name
from receipt_label.environment import (
    Environment,
    ExplainedEnvironment,
    check_place,
    find_environment,
    parse_environment,
)
from receipt_label.injected_client import MetricWriter, accept_direct_client, flush_client
from receipt_label.pricing import PriceBook, TokenUsage
from receipt_label.tracking.batch_results import find_reader, read_reported_reply
from receipt_label.tracking.decorators import CallDecorators
from receipt_label.tracking.provider_prices import find_provider_prices
from receipt_label.tracking.recorder import CallRecorder
from receipt_label.tracking.stats import TrackerStats, utc_now
from receipt_label.tracking.usage_log import UsageLogFile
from receipt_label.usage_context import ContextDefaults, RecordMaker, UsageContext
from receipt_label.watching.clients import watch_client

ClientT = TypeVar("ClientT")

FLUSH_TIMEOUT: Final = 30.0
"""Seconds that ``flush`` waits for what is pending, by default."""

CLOSE_TIMEOUT: Final = 10.0
"""Seconds that ``close`` waits for what is pending, by default."""


class AIUsageTracker(CallDecorators, RecordMaker):
    """Records AI calls, and writes each record straight through, in the caller's thread.

    A call waits for DynamoDB here, in asyncio code without blocking the loop. It never
    fails because of it: a write that fails is counted, logged, and the record is lost.
    :class:`ResilientAIUsageTracker` does neither.

    Args:
        dynamo_client: Takes the records: a ``DynamoClient``, a ``ResilientDynamoClient`` or a
            boto3 DynamoDB client; in the test environment any object with
            ``put_ai_usage_metric``. By default a ``DynamoClient`` is made.
        table_name: Name or ARN of the table, for the client that is made and for a boto3
            client; another client has its own. By default ``DYNAMODB_TABLE_NAME``, else the
            deprecated ``DYNAMO_TABLE_NAME``.
        user_id: On whose behalf calls are made, where nothing else says it.
        environment: Stored with each record: an :class:`Environment`, its value or a short
            form such as "prod". By default detected from ``ENVIRONMENT`` and the table's name.
        usage_log: Gets a copy of each record; by default none is made.
        price_book: Prices the calls; by default by ``genai-prices``.

    Raises:
        KeyError: There is neither ``dynamo_client`` nor ``table_name`` nor one of the variables.
        ValueError: ``table_name`` or ``environment`` is none, or the table is not one of this
            environment and may hold production data (``ConfigurationError``); or the region is
            nowhere to be found, outside of tests.
        TypeError: ``dynamo_client`` is nothing that is accepted, or another argument is of a
            wrong type.

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
    ) -> None:
        check_type("table_name", table_name, str)
        check_type("usage_log", usage_log, UsageLogFile)
        check_type("price_book", price_book, PriceBook)
        if table_name is not None:
            check_table_name("table_name", table_name)
        if dynamo_client is None:
            made_for = table_name or read_table_name()
            found = _find_environment(environment, made_for)
            check_place(made_for, found)
            client = self._make_client(made_for, found.guarded_as)
        else:
            table = table_name or _find_table(dynamo_client)
            found = _find_environment(environment, table)
            client = self._accept_client(dynamo_client, found.guarded_as, table)
        self._client = client
        self._owns_client = client is not dynamo_client
        book = price_book or PriceBook()
        book.supplement(find_provider_prices)
        self._recorder = CallRecorder(
            client,
            self,
            found.environment,
            book,
            usage_log,
            defaults=ContextDefaults(UsageContext(user_id=user_id)),
            waits=not isinstance(client, receipt_dynamo.ResilientDynamoClient),
            is_direct=isinstance(client, receipt_dynamo.DynamoClient),
        )

    def _accept_client(
        self, client: object, environment: Environment, table_name: str | None
    ) -> MetricWriter:
        return accept_direct_client(client, environment=environment, table_name=table_name)

    def _make_client(self, table_name: str, environment: Environment) -> MetricWriter:  # noqa: ARG002
        return receipt_dynamo.DynamoClient(table_name)

    def record(self, metric: receipt_dynamo.AIUsageMetric) -> bool:
        """Record a call that the caller describes.

        Environment, user, job, batch, pull request and metadata are filled in from the
        context where the record does not say them.

        Returns:
            True when DynamoDB's client took it; False when it refused it or failed, which
            is counted and logged.

        Raises:
            TypeError: ``metric`` is not an ``AIUsageMetric``.
        """
        if not isinstance(metric, receipt_dynamo.AIUsageMetric):
            raise TypeError(f"metric is of type {type(metric).__name__}; accepted is AIUsageMetric")
        return self._recorder.record(metric)

    def record_response(
        self,
        response: object,
        *,
        service: str,
        operation: str | None = None,
        batch: bool = False,
        timestamp: datetime | None = None,
    ) -> bool:
        """Record a reply of a provider's that no wrapped client saw.

        Such as a line of a batch's results, read by ``json.loads``: of one that failed, the
        record has the error. A reply that is recorded already gives no second record; a dict
        cannot be marked, so give ``timestamp`` where it may come again: the same time and id
        are the same row.

        Args:
            response: The SDK's object, or its JSON as a dict.
            service: "openai", "anthropic", or a provider that another package adds.
            operation: Kind of call; by default what the reply says, else "completion".
            batch: Whether the provider's Batch API served it, at its price; implied in a line
                of a batch's results.
            timestamp: When the call began; now by default. A naive time is taken as UTC.

        Returns:
            True when DynamoDB's client took the record, or the reply is recorded already; False
            when it refused it or failed, which is counted and logged.

        Raises:
            TypeError: An argument is of a wrong type.
            ValueError: ``service`` is unknown, or ``operation`` empty.
        """
        provider = find_reader(response, service)
        check_bool("batch", batch)
        if operation is not None:
            check_text("operation", operation)
        check_type("timestamp", timestamp, datetime)
        try:
            reported = read_reported_reply(response, provider, batch=batch)
            if is_recorded(reported.source):
                return True
            metric = reported.make_metric(service, operation, timestamp or utc_now())
        except Exception as error:  # noqa: BLE001
            self._recorder.count_failure(error)
            return False
        mark_recorded(reported.source, reported.reply.request_id)
        usage = reported.reply.usage or TokenUsage()
        if reported.error is not None and usage.is_unknown:
            return self._recorder.record(metric)
        return self._recorder.record_usage(metric, usage)

    def wrap_openai(self, client: ClientT, *, include_usage: bool | None = None) -> ClientT:
        """Return a copy of an OpenAI client whose calls are recorded.

        The copy is of exactly the same type and shares the HTTP client; the original stays
        as it is. A client that this tracker wrapped already is returned itself; of one that
        another tracker wrapped, the copy's calls go to this tracker alone.

        Args:
            client: An ``openai.OpenAI`` or ``openai.AsyncOpenAI``, those for Azure included.
            include_usage: Whether streams of chats are asked for their usage
                (``stream_options.include_usage``) where the caller did not choose; the
                caller does not see the chunk with it. By default only OpenAI's own
                servers are asked: others may refuse.

        Raises:
            TypeError: ``client`` or ``include_usage`` is something else.
        """
        return self._wrap(client, "openai", include_usage)

    def wrap_anthropic(self, client: ClientT) -> ClientT:
        """Return a copy of an Anthropic client whose calls are recorded; see :meth:`wrap_openai`.

        Args:
            client: An ``anthropic.Anthropic`` or ``anthropic.AsyncAnthropic``.

        Raises:
            TypeError: ``client`` is something else.
        """
        return self._wrap(client, "anthropic")

    def wrap_google_places(self, client: ClientT) -> ClientT:
        """Return a copy of a client of Google Places whose calls are recorded.

        The copy is of exactly the same type and shares the connections; the original stays as
        it is. Each page is a call. Of ``googlemaps`` the methods that ask Places are recorded;
        geocoding, directions and others pass through, counted as untracked.

        Args:
            client: A ``googlemaps.Client``, or a ``PlacesClient`` or ``PlacesAsyncClient`` of
                ``google.maps.places_v1``. Any object with their methods will do.

        Raises:
            TypeError: It is something else.
        """
        return self._wrap(client, "google_places")

    def wrap(self, client: ClientT) -> ClientT:
        """Return a copy of a client of any known provider whose calls are recorded.

        As :meth:`wrap_openai`, for whoever knows the client: OpenAI, Anthropic, Google Places,
        or a provider that another package adds (``docs/add_a_provider.md``).

        Raises:
            TypeError: No provider has such a client.
        """
        return self._wrap(client, None)

    def _wrap(
        self, client: ClientT, service: str | None, include_usage: bool | None = None
    ) -> ClientT:
        self._load_prices()
        return watch_client(client, self._recorder, service=service, include_usage=include_usage)

    @staticmethod
    def create_wrapped_openai_client(client: ClientT, tracker: AIUsageTracker) -> ClientT:
        """Return a copy of an OpenAI client whose calls ``tracker`` records.

        It is ``tracker.wrap_openai(client)``, by the name that earlier code calls.

        Raises:
            TypeError: ``client`` is no OpenAI client, or ``tracker`` no tracker.
        """
        if not isinstance(tracker, AIUsageTracker):
            raise TypeError(
                f"tracker is of type {type(tracker).__name__}; accepted are AIUsageTracker and "
                "ResilientAIUsageTracker"
            )
        return tracker.wrap_openai(client)

    def track_github_claude_review(
        self,
        github_pr: int,
        model: str,
        input_tokens: int,
        output_tokens: int,
        *,
        cache_read_tokens: int = 0,
        cache_write_tokens: int = 0,
        request_id: str | None = None,
        timestamp: datetime | None = None,
        latency_ms: float | Decimal | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> bool:
        """Record a review of a pull request that Claude made elsewhere, as in CI.

        Args:
            github_pr: Number of the pull request.
            model: The model that served it.
            input_tokens: All tokens read, those from and to a cache included.
            output_tokens: Tokens written.
            cache_read_tokens: Part of the input that came from the cache.
            cache_write_tokens: Part of the input that was written to the cache.
            request_id: Anthropic's id of the response; by default a new UUID.
            timestamp: Start of the review; now by default. A naive time is taken as UTC.
            latency_ms: Duration in milliseconds, when known; whole ones are kept.
            metadata: More for the record's metadata.

        Returns:
            True when DynamoDB's client took the record; False when it refused it or failed,
            which is counted and logged.

        Raises:
            TypeError: ``metadata`` is no mapping.
            ValueError: An argument cannot be used; the message names it and what is accepted.
        """
        if metadata is not None:
            check_mapping("metadata", metadata)
        usage = TokenUsage(
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cache_read_tokens=cache_read_tokens,
            cache_write_tokens=cache_write_tokens,
        )
        cached = {"cache_read_tokens": cache_read_tokens, "cache_write_tokens": cache_write_tokens}
        known: dict[str, Any] = {"latency_ms": latency_ms}
        if request_id is not None:
            known["request_id"] = request_id
        metric = receipt_dynamo.AIUsageMetric(
            service="anthropic",
            model=model,
            operation="code_review",
            timestamp=timestamp or utc_now(),
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            github_pr=github_pr,
            metadata={**(metadata or {}), **({"usage": cached} if any(cached.values()) else {})},
            **known,
        )
        _check_parts(input_tokens, cached)
        return self._recorder.record_usage(metric, usage)

    def set_tracking_context(
        self,
        *,
        job_id: str | None = None,
        batch_id: str | None = None,
        github_pr: int | None = None,
        user_id: str | None = None,
        environment: Environment | str | None = None,
    ) -> None:
        """Set what this tracker's records belong to where no ``ai_usage_context`` says it.

        It adds to what earlier calls set, for every thread and task::

            tracker.set_tracking_context(job_id="job-7")
            tracker.set_tracking_context(batch_id="b1")  # job-7 and b1 from here on

        None is the same as left out; :meth:`clear_tracking_context` clears all of it.

        Args:
            job_id: The job that the calls are part of.
            batch_id: The batch that they are part of.
            github_pr: Number of the pull request that they are made for.
            user_id: The user on whose behalf they are made, in place of the tracker's own.
            environment: Where they are made, in place of the tracker's own environment.

        Raises:
            TypeError: An argument is of a wrong type.
            ValueError: An argument is empty or negative, or no environment.
        """
        context = UsageContext(
            job_id=job_id,
            batch_id=batch_id,
            github_pr=github_pr,
            user_id=user_id,
            environment=None if environment is None else parse_environment(environment),
        )
        self._recorder.defaults.add(context)

    def clear_tracking_context(self) -> None:
        """Clear what :meth:`set_tracking_context` set; the tracker's own user stays."""
        self._recorder.defaults.clear()

    def flush(self, timeout: float | None = FLUSH_TIMEOUT) -> bool:
        """Wait until every record taken before this call is settled.

        Args:
            timeout: Seconds to wait, at most, 30 by default; None waits for as long as it
                takes, which is until the end of an outage.

        Returns:
            True when nothing is left, or the client keeps nothing back. False when the time
            was up and something is left: ``get_stats().delivery.pending`` says how much.
        """
        self._recorder.deliver_abandoned()
        return flush_client(self._client, timeout)

    def close(self, timeout: float | None = CLOSE_TIMEOUT) -> None:
        """Deliver what is pending, and close the client if this tracker made it.

        A client that was given is flushed and stays open. May be called again.

        Args:
            timeout: Seconds to wait, at most; None waits for as long as it takes.
        """
        self._recorder.deliver_abandoned()
        close = getattr(self._client, "close", None) if self._owns_client else None
        if close is None:
            self.flush(timeout)
        else:
            close(timeout)

    def get_stats(self) -> TrackerStats:
        """Return what became of the calls, in numbers."""
        client = self._client
        delivery = (
            client.get_stats() if isinstance(client, receipt_dynamo.ResilientDynamoClient) else None
        )
        return self._recorder.outcomes.snapshot(delivery)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _find_environment(given: Environment | str | None, table: str | None) -> ExplainedEnvironment:
    if given is None:
        return find_environment(table)
    return ExplainedEnvironment(parse_environment(given), "the argument says so")


def _find_table(client: object) -> str | None:
    """Return the table that a client is for, else the variable's; it may need none."""
    own = getattr(client, "table_name", None)
    if isinstance(own, str):  # An object of the user's own may have something else.
        return own
    try:
        return read_table_name()
    except KeyError:
        return None


def _check_parts(whole: int, parts: Mapping[str, object]) -> None:
    for name, part in parts.items():
        if not isinstance(part, int) or isinstance(part, bool) or part < 0:
            raise ValueError(f"{name} is {part!r}; accepted is int, 0 or more")
        whole -= part
    if whole < 0:
        raise ValueError(f"{' and '.join(parts)} are parts of input_tokens, and exceed it")
