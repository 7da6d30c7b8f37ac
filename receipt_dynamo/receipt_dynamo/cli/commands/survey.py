"""List the journals, their owners and their records, without changing anything."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from receipt_dynamo.cli.findings import Finding, Level
from receipt_dynamo.cli.output import count_of, describe_age
from receipt_dynamo.data.journal.directory import SET_ASIDE, JournalDirectory, JournalTarget
from receipt_dynamo.data.journal.file import (
    MADE_AT,
    CorruptJournalError,
    JournalError,
    NewerJournalError,
)
from receipt_dynamo.data.journal.journal import NOTHING, Journal, JournalCounts
from receipt_dynamo.data.journal.peek import iterate, peek
from receipt_dynamo.data.table.evidence import DELIVER_UNPROVEN, Evidence, Standing
from receipt_dynamo.entities.stored_item import read_item, read_text
from receipt_dynamo.utils.secrets import hide_passwords

LONGEST_AGE: Final = 300.0
"""Seconds that a living process's record may wait before it is worth a warning."""


@dataclass(frozen=True, slots=True)
class JournalView:
    """One journal as it was found.

    Attributes:
        path: Its file.
        owner: The living process that owns it: 0 when it did not write down its id, None
            without one.
        age: Seconds since it last changed.
        counts: What it holds.
        oldest: For how many seconds the first of its pending records has waited; None when
            none is pending, or none says its time.
        noted: What it stores about its table.
        trouble: "damaged", "newer" or "unreadable"; the two before are empty then.
    """

    path: Path
    owner: int | None
    age: float
    counts: JournalCounts = NOTHING
    oldest: float | None = None
    noted: tuple[tuple[str, str], ...] = ()
    trouble: str | None = None

    @property
    def target(self) -> JournalTarget:
        """The table, as its process had it configured; empty names when none is stored."""
        noted = dict(self.noted)
        names = ("table_name", "region", "endpoint_url")
        return JournalTarget(*(noted.get(name, "") for name in names))

    @property
    def arn(self) -> str | None:
        """The table as DynamoDB named it, or None when it never did."""
        return self.evidence.arn

    @property
    def evidence(self) -> Evidence:
        """The known facts about the table."""
        return Evidence.read(dict(self.noted))

    @property
    def is_unproven(self) -> bool:
        """Whether nothing is known of the table but how it was configured."""
        return self.trouble is None and self.evidence.standing is Standing.UNPROVEN

    @property
    def is_abandoned(self) -> bool:
        """Whether no living process owns it."""
        return self.owner is None

    @property
    def is_late(self) -> bool:
        """Whether a living process has not delivered a record for longer than it should take."""
        return not self.is_abandoned and (self.oldest or 0.0) > LONGEST_AGE

    def to_json(self) -> dict[str, Any]:
        """Return it for a JSON document."""
        return {
            "journal": self.path.name,
            **describe_target_in_json(self.target),
            "arn": self.arn,
            "proven": self.arn is not None,
            "standing": self.evidence.standing.value,
            "living": not self.is_abandoned,
            "pid": self.owner or None,
            "pending": self.counts.pending,
            "dead": self.counts.dead,
            "bytes": self.counts.bytes,
            "age_seconds": round(self.age, 1),
            "oldest_pending_seconds": None if self.oldest is None else round(self.oldest, 1),
            "trouble": self.trouble,
        }


def survey(
    directory: JournalDirectory,
    table: str | None = None,
    *,
    clock: Callable[[], float] = time.time,
) -> list[JournalView]:
    """Return all journals, or those for one table and those that do not say; oldest first.

    Args:
        directory: Where they are.
        table: A table's name or ARN, as it is configured.
        clock: The time that files are stamped with.
    """
    views = (_look_at(directory, path, clock()) for path in directory.list())
    return [
        view
        for view in views
        if view is not None and (table is None or view.trouble or view.target.table_name == table)
    ]


def _look_at(directory: JournalDirectory, path: Path, now: float) -> JournalView | None:
    try:
        owner = directory.find_owner(path)
        age = max(0.0, now - _find_last_change(path))
        with peek(path, keeps_index=owner is None) as journal:
            noted = journal.read_target()
            oldest = _find_oldest(journal, noted, now)
            return JournalView(path, owner, age, journal.count(), oldest, tuple(noted.items()))
    except CorruptJournalError:
        return JournalView(path, owner, age, trouble="damaged")
    except NewerJournalError:
        return JournalView(path, owner, age, trouble="newer")
    except JournalError:
        # Delivered and deleted in between, or just not to be had.
        return JournalView(path, owner, age, trouble="unreadable") if path.exists() else None
    except FileNotFoundError:
        return None


def _find_oldest(journal: Journal, noted: Mapping[str, str], now: float) -> float | None:
    """Return for how many seconds the first pending record has waited.

    By its own time, which may be long before it was put; but not from before the journal was made.
    """
    row = next((row for row in iterate(journal.read_pending) if row.is_whole), None)
    item = None if row is None else read_item(row.item)
    text = None if item is None else read_text(item, "timestamp")
    try:
        moment = datetime.fromisoformat(text or "")
        made_at = float(noted.get(MADE_AT, "-inf"))
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, now - max(moment.timestamp(), made_at))


def _find_last_change(path: Path) -> float:
    """Return when a record last came or went; a write-ahead log may be new without that."""
    log = path.with_name(f"{path.name}-wal")
    times = [path.stat().st_mtime]
    if log.exists() and log.stat().st_size:
        times.append(log.stat().st_mtime)
    return max(times)


def describe_target_in_json(target: JournalTarget) -> dict[str, Any]:
    """Return a table for a JSON document."""
    return {
        "table": target.table_name or None,
        "region": target.region or None,
        "endpoint": hide_passwords(target.endpoint_url) or None,
    }


def name_target(target: JournalTarget) -> str:
    """Return a table for people."""
    place = ", ".join(filter(None, (target.region, hide_passwords(target.endpoint_url))))
    return f"{target.table_name or '(no table named)'}{f' ({place})' if place else ''}"


_TROUBLES: Final[Mapping[str, tuple[str, str]]] = {
    "damaged": ("it is damaged, or is no journal", "a client sets it aside when it meets it"),
    "newer": ("a newer release of receipt_dynamo made it", "use that one"),
    "unreadable": ("it cannot be read now", "is it this user's, and the disk healthy?"),
}


def judge_journals(directory: JournalDirectory, views: Sequence[JournalView]) -> list[Finding]:
    """Return what needs a person to look after it.

    Args:
        directory: Where the journals are.
        views: Those that are judged.
    """
    abandoned = [view for view in views if view.is_abandoned]
    unproven = sum(view.counts.pending for view in abandoned if view.is_unproven)
    left = sum(view.counts.pending for view in abandoned) - unproven
    dead = sum(view.counts.dead for view in views)
    findings = [_judge_trouble(view) for view in views if view.trouble is not None]
    findings += [_judge_late(view) for view in views if view.is_late]
    if left:
        said = f"dead processes left {count_of(left, 'record')}"
        findings.append(_warn(said, "'journal drain' delivers them"))
    if unproven:
        said = (
            f"dead processes left {count_of(unproven, 'record')} unproven: they had no "
            "credentials, and no other process takes them"
        )
        findings.append(_warn(said, f"if the table is yours, deliver them by: {DELIVER_UNPROVEN}"))
    if dead:
        findings.append(_warn(count_of(dead, "dead letter"), "'journal dead' says why"))
    findings += [_warn(said, "look after the disk") for said in mention_set_aside(directory)]
    return findings


def _warn(says: str, advice: str) -> Finding:
    return Finding(Level.WARNING, says, advice)


def _judge_late(view: JournalView) -> Finding:
    who = f"living process {view.owner or '(id unknown)'}"
    held = count_of(view.counts.pending, "pending record")
    says = f"{who} has {held}, the oldest for {describe_age(view.oldest or 0.0)}"
    return _warn(says, "its log says why; see docs/troubleshooting.md")


def _judge_trouble(view: JournalView) -> Finding:
    says, advice = _TROUBLES[view.trouble or ""]
    return _warn(f"{view.path.name}: {says}", advice)


def list_troubles(views: Iterable[JournalView]) -> Iterator[str]:
    """Yield a finding for each journal that no command can read, with the reason and advice."""
    return (_judge_trouble(view).line for view in views if view.trouble is not None)


def mention_set_aside(directory: JournalDirectory) -> Iterator[str]:
    """Yield a finding if there are damaged journals."""
    count = directory.count_set_aside()
    if count:
        where = directory.path / SET_ASIDE
        yield f"{count_of(count, 'damaged journal')} set aside in {where}"
