"""Faults that only crashes need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from receipt_dynamo.testing import Answer, Exchange, Fault, Reply, UnprocessedItems


@dataclass(frozen=True)
class OfNothingWritten(Fault):
    """Damage to a reply that says that nothing was written: who overlooks it loses the batch.

    Args:
        damage: What becomes of that reply.
    """

    damage: Fault

    def answer(self, exchange: Exchange) -> Answer:
        def return_all(_: bytes | None) -> Reply:
            reply = UnprocessedItems(share=1.0).answer(exchange).reply
            assert reply is not None
            return reply

        return self.damage.answer(replace(exchange, forward=return_all))


@dataclass(frozen=True)
class KillBeforeReply(Fault):
    """Another fault, but the client is killed before the reply leaves.

    Args:
        fault: What becomes of the request.
        kill: Kills the client.
    """

    fault: Fault
    kill: Callable[[], object]

    def answer(self, exchange: Exchange) -> Answer:
        answer = self.fault.answer(exchange)
        self.kill()
        return answer


def name_fault(fault: Fault) -> str:
    """Return the name of a fault's class, or of the damage to a reply of nothing written."""
    return type(fault.damage if isinstance(fault, OfNothingWritten) else fault).__name__
