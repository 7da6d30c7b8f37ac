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

    def abandon(self) -> None:
        """As ``end``, from inside of a finalizer."""

    async def aend(self, error: BaseException | None = None) -> None:
        """As ``end``, without blocking the event loop."""


def tap_response(response: Any, owner: TapOwner) -> None:
    """Let ``owner`` see what is read of a response, and how that ends.

    Args:
        response: Of httpx or httpx2, not read yet.
        owner: Is told that it is abandoned when nobody holds the response any
            more, at the latest.
    """
    weakref.finalize(response, owner.abandon)
    kind: Any = type(response)
    response.__class__ = _make_tapped(kind)
    response._receipt_label_tap = _Tap(owner)  # noqa: SLF001


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

    def __init__(self, owner: TapOwner) -> None:
        self._owner = owner
        # The response closes itself at its end, before the last bytes are decoded.
        self._is_reading = False

    def watch(self, body: Generator[bytes, None, None]) -> Iterator[bytes]:
        """Pass a body on."""
        with contextlib.closing(body) as chunks:
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

    async def awatch(self, body: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
        """As :meth:`watch`, for asyncio."""
        async with contextlib.aclosing(body) as chunks:
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
        """Take note that the reader has closed the response, unless that did it itself."""
        if not self._is_reading:
            self._owner.end()

    async def aclose(self) -> None:
        """As :meth:`close`, for asyncio."""
        if not self._is_reading:
            await self._owner.aend()
