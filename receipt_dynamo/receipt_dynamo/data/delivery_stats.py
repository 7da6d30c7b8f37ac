"""What became of the records, in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from receipt_dynamo.utils.circuit_breaker import CircuitBreakerState


@dataclass(frozen=True, slots=True)
class DeliveryStats:
    """One consistent snapshot of a ResilientDynamoClient.

    At every snapshot ``accepted == delivered + pending + dead + dropped``.

    Attributes:
        accepted: Records for which ``put_ai_usage_metric`` returned True.
        delivered: Records that DynamoDB confirmed.
        pending: Records still to be delivered, those in flight included.
        dead: Records that DynamoDB rejected for good; see ``dead_letters()``.
        dropped: Records given up under the policy ``overflow="drop_oldest"``.
        refused: Records not accepted, by reason ("full", "stopped").
        in_flight: Records in a request to DynamoDB right now.
        pending_bytes: Size of the records in memory, in bytes.
        throttled: How often a record came back because DynamoDB was short of capacity.
        circuit_breaker_state: State of the circuit breaker.
        last_error: The latest failure in one line, or None; it holds no payload.
    """

    accepted: int
    delivered: int
    pending: int
    dead: int
    dropped: int
    refused: Mapping[str, int]
    in_flight: int
    pending_bytes: int
    throttled: int
    circuit_breaker_state: CircuitBreakerState
    last_error: str | None


@dataclass(frozen=True, slots=True)
class CloseReport:
    """What ``close`` leaves behind.

    Attributes:
        delivered: Records delivered in the client's life.
        pending: Records that were not delivered in time. They are in this process's
            memory only, and are lost when it ends.
        dead: Records that DynamoDB rejected for good.
    """

    delivered: int
    pending: int
    dead: int
