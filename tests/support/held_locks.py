"""Which locks of ours a thread holds, and which parameters take code of the user's.

A lock that is held while the user's code runs deadlocks as soon as that code takes a lock of
its own, which another thread holds while it calls us.
"""

from __future__ import annotations

import collections.abc
import gc
import inspect
import sys
import threading
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

PACKAGES = ("receipt_dynamo", "receipt_label")


class HeldLocks(threading.local):
    """What the calling thread holds, by where it was made, innermost last."""

    def __init__(self) -> None:
        self.names: list[str] = []


class UserCode:
    """Makes functions of the user's that note which locks of ours are held when they run.

    Attributes:
        runs: How often each ran, by name.
        troubles: What ran under which locks.
    """

    def __init__(self) -> None:
        self.held = HeldLocks()
        self.runs: collections.Counter[str] = collections.Counter()
        self.troubles: set[str] = set()

    def run(self, name: str) -> None:
        """Note that ``name`` runs now."""
        self.runs[name] += 1
        if self.held.names:
            self.troubles.add(f"{name} runs under {', '.join(self.held.names)}")

    def make(self, name: str, function: Callable[..., Any] = lambda *_: None) -> Any:
        """Return ``function``, which notes that it runs as ``name``."""

        def call(*args: Any, **kwargs: Any) -> Any:
            self.run(name)
            return function(*args, **kwargs)

        return call

    def check(self, owners: dict[str, Any], names: tuple[str, ...], *others: str) -> None:
        """Each function that the owners of ``names`` take ran, and none of them under a lock."""
        wanted = {name for name in find_callables(owners) if name.startswith(names)}
        assert wanted
        assert {*wanted, *others} <= self.runs.keys()
        assert not self.troubles


def find_owners(*modules: ModuleType) -> dict[str, Any]:
    """Return the public names of modules that can be called."""
    return {
        name: getattr(module, name)
        for module in modules
        for name in module.__all__
        if callable(getattr(module, name))
    }


class WatchedLock:
    """A lock that notes who holds it; works below a condition too."""

    def __init__(self, lock: Any, name: str, held: HeldLocks) -> None:
        self._lock = lock
        self._name = name
        self._held = held

    def acquire(self, *args: Any, **kwargs: Any) -> bool:
        is_mine: bool = self._lock.acquire(*args, **kwargs)
        if is_mine:
            self._held.names.append(self._name)
        return is_mine

    def release(self) -> None:
        self._lock.release()
        self._held.names.remove(self._name)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    def locked(self) -> bool:
        return bool(self._lock.locked())

    def _is_owned(self) -> bool:
        return self._name in self._held.names if not self._is_recursive else self._lock._is_owned()

    @property
    def _is_recursive(self) -> bool:
        return hasattr(self._lock, "_is_owned")

    def _release_save(self) -> Any:
        count = self._held.names.count(self._name)
        self._held.names[:] = [name for name in self._held.names if name != self._name]
        if self._is_recursive:
            return count, self._lock._release_save()
        self._lock.release()
        return count, None

    def _acquire_restore(self, state: Any) -> None:
        count, inner = state
        if self._is_recursive:
            self._lock._acquire_restore(inner)
        else:
            self._lock.acquire()
        self._held.names.extend([self._name] * count)


@contextmanager
def watched_locks(monkeypatch: Any) -> Iterator[UserCode]:
    """Watch each lock that our packages make from now on, and those of their modules."""
    user = UserCode()
    made = 0

    def watch(make: Callable[[], Any]) -> Callable[[], Any]:
        def make_watched() -> Any:
            nonlocal made
            frame = sys._getframe(1)
            module = frame.f_globals.get("__name__", "")
            if not module.startswith(PACKAGES):
                return make()
            made += 1
            # Each by itself: the same line makes one for each object.
            return WatchedLock(make(), f"{module}:{frame.f_lineno} #{made}", user.held)

        return make_watched

    kinds = (type(threading.Lock()), type(threading.RLock()))
    for module in list(sys.modules.values()):
        if isinstance(module, ModuleType) and module.__name__.startswith(PACKAGES):
            for name, value in list(vars(module).items()):
                if isinstance(value, kinds):
                    watched = WatchedLock(value, f"{module.__name__}.{name}", user.held)
                    monkeypatch.setattr(module, name, watched)
    monkeypatch.setattr(threading, "Lock", watch(threading.Lock))
    monkeypatch.setattr(threading, "RLock", watch(threading.RLock))
    # The garbage collector runs finalizers wherever a thread is: no code can forbid it.
    gc.collect()
    gc.disable()
    try:
        yield user
    finally:
        gc.enable()


def find_callables(owners: dict[str, Any]) -> set[str]:
    """Return each parameter of the owners, and of their public methods, that takes a function."""
    return {
        f"{name}({parameter})"
        for owner, thing in owners.items()
        for name, function in _list_functions(owner, thing)
        for parameter, hint in _read_hints(function).items()
        if parameter != "return" and _takes_function(hint)
    }


def _list_functions(owner: str, thing: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(thing, type):
        yield owner, thing
        return
    for name, member in inspect.getmembers(thing):
        is_public = not name.startswith("_") or name in {"__init__", "__call__"}
        function = getattr(member, "__func__", member)
        if is_public and inspect.isfunction(function):
            yield (owner if name == "__init__" else f"{owner}.{name}"), function


def _read_hints(function: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(inspect.unwrap(function))
    except NameError:  # Of imports for the type checker only: the annotations as they stand.
        return dict(inspect.get_annotations(function))


def _takes_function(hint: Any) -> bool:
    if isinstance(hint, str):
        return any(word in hint for word in ("Callable", "Listener", "Filter"))
    if typing.get_origin(hint) is collections.abc.Callable or hint is collections.abc.Callable:
        return True
    if typing.is_typeddict(hint):
        return any(map(_takes_function, typing.get_type_hints(hint).values()))
    return any(map(_takes_function, typing.get_args(hint)))
