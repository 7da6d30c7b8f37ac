"""``journal export``: the records as they are, for this user's eyes only."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from receipt_dynamo import AIUsageMetric, DynamoClient
from receipt_dynamo.data.journal.directory import JournalDirectory
from receipt_dynamo.data.journal.journal import Journal
from support.command_runs import Ended
from support.left_journals import USER, Processes, make_journal

Run = Callable[..., Ended]


def read_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_records_are_written_to_a_private_file(
    run: Run, processes: Processes, table: DynamoClient, tmp_path: Path
) -> None:
    processes.leave(pending=2, dead=1)
    target = tmp_path / "all.jsonl"
    before = os.umask(0)
    try:
        ended = run("export", target, "--json")
    finally:
        os.umask(before)
    assert (ended.status, ended.document["exported"]) == (0, 3)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    lines = read_lines(target.read_text(encoding="ascii"))
    assert [line["state"] for line in lines] == ["pending", "pending", "dead"]
    assert lines[2]["attempts"] == 1
    assert lines[2]["reason"].startswith("ValidationException")
    assert {line["table"] for line in lines} == {table.table_name}
    metrics = [AIUsageMetric.from_dynamodb_item(line["item"]) for line in lines]
    assert [metric.request_id for metric in metrics] == ["id-0", "id-1", "dead-0"]
    assert {metric.user_id for metric in metrics} == {USER}


@pytest.mark.parametrize(
    ("chosen", "states"),
    [
        (["--pending"], {"pending"}),
        (["--dead"], {"dead"}),
        (["--pending", "--dead"], {"pending", "dead"}),
        ([], {"pending", "dead"}),
    ],
)
def test_pending_records_dead_letters_or_both(
    chosen: list[str], states: set[str], run: Run, directory: JournalDirectory
) -> None:
    make_journal(directory, pending=1, dead=1)
    ended = run("export", "-", *chosen)
    assert {line["state"] for line in read_lines(ended.out)} == states
    assert ended.err == f"{len(states)} record{'s' * (len(states) > 1)} exported\n"


def test_every_page_of_a_journal_is_exported(run: Run, directory: JournalDirectory) -> None:
    make_journal(directory, pending=250, dead=101)
    lines = read_lines(run("export", "-").out)
    assert len({line["item"]["SK"]["S"] for line in lines}) == len(lines) == 351


def test_a_living_owners_records_are_exported_while_it_goes_on(
    run: Run, processes: Processes
) -> None:
    living = processes.keep(pending=2)
    assert run("status").status == 0  # Its pending records are in good hands.
    assert len(read_lines(run("export", "-").out)) == 2
    assert living.end() == "0 pending, 0 dead"


def test_a_file_or_link_that_is_there_is_not_written_to(
    run: Run, directory: JournalDirectory, tmp_path: Path
) -> None:
    make_journal(directory, pending=1)
    there = tmp_path / "there"
    there.write_text("mine", encoding="utf-8")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    for target in (there, link):
        ended = run("export", target)
        assert (ended.status, ended.out) == (2, "")
        assert "which exists; accepted is a new file" in ended.err
    assert there.read_text(encoding="utf-8") == "mine"
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_that_cannot_be_made_is_said(run: Run, tmp_path: Path) -> None:
    ended = run("export", tmp_path / "no" / "such" / "file")
    assert ended.status == 2
    assert "No such file or directory" in ended.err


def test_a_damaged_record_is_left_out_and_said(run: Run, directory: JournalDirectory) -> None:
    journal = Journal.open(make_journal(directory, pending=1))
    journal.append(b"\xff{")
    journal.close()
    ended = run("export", "-")
    assert (ended.status, len(read_lines(ended.out))) == (1, 1)
    assert "record 2 is damaged and left out" in ended.err


def test_what_is_exported_to_a_terminal_cannot_steer_it(
    run: Run, directory: JournalDirectory
) -> None:
    journal = Journal.open(make_journal(directory))
    nasty = "\x1b[31m\u202e\x7f\x9b"
    journal.append(json.dumps({"PK": {"S": nasty}}, ensure_ascii=False).encode())
    journal.close()
    (line,) = run("export", "-").out.splitlines()
    assert line.isprintable()
    assert json.loads(line)["item"]["PK"]["S"] == nasty
