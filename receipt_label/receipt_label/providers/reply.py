"""What a provider's reply tells about the call, read without trusting it.

Servers that imitate a provider leave fields out, send null, negative numbers or text. The
SDKs pass all of it on unchecked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from receipt_label.pricing import TokenUsage


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What one reply tells.

    Attributes:
        model: The model that served the call; None when the reply does not say.
        request_id: The provider's id of the response; None as above.
        usage: What the provider counted; None when it told nothing.
        details: Counts and tiers for the record's metadata, small.
        invalid_fields: Fields that held what they cannot hold, and are left out.
    """

    model: str | None = None
    request_id: str | None = None
    usage: TokenUsage | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    invalid_fields: tuple[str, ...] = ()


class ReplyReader:
    """Reads fields of a reply, be it an SDK's object or plain JSON; notes what is invalid.

    Args:
        reply: The reply.
    """

    def __init__(self, reply: object) -> None:
        self._reply = reply
        # A field may be asked for twice, and is named once.
        self._invalid: dict[str, None] = {}

    @property
    def invalid_fields(self) -> tuple[str, ...]:
        """Paths of the fields that were not what they should be."""
        return tuple(self._invalid)

    def text(self, path: str) -> str | None:
        """Return the text at a dotted path; None when it is absent, empty or no text."""
        value = self._find(path)
        if value is None or value == "":
            return None
        if isinstance(value, str):
            return value
        self._invalid[path] = None
        return None

    def count(self, path: str) -> int | None:
        """Return the number at a dotted path; None when it is absent or no count."""
        value = self._find(path)
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        self._invalid[path] = None
        return None

    def counts(self, parent: str, names: tuple[str, ...]) -> dict[str, int]:
        """Return those of the counts under ``parent`` that are not 0, by their last name."""
        found = {name.rpartition(".")[2]: self.count(f"{parent}.{name}") for name in names}
        return {name: count for name, count in found.items() if count}

    def _find(self, path: str) -> Any:
        value: Any = self._reply
        for name in path.split("."):
            value = get_field(value, name)
            if value is None:
                return None
        return value


def get_field(source: object, name: str) -> Any:
    """Return a field of an SDK's object or of a JSON object; None when it has none."""
    if isinstance(source, Mapping):
        return source.get(name)
    return getattr(source, name, None)
