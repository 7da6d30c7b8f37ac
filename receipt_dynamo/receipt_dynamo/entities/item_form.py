"""The settings for the items that a client writes, beside the record's own attributes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from receipt_dynamo.utils.arguments import check_whole_within, given

MAX_GSI_SHARDS: Final = 100
"""Readers ask each shard for its pages: 100 take 100,000 write units a second, and make a query
for one day cost at least 50 read units."""

MAX_RETENTION_DAYS: Final = 36_500
"""A century."""


@dataclass(frozen=True, slots=True)
class ItemForm:
    """The form of a client's items.

    Args:
        gsi_shards: Number of partitions that the keys of GSI1 and GSI2 are spread over, 1 to 100.
        retention_days: Days after its timestamp when an item expires; None for never.

    Raises:
        ValueError: One is out of bounds; the message names it, its value and what is accepted.
    """

    gsi_shards: int = 1
    retention_days: int | None = None

    def __post_init__(self) -> None:
        """Check both: what is wrong would show up in a background thread."""
        check_whole_within(1, MAX_GSI_SHARDS, gsi_shards=self.gsi_shards)
        check_whole_within(1, MAX_RETENTION_DAYS, **given(retention_days=self.retention_days))
