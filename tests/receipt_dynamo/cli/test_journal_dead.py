"""Many dead letters: grouped, redriven in part, and deleted once they are exported."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from receipt_dynamo.cli.commands.survey import survey
from receipt_dynamo.cli.progress import STEP, show_progress
from receipt_dynamo.data.journal.directory import JournalDirectory, JournalTarget
from receipt_dynamo.data.journal.journal import JournalRow
from receipt_dynamo.data.journal.peek import iterate, peek
from support.command_runs import Ended
from support.left_journals import Processes, make_journal

Run = Callable[..., Ended]

TARGET = JournalTarget("table", "us-east-1", "http://127.0.0.1:9")
TOO_LARGE = "ValidationException: item size {} exceeds the bound of 409600"
WRONG_KEY = "ValidationException: the key has another type"


class Terminal(io.StringIO):
    """A terminal, by its own word."""

    def isatty(self) -> bool:
        return True


def leave_dead(directory: JournalDirectory, *reasons: str, first: int = 0) -> Path:
    """Make a journal with a dead letter for each reason, each of another day."""
    path = make_journal(directory)
    held = directory.open_abandoned(path)
    if held is None:
        held = directory.create(
            JournalTarget("table", "us-east-1", "http://127.0.0.1:9"), sync=False
        )
    for number, reason in enumerate(reasons, start=first):
        item = {
            "PK": {"S": "p"},
            "SK": {"S": f"{number:05}"},
            "timestamp": {"S": f"2026-03-{1 + number % 28:02}T12:00:00+00:00"},
        }
        held.journal.bury(held.journal.append(json.dumps(item).encode()), reason, 1)
    held.close()
    return held.journal.path


def read_dead(path: Path) -> list[JournalRow]:
    with peek(path) as journal:
        return list(iterate(journal.read_dead))


def test_dead_letters_are_grouped_by_reason_whatever_the_numbers_in_it(
    run: Run, directory: JournalDirectory
) -> None:
    leave_dead(directory, *(TOO_LARGE.format(409_601 + number) for number in range(20)), WRONG_KEY)
    leave_dead(directory, WRONG_KEY, WRONG_KEY, first=21)
    shown = run("dead")
    assert shown.status == 1
    for_table = "  for table (us-east-1, http://127.0.0.1:9), of"
    assert shown.out.splitlines() == [
        f"20 dead letters: {TOO_LARGE.format(409_601)}",
        f"{for_table} 2026-03-01T12:00:00+00:00 to 2026-03-20T12:00:00+00:00",
        "  such as p 00000",
        f"3 dead letters: {WRONG_KEY}",
        f"{for_table} 2026-03-21T12:00:00+00:00 to 2026-03-23T12:00:00+00:00",
        "  such as p 00020",
        "23 dead letters",
    ]
    document = run("dead", "--json").document
    assert [(group["count"], group["sk"]) for group in document["groups"]] == [
        (20, "00000"),
        (3, "00020"),
    ]
    assert len(document["dead"]) == 23
    listed = run("dead", "--all").out
    assert all(f"p {number:05}" in listed for number in range(23))


def test_a_part_is_redriven_by_its_reason(run: Run, directory: JournalDirectory) -> None:
    path = leave_dead(directory, TOO_LARGE.format(1), WRONG_KEY, WRONG_KEY)
    redriven = run("redrive", "--reason", "another type", "--json")
    assert (redriven.status, redriven.document["redriven"]) == (0, 2)
    assert [row.reason for row in read_dead(path)] == [TOO_LARGE.format(1)]
    assert run("redrive", "--reason", "another type").status == 1
    assert run("redrive", "--reason", "exceeds", "--key", "p", "00001").status == 1
    assert run("redrive", "--reason", "exceeds", "--key", "p", "00000").status == 0


def test_only_what_was_exported_is_discarded(
    run: Run, directory: JournalDirectory, tmp_path: Path
) -> None:
    first = leave_dead(directory, WRONG_KEY, WRONG_KEY)
    make_journal(directory, JournalTarget("other", "", ""), pending=2)
    exported = tmp_path / "exported.jsonl"
    assert run("export", "--table", "table", exported).status == 0
    second = leave_dead(directory, WRONG_KEY, first=5)
    done = run("discard", "--exported", exported, "--yes", "--json")
    assert done.status == 1
    assert done.document == {"discarded": 2, "left": 1, "living": {}, "troubles": []}
    assert not first.exists()
    assert len(read_dead(second)) == 1
    assert sum(view.counts.pending for view in survey(directory)) == 2
    again = run("discard", "--exported", exported)
    assert again.status == 1
    assert (
        again.out == f"0 dead letters deleted\n1 dead letter left, which {exported} does not hold\n"
    )


def test_a_record_that_was_pending_when_it_was_exported_is_not_discarded(
    run: Run, directory: JournalDirectory, tmp_path: Path
) -> None:
    """Who exported it may have counted on its delivery."""
    path = leave_dead(directory, WRONG_KEY)
    assert run("redrive").status == 0
    exported = tmp_path / "exported.jsonl"
    assert run("export", "--pending", exported).status == 0
    held = directory.open_abandoned(path)
    assert held is not None
    (row,) = held.journal.read_pending(None, 9)
    held.journal.bury(row.seq, WRONG_KEY, 1)
    held.close()
    assert run("discard", "--exported", exported, "--yes").status == 1
    assert len(read_dead(path)) == 1


@pytest.mark.parametrize("answer", ["", "n\n", "no\n", "yes please\n"])
def test_nothing_is_discarded_without_a_yes(
    run: Run,
    directory: JournalDirectory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
) -> None:
    path = leave_dead(directory, WRONG_KEY, WRONG_KEY)
    exported = tmp_path / "exported.jsonl"
    run("export", "--dead", exported)
    refused = run("discard", "--exported", exported)
    assert (refused.status, "give --yes" in refused.err) == (2, True)
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    asked = run("discard", "--exported", exported)
    assert asked.status == 1
    assert f"Delete 2 dead letters, which {exported} holds" in asked.err
    assert len(read_dead(path)) == 2
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert run("discard", "--exported", exported).status == 0
    assert not path.exists()


def test_a_living_process_keeps_its_dead_letters(
    run: Run, processes: Processes, tmp_path: Path
) -> None:
    living = processes.keep(dead=1)
    exported = tmp_path / "exported.jsonl"
    assert run("export", "--dead", exported).status == 0
    done = run("discard", "--exported", exported, "--yes")
    assert done.status == 1
    assert f"1 dead letter not touched, because process {living.pid} lives" in done.out
    assert living.end() == "0 pending, 1 dead"


@pytest.mark.parametrize("line", ["{}", "[]", "1", '{"state": "dead"}', "not json", "\ud800"])
def test_a_file_that_is_no_export_is_refused(
    run: Run, directory: JournalDirectory, tmp_path: Path, line: str
) -> None:
    path = leave_dead(directory, WRONG_KEY)
    exported = tmp_path / "exported.jsonl"
    run("export", "--dead", exported)
    with exported.open("a", encoding="utf-8", errors="surrogatepass") as file:
        file.write(f"{line}\n")
    refused = run("discard", "--exported", exported, "--yes")
    assert refused.status == 2
    assert f"--exported is {exported}, whose line 2 is no record; accepted is" in refused.err
    assert len(read_dead(path)) == 1


def test_progress_is_shown_on_a_terminal_only_and_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, str] = {}
    for name, stream, quiet in (
        ("terminal", Terminal(), False),
        ("quiet", Terminal(), True),
        ("file", io.StringIO(), False),
    ):
        monkeypatch.setattr("sys.stderr", stream)
        chosen = argparse.Namespace(quiet=quiet)
        assert sum(1 for _ in show_progress(range(2 * STEP + 1), chosen, "done")) == 2 * STEP + 1
        shown[name] = stream.getvalue()
    clear = "\r\033[K"
    assert shown == {
        "terminal": f"{clear}{STEP} done{clear}{2 * STEP} done{clear}",
        "quiet": "",
        "file": "",
    }
