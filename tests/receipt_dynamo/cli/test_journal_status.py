"""``journal status``: sees everything, changes and shows nothing that it should not."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from receipt_dynamo import DynamoClient
from receipt_dynamo.cli.commands.survey import LONGEST_AGE, survey
from receipt_dynamo.data.delivery.settings import DeliverySettings
from receipt_dynamo.data.journal.directory import JournalDirectory, JournalTarget
from receipt_dynamo.data.journal.file import MADE_AT
from receipt_dynamo.testing import FaultProxy, UnprocessedItems
from support.command_runs import Ended
from support.left_journals import USER, Processes, make_journal, read_ids
from support.simulation.machine import Simulation, make_item

Run = Callable[..., Ended]


@pytest.fixture
def simulation(tmp_path: Path) -> Simulation:
    return Simulation(tmp_path / "simulated")


def read_content(directory: JournalDirectory) -> dict[str, bytes]:
    """Return all bytes of all files."""
    return {path.name: path.read_bytes() for path in directory.path.iterdir()}


def test_what_a_killed_process_left_is_shown(
    run: Run, processes: Processes, table: DynamoClient, proxy: FaultProxy
) -> None:
    processes.leave(pending=3, dead=1)
    shown = run("status", "--json")
    (journal,) = shown.document["journals"]
    assert shown.status == 1
    assert journal["bytes"] > 1_000
    assert 0 <= journal["age_seconds"] < 60
    assert 0 <= journal["oldest_pending_seconds"] < 60
    del journal["bytes"], journal["age_seconds"], journal["journal"]
    del journal["oldest_pending_seconds"]
    assert journal == {
        "table": table.table_name,
        "region": "us-east-1",
        "endpoint": proxy.endpoint_url,
        "arn": f"arn:aws:dynamodb:us-east-1:123456789012:table/{table.table_name}",
        "proven": True,
        "standing": "proven",
        "living": False,
        "pid": None,
        "pending": 3,
        "dead": 1,
        "trouble": None,
    }
    assert {key: shown.document[key] for key in ("pending", "dead", "set_aside")} == {
        "pending": 3,
        "dead": 1,
        "set_aside": 0,
    }
    said = run("status")
    assert said.status == 1
    assert "its process is dead" in said.out
    assert "3 pending, 1 dead letter," in said.out
    assert f"proven to be arn:aws:dynamodb:us-east-1:123456789012:table/{table.table_name}" in (
        said.out
    )


def set_age(directory: JournalDirectory, seconds: float) -> None:
    """Have the one journal be made so long ago; the records' own time is long before that."""
    (path,) = directory.list()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "UPDATE target SET value = ? WHERE name = ?", (str(time.time() - seconds), MADE_AT)
        )


@pytest.mark.parametrize(("seconds", "status"), [(LONGEST_AGE - 60, 0), (LONGEST_AGE + 1, 1)])
def test_a_living_process_that_does_not_deliver_is_worth_a_warning(
    run: Run, processes: Processes, directory: JournalDirectory, seconds: float, status: int
) -> None:
    living = processes.keep(pending=2)
    set_age(directory, seconds)
    shown = run("status")
    assert shown.status == status
    (journal,) = run("status", "--json").document["journals"]
    assert seconds <= journal["oldest_pending_seconds"] < seconds + 60
    assert "the oldest pending record has waited for" in shown.out
    warning = (
        f"warning: living process {living.pid} has 2 pending records, the oldest for 5 minutes"
    )
    assert (warning in shown.out) == bool(status)


def test_what_is_delivered_is_not_pending_for_long_while_another_record_waits(
    simulation: Simulation,
) -> None:
    """Its row waited for 249 others to be deleted with it."""
    delivery = simulation.open(DeliverySettings(durability="journal", batch_size=1))
    for number in range(20):
        assert delivery.accept(*make_item(number), None) is None
    simulation.table.script(*[None] * 19, *[UnprocessedItems(share=1.0)] * 999)
    assert not delivery.flush(10.0)
    assert delivery.get_stats().pending == 1
    (view,) = survey(simulation.disk)
    assert view.counts.pending == 1
    delivery.close(0.0)


@pytest.mark.parametrize("signs", [True, False])
def test_a_process_killed_before_dynamodb_named_the_table_is_known_by_its_credentials(
    run: Run, processes: Processes, signs: bool
) -> None:
    processes.leave(pending=1, proven=False, signs=signs)
    (journal,) = run("status", "--json").document["journals"]
    assert (journal["proven"], journal["arn"]) == (False, None)
    assert journal["standing"] == ("attributed" if signs else "unproven")
    said = run("status").out
    assert ("unproven" in said) is not signs
    assert ("python -m receipt_dynamo journal drain --adopt-unproven" in said) is not signs


def test_a_living_owner_is_named_and_not_disturbed_by_any_command(
    run: Run, processes: Processes, table: DynamoClient, tmp_path: Path
) -> None:
    living = processes.keep(pending=2, dead=1)
    (journal,) = run("status", "--json").document["journals"]
    assert (journal["living"], journal["pid"]) == (True, living.pid)
    assert f"owned by living process {living.pid}" in run("status").out
    assert run("dead").status == 1
    assert run("export", tmp_path / "all.jsonl").status == 0
    assert run("redrive").status == 1
    assert run("erase", "--user-id", USER).status == 1
    assert run("drain").status == 0
    (same,) = run("status", "--json").document["journals"]
    assert (same["pending"], same["dead"]) == (2, 1)
    assert living.end() == "0 pending, 1 dead"
    assert read_ids(table) == {"first", "id-0", "id-1"}


def test_looking_changes_no_file(
    run: Run, processes: Processes, directory: JournalDirectory
) -> None:
    processes.leave(pending=3, dead=1)
    before = read_content(directory)
    for command in ("status", "dead", "export"):
        run(command, *(["-"] if command == "export" else []))
    assert read_content(directory) == before


def test_what_a_record_says_is_never_shown(
    run: Run, processes: Processes, proxy: FaultProxy
) -> None:
    processes.leave(pending=1, dead=1)
    proxy.down()
    for command in (["status"], ["dead"], ["drain", "--timeout", "0"], ["redrive"]):
        for form in ([], ["--json"]):
            shown = run(*command, *form)
            assert "canary" not in shown.out + shown.err, command


def test_a_newer_journal_is_shown_as_such_and_left_alone(
    run: Run, directory: JournalDirectory
) -> None:
    path = make_journal(directory, pending=1)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    shown = run("status", "--json")
    assert (shown.status, shown.document["journals"][0]["trouble"]) == (1, "newer")
    assert "a newer release of receipt_dynamo made it" in run("status").out
    for command in (["drain"], ["redrive"], ["erase", "--user-id", "someone"], ["export", "-"]):
        assert run(*command).status == 1
    assert path.read_bytes() == before


def test_a_damaged_journal_is_shown_as_such(run: Run, directory: JournalDirectory) -> None:
    path = make_journal(directory, pending=1)
    path.write_bytes(b"no database at all " * 100)
    shown = run("status", "--json")
    assert (shown.status, shown.document["journals"][0]["trouble"]) == (1, "damaged")
    assert run("dead").status == 1
    assert "it is damaged" in run("status").out


def test_damaged_journals_set_aside_are_counted(run: Run, directory: JournalDirectory) -> None:
    directory.set_aside(make_journal(directory, pending=1))
    shown = run("status", "--json")
    assert (shown.status, shown.document["set_aside"], shown.document["journals"]) == (1, 1, [])
    assert "1 damaged journal set aside in" in run("status").out


def test_a_journal_of_no_length_is_damaged_and_its_log_stays(
    run: Run, directory: JournalDirectory
) -> None:
    """A new one is never seen before it is whole. SQLite deletes the log of an empty file."""
    path = make_journal(directory)
    path.write_bytes(b"")
    log = path.with_name(f"{path.name}-wal")
    log.write_bytes(b"what was committed")
    shown = run("status", "--json")
    assert (shown.status, shown.document["journals"][0]["trouble"]) == (1, "damaged")
    assert log.read_bytes() == b"what was committed"


def test_a_journal_that_goes_while_it_is_looked_at_is_left_out(
    directory: JournalDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_journal(directory)
    monkeypatch.setattr(directory, "list", lambda: [path, path.with_name("gone.db")])
    assert [view.path for view in survey(directory)] == [path]


def test_control_characters_in_stored_names_do_not_reach_the_terminal(
    run: Run, directory: JournalDirectory
) -> None:
    nasty = "t\x1b[31m\x07\u202e\x7f\n"
    make_journal(
        directory, JournalTarget(nasty, nasty, f"http://{nasty}"), dead=1, arn=nasty, reason=nasty
    )
    for command in (["status"], ["dead"], ["drain", "--timeout", "0"], ["redrive"]):
        for form in ([], ["--json"]):
            shown = run(*command, *form)
            for line in (shown.out + shown.err).splitlines():
                assert line.isprintable(), (command, line)


def test_a_password_in_an_endpoint_is_hidden(run: Run, directory: JournalDirectory) -> None:
    make_journal(directory, JournalTarget("table", "", "http://me:secret@host:1/x"), pending=1)
    for form in ([], ["--json"]):
        shown = run("status", *form).out
        assert "secret" not in shown
        assert "http://***@host:1/x" in shown


def test_only_journals_of_the_chosen_table_are_shown(run: Run, directory: JournalDirectory) -> None:
    make_journal(directory, pending=1)
    make_journal(directory, JournalTarget("other", "", ""), pending=1)
    shown = run("status", "--json", "--table", "other").document
    assert [journal["table"] for journal in shown["journals"]] == ["other"]


def test_a_service_that_has_not_run_yet_has_no_journals(
    run: Run, directory: JournalDirectory
) -> None:
    shown = run("status")
    assert (shown.status, shown.out.splitlines()[0]) == (0, f"0 journals in {directory.path}")
    assert not directory.path.exists()
