"""The private directory of the journals: where it is, what its files are called, whose they are.

A journal is ``<target>-<process>-<random>.db``, beside a lock file of the same name. The
first part is a hash of table, region and endpoint, for whoever looks at a list of files: whose
it is, the journal itself notes.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from receipt_dynamo.data.credentials import Principal, find_principal
from receipt_dynamo.data.endpoints import AWS, find_endpoint, find_region, name_place
from receipt_dynamo.data.journal.damage.check import check_journal
from receipt_dynamo.data.journal.damage.remains import iterate_whole, open_remains, read_notes
from receipt_dynamo.data.journal.file import CorruptJournalError, list_files, list_unfinished
from receipt_dynamo.data.journal.journal import NOTHING, Journal, JournalCounts, was_inherited
from receipt_dynamo.data.journal.lease import Lease, find_holder
from receipt_dynamo.data.journal.peek import peek
from receipt_dynamo.data.journal.places import Find, find_stranger, make_finder, warn_of
from receipt_dynamo.utils.private_files import make_private_directory

if TYPE_CHECKING:
    from receipt_dynamo.data.connection import Target

SUFFIX: Final = ".db"
_DIGITS: Final = 16
SET_ASIDE: Final = "set-aside"
"""The folder for damaged journals, within the directory."""


def has_journals(given: str | os.PathLike[str] | None) -> bool:
    """Return whether there are journals; ``given`` is that of :func:`open_directory`."""
    return bool(JournalDirectory(make_finder(given)()).list())


def open_directory(given: str | os.PathLike[str] | None) -> JournalDirectory:
    """Return the journals' directory; ``given`` is that of :func:`find_directory`."""
    find = make_finder(given)
    path = find()
    warn_of(given, path)
    return JournalDirectory(path, find)


@dataclass(frozen=True, slots=True)
class JournalTarget:
    """The table that a journal's records are for, as it was configured.

    Attributes:
        table_name: Name or ARN.
        region: AWS region.
        endpoint_url: Of DynamoDB; empty is AWS itself.
        credentials: A botocore credentials object; None is what boto3 finds.
    """

    table_name: str
    region: str
    endpoint_url: str
    credentials: Any = field(default=None, repr=False, compare=False)

    @property
    def digest(self) -> str:
        """The first part of the names of journals that are made for it."""
        text = "\n".join((self.table_name, self.region, self.endpoint_url))
        return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]

    def describe(self) -> dict[str, str]:
        """Return what a journal stores about its target, without a request.

        See :class:`~receipt_dynamo.data.table.evidence.Evidence` for what it is good for.
        """
        place = name_place(self.endpoint_url, self.region)
        return {
            "table_name": self.table_name,
            "region": self.region,
            "endpoint_url": self.endpoint_url,
            "endpoint": place,
            **describe_principal(find_principal(self.credentials), place),
        }


def describe_principal(principal: Principal, place: str) -> dict[str, str]:
    """Return what a journal stores about who signs.

    Args:
        principal: Who that is.
        place: The endpoint. Only AWS itself checks whose keys they are.
    """
    account = principal.account if place == AWS else None
    found = {"credentials": principal.source, "account": account}
    return {name: value for name, value in found.items() if value is not None}


@dataclass(slots=True)
class HeldJournal:
    """An open journal together with its lease.

    Attributes:
        journal: The journal.
        lease: The right to it.
        counts: What it held when it was opened.
    """

    journal: Journal
    lease: Lease
    counts: JournalCounts
    _identity: tuple[int, int] | None = field(init=False)

    def __post_init__(self) -> None:
        """Remember which file it is."""
        self._identity = _identify(self.journal.path)

    def is_still_ours(self) -> bool:
        """Make sure that others find the journal and see its lease; False when they do not.

        Raises:
            OSError: The files cannot be reached.
        """
        if _identify(self.journal.path) != self._identity or not self.lease.is_still_ours():
            return False
        # Not by opening it, which would drop SQLite's locks. It looks young to what cleans up.
        os.utime(self.journal.path)
        return True

    def close(self) -> None:
        """Close the journal and give the lease back; an empty journal goes."""
        is_gone = False
        with suppress(sqlite3.Error, OSError):
            # Looked up, not counted: what somebody else put there must not go with it.
            is_gone = self.journal.is_empty() and self.is_still_ours()
        self.journal.close()
        if is_gone:
            _delete(self.journal.path)
        self.lease.release(unlink=is_gone)


def describe_target(target: Target) -> JournalTarget:
    """Return what identifies a table as it is configured, without a network call."""
    return JournalTarget(
        target.table_name,
        find_region(target.table_name, target.region) or "",
        target.endpoint_url or find_endpoint() or "",
        target.credentials,
    )


class JournalDirectory:
    """The journals of one directory.

    Args:
        path: The directory; it is made when first needed, private to the user.
        find: Finds it anew before a journal is made; by default it stays the same.
    """

    def __init__(self, path: Path, find: Find | None = None) -> None:
        self.path = path
        self._find = find

    def create(self, target: JournalTarget, *, sync: bool) -> HeldJournal:
        """Make a journal for this process.

        Raises:
            OSError: The directory cannot be made or written, or belongs to someone else.
            sqlite3.Error: The disk is full or broken.
            JournalError: The file system has no write-ahead log.
        """
        self._make()
        return self._create(target.digest, target.describe(), sync=sync)

    def _create(self, digest: str, notes: Mapping[str, str], *, sync: bool) -> HeldJournal:
        while True:
            path = self.path / f"{digest}-{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
            lease = Lease.take(_lock_path(path))
            if lease is not None:
                break
        try:
            named = {**notes, "process": str(os.getpid())}
            journal = Journal.create(path, notes=named.items(), sync=sync)
        except BaseException:
            lease.release(unlink=True)
            raise
        return HeldJournal(journal, lease, NOTHING)

    def list(self) -> list[Path]:
        """Return the journals; oldest first."""
        with suppress(OSError):
            return sorted(self.path.glob(f"*{SUFFIX}"), key=_modified)
        return []

    def read_notes(self, path: Path) -> dict[str, str]:
        """Return what a journal stores about its table, without disturbing its process.

        Raises:
            JournalError: It cannot be read now, is damaged, or is gone.
            OSError: Its lock file cannot be read.
        """
        with peek(path, keeps_index=self.find_owner(path) is None) as journal:
            return journal.read_target()

    def open_abandoned(
        self, path: Path, wants: Callable[[Mapping[str, str]], bool] | None = None
    ) -> HeldJournal | None:
        """Open the journal of a dead process; None when its process lives, or it is gone.

        None as well when this process was forked from that one: another takes it over. A
        damaged journal is set aside, before a byte of it is changed; what is whole in it is
        then in another journal of a dead process.

        Args:
            path: The journal.
            wants: Called with what the journal stores about its table, unless it is empty. A
                journal that is not wanted stays as it is, and None is returned. By default all
                are wanted.

        Raises:
            CorruptJournalError: It is damaged, and was set aside.
            JournalError: It cannot be read now, or a newer release made it.
            OSError: Its lease cannot be taken, or others may write to the directory.
            sqlite3.Error: It cannot be read now.
        """
        # What somebody else put there would be delivered as ours.
        self._check_private()
        if was_inherited(path):
            return None
        lease = Lease.take(_lock_path(path))
        if lease is None:
            return None
        try:
            if not os.path.lexists(path):  # Delivered and deleted by another adopter in between.
                lease.release(unlink=True)
                return None
            counts = check_journal(path, wants)
            if counts is None:
                lease.release(unlink=False)
                return None
            return HeldJournal(Journal.open(path), lease, counts)
        except CorruptJournalError as error:
            try:
                rescued = self.rescue(path)
            finally:
                lease.release(unlink=not os.path.lexists(path))
            if rescued is None:
                raise
            rescued.close()
            found = rescued.counts.pending + rescued.counts.dead
            raise CorruptJournalError(
                f"{error}; {found} records that are whole are in {rescued.journal.path.name} now"
            ) from error
        except BaseException:
            lease.release(unlink=False)
            raise

    def find_owner(self, path: Path) -> int | None:
        """Return the id of the living process that owns the journal; None without one.

        It takes no lock: another process can take the journal over meanwhile. See
        :func:`find_holder` for what the id is.

        Raises:
            OSError: The lock file cannot be read.
        """
        return find_holder(_lock_path(path))

    def rescue(
        self, path: Path, after: int | None = None, without: Collection[int] = ()
    ) -> HeldJournal | None:
        """Set a damaged journal aside, and make another one of the records that are whole in it.

        They are in both when the process is killed in between, and are sent twice then, under
        their keys.

        Args:
            path: The damaged one; no other process uses it.
            after: Of pending records, only those whose number is above it; by default all.
            without: The numbers of others that are not wanted.

        Returns:
            The other one, or None if no such record is left, or if even the table is unknown.

        Raises:
            OSError: The directory cannot be written.
            sqlite3.Error: The disk is full or broken.
            JournalError: The file system has no write-ahead log.
        """
        rescued: HeldJournal | None = None
        remains = open_remains(path)
        if remains is not None:
            with closing(remains):
                rescued = self._copy(remains, after, without)
        self.set_aside(path)
        return rescued

    def _copy(
        self, remains: Journal, after: int | None, without: Collection[int]
    ) -> HeldJournal | None:
        notes = read_notes(remains)
        if not notes:
            return None
        copy = self._create(remains.path.name.partition("-")[0], notes, sync=False)
        try:
            for pending in iterate_whole(remains.read_pending, after):
                copy.journal.restore([row for row in pending if row.seq not in without])
            for dead in iterate_whole(remains.read_dead):
                copy.journal.restore(dead)
            copy.counts = copy.journal.count()
        except BaseException:
            copy.journal.close()
            _delete(copy.journal.path)
            copy.lease.release(unlink=True)
            raise
        if not (copy.counts.pending or copy.counts.dead):
            copy.close()
            return None
        return copy

    def set_aside(self, path: Path) -> None:
        """Move a damaged journal out of the way, untouched, for whoever wants to look at it."""
        folder = self.path / SET_ASIDE
        make_private_directory(folder)
        # The database first: a log without one is never taken for the log of an empty one.
        for source in list_files(path):
            with suppress(FileNotFoundError):
                source.rename(folder / source.name)

    def count_set_aside(self) -> int:
        """Return how many damaged journals there are, by their names."""
        return len({path.stem for path in (self.path / SET_ASIDE).glob(f"*{SUFFIX}*")})

    def sweep(self) -> None:
        """Clear away what is left of journals that are gone.

        Their processes were killed while they made, deleted or set aside one. A log may hold
        records, and is set aside; the rest holds none, and is deleted.
        """
        if sys.platform == "win32":
            return  # Without a lease, a file that is just being made cannot be recognised.
        with suppress(OSError):
            names = {name.partition(".")[0] for name in os.listdir(self.path)}  # noqa: PTH208 - names only
            for path in (self.path / f"{name}{SUFFIX}" for name in names if _is_ours(name)):
                if not os.path.lexists(path):
                    self._clear_away(path)

    def _clear_away(self, path: Path) -> None:
        lease = Lease.take(_lock_path(path))
        if lease is None:
            return  # It is being made.
        try:
            _delete_files(list_unfinished(path))
            if not os.path.lexists(path) and any(map(os.path.lexists, list_files(path))):
                self.set_aside(path)
        finally:
            lease.release(unlink=not os.path.lexists(path))

    def _make(self) -> None:
        if self._find is not None:
            self.path = self._find()
        make_private_directory(self.path)
        self._check_private()

    def _check_private(self) -> None:
        # In the directory for temporary files anybody could have made it before us.
        stranger = find_stranger(self.path.stat())
        if stranger is not None:
            raise PermissionError(f"{self.path} {stranger}")


def _is_ours(name: str) -> bool:
    digest, *others = name.split("-")
    return len(others) > 1 and len(digest) == _DIGITS and digest.isalnum()


def _identify(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _delete(path: Path) -> None:
    _delete_files(list_files(path))


def _delete_files(names: Sequence[Path]) -> None:
    # The database last: without its log it is still empty, and a log alone belongs to none.
    for name in reversed(names):
        with suppress(OSError):
            name.unlink(missing_ok=True)


def _lock_path(path: Path) -> Path:
    return path.with_suffix(".lock")


def _modified(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0
