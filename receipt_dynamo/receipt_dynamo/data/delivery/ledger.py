"""The accounts: the number of records by their outcome. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Accounts(NamedTuple):
    """One consistent snapshot: ``accepted + adopted == delivered + pending + dead + dropped``."""

    accepted: int = 0
    adopted: int = 0
    delivered: int = 0
    dead: int = 0
    dropped: int = 0

    @property
    def pending(self) -> int:
        """Records that are not settled."""
        return self.accepted + self.adopted - self.delivered - self.dead - self.dropped


class Ledger:
    """Counts records, under its owner's lock.

    Whoever reads needs no lock: each change makes a new snapshot.

    Attributes:
        accounts: The accounts.
        refused: Records that were not accepted, by the reason.
    """

    def __init__(self) -> None:
        self.accounts = Accounts()
        self.refused: Mapping[str, int] = {}

    def refuse(self, reason: str) -> None:
        """Count a record that was not accepted."""
        self.refused = {**self.refused, reason: self.refused.get(reason, 0) + 1}

    def count(
        self,
        *,
        accepted: int = 0,
        adopted: int = 0,
        delivered: int = 0,
        dead: int = 0,
        dropped: int = 0,
    ) -> None:
        """Add to the accounts."""
        before = self.accounts
        self.accounts = Accounts(
            before.accepted + accepted,
            before.adopted + adopted,
            before.delivered + delivered,
            before.dead + dead,
            before.dropped + dropped,
        )
