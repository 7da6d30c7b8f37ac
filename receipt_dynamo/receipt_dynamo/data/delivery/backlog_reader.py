"""Hand out what waits on disk; what is damaged there becomes a dead letter and is not sent."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable
from threading import RLock
from typing import TYPE_CHECKING, Final

from receipt_dynamo.utils.log_limiter import LogLimiter

if TYPE_CHECKING:
    from receipt_dynamo.data.delivery.backlog import Backlog
    from receipt_dynamo.data.delivery.pending_record import PendingRecord, Watch
    from receipt_dynamo.data.journal.journal import PendingRow

_logger = logging.getLogger(__name__)

DAMAGED: Final = "damaged on disk: its bytes are not those that were accepted"
"""The reason of a dead letter that DynamoDB has never seen."""


class BacklogReader:
    """Reads waiting rows, for one thread at a time.

    Args:
        lock: Guards the backlogs.
        on_failure: Told what could not be done, why, and with which backlog.
        on_damaged: Told how many pending records are damaged, why they are called so, and who
            watches them.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self,
        lock: RLock,
        *,
        on_failure: Callable[[str, Exception, Backlog], object],
        on_damaged: Callable[[int, str, Iterable[Watch]], object],
        clock: Callable[[], float],
    ) -> None:
        self._lock = lock
        self._on_failure = on_failure
        self._on_damaged = on_damaged
        self._log = LogLimiter(_logger, clock=clock)

    def read_first(self, backlogs: Iterable[Backlog], limit: int) -> list[PendingRecord]:
        """Hand out records of the first backlog that has some, ``limit`` at most."""
        for backlog in backlogs:
            if not backlog.waiting:
                continue
            try:
                records = self._read(backlog, limit)
            except sqlite3.Error as error:
                self._on_failure("read", error, backlog)
                continue
            if records:
                return records
        return []

    def _read(self, backlog: Backlog, limit: int) -> list[PendingRecord]:
        while True:
            rows = backlog.read(limit)
            with self._lock:
                records, damaged = backlog.hand_out(rows)
                lost_watches = backlog.take_lost_watches() if not damaged else []
            if lost_watches:
                self._on_damaged(0, DAMAGED, lost_watches)
            for row in damaged:
                self._bury(backlog, row)
            if records:
                return records
            if not damaged:
                self._give_up_missing(backlog)
                return []

    def _bury(self, backlog: Backlog, row: PendingRow) -> None:
        """Keep a damaged row as a dead letter: what it says now, nobody has put."""
        try:
            backlog.journal.bury(row.seq, DAMAGED, 0)
        except sqlite3.Error as error:
            self._on_failure("mark a damaged record in", error, backlog)
        name = backlog.journal.path.name
        self._log.warn(
            "damaged", f"record {row.seq} in journal {name} is damaged: kept as a dead letter"
        )
        self._on_damaged(1, DAMAGED, filter(None, [backlog.watches.pop(row.seq, None)]))

    def _give_up_missing(self, backlog: Backlog) -> None:
        """Count what was there and is not: gone with a damaged page, or deleted by hand."""
        with self._lock:
            # Nothing is appended meanwhile: what waits now and is not found never will be.
            if backlog.read(1):
                return
            missing, watches = backlog.give_up_waiting()
        if missing:
            self._on_damaged(missing, f"not found in journal {backlog.journal.path.name}", watches)
