"""List the records without a cost, and why: the prices that a list lacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from receipt_label.pricing.price import UNPRICED

if TYPE_CHECKING:
    from receipt_dynamo import AIUsageMetric

NOT_REPORTED = "not reported"
"""Reason of a record that has no cost and does not say why: an earlier writer's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpricedGroup:
    """Records without a cost, of one model and for one reason.

    Attributes:
        service: Provider, such as "openai".
        model: The model that served the calls.
        reason: Why they have no cost, in a few words.
        count: How many records.
        last_seen: Start of the latest of them.
    """

    service: str
    model: str
    reason: str
    count: int
    last_seen: datetime


def list_unpriced(records: Iterable[AIUsageMetric]) -> list[UnpricedGroup]:
    """Return what has no cost among ``records``, the most frequent first.

    A call that failed before anything was used costs nothing that could be known, and is
    not listed. Takes the memory of the result, not of the records.
    """
    found: dict[tuple[str, str, str], tuple[int, datetime]] = {}
    for record in records:
        reason = find_reason(record)
        if reason is None:
            continue
        key = (record.service, record.model, reason)
        count, last_seen = found.get(key, (0, record.timestamp))
        found[key] = (count + 1, max(last_seen, record.timestamp))
    groups = [
        UnpricedGroup(service=service, model=model, reason=reason, count=count, last_seen=last_seen)
        for (service, model, reason), (count, last_seen) in found.items()
    ]
    return sorted(groups, key=lambda group: (-group.count, group.service, group.model))


def find_reason(record: AIUsageMetric) -> str | None:
    """Return why a record has no cost; None when it has one, or could have none."""
    if record.cost_usd is not None:
        return None
    pricing = record.metadata.get("pricing")
    if isinstance(pricing, Mapping) and pricing.get("status") == UNPRICED:
        return str(pricing.get("reason", NOT_REPORTED))
    return None if record.error else NOT_REPORTED
