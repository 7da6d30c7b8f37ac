"""Give objects with locks, threads or sockets a clean start in a forked child.

A child inherits locks that another thread of the parent may hold for ever, and sockets
on which both would talk at once.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class ForkAware(Protocol):
    """An object that knows how to begin again in a forked child."""

    def reset_after_fork(self) -> None:
        """Replace what belongs to the parent; the parent's threads do not exist here."""


_objects: WeakSet[ForkAware] = WeakSet()


def reset_in_child(instance: ForkAware) -> None:
    """Have ``instance.reset_after_fork()`` called in each child that this process forks."""
    _objects.add(instance)


def _reset_objects() -> None:
    for instance in list(_objects):
        instance.reset_after_fork()


if hasattr(os, "register_at_fork"):  # Windows has no fork.
    os.register_at_fork(after_in_child=_reset_objects)
