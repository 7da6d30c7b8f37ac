"""What was accepted, what is in the table, and what that proves."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

from receipt_dynamo.data.journal.directory import JournalDirectory
from receipt_dynamo.data.journal.peek import peek
from receipt_dynamo.data.table.evidence import Evidence, Standing


@dataclass
class Verdict:
    """What came of some crashes.

    Attributes:
        kills: Processes that were killed.
        accepted: Records for which ``put`` is known to have returned True.
        rows: Rows in the table.
        lost: Accepted records that are not there.
        doubled: Records that are there more than once.
        unknown: Rows of records that nobody put.
        complaints: What else is wrong.
        facts: What else is to be shown.
    """

    kills: int = 0
    accepted: int = 0
    rows: int = 0
    lost: int = 0
    doubled: int = 0
    unknown: int = 0
    complaints: list[str] = field(default_factory=list)
    facts: str = ""

    @property
    def is_good(self) -> bool:
        return not (self.lost or self.doubled or self.unknown or self.complaints)

    def add(self, other: Verdict) -> None:
        self.kills += other.kills
        self.accepted += other.accepted
        self.rows += other.rows
        self.lost += other.lost
        self.doubled += other.doubled
        self.unknown += other.unknown
        self.complaints += other.complaints

    def expect(self, truth: object, complaint: str) -> None:
        if not truth:
            self.complaints.append(complaint)

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {self.accepted} accepted, {self.rows} rows, {self.lost} lost, "
            f"{self.doubled} doubled"
            + (f", {self.unknown} of nobody" if self.unknown else "")
            + self.facts
        )


def compare(verdict: Verdict, book: Path, endpoint_url: str, table_name: str) -> None:
    """Compare the table with the book: each accepted record once, and at most those announced.

    A process that is killed within ``put`` has announced a record and cannot say that it
    was accepted: that one may be there.
    """
    announced: set[str] = set()
    accepted: set[str] = set()
    for line in book.read_text(encoding="utf-8").splitlines():
        what, _, name = line.partition(" ")
        (announced if what == "put" else accepted).add(name)
    found = scan(endpoint_url, table_name)
    verdict.accepted += len(accepted)
    verdict.rows += found.total()
    verdict.lost += len(accepted - found.keys())
    verdict.doubled += sum(count > 1 for count in found.values())
    verdict.unknown += len(found.keys() - announced)


def scan(endpoint_url: str, table_name: str) -> Counter[str]:
    """Count the rows of each record, by plain boto3."""
    client = boto3.client("dynamodb", region_name="us-east-1", endpoint_url=endpoint_url)
    pages = client.get_paginator("scan").paginate(TableName=table_name, ConsistentRead=True)
    found = Counter(item["requestId"]["S"] for page in pages for item in page["Items"])
    client.close()
    return found


@dataclass
class Left:
    """Records in the journals of dead processes: those that others take over, and unproven ones."""

    known: int = 0
    unproven: int = 0


def count_left(directory: JournalDirectory) -> Left:
    """Count what is left in the journals of a directory, none of whose processes lives."""
    left = Left()
    for path in directory.list():
        with peek(path) as journal:
            pending = journal.count().pending
            if Evidence.read(journal.read_target()).standing is Standing.UNPROVEN:
                left.unproven += pending
            else:
                left.known += pending
    return left


def check_successor(verdict: Verdict, told: dict[str, Any], left: int) -> None:
    """Check what a process says that came after the dead ones, who left so many records."""
    stats, report = told["stats"], told["report"]
    settled = stats["delivered"] + stats["pending"] + stats["dead"] + stats["dropped"]
    verdict.expect(stats["accepted"] + stats["adopted"] == settled, f"accounts differ: {stats}")
    verdict.expect(stats["adopted"] == left, f"{left} records were left, adopted are {stats}")
    verdict.expect(told["flushed"], f"flush ran out of time: {stats}")
    verdict.expect(stats["delivered"] == left, f"not all is delivered: {stats}")
    verdict.expect(not report["pending"] and not report["lost"], f"close left records: {report}")
