"""The journals of this user, and the disk that they are on."""

from __future__ import annotations

from contextlib import suppress

from receipt_dynamo.cli.arguments import find_journals
from receipt_dynamo.cli.commands.survey import judge_journals, survey
from receipt_dynamo.cli.disk import judge_disk
from receipt_dynamo.cli.findings import Finding, Level
from receipt_dynamo.cli.output import count_of
from receipt_dynamo.support import DeliverySettings, find_setting
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
    guarded_as = explain_environment(context.table_name, context.variables).guarded_as
    given = None
    with suppress(ValueError):  # A line of the configuration says that it is malformed.
        given = find_setting(DeliverySettings, "durability").read(context.variables)
    durability = given or default_durability(guarded_as) or "journal"
    if durability == "memory":
        said = "records are in memory only, not on disk, because durability is memory"
        return CheckResult((Finding(Level.OK, said),), {"durability": durability})
    return CheckResult(tuple(judge_disk()), {"durability": durability})
