"""How far a long read is, on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from receipt_label.reporting.answer import describe_reading

if TYPE_CHECKING:
    from receipt_dynamo import AIUsageMetric, ReadTally

_EVERY: Final = 500
"""Records between two looks: drawing takes time from the reading."""


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

    with Console(file=sys.stderr).status("reading") as status:
        for number, record in enumerate(records):
            if number % _EVERY == 0:
                status.update(describe_reading(tally))
            yield record
