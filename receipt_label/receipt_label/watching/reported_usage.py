"""Usage and cost that a function of the user's reports of a service that we do not know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeAlias

from receipt_label.calls.reply import ProviderReply, get_field
from receipt_label.pricing import TokenUsage
from receipt_label.providers.provider import Request

UsageReader: TypeAlias = Callable[[Any], TokenUsage | Mapping[str, Any] | None]
Cost: TypeAlias = Decimal | float | str
CostReader: TypeAlias = Callable[[Any], Cost | None]

_NAMES: Final = frozenset(field.name for field in fields(TokenUsage))
_TEXTS: Final = frozenset(
    {"image_size", "image_quality", "service_tier", "speed", "inference_geo", "sku"}
)


class ReportedUsage:
    """Reads what a call used and cost by the functions that the user gave.

    Args:
        usage: Returns the usage by the result, or None if the result has none.
        cost_usd: The cost of each call, or a function that returns it by the result.

    Raises:
        TypeError: An argument is of a wrong type.
        ValueError: ``cost_usd`` is negative or not finite.
    """

    def __init__(self, usage: UsageReader | None, cost_usd: Cost | CostReader | None) -> None:
        if usage is not None and not callable(usage):
            raise TypeError(
                f"usage is of type {type(usage).__name__}; accepted are a function and None"
            )
        self._read_usage = usage
        self._read_cost = cost_usd if callable(cost_usd) else None
        fixed = None if callable(cost_usd) or cost_usd is None else to_cost(cost_usd)
        self.known = ProviderReply(cost_usd=fixed)

    def read(self, result: object, request: Request) -> ProviderReply:  # noqa: ARG002
        """Return the reported usage and cost of a result.

        Raises:
            Exception: Whatever the user's functions raise, or what they returned makes no sense.
        """
        model = get_field(result, "model")
        cost = self.known.cost_usd
        if self._read_cost is not None and (charged := self._read_cost(result)) is not None:
            cost = to_cost(charged)
        reported = None if self._read_usage is None else self._read_usage(result)
        usage, invalid = _to_usage(reported)
        return ProviderReply(
            model=model if isinstance(model, str) else None,
            usage=usage,
            cost_usd=cost,
            invalid_fields=tuple(f"usage.{name}" for name in invalid),
        )


def to_cost(value: object) -> Decimal:
    """Return a cost in USD, of a float by its printed value.

    Raises:
        TypeError: It is no number.
        ValueError: It is negative or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, (Decimal, float, int, str)):
        raise TypeError(
            f"cost_usd is of type {type(value).__name__}; accepted are Decimal, int, float, str, "
            "a function that returns one of them, and None"
        )
    try:
        cost = Decimal(str(value))
    except InvalidOperation:
        cost = Decimal("NaN")
    if not cost.is_finite() or cost < 0:
        raise ValueError(f"cost_usd is {value!r}; accepted are finite numbers, 0 or more")
    return cost


def _to_usage(reported: object) -> tuple[TokenUsage | None, list[str]]:
    """Return the usage, and the names of what makes no sense and is left out."""
    if reported is None:
        return None, []
    if isinstance(reported, TokenUsage):
        reported = {name: getattr(reported, name) for name in _NAMES}
    if not isinstance(reported, Mapping):
        raise TypeError(
            f"usage returned {type(reported).__name__}; accepted are TokenUsage and dict"
        )
    known = {name: value for name, value in reported.items() if value is not None}
    good = {name: value for name, value in known.items() if _makes_sense(name, value)}
    usage = TokenUsage(**good)
    return None if usage.is_unknown else usage, sorted(map(str, known.keys() - good.keys()))


def _makes_sense(name: str, value: object) -> bool:
    if name in _TEXTS:
        return isinstance(value, str)
    if name == "is_interrupted":
        return isinstance(value, bool)
    if name not in _NAMES or isinstance(value, bool):
        return False
    if name == "audio_seconds":
        return isinstance(value, Decimal) and value.is_finite() and value >= 0
    return isinstance(value, int) and value >= 0
