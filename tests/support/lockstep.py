"""Threads and finalizers at each byte code of a method: a missing lock shows every time."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import CodeType, FrameType
from typing import Any


@contextmanager
def at_each_step(method: Callable[..., Any], action: Callable[[], object]) -> Iterator[None]:
    """Call ``action`` before each byte code of ``method``, in this and in later threads.

    Calls of ``method`` from inside of ``action`` are left alone.
    """
    within = threading.local()

    def step() -> None:
        if getattr(within, "action", False):
            return
        within.action = True
        try:
            action()
        finally:
            within.action = False

    watch = _watch_by_monitoring if sys.version_info >= (3, 12) else _watch_by_tracing
    with watch(method.__code__, step):
        yield


def run_in_step(method: Callable[..., Any], actions: list[Callable[[], object]]) -> None:
    """Run ``actions`` in threads that do each byte code of ``method`` together.

    Where a lock lets one of them in only, it waits for the others in vain, once.
    """
    meeting = threading.Barrier(len(actions))

    def meet() -> None:
        with suppress(threading.BrokenBarrierError):
            meeting.wait(0.3)

    threads = [threading.Thread(target=action) for action in actions]
    with at_each_step(method, meet):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert not any(thread.is_alive() for thread in threads)


@contextmanager
def _watch_by_monitoring(code: CodeType, step: Callable[[], object]) -> Iterator[None]:
    # Not by sys.settrace: Python 3.12 and 3.13 lose its opcode events at times.
    monitoring: Any = sys.monitoring
    tool, event = monitoring.DEBUGGER_ID, monitoring.events.INSTRUCTION
    monitoring.use_tool_id(tool, "lockstep")
    monitoring.register_callback(tool, event, lambda code, offset: step())
    monitoring.set_local_events(tool, code, event)
    try:
        yield
    finally:
        monitoring.set_local_events(tool, code, 0)
        monitoring.register_callback(tool, event, None)
        monitoring.free_tool_id(tool)


@contextmanager
def _watch_by_tracing(code: CodeType, step: Callable[[], object]) -> Iterator[None]:
    def trace_steps(frame: FrameType, event: str, arg: object) -> Any:
        if event == "opcode":
            step()
        return trace_steps

    def trace_calls(frame: FrameType, event: str, arg: object) -> Any:
        if frame.f_code is not code:
            return None
        frame.f_trace_opcodes = True
        return trace_steps

    threading.settrace(trace_calls)
    sys.settrace(trace_calls)
    try:
        yield
    finally:
        sys.settrace(None)
        threading.settrace(None)
