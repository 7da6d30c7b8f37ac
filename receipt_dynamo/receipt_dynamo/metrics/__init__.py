"""The figures of delivery and of calls, for OpenTelemetry and for Prometheus.

Neither package is imported before one of the two classes is made.
"""

from receipt_dynamo.metrics.opentelemetry import OpenTelemetryMetrics
from receipt_dynamo.metrics.prometheus import PrometheusCollector

__all__ = ["OpenTelemetryMetrics", "PrometheusCollector"]
