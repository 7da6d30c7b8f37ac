"""The journals of this user, and the disk that they are on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from receipt_dynamo.cli.arguments import find_journals
from receipt_dynamo.cli.commands.survey import judge_journals, survey
from receipt_dynamo.cli.findings import Finding, Level
from receipt_dynamo.cli.output import count_of, describe_bytes
from receipt_dynamo.data.delivery.settings import DURABILITY_VARIABLE, DeliverySettings
from receipt_dynamo.data.journal.directory import find_directory, is_in_memory
from receipt_label.cli.doctor.checks import CheckContext, CheckResult
from receipt_label.environment import default_durability, explain_environment


def check_journals(_: CheckContext) -> CheckResult:
    """Look at the journals where a client of this user puts them."""
    directory = find_journals(None)
    views = survey(directory)
    pending = sum(view.counts.pending for view in views)
    dead = sum(view.counts.dead for view in views)
    held = f"{count_of(len(views), 'journal')} in {directory.path}, {pending} pending"
    findings = (Finding(Level.OK, held), *judge_journals(directory, views))
    document = {
        "directory": str(directory.path),
        "pending": pending,
        "dead": dead,
        "set_aside": directory.count_set_aside(),
        "journals": [view.to_json() for view in views],
    }
    return CheckResult(findings, {"journals": document})


def check_disk(context: CheckContext) -> CheckResult:
    """Look at the disk, as a service with this environment would use it."""
    environment = explain_environment(context.table_name, context.variables).environment
    given = context.variables.get(DURABILITY_VARIABLE, "").strip().lower()
    durability = given or default_durability(environment) or "journal"
    if durability == "memory":
        said = "records are in memory only, not on disk, because durability is memory"
        return CheckResult((Finding(Level.OK, said),), {"durability": durability})
    directory = find_directory(None)
    lines = tuple(_judge_disk(directory, _find_existing(directory)))
    return CheckResult(lines, {"durability": durability})


def _find_existing(path: Path) -> Path:
    """Return the path, or the nearest one above it that exists."""
    return next(each for each in (path, *path.absolute().parents) if each.exists())


def _judge_disk(directory: Path, existing: Path) -> Iterator[Finding]:
    if not os.access(existing, os.W_OK):
        said = f"the journal cannot be made: {existing} cannot be written"
        advice = "records would be in memory only. Set AI_USAGE_JOURNAL_DIR"
        yield Finding(Level.ERROR, said, advice)
        return
    if is_in_memory(directory):
        said = f"{directory} is on a RAM disk (tmpfs), which a restart of the host empties"
        yield Finding(Level.WARNING, said, "set AI_USAGE_JOURNAL_DIR to a real disk")
    free = shutil.disk_usage(existing).free
    try:
        bound = DeliverySettings().find_journal_max_bytes()
    except ValueError:
        return  # A finding of the configuration says that it is malformed.
    said = (
        f"{describe_bytes(free)} are free for the journal, whose bound is {describe_bytes(bound)}"
    )
    if free < bound:
        advice = "make room, or lower AI_USAGE_JOURNAL_MAX_BYTES"
        yield Finding(Level.WARNING, said, advice)
    else:
        yield Finding(Level.OK, said)
