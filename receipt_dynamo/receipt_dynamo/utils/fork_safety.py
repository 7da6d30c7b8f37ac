"""Make a fork harmless: what it must not interrupt ends first, and the child begins clean.

A child inherits locks that another thread of the parent may hold for ever, and sockets
on which both would talk at once. The locks of C libraries it cannot replace: SQLite's are
free in the child only if no thread was inside of SQLite at that moment.

Python tells of its own forks. Of one made in C (uWSGI's, for example) it does not: such a child
is noticed there by whichever of our functions is called first.
"""

from __future__ import annotations

import itertools
import logging
import mmap
import os
import sys
import threading
from contextlib import ExitStack, suppress
from typing import Any, Final, Protocol
from weakref import WeakSet, WeakValueDictionary


class ForkAware(Protocol):
    """An object that knows how to begin again in a forked child.

    Each of its methods that others call begins with :func:`notice_fork`, unless whoever calls
    it has done so.
    """

    def reset_after_fork(self) -> None:
        """Replace what belongs to the parent; the parent's threads do not exist here."""


_objects: WeakSet[ForkAware] = WeakSet()
_numbers = itertools.count()
_awaited: Final[WeakValueDictionary[int, threading.RLock]] = WeakValueDictionary()
"""In the order in which they were made."""


class _Fork(threading.local):
    held = ExitStack()
    """The locks that the fork of this thread holds."""
    is_guarded = False
    """Whether it holds them: what is forked now finds no thread inside of SQLite."""


_fork = _Fork()
_gate = threading.RLock()

_MADV_WIPEONFORK: Final = 18  # linux/mman.h; Python has no name for it.
_IS_CLEAN: Final = 0
_HAS_BEGUN: Final = 1


class _MarksByProcess:
    """Marks that are 0 in a forked child, by the process's id."""

    def __init__(self) -> None:
        self._set: set[tuple[int, int]] = set()

    def __getitem__(self, mark: int) -> int:
        return (os.getpid(), mark) in self._set

    def __setitem__(self, mark: int, _: int) -> None:
        self._set.add((os.getpid(), mark))


def _make_marks() -> mmap.mmap | _MarksByProcess:
    """Return bytes that whoever forks makes 0 in the child.

    Linux does that by itself (since 4.14, see madvise(2)); to look at such a byte takes a fifth
    of what it takes to ask for the process's id.
    """
    if sys.platform == "linux":
        with suppress(OSError, ValueError):
            page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            page.madvise(_MADV_WIPEONFORK)
            return page
    return _MarksByProcess()


_marks = _make_marks()
_marks[_IS_CLEAN] = _marks[_HAS_BEGUN] = 1

_turns: Final[dict[int, threading.RLock]] = {}
"""For one thread at a time to begin, by process: nobody holds another process's."""
_to_reset: Final[list[ForkAware]] = []
_was_inside = False


def reset_in_child(instance: ForkAware) -> None:
    """Have ``instance.reset_after_fork()`` called in each child that this process forks."""
    notice_fork()  # Else what is made in a child would be reset there.
    _objects.add(instance)


def notice_fork() -> None:
    """Begin clean if this process is a child that was forked unheard of.

    To be called before any lock is touched; it takes 0.1 us.
    """
    if not _marks[_IS_CLEAN]:
        _begin_child()


def was_forked_inside() -> bool:
    """Tell whether this process was forked while a thread of its parent was inside of SQLite.

    Its locks are held for ever then: whoever calls it waits for ever. That a fork waits for
    such a thread only Python's own forks see to.
    """
    return _was_inside


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
        notice_fork()  # This process may be a child itself.
        stack.enter_context(_gate)  # From here on no lock is made.
        for reference in _awaited.valuerefs():
            lock = reference()
            if lock is not None:
                stack.enter_context(lock)
        _fork.held = stack.pop_all()
        _fork.is_guarded = True


def _release_locks() -> None:
    _fork.is_guarded = False
    _fork.held.close()


def _begin_child() -> None:
    """Begin clean, once in each process; a second thread waits until that is done."""
    with _turns.setdefault(os.getpid(), threading.RLock()):
        if not _marks[_HAS_BEGUN]:
            _marks[_HAS_BEGUN] = 1
            _list_what_is_inherited()
        # Each once, also if what interrupts this (a finalizer, a signal handler) comes back here.
        while _to_reset:
            _to_reset.pop().reset_after_fork()
        _marks[_IS_CLEAN] = 1


def _list_what_is_inherited() -> None:
    # Locks are not released, but replaced: who waited for them does not exist here.
    global _gate, _was_inside  # noqa: PLW0603 - there is one for each process
    if not _fork.is_guarded:
        _was_inside = _was_inside or _is_held(_gate) or any(map(_is_held, _awaited.values()))
        _heal_python()
    _fork.is_guarded = False
    _gate = threading.RLock()
    _awaited.clear()
    _to_reset[:] = _objects


def _is_held(lock: threading.RLock) -> bool:
    # By its text, because to ask it otherwise is to take it (``locked()`` is of Python 3.14).
    return repr(lock).startswith("<locked")


def _heal_python() -> None:
    """Do what Python does after its own forks, so that threads and log lines work here.

    Only where this thread is certainly the only one: what others hold must not be replaced.
    """
    with suppress(OSError):
        if len(os.listdir("/proc/self/task")) == 1:  # noqa: PTH208 - how many, not which
            modules: tuple[Any, Any] = (threading, logging)
            for module in modules:
                for name in ("_after_fork", "_after_at_fork_child_reinit_locks"):
                    getattr(module, name, _do_nothing)()


def _do_nothing() -> None:
    """Of a Python that has no such function."""


if hasattr(os, "register_at_fork"):  # Windows has no fork.
    os.register_at_fork(
        before=_hold_locks, after_in_parent=_release_locks, after_in_child=notice_fork
    )
