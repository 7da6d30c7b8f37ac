"""Amounts and names as people read them; what is rounded is never shown as nothing."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Final

from receipt_dynamo.cli.output import count_of, make_printable
from receipt_label.reporting.sums import Sums
from receipt_label.reporting.usage_report import Ranking

_MANY: Final = Decimal(1000)


def choose_places(amounts: Iterable[Decimal]) -> int:
    """Return with how many places amounts that stand together are shown: 2 or 4."""
    return 2 if max(amounts, default=Decimal(0)) >= _MANY else 4


def format_usd(amount: Decimal, places: int = 4) -> str:
    """Return an amount of USD, such as "1,234.56"; "<0.0001" when it would round to nothing."""
    least = Decimal(1).scaleb(-places)
    with localcontext(prec=300):
        rounded = amount.quantize(least, ROUND_HALF_EVEN)
    return f"<{least}" if amount and not rounded else f"{rounded:,}"


def format_count(number: int) -> str:
    """Return a count, such as "1,234,567"."""
    return f"{number:,}"


def format_cost(sums: Sums, places: int) -> str:
    """Return a cost in USD, marked as a lower bound when a part of it is not known."""
    return ("≥\N{NO-BREAK SPACE}" if sums.unpriced else "") + format_usd(sums.cost_usd, places)


def name_value(value: str | None) -> str:
    """Return a group's value as it may be shown."""
    return "(none)" if value is None else make_printable(value)


def name_others(ranking: Ranking) -> list[str]:
    """Return what stands in place of the values of the groups that are not shown."""
    first = f"({count_of(ranking.left_out, 'other')})"
    return [first, *[""] * (len(ranking.by) - 1)]
