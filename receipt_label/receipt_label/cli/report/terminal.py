"""A report on a terminal: a table with bars, by ``rich``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Final, TextIO

from receipt_dynamo.cli.output import make_printable
from receipt_label.cli.amounts import (
    choose_places,
    format_cost,
    format_count,
    name_others,
    name_value,
)
from receipt_label.cli.report.notes import list_notes
from receipt_label.reporting.answer import ReportAnswer
from receipt_label.reporting.sums import Sums
from receipt_label.reporting.usage_report import Grouping, Ranking

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_LONGEST_BAR: Final = 20
_SHORTEST_BAR: Final = 4
_GAP: Final = 3
_PIPE_WIDTH: Final = 160
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"
_FULL: Final = "█"


def print_report(answer: ReportAnswer, by: Grouping, top: int, stream: TextIO) -> None:
    """Print a report: in colour on a terminal, plain in a file or a pipe.

    Args:
        answer: What was found; the names in it may hold anything.
        by: The grouping that is shown.
        top: How many of the costliest groups.
        stream: Where to print.
    """
    console = open_console(stream)
    console.print(make_printable(answer.title), style="bold", soft_wrap=True)
    ranking = answer.report.rank(by, top)
    if ranking.groups:
        console.print(_draw_table(console, ranking, answer.report.total))
    else:
        console.print("no records")
    for note in list_notes(answer):
        console.print(make_printable(note), style="yellow", soft_wrap=True)


def open_console(stream: TextIO) -> Console:
    """Return a console that shows what it is given as it is, whatever that holds."""
    from rich.console import Console

    # A pipe has no width; what reads it should not see names that are cut.
    width = None if stream.isatty() else _PIPE_WIDTH
    return Console(file=stream, highlight=False, markup=False, emoji=False, width=width)


def _draw_table(console: Console, ranking: Ranking, total: Sums) -> Table:
    """Return the table: what a narrow terminal has no room for is left out, names last."""
    unbound = console.options.update(max_width=_PIPE_WIDTH * 10)
    for columns in _CHOICES:
        plain = _draw_columns(ranking, total, columns, bar_width=0)
        room = console.width - console.measure(plain, options=unbound).maximum
        if room >= 0:
            break
    if room < _SHORTEST_BAR + _GAP or not _can_draw(console):
        return plain
    return _draw_columns(ranking, total, columns, bar_width=min(room - _GAP, _LONGEST_BAR))


def _draw_columns(
    ranking: Ranking, total: Sums, columns: Sequence[str], *, bar_width: int
) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_footer=True, pad_edge=False, padding=(0, 1, 0, 0))
    for number, name in enumerate(ranking.by):
        footer = "total" if number == 0 else ""
        table.add_column(name.replace("-", " "), footer, overflow="fold", min_width=5)
    costs = [group.sums.cost_usd for group in ranking.groups]
    places, largest = choose_places([*costs, total.cost_usd]), max(costs, default=Decimal(0))

    def list_cells(sums: Sums) -> list[str]:
        return [_COLUMNS[name](sums) for name in columns] + [format_cost(sums, places)]

    for name, text in zip([*columns, "cost USD"], list_cells(total), strict=True):
        table.add_column(name, text, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for group in ranking.groups:
        names = [name_value(value) for value in group.key]
        bar = draw_bar(group.sums.cost_usd, largest, bar_width)
        table.add_row(*names, *list_cells(group.sums), bar)
    if ranking.left_out:
        table.add_row(*name_others(ranking), *list_cells(ranking.rest), style="dim")
    return table


def _format_mean(sums: Sums) -> str:
    mean = sums.mean_latency_ms
    return "" if mean is None else f"{mean / 1000:.2f}"


_COLUMNS: Final[Mapping[str, Callable[[Sums], str]]] = {
    "calls": lambda sums: format_count(sums.api_calls),
    "errors": lambda sums: format_count(sums.errors) if sums.errors else "",
    "tokens in": lambda sums: format_count(sums.input_tokens),
    "tokens out": lambda sums: format_count(sums.output_tokens),
    "mean s": _format_mean,
}
_CHOICES: Final = (tuple(_COLUMNS), tuple(_COLUMNS)[:-1], ("calls", "errors"), ("calls",))


def draw_bar(amount: Decimal, largest: Decimal, width: int) -> str:
    """Return a bar of up to ``width`` characters, in steps of an eighth."""
    if largest <= 0:
        return ""
    eighths = int(amount * width * 8 / largest)
    if amount and width and not eighths:
        eighths = 1
    full, part = divmod(eighths, 8)
    return _FULL * full + (_EIGHTHS[part] if part else "")


def _can_draw(console: Console) -> bool:
    try:
        (_FULL + _EIGHTHS).encode(console.encoding)
    except UnicodeEncodeError:
        return False
    return True
