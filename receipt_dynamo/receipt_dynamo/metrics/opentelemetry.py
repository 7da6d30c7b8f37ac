"""The figures as instruments of an OpenTelemetry meter. Needs ``receipt-dynamo[opentelemetry]``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from receipt_dynamo.metrics import measures
from receipt_dynamo.metrics.calls import CallLabels
from receipt_dynamo.metrics.measures import DELIVERY, TABLE, Measure
from receipt_dynamo.metrics.watched import check_clients, import_extra

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation

    from receipt_dynamo.data.resilient_dynamo_client import ResilientDynamoClient
    from receipt_dynamo.entities.ai_usage_metric import AIUsageMetric

_SCOPE = "receipt_dynamo"


class OpenTelemetryMetrics:
    """Reports what clients accept and deliver to an OpenTelemetry meter.

    Delivery is read when the meter is: it costs a call nothing. Calls, tokens, cost and
    durations are recorded when a record is accepted, in the caller's thread, once each: what is
    sent again, or adopted from a dead process, is not counted again.

    Args:
        clients: Whose figures; each for another table, which is their label.
        meter_provider: Gives the meter; by default the global one.

    Raises:
        ModuleNotFoundError: OpenTelemetry's API is not installed.
        TypeError: One of ``clients`` is no ``ResilientDynamoClient``.
        ValueError: There is no client, or two are for one table.
    """

    def __init__(
        self, *clients: ResilientDynamoClient, meter_provider: MeterProvider | None = None
    ) -> None:
        metrics = import_extra("opentelemetry.metrics", "opentelemetry")
        self._clients = check_clients(clients)
        self._labels = CallLabels()
        meter = metrics.get_meter(_SCOPE, meter_provider=meter_provider)
        for measure in DELIVERY:
            self._observe(meter, measure)
        self._make_instruments(meter)
        for client in self._clients:
            client.add_accept_listener(self._record)

    def close(self) -> None:
        """Record no more calls, and report nothing more of delivery."""
        for client in self._clients:
            client.remove_accept_listener(self._record)
        self._clients = ()

    def _observe(self, meter: Meter, measure: Measure) -> None:
        make: Callable[..., Any] = {
            "counter": meter.create_observable_counter,
            "gauge": meter.create_observable_gauge,
        }[measure.kind]
        make(
            measure.name,
            callbacks=[lambda options: self._read(measure, options)],
            unit=measure.unit,
            description=measure.description,
        )

    def _read(self, measure: Measure, _: CallbackOptions) -> Iterable[Observation]:
        from opentelemetry.metrics import Observation

        for client in self._clients:
            for labels, value in measure.read(client.get_stats()).items():
                yield Observation(value, {TABLE: client.table_name, **dict(labels)})

    def _make_instruments(self, meter: Meter) -> None:
        self._calls = meter.create_counter(measures.CALLS, "{call}", measures.CALLS_DESCRIPTION)
        self._cost = meter.create_counter(
            measures.COST, measures.COST_UNIT, measures.COST_DESCRIPTION
        )
        self._unpriced = meter.create_counter(
            measures.UNPRICED, "{call}", measures.UNPRICED_DESCRIPTION
        )
        self._tokens = meter.create_histogram(
            measures.TOKENS,
            measures.TOKENS_UNIT,
            measures.TOKENS_DESCRIPTION,
            explicit_bucket_boundaries_advisory=measures.TOKENS_BUCKETS,
        )
        self._durations = meter.create_histogram(
            measures.DURATION,
            measures.DURATION_UNIT,
            measures.DURATION_DESCRIPTION,
            explicit_bucket_boundaries_advisory=measures.DURATION_BUCKETS,
        )

    def _record(self, metric: AIUsageMetric) -> None:
        labels = dict(self._labels.choose(metric))
        self._calls.add(metric.api_calls, labels)
        if metric.cost_usd is not None:
            self._cost.add(float(metric.cost_usd), labels)
        elif metric.error is None:
            self._unpriced.add(metric.api_calls, labels)
        for kind, tokens in (("input", metric.input_tokens), ("output", metric.output_tokens)):
            if tokens is not None:
                self._tokens.record(tokens, {**labels, measures.TOKEN_TYPE: kind})
        if metric.latency_ms is not None:
            self._durations.record(metric.latency_ms / 1_000, labels)
