"""Charts as inline SVG, drawn by the numbers alone: no script, nothing from elsewhere.

The drawings stretch to the width that they get; what is written stands beside them, or it
would be stretched, and too small on a phone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from html import escape
from typing import Final

from receipt_label.cli.amounts import choose_places, format_count, format_usd
from receipt_label.reporting.course import Step

OTHERS: Final = "others"
MAX_PARTS: Final = 6
"""The number of parts with their own colour; the page's style has as many colours."""

_HEIGHT: Final = 200
_STEP: Final = 10
_GAP: Final = 2
_MAX_LABELS: Final = 6


def rank_parts(steps: Sequence[Step]) -> list[str]:
    """Return the costliest parts of the steps, at most six."""
    sums: dict[str, Decimal] = {}
    for step in steps:
        for part, cost in step.costs.items():
            sums[part] = sums.get(part, Decimal(0)) + cost
    return sorted(sums, key=lambda part: (-sums[part], part))[:MAX_PARTS]


def draw_course(steps: Sequence[Step], parts: Sequence[str]) -> str:
    """Return stacked columns, one for each step.

    Args:
        steps: At least one, oldest first.
        parts: Those that have a colour, the costliest first; the rest is "others".
    """
    largest = max(step.cost for step in steps)
    columns = "".join(
        _draw_column(number, step, parts, largest) for number, step in enumerate(steps)
    )
    places = choose_places([largest])
    total = format_usd(sum((step.cost for step in steps), Decimal(0)), places)
    label = f"Cost from {steps[0].name} to {steps[-1].name}, {total} USD in all"
    return (
        '<div class="course"><div class="scale">'
        f"<span>{escape(format_usd(largest, places))}</span><span>0</span></div>"
        f'<svg viewBox="0 0 {len(steps) * _STEP} {_HEIGHT}" preserveAspectRatio="none" '
        f'role="img" aria-label="{escape(label)}">{columns}</svg>'
        f'<div class="steps">{"".join(_label(steps))}</div></div>'
    )


def _draw_column(number: int, step: Step, parts: Sequence[str], largest: Decimal) -> str:
    drawn, top = [], Decimal(_HEIGHT)
    for style, cost in _list_layers(step, parts):
        height = cost * _HEIGHT / largest if largest else Decimal(0)
        top -= height
        drawn.append(
            f'<rect class="{style}" x="{number * _STEP + _GAP / 2:g}" y="{top:.2f}" '
            f'width="{_STEP - _GAP}" height="{height:.2f}"/>'
        )
    calls = f"{format_count(step.calls)} {'call' if step.calls == 1 else 'calls'}"
    title = f"{step.name}: {format_usd(step.cost)} USD, {calls}"
    return f"<g><title>{escape(title)}</title>{''.join(drawn)}</g>"


def _list_layers(step: Step, parts: Sequence[str]) -> Iterator[tuple[str, Decimal]]:
    """Yield each part's style and cost, from the bottom up."""
    for number, part in enumerate(parts):
        if step.costs.get(part):
            yield f"part{number}", step.costs[part]
    others = sum((cost for part, cost in step.costs.items() if part not in parts), Decimal(0))
    if others:
        yield OTHERS, others


def _label(steps: Sequence[Step]) -> Iterator[str]:
    """Yield the names of some steps, no more than a phone has room for."""
    shown = steps if len(steps) <= _MAX_LABELS else [steps[0], steps[len(steps) // 2], steps[-1]]
    for step in shown:
        yield f"<span>{escape(step.name)}</span>"


def draw_bar(amount: Decimal, largest: Decimal) -> str:
    """Return a bar as long as ``amount`` is beside ``largest``."""
    share = amount * 100 / largest if largest else Decimal(0)
    return (
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="part0" width="{share:.2f}" height="8"/></svg>'
    )
