"""``journal rehome``: records whose table was wrong go to the right one, when somebody agrees."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import boto3
import pytest

from receipt_dynamo import DynamoClient
from receipt_dynamo.cli.commands.survey import survey
from receipt_dynamo.data.journal.directory import JournalDirectory, JournalTarget
from receipt_dynamo.data.table.identity import prove_table
from support.command_runs import Ended
from support.left_journals import Processes, make_journal, read_ids

Run = Callable[..., Ended]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def right(moto_endpoint: str, table_name: str, monkeypatch: pytest.MonkeyPatch) -> DynamoClient:
    """The right table; the environment names its endpoint."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", moto_endpoint)
    client = DynamoClient(f"{table_name}-right", "us-east-1")
    client.create_table()
    return client


def test_records_go_to_the_right_table_and_their_journals_go(
    run: Run,
    processes: Processes,
    table: DynamoClient,
    right: DynamoClient,
    directory: JournalDirectory,
) -> None:
    processes.leave(pending=2)
    processes.leave(pending=1, proven=False)
    rehomed = run(
        *("rehome", "--from", table.table_name, "--to", right.table_name), "--yes", "--json"
    )
    assert rehomed.status == 0, rehomed.err
    assert rehomed.document == {
        "arn": prove_table(right._connection),
        "rehomed": 3,
        "delivered": 3,
        "pending": 0,
        "dead": 0,
        "living": {},
        "troubles": [],
    }
    assert read_ids(right) == {"id-0", "id-1"}
    assert read_ids(table) == {"first"}
    assert list(directory.path.iterdir()) == []


@pytest.mark.parametrize(("answer", "delivered"), [("y\n", 2), ("YES\n", 2), ("n\n", 0), ("", 0)])
def test_it_says_what_it_will_do_and_asks(
    run: Run,
    processes: Processes,
    table: DynamoClient,
    right: DynamoClient,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    delivered: int,
) -> None:
    processes.leave(pending=2, dead=1)
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    rehomed = run("rehome", "--from", table.table_name, "--to", right.table_name)
    assert f"2 records, 1 dead letter for {prove_table(table._connection)}" in rehomed.err
    assert f"which is {prove_table(right._connection)}" in rehomed.err
    assert rehomed.status == 1  # A dead letter is left, or all.
    assert len(read_ids(right)) == delivered
    if delivered:
        assert "3 records rehomed to" in rehomed.out
        assert run("redrive").status == run("drain").status == 0
        assert read_ids(right) == {"id-0", "id-1", "dead-0"}
    else:
        assert "nothing was changed" in rehomed.err


def test_without_anybody_to_ask_nothing_is_done(
    run: Run,
    processes: Processes,
    table: DynamoClient,
    right: DynamoClient,
    directory: JournalDirectory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    processes.leave(pending=1)
    before = [view.noted for view in survey(directory)]
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    rehomed = run("rehome", "--from", table.table_name, "--to", right.table_name, "--json")
    assert (rehomed.status, "give --yes" in rehomed.err) == (2, True)
    assert [view.noted for view in survey(directory)] == before


def make_other(name: str, **keys: Any) -> None:
    boto3.client("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


def test_a_table_that_cannot_hold_records_or_is_not_there_is_refused(
    run: Run, directory: JournalDirectory, right: DynamoClient
) -> None:
    make_journal(directory, JournalTarget("wrong", "us-east-1", ""), pending=1)
    other = f"{right.table_name}-other"
    make_other(other)
    before = [view.noted for view in survey(directory)]
    for name, said in ((other, "keys are different"), ("no-such-table", "there is no table")):
        rehomed = run("rehome", "--from", "wrong", "--to", name, "--yes")
        assert (rehomed.status, said in rehomed.err) == (2, True), rehomed.err
    assert [view.noted for view in survey(directory)] == before


def test_what_is_for_another_table_or_living_is_not_touched(
    run: Run, processes: Processes, table: DynamoClient, right: DynamoClient
) -> None:
    living = processes.keep(pending=1)
    rehomed = run("rehome", "--from", table.table_name, "--to", right.table_name, "--yes")
    assert rehomed.status == 1
    assert f"not touched, because process {living.pid} lives" in rehomed.out
    assert living.end() == "0 pending, 0 dead"
    assert run("rehome", "--from", "other", "--to", right.table_name, "--yes").status == 0
    assert read_ids(right) == set()


def test_records_are_named_by_the_arn_of_their_table_as_well(
    run: Run, processes: Processes, table: DynamoClient, right: DynamoClient
) -> None:
    processes.leave(pending=1)
    arns = [prove_table(each._connection) for each in (table, right)]
    rehomed = run("rehome", "--from", arns[0], "--to", arns[1], "--yes", "--quiet")
    assert (rehomed.status, rehomed.err) == (0, "")
    assert read_ids(right) == {"id-0"}
