"""Take over the journals that dead processes left, once it is proven whose they are."""

from __future__ import annotations

import logging
import math
import sqlite3
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from receipt_dynamo.data.journal.file import CorruptJournalError, JournalError
from receipt_dynamo.data.table.identity import TABLE_ARN, UnprovenTableError, prove_table
from receipt_dynamo.utils.fork_safety import reset_in_child
from receipt_dynamo.utils.log_limiter import LogLimiter

if TYPE_CHECKING:
    from receipt_dynamo.data.connection import Connection
    from receipt_dynamo.data.delivery.record_store import RecordStore
    from receipt_dynamo.data.journal.directory import JournalDirectory, JournalTarget

_logger = logging.getLogger(__name__)

INTERVAL: Final = 60.0
"""Seconds between two looks into the directory, at least."""


class Adoption:
    """Finds the journals of dead processes that hold records for this table.

    Args:
        directory: Where journals are.
        target: This process's table, as configured.
        connection: To prove which table that is.
        store: Takes the journals over, and remembers which table it is.
        on_adopted: Called after each journal that was taken over.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self,
        directory: JournalDirectory,
        target: JournalTarget,
        connection: Connection,
        store: RecordStore,
        *,
        on_adopted: Callable[[], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._target = target
        self._connection = connection
        self._store = store
        self._on_adopted = on_adopted
        self._clock = clock
        self._log = LogLimiter(_logger, clock=clock)
        self._begin()
        reset_in_child(self)

    def _begin(self) -> None:
        self._arn: str | None = None
        self._next_look = -math.inf
        self._said: set[Path] = set()

    def reset_after_fork(self) -> None:
        """Begin anew in a forked child, which looks for itself."""
        self._begin()

    @property
    def is_due(self) -> bool:
        """Whether a look is worth it: a minute has passed, or there was no room for all."""
        return self._clock() >= self._next_look and self._store.has_room

    def has_candidates(self) -> bool:
        """Whether there are other processes' journals for this table, as configured."""
        return any(not self._store.holds(path) for path in self._directory.list(self._target))

    def look(self) -> None:
        """Prove which table this is, and take over what dead processes left for it.

        Raises:
            botocore.exceptions.ClientError: DynamoDB did not say which table it is.
            botocore.exceptions.BotoCoreError: DynamoDB could not be asked.
        """
        self._next_look = self._clock() + INTERVAL
        if self._arn is None:
            try:
                self._arn = prove_table(self._connection)
            except UnprovenTableError as error:
                self._log.warn("unproven", f"journals of dead processes are left alone: {error}")
                return
        self._store.remember_arn(self._arn)  # Each time: the disk may have been full the last time.
        while self._look_through(self._arn):
            pass  # What was whole in a damaged journal is in another one now.
        self._directory.sweep()

    def _look_through(self, arn: str) -> bool:
        """Take over what is there; return whether damaged journals were set aside."""
        has_set_aside = False
        for path in self._directory.list(self._target):
            if self._store.holds(path):
                continue
            if not self._store.has_room:
                self._next_look = -math.inf  # As soon as there is.
                break
            try:
                self._look_at(path, arn)
            except CorruptJournalError as error:
                has_set_aside = True
                self._store.report_set_aside(str(error))
            except (JournalError, OSError, sqlite3.Error) as error:
                self._say(path, f"{type(error).__name__}: {error}")
        return has_set_aside

    def _look_at(self, path: Path, arn: str) -> None:
        why: str | None = None

        def is_ours(noted: Mapping[str, str]) -> bool:
            nonlocal why
            why = _find_obstacle(noted.get(TABLE_ARN), arn)
            return why is None

        held = self._directory.open_abandoned(path, is_ours)
        if held is not None:
            if (held.counts.pending or held.counts.dead) and self._store.adopt(held):
                self._on_adopted()
            else:
                held.close()
        elif why is not None:
            self._say(path, why)

    def _say(self, path: Path, why: str) -> None:
        """Say once of each journal that it is left alone."""
        if path not in self._said:
            self._said.add(path)
            _logger.warning("journal %s is left alone: %s", path.name, why)


def _find_obstacle(noted: str | None, arn: str) -> str | None:
    """Say why a journal for the table ``noted`` is not delivered to ``arn``, or None."""
    if noted is None:
        return "it is unproven: its process ended before DynamoDB said which table it is"
    if noted != arn:
        return "it is for the same name in another account or place"
    return None
