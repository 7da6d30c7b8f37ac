"""The facts in a provider's reply, read without trusting it.

Servers that imitate a provider leave fields out, send null, negative numbers or text. The
SDKs pass all of it on unchecked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final

from receipt_label.pricing import TokenUsage

BATCH_TIER: Final = "batch"

_NO_MODEL: Final = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderReply:
    """The facts in one reply.

    Attributes:
        model: The model that served the call; None when the reply does not say.
        request_id: The provider's id of the response; None if the reply has none.
        usage: The provider's counts; None if the reply has none.
        error: How the call failed, in a few words and without payload, where the reply of a
            call that came back says so.
        cost_usd: The cost in the reply; None when the call is to be priced.
        details: Counts and tiers for the record's metadata, small.
        invalid_fields: Fields that held what they cannot hold, and are left out.
    """

    model: str | None = None
    request_id: str | None = None
    usage: TokenUsage | None = None
    error: str | None = None
    cost_usd: Decimal | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    invalid_fields: tuple[str, ...] = ()


def mark_as_batch(reply: ProviderReply) -> ProviderReply:
    """Return a reply as one of the Batch API, which has its own price."""
    usage = None if reply.usage is None else replace(reply.usage, service_tier=BATCH_TIER)
    return replace(reply, usage=usage, details={**reply.details, "service_tier": BATCH_TIER})


class ReplyReader:
    """Reads fields of a reply, be it an SDK's object or plain JSON, and lists what is invalid.

    Args:
        reply: The reply, or a part of one.
    """

    def __init__(self, reply: object) -> None:
        self._reply = reply
        self._fields, self._is_whole = _list_fields(reply)
        self._path = ""
        # A field may be asked for twice, and is named once.
        self._invalid: dict[str, None] = {}

    @property
    def invalid_fields(self) -> tuple[str, ...]:
        """Paths of the fields that were not what they should be."""
        return tuple(self._invalid)

    def part(self, name: str) -> ReplyReader:
        """Return a reader of a part, which is empty if the part is missing."""
        reader = ReplyReader(self.value(name))
        reader._path = f"{self._path}{name}."
        reader._invalid = self._invalid
        return reader

    def value(self, name: str) -> Any:
        """Return a field as it is; None when it is absent."""
        if name in self._fields:
            return self._fields[name]
        return None if self._is_whole else getattr(self._reply, name, None)

    def text(self, name: str) -> str | None:
        """Return a text; None when it is absent, empty or no text."""
        value = self.value(name)
        if value is None or value == "":
            return None
        if isinstance(value, str):
            return value
        self._mark_invalid(name)
        return None

    def count(self, name: str) -> int | None:
        """Return a number; None when it is absent or no count."""
        value = self.value(name)
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        self._mark_invalid(name)
        return None

    def seconds(self, name: str) -> Decimal | None:
        """Return a duration by its printed value; None when it is absent or no duration."""
        value = self.value(name)
        if value is None:
            return None
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            seconds = Decimal(repr(value))
            if seconds.is_finite() and seconds >= 0:
                return seconds
        self._mark_invalid(name)
        return None

    def _mark_invalid(self, name: str) -> None:
        self._invalid[f"{self._path}{name}"] = None


def get_field(source: object, name: str) -> Any:
    """Return a field of an SDK's object or of a JSON object; None when it has none."""
    if isinstance(source, dict):
        return source.get(name)
    return getattr(source, name, None)


def _list_fields(source: object) -> tuple[Mapping[str, Any], bool]:
    """Return what an object has, and whether that is all.

    Asked one by one, the SDKs' objects take microseconds for each field that they lack.
    """
    if isinstance(source, dict) or source is None:
        return source or {}, True
    fields = getattr(source, "__dict__", {})
    more: Any = getattr(source, "__pydantic_extra__", _NO_MODEL)
    if more is _NO_MODEL:
        return fields, False
    return {**fields, **more} if more else fields, True


def keep_positive(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the counts that say something, for the record's metadata."""
    return {name: count for name, count in counts.items() if count}
