"""What a user sees who has not installed the extra."""

from __future__ import annotations

import sys

import pytest

from receipt_dynamo import ResilientDynamoClient
from receipt_dynamo.metrics import OpenTelemetryMetrics, PrometheusCollector


@pytest.mark.parametrize(
    ("make", "module", "extra"),
    [
        (PrometheusCollector, "prometheus_client", "prometheus"),
        (OpenTelemetryMetrics, "opentelemetry.metrics", "opentelemetry"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    make: type[PrometheusCollector | OpenTelemetryMetrics],
    module: str,
    extra: str,
    client: ResilientDynamoClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError, match=f"{module} is not installed.*'{extra}'"):
        make(client)
