"""What each service cost on each day: sums over records as they come, a day at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from receipt_dynamo.entities.ai_usage_metric import AIUsageMetric, InvalidItemError
from receipt_dynamo.entities.attribute_values import add_exactly

if TYPE_CHECKING:
    from receipt_dynamo.data.queries.range_reader import KeyedRecord, RangeReader

_DAY: Final = slice(len("DATE#"), len("DATE#YYYY-MM-DD"))
"""Where a sort key has its day; "COST#" is as long."""


@dataclass(frozen=True, slots=True)
class DailyCost:
    """What one service cost on one day.

    Attributes:
        day: The UTC day.
        service: The provider, in lower case.
        cost_usd: Exact sum of the known costs, in USD.
        records: Records of that day and service.
        api_calls: Calls that they stand for.
        input_tokens: Sum of those that are known.
        output_tokens: Sum of those that are known.
        unpriced: Records whose cost is not known: the true cost is higher.
        errors: Records of calls that failed.
    """

    day: date
    service: str
    cost_usd: Decimal = Decimal(0)
    records: int = 0
    api_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    unpriced: int = 0
    errors: int = 0


class _Sum:
    """A DailyCost that grows."""

    def __init__(self) -> None:
        self._cost = Decimal(0)
        self._counts: Counter[str] = Counter()

    def add(self, record: AIUsageMetric) -> None:
        counts = self._counts
        counts["records"] += 1
        counts["api_calls"] += record.api_calls
        counts["input_tokens"] += record.input_tokens or 0
        counts["output_tokens"] += record.output_tokens or 0
        counts["errors"] += record.error is not None
        if record.cost_usd is None:
            counts["unpriced"] += 1
        else:
            self._cost = add_exactly(self._cost, record.cost_usd)

    def conclude(self, day: date, service: str) -> DailyCost:
        return DailyCost(day, service, self._cost, **self._counts)


def sum_by_day(
    records: Generator[KeyedRecord, None, None], reader: RangeReader
) -> Generator[DailyCost, None, None]:
    """Iterate over the sums of records that come day by day; a day's services by name."""
    with closing(records):
        for day, of_day in groupby(_read_days(records, reader), itemgetter(0)):
            sums: dict[str, _Sum] = {}
            for _, record in of_day:
                sums.setdefault(record.service, _Sum()).add(record)
            for service, total in sorted(sums.items(), key=itemgetter(0)):
                yield total.conclude(day, service)


def _read_days(
    records: Iterator[KeyedRecord], reader: RangeReader
) -> Iterator[tuple[date, AIUsageMetric]]:
    for sort_key, record in records:
        try:
            day = date.fromisoformat(sort_key[_DAY])
        except ValueError:
            reader.pass_over(
                InvalidItemError(f"the item with the index key {sort_key!r} is of no day")
            )
        else:
            reader.tally.records += 1
            yield day, record
