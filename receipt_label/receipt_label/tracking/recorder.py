"""From a call that is over to a record that is on its way; nothing here raises."""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import datetime
from math import floor
from typing import TYPE_CHECKING, Any

from receipt_dynamo.support import LogLimiter
from receipt_label.calls.call import ObservedCall, Start
from receipt_label.calls.reply import ProviderReply
from receipt_label.pricing import Price, PriceBook, TokenUsage
from receipt_label.tracking.lenient_metric import UNKNOWN_MODEL, make_metric
from receipt_label.tracking.stats import DistinctTimes, OutcomeCounter
from receipt_label.usage_context import ContextDefaults, UsageContext, find_context

if TYPE_CHECKING:
    from receipt_dynamo import AIUsageMetric
    from receipt_label.environment import Environment
    from receipt_label.injected_client import MetricWriter
    from receipt_label.tracking.usage_log import UsageLogFile

_logger = logging.getLogger(__name__)


class CallRecorder:
    """Prices calls, says what they belong to, and hands the records to DynamoDB's client.

    Args:
        client: Takes the records.
        owner: The tracker, as ``ai_usage_context`` knows it.
        defaults: What calls belong to where no block says it.
        environment: Stored with each record.
        price_book: Prices the calls.
        usage_log: Gets a copy of each record; None for none.
        waits: Whether ``client`` waits for DynamoDB, so that asyncio code has to leave it
            to a thread.
        is_direct: Whether it is boto3 that waits there, with its own locks, so that
            finalizers have to leave it to the next record.
        clock: Monotonic clock in seconds, for durations.
    """

    def __init__(
        self,
        client: MetricWriter,
        owner: object,
        environment: Environment,
        price_book: PriceBook,
        usage_log: UsageLogFile | None,
        *,
        defaults: ContextDefaults,
        waits: bool,
        is_direct: bool = False,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.defaults = defaults
        self.outcomes = OutcomeCounter()
        self.price_book = price_book
        self._client = client
        self._owner = weakref.ref(owner)
        self._environment = environment
        self._usage_log = usage_log
        self._waits = waits
        self._is_direct = is_direct
        self._abandoned: deque[AIUsageMetric] = deque()
        self._clock = clock
        self._times = DistinctTimes()
        self._log = LogLimiter(_logger)

    def start(self) -> Start:
        """Return the beginning of a call that is about to be made."""
        context = find_context(self._owner(), self.defaults.current)
        return Start(self._times.take(), self._clock(), context)

    def read_clock(self) -> float:
        """Return the reading of the monotonic clock, in seconds."""
        return self._clock()

    def take(self, call: ObservedCall) -> None:
        """Record a call that is over."""
        metric = self._try_to_make(call)
        if metric is not None:
            self._deliver_in_turn(metric)

    async def atake(self, call: ObservedCall) -> None:
        """Record a call that is over, without blocking the event loop."""
        metric = self._try_to_make(call)
        if metric is None:
            return
        if self._waits and _runs_in_asyncio():
            await asyncio.to_thread(self._deliver_in_turn, metric)
        else:
            self._deliver_in_turn(metric)

    def take_abandoned(self, call: ObservedCall) -> None:
        """Record a call whose end the garbage collector noticed.

        It runs in any thread, inside of whatever lock that holds. One of boto3's may be among
        them, and a write straight through would wait for its own thread.
        """
        metric = self._try_to_make(call)
        if metric is None:
            return
        if self._is_direct:
            self._abandoned.append(metric)
        else:
            self._deliver(metric)

    def deliver_abandoned(self) -> None:
        """Write what finalizers left to be written."""
        while self._abandoned:
            try:
                metric = self._abandoned.popleft()
            except IndexError:  # Another thread took it.
                return
            self._deliver(metric)

    def record(self, metric: AIUsageMetric) -> bool:
        """Record a call that the caller describes; return whether the record was taken."""
        try:
            complete = self._complete(metric)
        except Exception as error:  # noqa: BLE001
            self.count_failure(error)
            return False
        return self._deliver(complete)

    def record_usage(self, metric: AIUsageMetric, usage: TokenUsage) -> bool:
        """Record a call that the caller describes, with the price of what it used."""
        price = self._try_to_price(metric.service, metric.model, usage, metric.timestamp)
        if price.cost_usd is None:
            self.outcomes.add("unpriced")
        metadata = {**metric.metadata, "pricing": price.origin}
        return self.record(replace(metric, cost_usd=price.cost_usd, metadata=metadata))

    def count_untracked(self) -> None:
        """Count a call that passed through unrecorded."""
        self.outcomes.add("untracked")

    def count_failure(self, error: Exception) -> None:
        """Count and log a failure of tracking itself; its text may hold payload, its type not."""
        self.outcomes.add("failed")
        kind = type(error).__name__
        self._log.warn(kind, f"tracking an AI call failed with {kind}; the call is not affected")

    def _deliver_in_turn(self, metric: AIUsageMetric) -> None:
        self.deliver_abandoned()
        self._deliver(metric)

    def _deliver(self, metric: AIUsageMetric) -> bool:
        self._copy_to_file(metric)
        try:
            accepted = self._client.put_ai_usage_metric(metric) is not False
        except Exception as error:  # noqa: BLE001
            self.count_failure(error)
            return False
        self.outcomes.add("recorded" if accepted else "refused")
        if not accepted:
            self._log.warn(
                "refused",
                "a usage record was refused: the queue is full or closed, or it is too large",
            )
        return accepted

    def _complete(self, metric: AIUsageMetric) -> AIUsageMetric:
        """Fill in what the record does not say."""
        context = find_context(self._owner(), self.defaults.current)
        known = self._read_owner(context)
        changes: dict[str, Any] = {
            name: value
            for name, value in known.items()
            if value is not None and getattr(metric, name) is None
        }
        if context.metadata:
            changes["metadata"] = {**context.metadata, **metric.metadata}
        if not changes and metric.has_room():
            return metric
        said = {field.name: getattr(metric, field.name) for field in fields(metric)}
        return make_metric(said | changes)

    def _try_to_make(self, call: ObservedCall) -> AIUsageMetric | None:
        try:
            return self._make(call)
        except Exception as error:  # noqa: BLE001
            self.count_failure(error)
            return None

    def _make(self, call: ObservedCall) -> AIUsageMetric:
        latency = self._clock() - call.start.reading
        context = call.start.context
        model = call.reply.model or call.requested_model or UNKNOWN_MODEL
        usage = call.reply.usage or TokenUsage()
        price = _read_reported_price(call.reply) or self._try_to_price(
            call.service, model, usage, call.start.timestamp
        )
        metadata: dict[str, Any] = {**context.metadata, **call.metadata, **call.reply.details}
        if call.reply.invalid_fields:
            metadata["invalid_fields"] = list(call.reply.invalid_fields)
        # What failed before anything was used has no cost that could be known.
        has_price = call.error is None or price.cost_usd is not None or not usage.is_unknown
        if has_price:
            metadata["pricing"] = price.origin
        if has_price and price.cost_usd is None:
            self.outcomes.add("unpriced")
        if call.first_token is not None:
            metadata["time_to_first_token_ms"] = _to_milliseconds(
                call.first_token - call.start.reading
            )
        known: dict[str, Any] = {
            "service": call.service,
            "model": model,
            "operation": call.operation,
            "timestamp": call.start.timestamp,
            "latency_ms": _to_milliseconds(latency),
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "error": call.error,
            "metadata": metadata,
            **self._read_owner(context),
        }
        if call.reply.request_id is not None:
            known["request_id"] = call.reply.request_id
        if has_price:
            known["cost_usd"] = price.cost_usd
        # What is not said need not be checked.
        return make_metric({name: value for name, value in known.items() if value is not None})

    def _read_owner(self, context: UsageContext) -> dict[str, Any]:
        """Return where a call was made and whom it belongs to, by the record's field names."""
        return {
            "environment": (context.environment or self._environment).value,
            "user_id": context.user_id,
            "job_id": context.job_id,
            "batch_id": context.batch_id,
            "github_pr": context.github_pr,
        }

    def _try_to_price(
        self, service: str, model: str, usage: TokenUsage, timestamp: datetime
    ) -> Price:
        """Return the price: a record without one is worth more than no record."""
        try:
            return self.price_book.price(service, model, usage, timestamp)
        except Exception as error:  # noqa: BLE001
            self.count_failure(error)
            return Price.unpriced("pricing failed")

    def _copy_to_file(self, metric: AIUsageMetric) -> None:
        if self._usage_log is None:
            return
        try:
            self._usage_log.write(metric)
        except Exception as error:  # noqa: BLE001
            self.count_failure(error)


def _to_milliseconds(seconds: float) -> int:
    """Return whole milliseconds, rounded half up, as records hold them."""
    return floor(seconds * 1_000 + 0.5)


def _read_reported_price(reply: ProviderReply) -> Price | None:
    """Return the price that the service or the caller reports."""
    if reply.cost_usd is None:
        return None
    is_partial = reply.usage is not None and reply.usage.is_interrupted
    status = "partial" if is_partial else "priced"
    return Price(reply.cost_usd, {"source": "caller", "status": status})


def _runs_in_asyncio() -> bool:
    """The SDKs run under trio as well, where ``asyncio.to_thread`` does not."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
