"""The stream that a watched method returns: whoever reads it sees what the method gave.

It stands in for the stream: it has its class and all it has, and the call ends as the reading does.
"""

from __future__ import annotations

import weakref
from typing import Any, Self

from receipt_label.watching.function_calls import FunctionCall


def follow_stream(call: FunctionCall, stream: Any) -> Any:
    """Return a stream that is recorded once it is read, closed, broken or dropped.

    Args:
        call: The call that gave it.
        stream: An iterator or a context manager that gives one; for asyncio, too.
    """
    is_async = any(hasattr(stream, name) for name in ("__anext__", "__aiter__", "__aenter__"))
    followed = AsyncFollowedStream(call, stream) if is_async else FollowedStream(call, stream)
    weakref.finalize(followed, call.abandon)
    return followed


class _StandIn:
    """Has the class of what it stands in for, and whatever that has."""

    def __init__(self, call: FunctionCall, stream: Any) -> None:
        self._call = call
        self._stream = self._manager = stream
        self._items: Any = None

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class FollowedStream(_StandIn):
    """See :func:`follow_stream`."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        call = self._call
        try:
            with call.inside:
                if self._items is None:
                    self._items = iter(self._stream)
                item = next(self._items)
        except StopIteration as end:
            call.exhaust(end.value)
            raise
        except BaseException as error:
            call.fail(error)
            raise
        call.take_item(item)
        return item

    def __enter__(self) -> Self:
        with self._call.inside:
            self._stream = self._manager.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> Any:
        return self._close(self._manager.__exit__, *exc_info)

    def close(self) -> None:
        """Close the stream, and end the call."""
        self._close(self._stream.close)

    def _close(self, close: Any, *args: Any) -> Any:
        try:
            with self._call.inside:
                return close(*args)
        except BaseException as error:
            self._call.fail(error)
            raise
        finally:
            self._call.leave()


class AsyncFollowedStream(_StandIn):
    """Like :class:`FollowedStream`, for asyncio."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        call = self._call
        try:
            with call.inside:
                if self._items is None:
                    self._items = aiter(self._stream)
                item = await anext(self._items)
        except StopAsyncIteration:
            await call.aexhaust()
            raise
        except GeneratorExit as error:
            call.fail(error)  # Nothing may be awaited any more.
            raise
        except BaseException as error:
            await call.afail(error)
            raise
        call.take_item(item)
        return item

    async def __aenter__(self) -> Self:
        with self._call.inside:
            self._stream = await self._manager.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> Any:
        return await self._aclose(self._manager.__aexit__, *exc_info)

    async def aclose(self) -> None:
        """Close the stream, and end the call."""
        await self._aclose(self._stream.aclose)

    async def close(self) -> None:
        """Like :meth:`aclose`, for streams that call it so."""
        await self._aclose(self._stream.close)

    async def _aclose(self, close: Any, *args: Any) -> Any:
        try:
            with self._call.inside:
                done = await close(*args)
        except BaseException as error:
            await self._call.afail(error)
            raise
        await self._call.aleave()
        return done
