"""The figures of delivery: records by their outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from receipt_dynamo.data.delivery.settings import Durability
from receipt_dynamo.utils.circuit_breaker import CircuitBreakerState


@dataclass(frozen=True, slots=True)
class DeliveryStats:
    """One snapshot of a ResilientDynamoClient, cheap enough to be taken every second.

    ``accepted`` to ``dropped`` are one consistent account; at every snapshot
    ``accepted + adopted == delivered + pending + dead + dropped``.

    Attributes:
        accepted: Records for which ``put_ai_usage_metric`` returned True.
        adopted: Records taken over from dead processes.
        delivered: Records that DynamoDB confirmed.
        pending: Records still to be delivered, those in flight included.
        oldest_pending_seconds: For how long the oldest of them has waited, in seconds, to within
            a hundredth or 0.1 s; 0.0 if none is pending. A record waits from its ``put`` on, one
            that was taken over from a dead process from then on, and a dead letter that was
            redriven from then on.
        dead: Records that DynamoDB rejected for good, and damaged ones; see
            ``dead_letters()``.
        dropped: Records dropped by the policy ``overflow="drop_oldest"``.
        refused: Records not accepted, by reason ("full", "stopped", "too_large").
        in_flight: Records in a request to DynamoDB right now.
        spilled: Pending records that are on disk only, beyond the bound of the memory.
        pending_bytes: Size of the records in memory, in bytes.
        journal_bytes: Size of the records on disk, roughly, in bytes.
        durability: What new records get: "journal", "journal-sync" or "memory", the last
            also while the journal cannot be written.
        undurable: Records in memory only although a journal is wanted: it could not be written
            when they were accepted, and has not taken them since, or somebody deleted it.
        set_aside: Damaged journals that were moved out of the way, this process's own or others'.
        throttled: How often a record came back because DynamoDB was short of capacity.
        throttle_reasons: The same by DynamoDB's reason; a request may give several.
        pace: Batches a second that may leave; infinite until DynamoDB throttles.
        circuit_breaker_state: State of the circuit breaker.
        last_error: The latest failure in one line, or None; it holds no payload.
    """

    accepted: int
    adopted: int
    delivered: int
    pending: int
    oldest_pending_seconds: float
    dead: int
    dropped: int
    refused: Mapping[str, int]
    in_flight: int
    spilled: int
    pending_bytes: int
    journal_bytes: int
    durability: Durability
    undurable: int
    set_aside: int
    throttled: int
    throttle_reasons: Mapping[str, int]
    pace: float
    circuit_breaker_state: CircuitBreakerState
    last_error: str | None


@dataclass(frozen=True, slots=True)
class CloseReport:
    """The outcome of ``close``.

    Attributes:
        delivered: Records delivered in the client's life.
        pending: Records that were not delivered in time.
        on_disk: Those of them that the journal holds. The next process for the same table and
            directory delivers them, with the same account or credentials.
        lost: Those of them that are in this process's memory only, and end with it. None,
            as long as there is a journal and its disk can be written.
        dead: Records that DynamoDB rejected for good.
        unproven: Those of ``on_disk`` that no other process takes unless you say so: this one
            never had credentials, nor was its table named. ``journal drain --adopt-unproven``
            delivers them.
    """

    delivered: int
    pending: int
    on_disk: int
    lost: int
    dead: int
    unproven: int = 0
