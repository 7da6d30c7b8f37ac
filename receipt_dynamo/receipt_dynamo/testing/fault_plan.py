"""Decide which faults meet a request. Pure: no locks, clocks or sockets."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from receipt_dynamo.testing.checks import check_share
from receipt_dynamo.testing.faults import Fault, Latency

WRITE_OPERATIONS: Final = ("BatchWriteItem", "PutItem")
"""The operations that faults meet by default."""

Faults: TypeAlias = Fault | Sequence[Fault]
"""One fault, or latencies together with at most one other fault."""

Schedule: TypeAlias = Callable[[int], Faults]
"""Gives the faults of a request from the number of records that arrived before it."""


@dataclass(frozen=True)
class _Rule:
    faults: tuple[Fault, ...]
    operations: frozenset[str]
    share: float = 1.0


@dataclass(frozen=True)
class _ScheduleRule:
    faults_for: Schedule
    operations: frozenset[str]


class FaultPlan:
    """The script, the standing rules and the schedule, and what they say of a request.

    A scripted entry decides alone. Without one, the schedule's faults come first, then
    those of each rule whose share is hit, in the order given. All latencies add up;
    of the other faults the first one counts.

    Args:
        dice: The source of chance for the rules' shares.
    """

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._script: deque[_Rule] = deque()
        self._rules: list[_Rule] = []
        self._schedule: _ScheduleRule | None = None

    def add_script(self, entries: Sequence[Faults | None], operations: Collection[str]) -> None:
        """Queue one entry for each of the next requests of these operations; None passes."""
        names = check_operations(operations)
        self._script.extend([_Rule(combine(entry), names) for entry in entries])

    def add_rule(self, faults: Faults, share: float, operations: Collection[str]) -> None:
        """Have these faults meet a share of the requests of these operations."""
        check_share("share", share)
        self._rules.append(_Rule(combine(faults), check_operations(operations), share))

    def set_schedule(self, faults_for: Schedule, operations: Collection[str]) -> None:
        """Take the faults of each request of these operations from a function."""
        if not callable(faults_for):
            raise TypeError(f"faults_for is {faults_for!r}; accepted is a function of an int")
        self._schedule = _ScheduleRule(faults_for, check_operations(operations))

    def clear(self) -> None:
        """Clear everything."""
        self._script.clear()
        self._rules.clear()
        self._schedule = None

    def find_schedule(self, operation: str) -> Schedule | None:
        """Return the function that schedules this operation's faults, if there is one."""
        if self._schedule is None or operation not in self._schedule.operations:
            return None
        return self._schedule.faults_for

    def decide(self, operation: str, scheduled: tuple[Fault, ...] = ()) -> tuple[Fault, ...]:
        """Return the faults of the next request, latencies first; ``()`` lets it pass.

        Args:
            operation: The request's operation.
            scheduled: What the schedule's function gave for it.
        """
        for index, entry in enumerate(self._script):
            if operation in entry.operations:
                del self._script[index]
                return entry.faults
        faults = list(scheduled)
        for rule in self._rules:
            if operation in rule.operations and self._hits(rule.share):
                faults += rule.faults
        latencies = [fault for fault in faults if isinstance(fault, Latency)]
        others = [fault for fault in faults if not isinstance(fault, Latency)]
        return (*latencies, *others[:1])

    def _hits(self, share: float) -> bool:
        return share == 1 or self._dice.random() < share


def combine(faults: Faults | None) -> tuple[Fault, ...]:
    """Return the faults as a tuple, latencies first; None is none.

    Raises:
        TypeError: Something is not a fault.
        ValueError: More than one fault besides latencies.
    """
    given = () if faults is None else (faults,) if isinstance(faults, Fault) else tuple(faults)
    for fault in given:
        if not isinstance(fault, Fault):
            raise TypeError(f"fault is {fault!r}; accepted is a fault such as Throttle()")
    latencies = [fault for fault in given if isinstance(fault, Latency)]
    others = [fault for fault in given if not isinstance(fault, Latency)]
    if len(others) > 1:
        raise ValueError(f"faults is {given!r}; accepted is at most one besides Latency")
    return (*latencies, *others)


def check_operations(operations: Collection[str]) -> frozenset[str]:
    """Return the operations as a set.

    Raises:
        TypeError: It is one string instead of several.
        ValueError: No operation is given.
    """
    if isinstance(operations, str):
        raise TypeError(f"operations is {operations!r}; accepted is a tuple such as ('PutItem',)")
    if not operations:
        raise ValueError("operations is empty; accepted is at least one name such as 'PutItem'")
    return frozenset(operations)
