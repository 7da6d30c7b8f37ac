"""Read the pages of several shards at once, each at most one page ahead of its reader."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

from receipt_dynamo.errors import ReceiptDynamoError

if TYPE_CHECKING:
    from receipt_dynamo.data.read_tally import ReadTally

Page: TypeAlias = Mapping[str, Any]
"""One reply to a query."""

MOST_THREADS: Final = 8
"""Of one query: below the 10 connections that botocore keeps by default, so that none is made
for one request and thrown away."""


class QueryOfAnotherProcessError(ReceiptDynamoError):
    """A query was begun before a fork, and is consumed after it in the child."""


class ShardPages:
    """The pages of one shard; they are counted by the one thread that takes them.

    Args:
        pages: Reads a page each time it is asked.
        pool: In which it is asked.
        tally: To add to.
    """

    def __init__(self, pages: Iterator[Page], pool: ThreadPoolExecutor, tally: ReadTally) -> None:
        self._pages = pages
        self._pool = pool
        self._tally = tally
        self._process = os.getpid()
        self._is_wanted = True
        self._ahead: Future[list[Page]] | None = None
        self.look_ahead()

    def look_ahead(self) -> None:
        """Have the next page read, unless it is already, or no thread can be started."""
        if self._ahead is not None:
            return
        result: Future[list[Page]] = Future()
        try:
            self._ahead = self._pool.submit(self._read_into, result)
        except RuntimeError:
            # The interpreter ends, or the system has no thread left: the page is read by the
            # thread that takes it. But the pool may have queued this, and a thread of its begun.
            if not result.cancel():
                self._ahead = result

    def _read_into(self, result: Future[list[Page]]) -> list[Page]:
        if not result.set_running_or_notify_cancel():
            return []
        try:
            read = self._read_next()
        except BaseException as error:
            result.set_exception(error)
            raise
        result.set_result(read)
        return read

    def _read_next(self) -> list[Page]:
        """Read up to the next page with items: a filter may leave many without.

        Shards whose first match comes late would be read one after the other else.
        """
        read: list[Page] = []
        for page in self._pages:
            read.append(page)
            # What is no page at all is for the reader to refuse.
            if page.get("Items") != [] or not self._is_wanted:
                break
        return read

    def take(self) -> Page | None:
        """Wait for the next page that is worth reading; None is the end."""
        if os.getpid() != self._process:
            # The threads of the pool are not here: waiting for them would never end.
            raise QueryOfAnotherProcessError(
                "the query was begun before a fork; begin it anew in the child"
            )
        self.look_ahead()
        ahead, self._ahead = self._ahead, None
        return self._count(ahead.result() if ahead else self._read_next())

    def _count(self, pages: list[Page]) -> Page | None:
        for page in pages:
            self._tally.count_page(page)
        return pages[-1] if pages else None

    def stop(self) -> None:
        """Read no more than the page that is being read."""
        self._is_wanted = False

    def count_unused(self) -> None:
        """Count what was read ahead and not taken: DynamoDB has charged it."""
        ahead = self._ahead
        if ahead and not ahead.cancelled() and not ahead.exception():
            self._count(ahead.result())


class _Thread(threading.local):
    reads_ahead = False


_thread = _Thread()


def _mark_thread() -> None:
    _thread.reads_ahead = True


class PagesAhead:
    """The threads of one query, and the shards that they read; ``with`` ends them all.

    Args:
        shards: How many.
        tally: To add to.
    """

    def __init__(self, shards: int, tally: ReadTally) -> None:
        self._pool = ThreadPoolExecutor(
            min(shards, MOST_THREADS), "dynamodb-query", initializer=_mark_thread
        )
        self._process = os.getpid()
        self._tally = tally
        self._shards: list[ShardPages] = []

    def read(self, pages: Iterator[Page]) -> ShardPages:
        """Begin to read one shard."""
        shard = ShardPages(pages, self._pool, self._tally)
        self._shards.append(shard)
        return shard

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait for the pages that are being read, and read no more."""
        if os.getpid() != self._process:
            return  # They are the parent's.
        for shard in self._shards:
            shard.stop()
        # A query that the garbage collector ends may be ended in one of its own threads.
        self._pool.shutdown(wait=not _thread.reads_ahead, cancel_futures=True)
        if not _thread.reads_ahead:
            for shard in self._shards:
                shard.count_unused()
