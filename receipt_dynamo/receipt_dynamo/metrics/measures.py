"""The measures and their names: one table for OpenTelemetry and Prometheus.

The figures of delivery have names of ours. Calls, tokens and durations have those of the
OpenTelemetry semantic conventions for generative AI (status "development", v1.41.0:
``gen_ai.client.token.usage``, ``gen_ai.client.operation.duration``). They have no name for cost.
Prometheus has the same names with underscores, the unit and ``_total`` at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from receipt_dynamo.utils.circuit_breaker import CircuitBreakerState

if TYPE_CHECKING:
    from receipt_dynamo.data.delivery.stats import DeliveryStats

Reading: TypeAlias = Mapping[tuple[tuple[str, str], ...], float]
"""Values by their labels, of which a figure has none or one."""

Kind: TypeAlias = Literal["counter", "gauge"]

TABLE: Final = "aws.dynamodb.table_name"
"""The label that says which client it is (in semantic conventions a list of tables)."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure of delivery.

    Attributes:
        name: With dots, as OpenTelemetry has it.
        kind: A counter only grows; a gauge goes up and down.
        unit: In the Unified Code for Units of Measure, as OpenTelemetry has it.
        description: One sentence.
        read: Takes it from a snapshot.
        label: The label that differs between several values of one snapshot; None for one value.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    read: Callable[[DeliveryStats], Reading]
    label: str | None = None


def _one(value: float) -> Reading:
    return {(): value}


def _by(label: str, values: Mapping[str, float]) -> Reading:
    return {((label, name),): value for name, value in values.items()}


def _read_breaker(stats: DeliveryStats) -> Reading:
    states = {
        state.value: float(state is stats.circuit_breaker_state) for state in CircuitBreakerState
    }
    return _by("state", states)


def _read_pace(stats: DeliveryStats) -> Reading:
    return {} if math.isinf(stats.pace) else _one(stats.pace)


DELIVERY: Final = (
    Measure(
        "receipt.records.accepted",
        "counter",
        "{record}",
        "Records that put_ai_usage_metric took.",
        lambda stats: _one(stats.accepted),
    ),
    Measure(
        "receipt.records.adopted",
        "counter",
        "{record}",
        "Records taken over from dead processes.",
        lambda stats: _one(stats.adopted),
    ),
    Measure(
        "receipt.records.delivered",
        "counter",
        "{record}",
        "Records that DynamoDB confirmed.",
        lambda stats: _one(stats.delivered),
    ),
    Measure(
        "receipt.records.dropped",
        "counter",
        "{record}",
        "Records dropped by the policy drop_oldest.",
        lambda stats: _one(stats.dropped),
    ),
    Measure(
        "receipt.records.refused",
        "counter",
        "{record}",
        "Records that were not taken, by reason.",
        lambda stats: _by("reason", stats.refused),
        "reason",
    ),
    Measure(
        "receipt.records.throttled",
        "counter",
        "{record}",
        "How often a record came back because DynamoDB was short of capacity.",
        lambda stats: _one(stats.throttled),
    ),
    Measure(
        "receipt.records.pending",
        "gauge",
        "{record}",
        "Records that wait for DynamoDB.",
        lambda stats: _one(stats.pending),
    ),
    Measure(
        "receipt.records.oldest_age",
        "gauge",
        "s",
        "Seconds that the oldest record has waited for DynamoDB; 0 when none waits.",
        lambda stats: _one(stats.oldest_pending_seconds),
    ),
    Measure(
        "receipt.records.dead",
        "gauge",
        "{record}",
        "Records that DynamoDB rejected for good, and damaged ones.",
        lambda stats: _one(stats.dead),
    ),
    Measure(
        "receipt.records.undurable",
        "gauge",
        "{record}",
        "Records in memory only although a journal is wanted.",
        lambda stats: _one(stats.undurable),
    ),
    Measure(
        "receipt.circuit_breaker.state",
        "gauge",
        "1",
        "1 for the state that the circuit breaker is in, 0 for the others.",
        _read_breaker,
        "state",
    ),
    Measure(
        "receipt.pace",
        "gauge",
        "{batch}/s",
        "Batches a second that may leave; absent until DynamoDB throttles.",
        _read_pace,
    ),
)

CALLS: Final = "receipt.calls"
CALLS_DESCRIPTION: Final = "AI calls on record."
COST: Final = "receipt.cost"
COST_UNIT: Final = "USD"
COST_DESCRIPTION: Final = "Cost of the calls that have a price, in USD."
UNPRICED: Final = "receipt.calls.unpriced"
UNPRICED_DESCRIPTION: Final = "Calls that ended well and whose cost is not known."

TOKENS: Final = "gen_ai.client.token.usage"
TOKENS_UNIT: Final = "{token}"
TOKENS_DESCRIPTION: Final = "Number of input and output tokens used."
TOKENS_BUCKETS: Final = tuple(float(4**power) for power in range(14))
"""1, 4, 16 ... 67,108,864: the boundaries that the conventions ask for."""

DURATION: Final = "gen_ai.client.operation.duration"
DURATION_UNIT: Final = "s"
DURATION_DESCRIPTION: Final = "Duration of the call."
DURATION_BUCKETS: Final = tuple(0.01 * 2**power for power in range(14))
"""10 ms, 20 ms ... 81.92 s: the boundaries that the conventions ask for."""

SERVICE: Final = "gen_ai.provider.name"
OPERATION: Final = "gen_ai.operation.name"
MODEL: Final = "gen_ai.response.model"
ENVIRONMENT: Final = "deployment.environment.name"
ERROR: Final = "error.type"
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105 - tokens of text

OPERATIONS: Final[Mapping[str, str]] = {"completion": "chat", "embedding": "embeddings"}
"""Our operations that the conventions have another word for."""

OTHER: Final = "_OTHER"
"""For a value without its own name: the conventions' word for an error of any type."""


def to_prometheus(name: str, unit: str = "") -> str:
    """Return Prometheus' form of a name: underscores, and the unit at the end."""
    suffix = {"s": "_seconds", "USD": "_usd"}.get(unit, "")
    return name.replace(".", "_") + suffix
