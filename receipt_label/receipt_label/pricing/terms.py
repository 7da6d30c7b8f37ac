"""The terms of a call that decide its price: tier, speed, place."""

from __future__ import annotations

from typing import Final, NamedTuple

# What the standard price is for, by the names that providers give it.
_STANDARD: Final = frozenset({None, "", "default", "standard", "auto", "global", "not_available"})


class Terms(NamedTuple):
    """The reasons for which a call is cheaper or dearer than standard; None without one.

    Attributes:
        tier: Tier that served it: "batch", "flex", "priority", ...
        speed: Speed that served it, as "fast".
        geo: Where it was served, as "us".
    """

    tier: str | None = None
    speed: str | None = None
    geo: str | None = None

    @classmethod
    def of(cls, tier: str | None, speed: str | None, geo: str | None) -> Terms:
        """Return the terms of a call, from what its provider calls them."""
        return cls(*(None if term in _STANDARD else term for term in (tier, speed, geo)))

    def split(self) -> list[Terms]:
        """Return each term alone."""
        return [
            Terms(**{name: value}) for name, value in self._asdict().items() if value is not None
        ]

    def without(self, other: Terms) -> Terms:
        """Return the terms that ``other`` does not have."""
        return Terms(*(a if b is None else None for a, b in zip(self, other, strict=True)))

    def describe(self) -> str:
        """Return the terms in words."""
        return ", ".join(
            f"{name.replace('tier', 'service_tier')} {value}"
            for name, value in self._asdict().items()
            if value is not None
        )
