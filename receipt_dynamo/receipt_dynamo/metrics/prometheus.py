"""The figures for a Prometheus scrape. Needs ``receipt-dynamo[prometheus]``."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from receipt_dynamo.metrics import measures
from receipt_dynamo.metrics.calls import CallLabels, Labels
from receipt_dynamo.metrics.measures import DELIVERY, TABLE, TOKEN_TYPE, Measure, to_prometheus
from receipt_dynamo.metrics.watched import check_clients, import_extra
from receipt_dynamo.utils.fork_safety import notice_fork, reset_in_child

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from receipt_dynamo.data.resilient_dynamo_client import ResilientDynamoClient
    from receipt_dynamo.entities.ai_usage_metric import AIUsageMetric

_CALL_LABELS: Final = (
    measures.SERVICE,
    measures.OPERATION,
    measures.MODEL,
    measures.ENVIRONMENT,
    measures.ERROR,
)


class _Histogram:
    """Counts values by bounds, each bound included; the last bucket has none."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def list_buckets(self) -> list[tuple[str, float]]:
        """Return the bounds as text, with how many values are not above each."""
        total = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            total += count
            buckets.append(("+Inf" if bound == float("inf") else repr(bound), float(total)))
        return buckets


class PrometheusCollector:
    """Collects what clients accept and deliver: ``REGISTRY.register(PrometheusCollector(client))``.

    Delivery is read at the scrape: it costs a call nothing. Calls, tokens, cost and durations
    are added up when a record is accepted, in the caller's thread, once each: what is sent
    again, or adopted from a dead process, is not counted again. A forked child begins at 0.

    Each process has its own figures. prometheus_client's multiprocess mode does not ask
    collectors, so scrape each process, or use OpenTelemetry.

    Args:
        clients: Whose figures; each for another table, which is their label.

    Raises:
        ModuleNotFoundError: prometheus_client is not installed.
        TypeError: One of ``clients`` is no ``ResilientDynamoClient``.
        ValueError: There is no client, or two are for one table.
    """

    def __init__(self, *clients: ResilientDynamoClient) -> None:
        import_extra("prometheus_client", "prometheus")  # Said now, not at the first scrape.
        self._clients = check_clients(clients)
        self._labels = CallLabels()
        self.reset_after_fork()
        reset_in_child(self)
        for client in self._clients:
            client.add_accept_listener(self._record)

    def reset_after_fork(self) -> None:
        """Begin at 0 in a forked child: the parent's calls are the parent's."""
        self._lock = threading.Lock()
        self._calls: defaultdict[Labels, int] = defaultdict(int)
        self._unpriced: defaultdict[Labels, int] = defaultdict(int)
        self._costs: defaultdict[Labels, Decimal] = defaultdict(Decimal)
        self._tokens: defaultdict[Labels, _Histogram] = defaultdict(
            lambda: _Histogram(measures.TOKENS_BUCKETS)
        )
        self._durations: defaultdict[Labels, _Histogram] = defaultdict(
            lambda: _Histogram(measures.DURATION_BUCKETS)
        )

    def close(self) -> None:
        """Record no more calls, and report nothing more of delivery."""
        for client in self._clients:
            client.remove_accept_listener(self._record)
        self._clients = ()

    def describe(self) -> Iterator[Metric]:
        """Yield the names without values: the registry compares them with others'."""
        yield from (self._make_family(measure) for measure in DELIVERY)
        yield from self._make_call_families()

    def collect(self) -> Iterator[Metric]:
        """Yield all figures of this moment."""
        notice_fork()
        stats = [(client.table_name, client.get_stats()) for client in self._clients]
        for measure in DELIVERY:
            family = self._make_family(measure)
            for table, snapshot in stats:
                for labels, value in measure.read(snapshot).items():
                    family.add_metric([table, *(text for _, text in labels)], value)
            yield family
        yield from self._collect_calls()

    def _make_family(self, measure: Measure) -> Any:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        kind = CounterMetricFamily if measure.kind == "counter" else GaugeMetricFamily
        labels = [TABLE, *([measure.label] if measure.label else [])]
        return kind(
            to_prometheus(measure.name, measure.unit),
            measure.description,
            labels=[to_prometheus(label) for label in labels],
        )

    def _make_call_families(self) -> tuple[Any, Any, Any, Any, Any]:
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        names = [to_prometheus(label) for label in _CALL_LABELS]
        return (
            CounterMetricFamily(
                to_prometheus(measures.CALLS), measures.CALLS_DESCRIPTION, labels=names
            ),
            CounterMetricFamily(
                to_prometheus(measures.UNPRICED), measures.UNPRICED_DESCRIPTION, labels=names
            ),
            CounterMetricFamily(
                to_prometheus(measures.COST, measures.COST_UNIT),
                measures.COST_DESCRIPTION,
                labels=names,
            ),
            HistogramMetricFamily(
                to_prometheus(measures.TOKENS),
                measures.TOKENS_DESCRIPTION,
                labels=[*names, to_prometheus(TOKEN_TYPE)],
            ),
            HistogramMetricFamily(
                to_prometheus(measures.DURATION, measures.DURATION_UNIT),
                measures.DURATION_DESCRIPTION,
                labels=names,
            ),
        )

    def _collect_calls(self) -> Iterator[Metric]:
        families = calls, unpriced, costs, tokens, durations = self._make_call_families()
        with self._lock:
            for family, counts in ((calls, self._calls), (unpriced, self._unpriced)):
                for labels, count in counts.items():
                    family.add_metric(_fill_in(labels), count)
            for labels, cost in self._costs.items():
                costs.add_metric(_fill_in(labels), float(cost))
            for family, values in ((tokens, self._tokens), (durations, self._durations)):
                for labels, seen in values.items():
                    family.add_metric(_fill_in(labels), seen.list_buckets(), sum_value=seen.sum)
        yield from families

    def _record(self, metric: AIUsageMetric) -> None:
        notice_fork()
        labels = self._labels.choose(metric)
        with self._lock:
            self._calls[labels] += metric.api_calls
            if metric.cost_usd is not None:
                self._costs[labels] += metric.cost_usd
            elif metric.error is None:
                self._unpriced[labels] += metric.api_calls
            for kind, tokens in (("input", metric.input_tokens), ("output", metric.output_tokens)):
                if tokens is not None:
                    self._tokens[(*labels, (TOKEN_TYPE, kind))].add(tokens)
            if metric.latency_ms is not None:
                self._durations[labels].add(metric.latency_ms / 1_000)


def _fill_in(labels: Labels) -> list[str]:
    """Return the values of all labels; Prometheus takes an empty one for none."""
    found = dict(labels)
    values = [found.get(label, "") for label in _CALL_LABELS]
    return [*values, found[TOKEN_TYPE]] if TOKEN_TYPE in found else values
