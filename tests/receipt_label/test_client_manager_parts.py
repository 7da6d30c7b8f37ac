"""The parts of a ClientManager: made late, once for all threads, and closed together."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

import pytest

from receipt_label.lazy_part import LazyPart

THREADS = 16


class Counter:
    """Makes a new object at each call and counts."""

    def __init__(self) -> None:
        self.made: list[object] = []

    def __call__(self) -> object:
        self.made.append(object())
        return self.made[-1]


def run_in_threads(function: Callable[[], object]) -> list[object]:
    """Call a function in many threads that all start at the same moment."""
    barrier = threading.Barrier(THREADS)
    results: list[object] = []

    def run() -> None:
        barrier.wait(10)
        results.append(function())

    threads = [threading.Thread(target=run) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    return results


def test_nothing_is_made_before_it_is_asked_for() -> None:
    make = Counter()
    part = LazyPart(make)
    assert make.made == []
    assert part.get() is part.get()
    assert len(make.made) == 1


def test_many_threads_get_the_same_one() -> None:
    make, within, second = Counter(), threading.Event(), threading.Event()

    def make_slowly() -> object:
        """Leave time for a second thread to come in, if nothing holds it back."""
        if within.is_set():
            second.set()
        within.set()
        second.wait(0.2)
        return make()

    part = LazyPart(make_slowly)
    results = run_in_threads(part.get)
    assert len(results) == THREADS
    assert len(set(map(id, results))) == 1
    assert len(make.made) == 1


def test_what_could_not_be_made_is_tried_again() -> None:
    answers: list[object] = [ValueError("no key"), "made"]

    def make() -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    part = LazyPart(make)
    with pytest.raises(ValueError, match="no key"):
        part.get()
    assert part.get() == "made"


def test_close_gives_what_was_made_and_makes_nothing_more() -> None:
    make = Counter()
    used, unused = LazyPart(make), LazyPart(make)
    value = used.get()
    assert used.close() is value
    assert used.close() is value
    assert used.get() is value
    assert unused.close() is None
    with pytest.raises(RuntimeError, match="the ClientManager is closed"):
        unused.get()
    assert make.made == [value]


def test_a_part_that_asks_for_itself_while_it_is_made_does_not_hang() -> None:
    """A log handler that uses the manager would, while a provider's package is imported."""
    within: list[object] = []

    def make() -> object:
        if not within:
            within.append(None)
            within.append(part.get())
        return object()

    part = LazyPart(make)
    results = run_in_threads(part.get)
    assert len(results) == THREADS


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.skipif(sys.platform == "darwin", reason="fork and threads do not go together there")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_trap_a_child_does_not_inherit_a_held_lock() -> None:
    entered, leave = threading.Event(), threading.Event()

    def make() -> int:
        if os.getpid() == parent:
            entered.set()
            leave.wait(30)
        return os.getpid()

    parent = os.getpid()
    part = LazyPart(make)
    thread = threading.Thread(target=part.get)
    thread.start()
    assert entered.wait(10)
    child = os.fork()
    if child == 0:
        watchdog = threading.Timer(20, os._exit, [2])
        watchdog.start()
        os._exit(0 if part.get() == os.getpid() else 1)
    try:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        leave.set()
        thread.join(10)
    assert part.get() == parent


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_makes_its_own_of_what_holds_sockets_and_keeps_the_rest() -> None:
    sockets, rest = LazyPart(os.getpid, remake_in_child=True), LazyPart(os.getpid)
    parent = os.getpid()
    assert (sockets.get(), rest.get()) == (parent, parent)
    child = os.fork()
    if child == 0:
        os._exit(0 if (sockets.get(), rest.get()) == (os.getpid(), parent) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (sockets.get(), rest.get()) == (parent, parent)
