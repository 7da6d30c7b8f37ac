"""Add records up, by several groupings in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from receipt_label.reporting.dimensions import DIMENSIONS, TIMES, GroupKey
from receipt_label.reporting.sums import Sums

if TYPE_CHECKING:
    from receipt_dynamo import AIUsageMetric

Grouping: TypeAlias = tuple[str, ...]
"""The names of its dimensions."""


class Group(NamedTuple):
    """The records that have one value in each dimension of a grouping."""

    key: GroupKey
    sums: Sums


@dataclass(frozen=True, slots=True)
class UsageReport:
    """Records added up. Takes the memory of its groups, not of the records.

    Attributes:
        zone: Time zone of days and hours.
        total: All records.
        groups: For each grouping its groups, in no order.
    """

    zone: tzinfo
    total: Sums = field(default_factory=Sums)
    groups: Mapping[Grouping, Mapping[GroupKey, Sums]] = field(default_factory=dict)

    def rank(self, by: Grouping, top: int | None = None) -> Ranking:
        """Return the groups of a grouping, the costliest first.

        Where the first dimension is a time they are in its order.

        Args:
            by: The grouping.
            top: How many of the costliest to show; None shows all.
        """
        ranked = sorted(
            (Group(key, sums) for key, sums in self.groups[by].items()), key=_rank_by_cost
        )
        kept = ranked if top is None else ranked[:top]
        rest = Sums()
        for group in ranked[len(kept) :]:
            rest.merge(group.sums)
        if by[0] in TIMES:
            kept.sort(key=lambda group: [value or "" for value in group.key])
        return Ranking(by, kept, rest, len(ranked) - len(kept))


@dataclass(frozen=True, slots=True)
class Ranking:
    """The groups of one grouping that are shown.

    Attributes:
        by: The grouping.
        groups: Those that are shown.
        rest: All the others together.
        left_out: How many others there are.
    """

    by: Grouping
    groups: list[Group]
    rest: Sums
    left_out: int


def add_up(
    records: Iterable[AIUsageMetric], groupings: Sequence[Grouping], zone: tzinfo
) -> UsageReport:
    """Add ``records`` up.

    Args:
        records: They are read once.
        groupings: By what, each by the names of its dimensions.
        zone: Time zone of days and hours.
    """
    groups: dict[Grouping, dict[GroupKey, Sums]] = {by: {} for by in groupings}
    names = list(dict.fromkeys(name for by in groupings for name in by))
    total = Sums()
    for record in records:
        values = {name: DIMENSIONS[name](record, zone) for name in names}
        total.add(record)
        for by, found in groups.items():
            key = tuple([values[name] for name in by])
            sums = found.get(key)
            if sums is None:
                sums = found[key] = Sums()
            sums.add(record)
    return UsageReport(zone, total, groups)


def _rank_by_cost(group: Group) -> tuple[object, ...]:
    sums = group.sums
    # By name last, so that the order of equals does not depend on the order of reading.
    return (-sums.cost_usd, -sums.api_calls, [(value is None, value or "") for value in group.key])
