"""The policies in docs/permissions.md are what the code calls: all of it, and no more.

The code runs behind a relay that enforces the policy, as AWS would, and notes each call.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from queue import Queue
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from receipt_dynamo import DynamoClient, ResilientDynamoClient
from receipt_dynamo.data.queries.metric_queries import MetricQueries
from receipt_dynamo.data.table.check import TableOptions, find_differences
from receipt_dynamo.data.table.setup import look_at_table, make_table
from receipt_label.cli.main import main
from support.inside_client import wait_for_proof
from support.loopback_relay import relay
from support.records import START, make_metrics

PAGE = Path(__file__).parents[2] / "docs" / "permissions.md"
ACCOUNT = "123456789012"
Call = tuple[str, str]
"""An action and the ARN that it is done to."""


class Role:
    """A role with a policy of the page: judges calls, and remembers them."""

    def __init__(self, name: str, table_name: str) -> None:
        page = PAGE.read_text(encoding="utf-8").replace("eu-central-1", "us-east-1")
        section = page.replace("ai-usage", table_name).partition(f"\n## {name}\n")[2]
        policy = json.loads(re.findall(r"```json\n(.*?)```", section, re.DOTALL)[0])
        self.allowed = [
            (action, resource)
            for statement in policy["Statement"]
            for action in as_list(statement["Action"])
            for resource in as_list(statement["Resource"])
        ]
        self.calls: set[Call] = set()

    def judge(self, operation: str, parameters: dict[str, Any]) -> str | None:
        """Say why a call is denied, in DynamoDB's words, or None."""
        for action, resource in list_calls(operation, parameters):
            self.calls.add((action, resource))
            if not any(self._is_for(each, (action, resource)) for each in self.allowed):
                user = f"arn:aws:iam::{ACCOUNT}:user/tester"
                return (
                    f"User: {user} is not authorized to perform: {action} on resource: {resource}"
                )
        return None

    def list_unused(self) -> list[Call]:
        """Return what the policy allows and nothing has called."""
        return [
            each
            for each in self.allowed
            if not any(self._is_for(each, call) for call in self.calls)
        ]

    @staticmethod
    def _is_for(allowed: Call, call: Call) -> bool:
        return allowed[0] == call[0] and fnmatchcase(call[1], allowed[1])


def as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def list_calls(operation: str, parameters: dict[str, Any]) -> Iterator[Call]:
    """Yield the actions that a request needs, and on what."""
    names = parameters.get("RequestItems") or [parameters["TableName"]]
    for name in names:
        arn = f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/{name}"
        if index := parameters.get("IndexName"):
            arn += f"/index/{index}"
        yield f"dynamodb:{operation}", arn
        if parameters.get("Tags"):  # "Tagging resources in DynamoDB", Amazon DynamoDB Guide
            yield "dynamodb:TagResource", arn


@contextmanager
def act_as(name: str, table_name: str, upstream: str) -> Iterator[tuple[Role, str]]:
    role = Role(name, table_name)
    with relay(upstream, judge=role.judge) as endpoint:
        yield role, endpoint


@pytest.fixture
def table(moto_endpoint: str, table_name: str) -> DynamoClient:
    client = DynamoClient(table_name, "us-east-1", moto_endpoint)
    make_table(client._connection.client(), table_name, TableOptions())
    return client


def test_a_writer_may_do_what_it_does_and_no_more(table: DynamoClient, moto_endpoint: str) -> None:
    metrics = make_metrics(60)
    with act_as("Writer", table.table_name, moto_endpoint) as (role, endpoint):
        with ResilientDynamoClient(table.table_name, endpoint_url=endpoint, gsi_shards=2) as client:
            assert client.batch_put_ai_usage_metrics(metrics[:30]) == []
            assert client.flush(60)
            assert client.get_stats().delivered == 30
        plain = DynamoClient(table.table_name, endpoint_url=endpoint)
        plain.put_ai_usage_metric(metrics[30])
        assert plain.batch_put_ai_usage_metrics(metrics[31:]) == []
        with pytest.raises(ClientError, match="not authorized to perform: dynamodb:GetItem"):
            list(plain.query_ai_usage_costs_by_date(START))
        with pytest.raises(ClientError, match="not authorized to perform: dynamodb:Query"):
            list(plain.query_ai_usage_metrics_by_job("j"))
        assert role.list_unused() == []
    assert len(list(table.query_ai_usage_costs_by_date(START))) == 60


def test_a_writer_may_deliver_what_a_dead_process_left(
    table: DynamoClient, moto_endpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    is_down = True
    role = Role("Writer", table.table_name)

    def judge(operation: str, parameters: dict[str, Any]) -> str | None:
        if is_down and operation == "BatchWriteItem":
            return "not yet"
        return role.judge(operation, parameters)

    with relay(moto_endpoint, judge=judge) as endpoint:
        client = ResilientDynamoClient(table.table_name, endpoint_url=endpoint)
        assert client.put_ai_usage_metric(make_metrics(1)[0])
        wait_for_proof(client)
        assert client.close(0).on_disk == 1
        is_down = False
        assert main(["journal", "drain", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tables"][0]["delivered"] == 1


def run_doctor(
    role: Role, table: DynamoClient, upstream: str, capsys: pytest.CaptureFixture[str]
) -> tuple[int, list[str]]:
    """Return the doctor's exit status, and what it warns of."""
    with relay(upstream, judge=role.judge) as endpoint:
        capsys.readouterr()
        status = main(
            ["doctor", "--table", table.table_name, "--endpoint-url", endpoint, "--quiet"]
        )
    return status, capsys.readouterr().out.splitlines()


def test_the_doctor_is_content_with_a_writer(
    table: DynamoClient, moto_endpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A writer may neither read records nor see the table's backups, and need not."""
    role = Role("Writer", table.table_name)
    assert run_doctor(role, table, moto_endpoint, capsys) == (0, [])
    assert list(table.query_ai_usage_costs_by_date(START)) == []


def allow(role: Role, more: Role, *, but: str) -> Role:
    """Have a role do what another one may do too, except one action."""
    both = [*role.allowed, *more.allowed]
    role.allowed = [each for each in both if each[0] != f"dynamodb:{but}"]
    return role


@pytest.mark.parametrize("more", ["Writer", "Reader", "Operator"])
def test_the_doctor_sees_that_nothing_can_be_delivered(
    table: DynamoClient, moto_endpoint: str, capsys: pytest.CaptureFixture[str], more: str
) -> None:
    role = allow(
        Role("Writer", table.table_name), Role(more, table.table_name), but="BatchWriteItem"
    )
    status, (line,) = run_doctor(role, table, moto_endpoint, capsys)
    assert status == 2
    assert line.startswith("error: access denied: these credentials may not do ")
    assert f"dynamodb:BatchWriteItem on arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/" in line
    assert line.endswith("; a service with them keeps its records and delivers none")


def test_the_doctor_needs_no_right_that_only_the_other_tracker_needs(
    table: DynamoClient, moto_endpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = Role("Writer", table.table_name)
    role = allow(writer, writer, but="PutItem")
    assert run_doctor(role, table, moto_endpoint, capsys) == (0, [])


def test_the_doctor_sees_a_role_that_may_neither_read_nor_write(
    table: DynamoClient, moto_endpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    role = Role("Writer", table.table_name)
    role.allowed = [each for each in role.allowed if each[0] == "dynamodb:DescribeTable"]
    status, (line,) = run_doctor(role, table, moto_endpoint, capsys)
    assert status == 2
    assert "dynamodb:BatchWriteItem" in line


def list_reads(client: DynamoClient) -> dict[str, Callable[[], object]]:
    """Return every way to read, by the name of its method."""
    day = START.date()
    return {
        "get_ai_usage_metric": lambda: client.get_ai_usage_metric("openai", "m", START, "id"),
        "query_ai_usage_metrics_by_date": lambda: client.query_ai_usage_metrics_by_date(
            day, "openai"
        ),
        "query_ai_usage_metrics_by_service": lambda: client.query_ai_usage_metrics_by_service(
            "openai", day, day
        ),
        "query_ai_usage_metrics_by_model": lambda: client.query_ai_usage_metrics_by_model(
            "openai", "gpt-4o", day, day
        ),
        "query_ai_usage_metrics_by_job": lambda: client.query_ai_usage_metrics_by_job("j"),
        "query_ai_usage_metrics_by_batch": lambda: client.query_ai_usage_metrics_by_batch("b"),
        "query_ai_usage_metrics_by_user": lambda: client.query_ai_usage_metrics_by_user(
            "u", day, day
        ),
        "query_ai_usage_metrics_by_environment": (
            lambda: client.query_ai_usage_metrics_by_environment("test", day, day)
        ),
        "query_ai_usage_costs_by_date": lambda: client.query_ai_usage_costs_by_date(day),
        "sum_ai_usage_costs_by_day": lambda: client.sum_ai_usage_costs_by_day(day, day),
    }


def test_a_reader_may_do_what_it_does_and_no_more(
    table: DynamoClient, moto_endpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with act_as("Reader", table.table_name, moto_endpoint) as (role, endpoint):
        client = DynamoClient(table.table_name, endpoint_url=endpoint)
        reads = list_reads(client)
        assert set(reads) == {
            name for name in dir(MetricQueries) if name.startswith(("get_", "query_", "sum_"))
        }
        for read in reads.values():
            found = read()
            if isinstance(found, Iterator):
                list(found)
        where = ["--table", table.table_name, "--endpoint-url", endpoint]
        for by in ("day", "user", "model,job"):
            assert main(["report", *where, "--by", by]) == 0
        assert main(["export", *where, "-"]) == 0
        capsys.readouterr()
        assert role.list_unused() == []
        indexes = {call[1].rpartition("/")[2] for call in role.calls if "/index/" in call[1]}
        assert indexes == {"GSI1", "GSI2", "GSI3", "GSI4"}


def test_a_reader_may_not_write_and_nothing_is_lost_meanwhile(
    table: DynamoClient, moto_endpoint: str
) -> None:
    (metric,) = make_metrics(1)
    with act_as("Reader", table.table_name, moto_endpoint) as (_, endpoint):
        plain = DynamoClient(table.table_name, endpoint_url=endpoint)
        with pytest.raises(ClientError, match="not authorized to perform: dynamodb:PutItem"):
            plain.put_ai_usage_metric(metric)
        client = ResilientDynamoClient(
            table.table_name, endpoint_url=endpoint, batch_flush_interval=0
        )
        told = Queue[str]()
        client.add_listener(
            lambda event: told.put(event.detail) if event.kind.value == "misconfigured" else None
        )
        assert client.put_ai_usage_metric(metric)
        assert "dynamodb:BatchWriteItem" in told.get(timeout=60)
        report = client.close(0)
        assert (report.on_disk, report.lost) == (1, 0)
    assert list(table.query_ai_usage_costs_by_date(START)) == []


def test_an_operator_may_do_what_it_does_and_no_more(
    moto_endpoint: str, table_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with act_as("Operator", table_name, moto_endpoint) as (role, endpoint):
        where = ["--table", table_name, "--endpoint-url", endpoint]
        assert main(["table", "create", *where, "--tag", "team=search"]) == 0
        boto = boto3.client("dynamodb", endpoint_url=endpoint)
        boto.update_table(
            TableName=table_name, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "GSI4"}}]
        )
        assert main(["table", "check", *where]) == 1
        (missing,) = find_differences(look_at_table(boto, table_name), TableOptions())
        for fix in missing.fixes:
            boto._make_api_call(fix.operation, fix.parameters)
        boto.close()
        assert main(["table", "check", *where]) == 0
        assert main(["doctor", *where]) == 0
        assert role.list_unused() == []
        capsys.readouterr()


def test_a_reader_that_runs_an_operators_command_is_told_what_it_lacks(
    table: DynamoClient, moto_endpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with act_as("Reader", table.table_name, moto_endpoint) as (_, endpoint):
        where = ["--table", table.table_name, "--endpoint-url", endpoint]
        assert main(["table", "check", *where]) == 2
    arn = f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/{table.table_name}"
    assert f"may not do dynamodb:DescribeTable on {arn}" in capsys.readouterr().err
