"""Watch how a response that is still open is read, whichever way.

Everything that the SDKs offer (their streams, ``iter_lines``, ``parse``, ``read``) ends in
the response's ``iter_bytes`` and ``close``. They are replaced there, as attributes of the one
response: no type changes, and a stream's events pass as they came.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol


class TapOwner(Protocol):
    """Takes in what the reader of a body sees, and is told the end. No method raises."""

    @property
    def is_over(self) -> bool:
        """Whether all is told, though the body may go on."""

    def feed(self, chunk: bytes) -> bytes:
        """Take a chunk, and return what the reader shall see of it."""

    def take_rest(self) -> bytes:
        """Take the body's end, and return what was kept back of it."""

    def end(self, error: BaseException | None = None) -> None:
        """Take note that nothing more will be read; only the first time counts."""

    async def aend(self, error: BaseException | None = None) -> None:
        """As ``end``, without blocking the event loop."""


def tap_response(response: Any, owner: TapOwner, *, is_async: bool) -> None:
    """Let ``owner`` see what is read of a response, and how that ends.

    Args:
        response: Of httpx or httpx2, not read yet.
        owner: Is told the end when the response, which nobody holds any more, is collected,
            at the latest.
        is_async: Whether it belongs to an async client.
    """
    tap = _Tap(response, owner)
    weakref.finalize(response, owner.end)
    if is_async:
        response.aiter_bytes, response.aclose = tap.aiter_bytes, tap.aclose
    else:
        response.iter_bytes, response.close = tap.iter_bytes, tap.close


class _Tap:
    """Stands in for the methods of one response."""

    def __init__(self, response: Any, owner: TapOwner) -> None:
        # Not weakly: the collector clears weak references to a stream that nobody holds before
        # it closes the stream's generator, which closes the response.
        self._response = response
        self._owner = owner
        # The response closes itself at its end, before the last bytes are decoded.
        self._is_reading = False

    def iter_bytes(self, chunk_size: int | None = None) -> Iterator[bytes]:
        response = self._response
        with contextlib.closing(type(response).iter_bytes(response, chunk_size)) as chunks:
            while (chunk := self._read(chunks)) is not None:
                shown = self._owner.feed(chunk)
                if self._owner.is_over:
                    self._owner.end()
                if shown:
                    yield shown
        rest = self._owner.take_rest()
        self._owner.end()
        if rest:
            yield rest

    def _read(self, chunks: Iterator[bytes]) -> bytes | None:
        self._is_reading = True
        try:
            return next(chunks, None)
        except BaseException as error:
            self._owner.end(error)
            raise
        finally:
            self._is_reading = False

    async def aiter_bytes(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
        response = self._response
        async with contextlib.aclosing(type(response).aiter_bytes(response, chunk_size)) as chunks:
            while (chunk := await self._aread(chunks)) is not None:
                shown = self._owner.feed(chunk)
                if self._owner.is_over:
                    await self._owner.aend()
                if shown:
                    yield shown
        rest = self._owner.take_rest()
        await self._owner.aend()
        if rest:
            yield rest

    async def _aread(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        self._is_reading = True
        try:
            return await anext(chunks, None)
        except BaseException as error:
            await self._owner.aend(error)
            raise
        finally:
            self._is_reading = False

    def close(self) -> None:
        response = self._response
        try:
            type(response).close(response)
        finally:
            if not self._is_reading:
                self._owner.end()

    async def aclose(self) -> None:
        response = self._response
        try:
            await type(response).aclose(response)
        finally:
            if not self._is_reading:
                await self._owner.aend()
