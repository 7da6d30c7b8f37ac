"""The faults of DynamoDB while the calls are made."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from receipt_dynamo.testing import Latency, Throttle, UnprocessedItems

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from receipt_dynamo.testing import FaultProxy


@dataclass(frozen=True, slots=True)
class Phase:
    """One stretch of the demo.

    Args:
        name: What DynamoDB is.
        change: The event that begins it, in words.
        share: Its share of the calls and of the time, of 1.
        begin: Makes the proxy behave so.
    """

    name: str
    change: str
    share: float
    begin: Callable[[FaultProxy], None]


def _begin_healthy(proxy: FaultProxy) -> None:
    proxy.heal()


def _begin_throttled(proxy: FaultProxy) -> None:
    proxy.always(Throttle(), share=0.3)
    proxy.always(UnprocessedItems(share=0.3), share=0.3)
    proxy.always(Latency(0.05))


def _begin_down(proxy: FaultProxy) -> None:
    proxy.heal()
    proxy.down()


def _begin_recovery(proxy: FaultProxy) -> None:
    proxy.up()


PHASES: Final[Sequence[Phase]] = (
    Phase("healthy", "DynamoDB is healthy", 0.2, _begin_healthy),
    Phase("throttled", "DynamoDB is slow and throttles", 0.25, _begin_throttled),
    Phase("down", "DynamoDB is down: connections are refused", 0.35, _begin_down),
    Phase("back", "DynamoDB is back", 0.2, _begin_recovery),
)


def split_calls(total: int, phases: Sequence[Phase] = PHASES) -> list[int]:
    """Return how many of ``total`` calls each phase makes, by its share."""
    edges = [0]
    share = 0.0
    for phase in phases:
        share += phase.share
        edges.append(round(total * share))
    return [end - start for start, end in itertools.pairwise(edges)]
