"""A report as one HTML page that needs nothing else: no script, no font, no request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from html import escape
from importlib.resources import files
from typing import Final

from receipt_dynamo.cli.output import make_printable
from receipt_label.cli.amounts import (
    choose_places,
    format_cost,
    format_count,
    name_others,
    name_value,
)
from receipt_label.cli.report.charts import OTHERS, draw_bar, draw_course, rank_parts
from receipt_label.cli.report.notes import list_notes
from receipt_label.reporting.answer import ReportAnswer
from receipt_label.reporting.course import Step, list_steps
from receipt_label.reporting.sums import Sums
from receipt_label.reporting.usage_report import Grouping, Ranking

# Whatever a stored name holds: the browser runs no script and fetches nothing.
_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)


def draw_page(
    answer: ReportAnswer, course: Grouping, groupings: Sequence[Grouping], top: int
) -> str:
    """Return the page as HTML.

    Args:
        answer: What was found; the names in it may hold anything.
        course: The grouping by a time and one more dimension, which the chart shows.
        groupings: Those that have a table.
        top: How many of the costliest groups each table has.
    """
    report = answer.report
    steps = list_steps(report.groups[course], course[0], report.zone)
    tables = [_draw_ranking(report.rank(by, top), report.total) for by in groupings]
    style = files("receipt_label.cli.report").joinpath("page.css").read_text("utf-8")
    title = _show(answer.title)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>AI usage, {title}</title>
<style>
{style}</style>
</head>
<body>
<header><h1>AI usage</h1><p>{title}</p></header>
<main>
{_draw_cards(report.total)}
{_draw_notes(list_notes(answer))}
{_draw_course(steps)}
{"".join(tables)}
</main>
<footer>made on {answer.made_at:%Y-%m-%d %H:%M %Z} by receipt-usage report</footer>
</body>
</html>
"""


def _draw_cards(total: Sums) -> str:
    mean = total.mean_latency_ms
    cards = [
        ("cost in USD", format_cost(total, choose_places([total.cost_usd]))),
        ("calls", format_count(total.api_calls)),
        ("input tokens", format_count(total.input_tokens)),
        ("output tokens", format_count(total.output_tokens)),
        ("failed", format_count(total.errors)),
        ("mean duration", "unknown" if mean is None else f"{mean / 1000:.2f} s"),
    ]
    drawn = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in cards
    )
    return f'<dl class="cards">{drawn}</dl>'


def _draw_notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    return f'<ul class="notes">{"".join(f"<li>{_show(note)}</li>" for note in notes)}</ul>'


def _draw_course(steps: Sequence[Step]) -> str:
    if not steps:
        return "<p>No records.</p>"
    parts = rank_parts(steps)
    legend = [(f"part{number}", part) for number, part in enumerate(parts)]
    if any(part not in parts for step in steps for part in step.costs):
        legend.append((OTHERS, OTHERS))
    entries = "".join(
        f'<li><svg class="key" viewBox="0 0 1 1" aria-hidden="true">'
        f'<rect class="{style}" width="1" height="1"/></svg>{_show(part)}</li>'
        for style, part in legend
    )
    return (
        "<section><h2>Cost over time, USD</h2>"
        f'{draw_course(steps, parts)}<ul class="legend">{entries}</ul></section>'
    )


# The cost first: on a phone what stands behind it is a swipe away.
_COLUMNS: Final = ("cost USD", "", "calls", "failed", "input tokens", "output tokens")


def _draw_ranking(ranking: Ranking, total: Sums) -> str:
    costs = [group.sums.cost_usd for group in ranking.groups]
    largest = max(costs, default=Decimal(0))
    places = choose_places([*costs, total.cost_usd])
    names = [name.replace("-", " ") for name in ranking.by]
    heads = _draw_cells("th", names, "name") + _draw_cells("th", _COLUMNS)
    rows = [
        _draw_row(
            [name_value(value) for value in group.key],
            group.sums,
            places,
            draw_bar(group.sums.cost_usd, largest),
        )
        for group in ranking.groups
    ]
    if ranking.left_out:
        rows.append(_draw_row(name_others(ranking), ranking.rest, places, ""))
    return (
        f"<section><h2>By {escape(', '.join(names))}</h2>"
        f'<div class="scroll"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def _draw_row(names: Sequence[str], sums: Sums, places: int, bar: str) -> str:
    numbers = [
        format_count(sums.api_calls),
        format_count(sums.errors) if sums.errors else "",
        format_count(sums.input_tokens),
        format_count(sums.output_tokens),
    ]
    cost = _draw_cells("td", [format_cost(sums, places)])
    return (
        f"<tr>{_draw_cells('td', names, 'name')}{cost}"
        f'<td class="share">{bar}</td>{_draw_cells("td", numbers)}</tr>'
    )


def _draw_cells(tag: str, texts: Iterable[str], style: str = "number") -> str:
    return "".join(f'<{tag} class="{style}">{escape(text)}</{tag}>' for text in texts)


def _show(text: str) -> str:
    return escape(make_printable(text))
