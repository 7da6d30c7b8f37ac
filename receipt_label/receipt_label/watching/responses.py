"""Watch how a response that is still open is read, whichever way.

Everything that the SDKs offer (their streams, ``iter_lines``, ``parse``, ``read``) ends in
the response's ``iter_bytes`` and ``close``. The one response becomes of a subclass that
overrides them, until it is closed. Hooks as attributes of it would form a cycle with it,
which would leave it to the garbage collector to close a dropped stream.
"""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Any

from receipt_label.watching.request_calls import StreamedCall


def tap_response(response: Any, call: StreamedCall) -> None:
    """Let a call see what is read of its response, and how that ends.

    Args:
        response: Of httpx or httpx2, not read yet.
        call: Ends when the response is dropped, at the latest.
    """
    weakref.finalize(response, call.abandon)
    kind: Any = type(response)
    response.__class__ = _make_tapped(kind)
    response._receipt_label_tap = _Tap(call)  # noqa: SLF001


@functools.cache
def _make_tapped(kind: Any) -> type:
    """Return a subclass of a class of responses, for those that are tapped."""

    class Tapped(kind):  # type: ignore[misc]
        _receipt_label_tap: _Tap

        def iter_bytes(self, chunk_size: int | None = None) -> Iterator[bytes]:
            return self._receipt_label_tap.watch(kind.iter_bytes(self, chunk_size))

        def aiter_bytes(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
            return self._receipt_label_tap.awatch(kind.aiter_bytes(self, chunk_size))

        def close(self) -> None:
            self.__class__ = kind
            try:
                self.close()
            finally:
                self._receipt_label_tap.close()

        async def aclose(self) -> None:
            self.__class__ = kind
            try:
                await self.aclose()
            finally:
                await self._receipt_label_tap.aclose()

    Tapped.__name__, Tapped.__qualname__ = kind.__name__, kind.__qualname__
    Tapped.__module__ = kind.__module__
    return Tapped


class _Tap:
    """Stands between one response and its reader."""

    def __init__(self, call: StreamedCall) -> None:
        self._call = call
        # The response closes itself at its end, before the last bytes are decoded.
        self._is_reading = False

    def watch(self, body: Generator[bytes, None, None]) -> Iterator[bytes]:
        """Pass a body on."""
        with contextlib.closing(body) as chunks:
            while (chunk := self._read(chunks)) is not None:
                shown = self._call.feed(chunk)
                if self._call.is_over:
                    self._call.end()
                if shown:
                    yield shown
        rest = self._call.take_rest()
        self._call.end()
        if rest:
            yield rest

    def _read(self, chunks: Iterator[bytes]) -> bytes | None:
        self._is_reading = True
        try:
            return next(chunks, None)
        except BaseException as error:
            self._call.end(error)
            raise
        finally:
            self._is_reading = False

    async def awatch(self, body: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
        """Like :meth:`watch`, for asyncio."""
        async with contextlib.aclosing(body) as chunks:
            while (chunk := await self._aread(chunks)) is not None:
                shown = self._call.feed(chunk)
                if self._call.is_over:
                    await self._call.aend()
                if shown:
                    yield shown
        rest = self._call.take_rest()
        await self._call.aend()
        if rest:
            yield rest

    async def _aread(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        self._is_reading = True
        try:
            return await anext(chunks, None)
        except BaseException as error:
            await self._call.aend(error)
            raise
        finally:
            self._is_reading = False

    def close(self) -> None:
        """End the call when the reader has closed the response, unless that did it itself."""
        if not self._is_reading:
            self._call.end()

    async def aclose(self) -> None:
        """Like :meth:`close`, for asyncio."""
        if not self._is_reading:
            await self._call.aend()
