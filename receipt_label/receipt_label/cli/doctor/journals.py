"""The journals of this user, and the disk that they are on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from receipt_dynamo.cli.arguments import find_journals
from receipt_dynamo.cli.commands.survey import JournalView, list_troubles, mention_set_aside, survey
from receipt_dynamo.cli.output import count_of, describe_bytes
from receipt_dynamo.data.delivery.settings import DURABILITY_VARIABLE, DeliverySettings
from receipt_dynamo.data.journal.directory import find_directory, is_in_memory
from receipt_label.cli.doctor.findings import Finding, Level, Line, Patient
from receipt_label.environment import default_durability, explain_environment


def check_journals(_: Patient) -> Finding:
    """Look at the journals where a client of this user puts them."""
    directory = find_journals(None)
    views = survey(directory)
    pending = sum(view.counts.pending for view in views)
    dead = sum(view.counts.dead for view in views)
    held = f"{count_of(len(views), 'journal')} in {directory.path}, {pending} pending"
    lines = [Line(Level.OK, held), *_judge_journals(views)]
    lines += [Line(Level.WARNING, said) for said in mention_set_aside(directory)]
    document = {
        "directory": str(directory.path),
        "pending": pending,
        "dead": dead,
        "set_aside": directory.count_set_aside(),
        "journals": [view.to_json() for view in views],
    }
    return Finding(tuple(lines), {"journals": document})


def _judge_journals(views: list[JournalView]) -> Iterator[Line]:
    left = sum(view.counts.pending for view in views if view.is_abandoned)
    if left:
        said = (
            f"dead processes left {count_of(left, 'record')}; deliver: receipt-usage journal drain"
        )
        yield Line(Level.WARNING, said)
    dead = sum(view.counts.dead for view in views)
    if dead:
        said = f"{count_of(dead, 'dead letter')}; see why: receipt-usage journal dead"
        yield Line(Level.WARNING, said)
    for trouble in list_troubles(views):
        yield Line(Level.WARNING, trouble)


def check_disk(patient: Patient) -> Finding:
    """Look at the disk, as a service with this environment would use it."""
    environment = explain_environment(patient.table_name, patient.variables).environment
    given = patient.variables.get(DURABILITY_VARIABLE, "").strip().lower()
    durability = given or default_durability(environment) or "journal"
    if durability == "memory":
        said = "records wait in memory only, not on disk, because durability is memory"
        return Finding((Line(Level.OK, said),), {"durability": durability})
    directory = find_directory(None)
    lines = tuple(_judge_disk(directory, _find_existing(directory)))
    return Finding(lines, {"durability": durability})


def _find_existing(path: Path) -> Path:
    """Return the path, or the nearest one above it that exists."""
    return next(each for each in (path, *path.absolute().parents) if each.exists())


def _judge_disk(directory: Path, existing: Path) -> Iterator[Line]:
    if not os.access(existing, os.W_OK):
        said = f"the journal cannot be made: {existing} cannot be written; records would wait in"
        yield Line(Level.ERROR, f"{said} memory only. Set AI_USAGE_JOURNAL_DIR")
        return
    if is_in_memory(directory):
        said = f"{directory} is on a disk of memory, which a restart of the host empties"
        yield Line(Level.WARNING, f"{said}; set AI_USAGE_JOURNAL_DIR to a real disk")
    free = shutil.disk_usage(existing).free
    try:
        bound = DeliverySettings().find_journal_max_bytes()
    except ValueError:
        return  # A line of the configuration says that it is malformed.
    held = f"{describe_bytes(free)} are free for the journal, whose bound is"
    if free < bound:
        said = f"{held} {describe_bytes(bound)}; make room, or lower AI_USAGE_JOURNAL_MAX_BYTES"
        yield Line(Level.WARNING, said)
    else:
        yield Line(Level.OK, f"{held} {describe_bytes(bound)}")
