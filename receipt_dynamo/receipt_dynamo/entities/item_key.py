"""The primary key of an item."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from receipt_dynamo.entities.attribute_values import Item

Key = tuple[str, str]
"""An item's PK and SK."""


def key_of(item: Item) -> Key:
    """Return the item's PK and SK."""
    return item["PK"]["S"], item["SK"]["S"]


def to_attributes(key: Key) -> Item:
    """Return a key as the low-level API takes it."""
    partition_key, sort_key = key
    return {"PK": {"S": partition_key}, "SK": {"S": sort_key}}
