"""Adopt the journals of dead processes, once their table is proven."""

from __future__ import annotations

import logging
import math
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from receipt_dynamo.data.connection import read_target
from receipt_dynamo.data.credentials import read_principal
from receipt_dynamo.data.endpoints import AWS
from receipt_dynamo.data.journal.file import CorruptJournalError, JournalError
from receipt_dynamo.data.table.evidence import (
    ACCOUNT,
    CREDENTIALS,
    TABLE_ARN,
    Evidence,
    find_obstacle,
)
from receipt_dynamo.data.table.identity import (
    UnprovenTableError,
    ask_for_account,
    prove_table,
)
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
        trusts_unproven: Whether to adopt journals without evidence, as the operator confirms.
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
        trusts_unproven: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._target = target
        self._connection = connection
        self._store = store
        self._on_adopted = on_adopted
        self._trusts_unproven = trusts_unproven
        self._clock = clock
        self._log = LogLimiter(_logger, clock=clock)
        self._begin()
        reset_in_child(self)

    def _begin(self) -> None:
        self._own: Evidence | None = None
        self._next_look = -math.inf
        self._said: set[Path] = set()
        self._unread: set[Path] = set()
        self._read: dict[tuple[Path, int], bool] = {}

    def reset_after_fork(self) -> None:
        """Begin anew in a forked child, which looks for itself."""
        self._begin()

    @property
    def is_due(self) -> bool:
        """Whether a look is worth it: a minute has passed, or there was no room for all."""
        return self._clock() >= self._next_look and self._store.has_room

    def has_candidates(self) -> bool:
        """Whether there are other processes' journals that may be for this table."""
        return bool(self._list_candidates())

    def has_others(self) -> bool:
        """Whether there are other processes' journals, whatever they are for; none is opened."""
        return any(not self._store.holds(path) for path in self._directory.list())

    def _list_candidates(self) -> list[Path]:
        """Return the journals of others that have the same name and region."""
        paths = [path for path in self._directory.list() if not self._store.holds(path)]
        known, self._read = self._read, {}
        for path in paths:
            try:
                identity = (path, path.stat().st_ino)
            except OSError:
                continue  # Gone.
            may_be = known.get(identity)
            if may_be is None:
                may_be = self._may_be_ours(path)
            if may_be is not None:
                self._read[identity] = may_be
        return [path for path, _ in (identity for identity, ours in self._read.items() if ours)]

    def _may_be_ours(self, path: Path) -> bool | None:
        """Return it by the journal's evidence, which stays; None if it cannot be read now."""
        try:
            noted = Evidence.read(self._directory.read_notes(path))
        except CorruptJournalError:
            # Then all that is left is the name that it was given.
            return path.name.startswith(f"{self._target.digest}-")
        except (JournalError, OSError, sqlite3.Error) as error:
            # Its process may be deleting it just now: logged when it stays so.
            if path in self._unread:
                self._say(path, f"{type(error).__name__}: {error}")
            self._unread.add(path)
            return None
        return noted.may_be(Evidence(self._target.table_name, self._target.region, ""))

    def look(self) -> None:
        """Prove which table this is, and take over what dead processes left for it.

        Raises:
            botocore.exceptions.ClientError: DynamoDB did not say which table it is.
            botocore.exceptions.BotoCoreError: DynamoDB could not be asked.
        """
        if not self._store.has_journal and not self._list_candidates():
            self._directory.sweep()
            return
        self._next_look = self._clock() + INTERVAL
        if self._own is None:
            try:
                self._own = self._prove()
            except UnprovenTableError as error:
                self._log.warn("unproven", f"journals of dead processes are left alone: {error}")
                return
        # Each time: the disk may have been full the last time.
        self._store.remember(_describe(self._own))
        while self._look_through(self._own):
            pass  # What was whole in a damaged journal is in another one now.
        self._directory.sweep()

    def _prove(self) -> Evidence:
        own = Evidence.read(self._target.describe())
        try:
            arn = prove_table(self._connection)
        except Exception:
            # By this the next process knows the table of the records that this one leaves.
            learned = self._learn(own, asks=True)
            self._store.remember(_describe(learned))
            raise
        return replace(self._learn(own), arn=arn)

    def _learn(self, own: Evidence, *, asks: bool = False) -> Evidence:
        """Add the source and account of the credentials, now that boto3 has them.

        Args:
            own: The facts so far.
            asks: Whether to ask AWS for the account if the credentials do not have it.
        """
        with suppress(Exception):  # No credentials, or none now.
            client = self._connection.client()
            held = read_principal(read_target(client, own.table_name).credentials)
            own = replace(
                own,
                credentials=own.credentials or held.source,
                account=own.account or (held.account if own.place == AWS else None),
            )
            if asks and own.account is None and held.has_key_of_aws:
                own = replace(own, account=ask_for_account(self._connection))
        return own

    def _look_through(self, own: Evidence) -> bool:
        """Take over what is there; return whether damaged journals were set aside."""
        has_set_aside = False
        for path in self._list_candidates():
            if not self._store.has_room:
                self._next_look = -math.inf  # As soon as there is.
                break
            try:
                self._look_at(path, own)
            except CorruptJournalError as error:
                has_set_aside = True
                self._store.report_set_aside(str(error))
            except (JournalError, OSError, sqlite3.Error) as error:
                self._say(path, f"{type(error).__name__}: {error}")
        return has_set_aside

    def _look_at(self, path: Path, own: Evidence) -> None:
        why: str | None = None

        def is_ours(noted: Mapping[str, str]) -> bool:
            nonlocal why
            why = find_obstacle(Evidence.read(noted), own, trusts_unproven=self._trusts_unproven)
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
        """Log once for each journal that it is left alone."""
        if path not in self._said:
            self._said.add(path)
            _logger.warning("journal %s is left alone: %s", path.name, why)


def _describe(own: Evidence) -> dict[str, str]:
    """Return the facts that a journal stores about its table."""
    learned = {CREDENTIALS: own.credentials, ACCOUNT: own.account, TABLE_ARN: own.arn}
    return {name: value for name, value in learned.items() if value is not None}
