"""Make a fork harmless: what it must not interrupt ends first, and the child begins clean.

A child inherits locks that another thread of the parent may hold for ever, and sockets
on which both would talk at once. The locks of C libraries it cannot replace: SQLite's are
free in the child only if no thread was inside of SQLite at that moment.
"""

from __future__ import annotations

import itertools
import os
import threading
from contextlib import ExitStack
from typing import Final, Protocol
from weakref import WeakSet, WeakValueDictionary


class ForkAware(Protocol):
    """An object that knows how to begin again in a forked child."""

    def reset_after_fork(self) -> None:
        """Replace what belongs to the parent; the parent's threads do not exist here."""


_objects: WeakSet[ForkAware] = WeakSet()
_numbers = itertools.count()
_awaited: Final[WeakValueDictionary[int, threading.RLock]] = WeakValueDictionary()
"""In the order in which they were made."""


class _Fork(threading.local):
    held = ExitStack()
    """The locks that the fork of this thread holds."""


_fork = _Fork()
_gate = threading.RLock()


def reset_in_child(instance: ForkAware) -> None:
    """Have ``instance.reset_after_fork()`` called in each child that this process forks."""
    _objects.add(instance)


def no_fork() -> threading.RLock:
    """Return the lock that every fork waits for, to be taken for what is rare and short.

    Under it no thread may wait for the network, nor for any lock but an awaited one.
    """
    return _gate


def make_awaited_lock() -> threading.RLock:
    """Make a lock that every fork waits for, like :func:`no_fork`: for what takes a lock anyway.

    A fork takes all of them, in the order in which they were made; so does whoever takes two.
    """
    with _gate:
        lock = threading.RLock()
        _awaited[next(_numbers)] = lock
        return lock


def _hold_locks() -> None:
    with ExitStack() as stack:
        stack.enter_context(_gate)  # From here on no lock is made.
        for reference in _awaited.valuerefs():
            lock = reference()
            if lock is not None:
                stack.enter_context(lock)
        _fork.held = stack.pop_all()


def _release_locks() -> None:
    _fork.held.close()


def _begin_child() -> None:
    # Not released, but replaced: who waited for them does not exist here.
    global _gate  # noqa: PLW0603 - there is one for each process
    _gate = threading.RLock()
    _awaited.clear()
    for instance in list(_objects):
        instance.reset_after_fork()


if hasattr(os, "register_at_fork"):  # Windows has no fork.
    os.register_at_fork(
        before=_hold_locks, after_in_parent=_release_locks, after_in_child=_begin_child
    )
