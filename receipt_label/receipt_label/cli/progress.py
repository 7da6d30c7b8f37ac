"""How far a long read is, on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from receipt_label.cli.amounts import format_count

if TYPE_CHECKING:
    from receipt_dynamo import AIUsageMetric, ReadTally


def show_progress(
    records: Iterable[AIUsageMetric], tally: ReadTally, *, quiet: bool
) -> Iterator[AIUsageMetric]:
    """Pass ``records`` on, and say on standard error how many it were, if that is a terminal.

    Args:
        records: They are read as they are asked for.
        tally: Counts them.
        quiet: Say nothing.
    """
    if quiet or not sys.stderr.isatty():
        yield from records
        return
    from rich.console import Console

    with Console(file=sys.stderr).status(_Reading(tally)):
        yield from records


class _Reading:
    """A line that the display's own thread draws anew: a filter may find nothing for long."""

    def __init__(self, tally: ReadTally) -> None:
        self._tally = tally

    def __rich__(self) -> str:
        return describe_reading(self._tally)


def describe_reading(tally: ReadTally) -> str:
    """Return what was read."""
    records = f"{format_count(tally.records)} {'record' if tally.records == 1 else 'records'} read"
    units = tally.read_units.normalize()
    if not units:  # The engine does not say.
        return records
    return f"{records}, {units:f} read {'unit' if units == 1 else 'units'}"
