"""``journal drain``, ``redrive``: what dead processes left reaches its table, and no other."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest

from receipt_dynamo import AIUsageMetric, DynamoClient
from receipt_dynamo.cli.commands.survey import survey
from receipt_dynamo.data.journal.directory import JournalDirectory, JournalTarget
from receipt_dynamo.data.journal.journal import Journal
from receipt_dynamo.testing import FaultProxy, Throttle
from support.command_runs import Ended
from support.left_journals import Processes, make_journal, read_ids

Run = Callable[..., Ended]
START = datetime(2026, 3, 1, tzinfo=UTC)


def only_table(ended: Ended) -> dict[str, Any]:
    (table,) = ended.document["tables"]
    assert isinstance(table, dict)
    return table


def test_what_killed_processes_left_is_delivered_and_their_journals_go(
    run: Run, processes: Processes, table: DynamoClient, directory: JournalDirectory
) -> None:
    together = [processes.keep(pending=3), processes.keep(pending=5)]
    for process in together:
        process.kill()
    drained = run("drain", "--json")
    found = only_table(drained)
    assert (drained.status, found["table"]) == (0, table.table_name)
    assert [found[name] for name in ("delivered", "pending", "dead", "why")] == [8, 0, 0, []]
    assert read_ids(table) == {"first", *(f"id-{number}" for number in range(5))}
    assert list(directory.path.iterdir()) == []


def test_drain_with_nothing_left_ends_with_status_0(run: Run) -> None:
    drained = run("drain")
    assert (drained.status, drained.out) == (0, "dead processes left no records here\n")


def test_dead_letters_alone_are_left_and_said(run: Run, directory: JournalDirectory) -> None:
    make_journal(directory, dead=1)
    drained = run("drain")
    assert drained.status == 1
    assert ": 0 delivered, 0 pending, 1 dead" in drained.out


def test_what_a_process_left_that_never_heard_from_dynamodb_is_delivered_by_its_credentials(
    run: Run, processes: Processes, table: DynamoClient
) -> None:
    processes.leave(pending=2, proven=False)
    drained = run("drain", "--json")
    assert (drained.status, only_table(drained)["delivered"]) == (0, 2)
    assert read_ids(table) == {"id-0", "id-1"}


@pytest.mark.parametrize("signs", [True, False])
def test_without_the_same_credentials_a_journal_is_left_alone_until_the_operator_says_so(
    run: Run,
    processes: Processes,
    table: DynamoClient,
    monkeypatch: pytest.MonkeyPatch,
    signs: bool,
) -> None:
    processes.leave(pending=2, proven=False, signs=signs)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    drained = run("drain", "--json")
    found = only_table(drained)
    assert (drained.status, found["delivered"], found["pending"]) == (1, 0, 2)
    assert ("is unproven" in found["why"][0]) is not signs
    assert "--adopt-unproven takes" in found["why"][0]
    assert read_ids(table) == set()

    drained = run("drain", "--json", "--adopt-unproven")
    assert (drained.status, only_table(drained)["delivered"]) == (0, 2)
    assert read_ids(table) == {"id-0", "id-1"}


def test_a_journal_proven_for_another_account_is_never_delivered(
    run: Run, processes: Processes, table: DynamoClient, directory: JournalDirectory
) -> None:
    """Not even on the operator's word: that is for what nobody has proven."""
    processes.leave(pending=2, proven=False)
    (view,) = survey(directory)
    other = f"arn:aws:dynamodb:us-east-1:999999999999:table/{table.table_name}"
    journal = Journal.open(view.path)
    journal.write_notes([("table_arn", other)])
    journal.close()

    drained = run("drain", "--json", "--adopt-unproven", "--timeout", "30")
    found = only_table(drained)
    assert (drained.status, found["delivered"], found["pending"]) == (1, 0, 2)
    assert (
        f"is for {other}, which is not arn:aws:dynamodb:us-east-1:123456789012:"
        in (found["why"][0])
    )
    assert read_ids(table) == set()


def test_an_outage_and_throttling_leave_everything_and_say_why(
    run: Run, processes: Processes, table: DynamoClient, proxy: FaultProxy
) -> None:
    processes.leave(pending=2)
    proxy.down()
    drained = run("drain", "--json", "--timeout", "0")
    found = only_table(drained)
    assert (drained.status, found["delivered"], found["pending"]) == (1, 0, 2)
    assert "EndpointConnectionError" in found["why"][0]

    proxy.up()
    proxy.always(Throttle())
    drained = run("drain", "--json", "--timeout", "0.2")
    assert (drained.status, only_table(drained)["pending"]) == (1, 2)

    proxy.heal()
    assert run("drain").status == 0
    assert read_ids(table) == {"first", "id-0", "id-1"}


def test_a_table_that_is_not_there_is_said_at_once(
    run: Run, moto_endpoint: str, directory: JournalDirectory
) -> None:
    """Not after the timeout, which here is longer than the test may take."""
    make_journal(directory, JournalTarget("no-such-table", "us-east-1", moto_endpoint), pending=1)
    drained = run("drain", "--json", "--timeout", "3600")
    assert (drained.status, only_table(drained)["pending"]) == (1, 1)
    assert "ResourceNotFoundException" in only_table(drained)["why"][0]


def test_an_endpoint_of_this_shell_does_not_redirect_what_was_for_aws(
    run: Run,
    directory: JournalDirectory,
    table: DynamoClient,
    moto_endpoint: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_journal(directory, JournalTarget(table.table_name, "us-east-1", ""), pending=1)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", moto_endpoint)
    drained = run("drain", "--json", "--adopt-unproven")
    assert (drained.status, only_table(drained)["pending"]) == (1, 1)
    assert "unset AWS_REGION" in only_table(drained)["why"][0]


def test_the_settings_of_the_dead_process_count_not_this_shells(
    run: Run, processes: Processes, table: DynamoClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes.leave(pending=1)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9")
    monkeypatch.setenv("AI_USAGE_DURABILITY", "memory")
    assert run("drain").status == 0
    assert read_ids(table) == {"first", "id-0"}


def test_only_the_chosen_table_is_drained(
    run: Run, table: DynamoClient, directory: JournalDirectory
) -> None:
    endpoint = str(table.target.endpoint_url)
    target = JournalTarget(table.table_name, "us-east-1", endpoint)
    arn = f"arn:aws:dynamodb:us-east-1:123456789012:table/{table.table_name}"
    make_journal(directory, target, pending=1, arn=arn)
    make_journal(directory, JournalTarget("other", "us-east-1", "http://127.0.0.1:9"), pending=1)
    drained = run("drain", "--json", "--table", table.table_name)
    assert (drained.status, only_table(drained)["delivered"]) == (0, 1)
    (left,) = survey(directory)
    assert left.target.table_name == "other"


def test_dead_letters_are_listed_with_key_reason_attempts_and_size(
    run: Run, processes: Processes, table: DynamoClient
) -> None:
    processes.leave(dead=1)
    listed = run("dead", "--json")
    (letter,) = listed.document["dead"]
    assert listed.status == 1
    assert (letter["table"], letter["attempts"], letter["living"]) == (table.table_name, 1, False)
    assert letter["pk"] == "AI_USAGE#openai#gpt-4o"
    assert letter["sk"].endswith("#dead-0")
    assert letter["reason"].startswith("ValidationException: ")
    assert letter["bytes"] > 300
    said = run("dead", "--all").out
    assert f"{letter['pk']} {letter['sk']}" in said
    assert "after 1 attempt, " in said


def test_no_dead_letter_is_all_well(run: Run, directory: JournalDirectory) -> None:
    make_journal(directory, pending=1)
    assert (run("dead").status, run("dead").out) == (0, "0 dead letters\n")


def test_a_dead_letter_that_is_no_json_is_listed_without_its_key(
    run: Run, directory: JournalDirectory
) -> None:
    journal = Journal.open(make_journal(directory))
    journal.bury(journal.append(b"\xff{"), "why", 1)
    journal.close()
    (letter,) = run("dead", "--json").document["dead"]
    assert (letter["pk"], letter["sk"]) == (None, None)
    assert "(unreadable item)" in run("dead").out


def test_redriven_dead_letters_are_delivered(
    run: Run, processes: Processes, table: DynamoClient
) -> None:
    processes.leave(dead=2)
    redriven = run("redrive", "--json")
    assert (redriven.status, redriven.document["redriven"]) == (0, 2)
    assert run("drain").status == 0
    assert read_ids(table) == {"first", "dead-0", "dead-1"}


def test_one_dead_letter_is_redriven_by_its_key(
    run: Run, processes: Processes, table: DynamoClient
) -> None:
    processes.leave(dead=2)
    letter = run("dead", "--json").document["dead"][1]
    assert run("redrive", "--key", letter["pk"], letter["sk"]).status == 0
    assert run("redrive", "--key", letter["pk"], "no-such-key").status == 1
    assert run("drain").status == 1
    assert read_ids(table) == {"first", "dead-1"}
    (left,) = run("dead", "--json").document["dead"]
    assert left["sk"].endswith("#dead-0")


def test_dead_letters_of_a_living_process_are_not_redriven_and_it_says_so(
    run: Run, processes: Processes
) -> None:
    living = processes.keep(dead=1)
    redriven = run("redrive")
    assert redriven.status == 1
    assert f"1 dead letter not touched, because process {living.pid} lives" in redriven.out
    assert "client.redrive()" in redriven.out
    assert living.end() == "0 pending, 1 dead"


def test_only_the_chosen_tables_dead_letters_are_redriven(
    run: Run, directory: JournalDirectory
) -> None:
    make_journal(directory, dead=1)
    make_journal(directory, JournalTarget("other", "", ""), dead=2)
    assert run("redrive", "--json", "--table", "other").document["redriven"] == 2
    assert len(run("dead", "--json").document["dead"]) == 1


def test_a_damaged_record_is_neither_delivered_nor_redriven_and_is_listed(
    run: Run, table: DynamoClient, directory: JournalDirectory
) -> None:
    endpoint = str(table.target.endpoint_url)
    target = JournalTarget(table.table_name, "us-east-1", endpoint)
    arn = f"arn:aws:dynamodb:us-east-1:123456789012:table/{table.table_name}"
    path = make_journal(directory, target, pending=3, arn=arn)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE records SET item = CAST(REPLACE(item, 'some', 'same') AS BLOB)")
        connection.execute("UPDATE records SET mark = mark + 1 WHERE seq = 2")
    drained = only_table(run("drain", "--json"))
    assert [drained[name] for name in ("delivered", "pending", "dead")] == [0, 0, 3]
    letters = run("dead", "--json").document["dead"]
    assert [letter["pk"] for letter in letters] == [None] * 3
    assert all(letter["reason"].startswith("damaged on disk") for letter in letters)
    assert run("redrive", "--json").document["redriven"] == 0
    assert run("drain", "--json").status == 1


def test_what_a_killed_process_left_half_made_is_cleared_away(
    run: Run, directory: JournalDirectory
) -> None:
    path = make_journal(directory)
    path.rename(path.with_suffix(".new"))
    assert run("drain").status == 0
    assert list(directory.path.iterdir()) == []


@pytest.mark.parametrize("lacks", ["region", "table"])
def test_for_a_journal_that_names_no_region_or_table_the_operator_names_it(
    run: Run,
    table: DynamoClient,
    directory: JournalDirectory,
    monkeypatch: pytest.MonkeyPatch,
    lacks: str,
) -> None:
    """As of a process that had neither credentials nor a region."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    target = JournalTarget(
        "" if lacks == "table" else table.table_name,
        "" if lacks == "region" else "us-east-1",
        str(table.target.endpoint_url),
    )
    path = make_journal(directory, target)
    journal = Journal.open(path)
    metric = AIUsageMetric("openai", "gpt-4o", "completion", START, request_id="a")
    journal.append(metric.to_dynamodb_json())
    journal.close()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_DEFAULT_REGION")

    drained = run("drain", "--json", "--adopt-unproven")
    assert (drained.status, f"give it by --{lacks}" in only_table(drained)["why"][0]) == (1, True)
    words = ["--region", "us-east-1", "--table", table.table_name]
    assert run("drain", *words).status == 2  # only with the operator's word
    drained = run("drain", "--json", "--adopt-unproven", *words)
    assert (drained.status, only_table(drained)["delivered"]) == (0, 1), drained.out
    assert read_ids(table) == {"a"}
