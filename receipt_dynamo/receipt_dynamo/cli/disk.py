"""The disk that the journals of this user would be on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from receipt_dynamo.cli.findings import Finding, Level
from receipt_dynamo.cli.output import describe_bytes
from receipt_dynamo.data.delivery.settings import DeliverySettings
from receipt_dynamo.data.journal.places import (
    can_write,
    find_directory,
    find_unusable_choice,
    is_in_memory,
)


def judge_disk() -> Iterator[Finding]:
    """Return whether a journal can be made, would last, and has enough room, as findings."""
    directory = find_directory(None)
    unusable = find_unusable_choice(None)
    if unusable is not None:
        said = f"AI_USAGE_JOURNAL_DIR is {unusable!r}, which cannot be resolved"
        yield Finding(
            Level.WARNING, said, f"the journal goes to {directory}: set it to a directory"
        )
    existing = _find_existing(directory)
    if not can_write(directory):
        said = f"the journal cannot be made: {existing} cannot be written"
        advice = "records would be in memory only. Set AI_USAGE_JOURNAL_DIR"
        yield Finding(Level.ERROR, said, advice)
        return
    if is_in_memory(directory):
        said = f"{directory} is on a RAM disk (tmpfs), which a restart of the host empties"
        yield Finding(Level.WARNING, said, "set AI_USAGE_JOURNAL_DIR to a real disk")
    try:
        bound = DeliverySettings().find_journal_max_bytes()
    except ValueError:
        return  # Who reads the variables says that it is malformed.
    free = shutil.disk_usage(existing).free
    said = (
        f"{describe_bytes(free)} are free for the journal, whose bound is {describe_bytes(bound)}"
    )
    if free < bound:
        advice = "make room, or lower AI_USAGE_JOURNAL_MAX_BYTES"
        yield Finding(Level.WARNING, said, advice)
    else:
        yield Finding(Level.OK, said)


def _find_existing(path: Path) -> Path:
    """Return the path, or the nearest one above it that can be seen."""
    return next(each for each in (path, *path.parents) if os.path.lexists(each))
