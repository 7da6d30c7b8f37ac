"""A part of a larger object that is made when it is first asked for, once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from receipt_dynamo.support import notice_fork, reset_in_child

T = TypeVar("T")


class LazyPart(Generic[T]):
    """Makes its value on first use, once for all threads.

    The lock is held while the value is made, and is this part's own: two parts are made
    side by side. It is re-entrant, because making one imports foreign code, which may log
    and so come back here.

    Args:
        make: Makes the value; must not wait for a network.
        remake_in_child: Whether a forked child makes its own value. For parts with
            sockets, which parent and child would otherwise share.
    """

    def __init__(self, make: Callable[[], T], *, remake_in_child: bool = False) -> None:
        self._make = make
        self._remake_in_child = remake_in_child
        self._lock = threading.RLock()
        self._made: T | None = None
        self._closed = False
        self._inherited: list[T] = []
        reset_in_child(self)

    def get(self) -> T:
        """Return the value, and make it if need be.

        Raises:
            RuntimeError: It was closed before it was ever made.
        """
        notice_fork()
        made = self._made
        return made if made is not None else self._get_or_make()

    @property
    def made(self) -> T | None:
        """The value, if it was made."""
        notice_fork()
        return self._made

    def close(self) -> T | None:
        """Make no value from now on; return the one that was made, for the caller to close."""
        notice_fork()
        with self._lock:
            self._closed = True
            return self._made

    def reset_after_fork(self) -> None:
        """Replace the lock, which a thread that does not exist here may hold."""
        self._lock = threading.RLock()
        if self._remake_in_child and self._made is not None:
            # Kept: collecting it would close it, and wait for a lock of its pool that
            # another thread of the parent may have held.
            self._inherited.append(self._made)
            self._made = None

    def _get_or_make(self) -> T:
        with self._lock:
            if self._made is None:
                if self._closed:
                    raise RuntimeError("the ClientManager is closed")
                self._made = self._make()
            return self._made
