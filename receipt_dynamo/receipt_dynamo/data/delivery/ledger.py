"""The accounts: how many records came, and what became of them."""

from __future__ import annotations

import threading
from collections import Counter
from typing import NamedTuple

from receipt_dynamo.utils.interruption import make_check


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
    """Counts records. Thread-safe: each change and each snapshot is one step.

    Attributes:
        is_inside: Tells whether the calling thread was interrupted in here.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin at zero."""
        # Re-entrant: a finalizer may put a record in the thread that is counting one.
        self._lock = threading.RLock()
        self._accepted = self._adopted = self._delivered = self._dead = self._dropped = 0
        self._refused: Counter[str] = Counter()
        self.is_inside = make_check(self._lock)

    @property
    def refused(self) -> dict[str, int]:
        """Records that were not accepted, by the reason."""
        with self._lock:
            return dict(self._refused)

    def refuse(self, reason: str) -> None:
        """Count a record that was not accepted."""
        with self._lock:
            self._refused[reason] += 1

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
        with self._lock:
            self._accepted += accepted
            self._adopted += adopted
            self._delivered += delivered
            self._dead += dead
            self._dropped += dropped

    def snapshot(self) -> Accounts:
        """Return the accounts."""
        with self._lock:
            return Accounts(
                self._accepted, self._adopted, self._delivered, self._dead, self._dropped
            )
