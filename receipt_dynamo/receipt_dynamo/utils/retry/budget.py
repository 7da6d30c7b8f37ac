"""A shared bound on retries: a fleet of callers cannot storm a service that is down."""

from __future__ import annotations

import threading

from receipt_dynamo.utils.arguments import check_not_negative, check_positive
from receipt_dynamo.utils.fork_safety import notice_fork, reset_in_child


class RetryBudget:
    """A token bucket that many callers share, so that together they cannot storm.

    Each retry costs a token, each first try that succeeds gives a part of one back. When
    a service is down, the retries of the whole process are bounded; when it is well,
    the budget is full.

    Args:
        capacity: Tokens at the start, and at most.
        refund: Tokens that a success gives back.

    Raises:
        ValueError: ``capacity`` is not positive, or ``refund`` is negative.
    """

    def __init__(self, capacity: float = 100.0, refund: float = 0.1) -> None:
        check_positive(capacity=capacity)
        check_not_negative(refund=refund)
        self._capacity = capacity
        self._refund = refund
        self._tokens = capacity
        # Re-entrant: a signal handler may retry in the thread that is inside the lock.
        self._lock = threading.RLock()
        reset_in_child(self)

    def reset_after_fork(self) -> None:
        """Replace the lock in a forked child; what is left of the budget stays."""
        self._lock = threading.RLock()

    @property
    def tokens(self) -> float:
        """Tokens left."""
        return self._tokens

    def take(self) -> bool:
        """Take one token for a retry; False if none is left."""
        notice_fork()
        with self._lock:
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True

    def give_back(self) -> None:
        """Give a part of a token back, after a success."""
        notice_fork()
        with self._lock:
            self._tokens = min(self._capacity, self._tokens + self._refund)
