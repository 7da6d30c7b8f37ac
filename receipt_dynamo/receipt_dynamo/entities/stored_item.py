"""Read a record's JSON as it was stored; it may be damaged, or none of ours."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json

from receipt_dynamo.entities.attribute_values import MAX_ITEM_BYTES, measure_item
from receipt_dynamo.entities.item_key import Key


def read_item(body: bytes) -> dict[str, Any] | None:
    """Return the item, or None when it is none."""
    try:
        item = from_json(body)
    except ValueError:
        return None
    return item if isinstance(item, dict) else None


def find_key(body: bytes) -> Key | None:
    """Return the item's PK and SK, or None when it has none."""
    item = read_item(body) or {}
    pk, sk = read_text(item, "PK"), read_text(item, "SK")
    return None if pk is None or sk is None else (pk, sk)


def read_text(item: dict[str, Any], name: str) -> str | None:
    """Return the text of an attribute, or None when it is not there, or is no text."""
    value = item.get(name)
    text = value.get("S") if isinstance(value, dict) else None
    return text if isinstance(text, str) else None


def is_too_large(body: bytes) -> bool:
    """Whether a whole item exceeds 400 KB by DynamoDB's rule."""
    # Its JSON has every name and value in it, and more.
    return len(body) > MAX_ITEM_BYTES and measure_item(from_json(body)) > MAX_ITEM_BYTES
