"""Do what waits beside an event loop, in a thread that keeps neither loop nor process alive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from typing import TypeVar

from receipt_dynamo.utils.host import THIS_HOST

R = TypeVar("R")


async def call_beside_loop(function: Callable[[], R]) -> R:
    """Return what ``function`` returns, without blocking the event loop.

    The threads of ``asyncio.to_thread`` are waited for by ``asyncio.run`` and by the end of the
    process, until their work is done, also when it is not awaited any more. A flush in
    an outage takes until the outage ends.

    Where no thread can be started, because the interpreter is ending, the loop is blocked.

    Args:
        function: What to do; it sees the caller's context variables.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[R] = loop.create_future()
    context = copy_context()

    def work() -> None:
        outcome: R | BaseException
        try:
            outcome = context.run(function)
            settle: Callable[..., object] = result.set_result
        except BaseException as error:  # noqa: BLE001 - who awaits it gets it
            outcome, settle = error, result.set_exception
        with suppress(RuntimeError):  # The loop is closed: it is not awaited any more.
            loop.call_soon_threadsafe(lambda: result.done() or settle(outcome))

    try:
        THIS_HOST.start_thread(work, "receipt-dynamo-beside-loop")
    except RuntimeError:
        return function()
    return await result
