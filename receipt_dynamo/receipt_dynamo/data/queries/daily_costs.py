"""Sum the cost of each service on each day, over records as they come, a day at a time."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import date
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from receipt_dynamo.entities.ai_usage_metric import AIUsageMetric, InvalidItemError
from receipt_dynamo.entities.usage_sum import UsageSum

if TYPE_CHECKING:
    from receipt_dynamo.data.queries.range_reader import KeyedRecord, RangeReader

_DAY: Final = slice(len("DATE#"), len("DATE#YYYY-MM-DD"))
"""Where a sort key has its day; "COST#" is as long."""


@dataclass(frozen=True, slots=True)
class DailyCost:
    """The cost of one service on one day.

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


@dataclass(slots=True)
class _DaySum(UsageSum):
    unpriced: int = 0

    def add(self, record: AIUsageMetric) -> None:
        UsageSum.add(self, record)
        self.unpriced += record.cost_usd is None


def sum_by_day(
    records: Generator[KeyedRecord, None, None], reader: RangeReader
) -> Generator[DailyCost, None, None]:
    """Iterate over the sums of records that come day by day; a day's services by name."""
    with closing(records):
        for day, of_day in groupby(_read_days(records, reader), itemgetter(0)):
            sums: dict[str, _DaySum] = {}
            for _, record in of_day:
                sums.setdefault(record.service, _DaySum()).add(record)
            for service, total in sorted(sums.items(), key=itemgetter(0)):
                yield DailyCost(day, service, **asdict(total))


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
