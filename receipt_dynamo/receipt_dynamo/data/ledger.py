"""The accounts: how many records came, and what became of them."""

from __future__ import annotations

import threading
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
    """Counts records. Thread-safe: each change and each snapshot is one step."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin at zero."""
        # Re-entrant: a finalizer may put a record in the thread that is counting one.
        self._lock = threading.RLock()
        self._accepted = self._adopted = self._delivered = self._dead = self._dropped = 0

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
