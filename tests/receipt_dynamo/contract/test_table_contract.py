"""``table create`` and ``table check`` on each engine: what is made is as it should be."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from engines.fixtures import Engine
from receipt_dynamo.cli.command_line import main
from receipt_dynamo.data.table.check import TableFinding, TableOptions, find_differences
from receipt_dynamo.data.table.schema import describe_table
from receipt_dynamo.data.table.setup import look_at_table
from support.command_runs import Ended

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Run = Callable[..., Ended]


@pytest.fixture
def client(engine: Engine) -> DynamoDBClient:
    return boto3.client("dynamodb", endpoint_url=engine.endpoint_url)


@pytest.fixture
def run(engine: Engine, table_name: str, capsys: pytest.CaptureFixture[str]) -> Run:
    def run_command(command: str, *more: str) -> Ended:
        where = ["--table", table_name, "--endpoint-url", engine.endpoint_url]
        status = main(["table", command, *where, *more])
        return Ended(status, *capsys.readouterr())

    return run_command


def test_a_table_that_is_made_is_as_it_should_be(
    run: Run, client: DynamoDBClient, table_name: str, engine: Engine
) -> None:
    made = run("create", "--deletion-protection", "--tag", "team=search")
    assert made.status == 0, made
    assert made.err == f"making table {table_name}, unless it exists\n"
    lines = made.out.splitlines()
    assert lines[0] == f"table {table_name} is made"
    assert lines[1] == f"table {table_name}: ACTIVE, indexes: GSI1, GSI2, GSI3, GSI4"
    assert lines[-1] == "all is well"
    unknown = [line for line in lines if line.startswith("note: ")]
    if engine.name == "dynamodb-local":
        assert unknown == [
            "note: point-in-time recovery is not turned on: this engine does not know it",
            "note: point-in-time recovery is unknown: this engine does not know it",
        ]
    else:
        assert unknown == []
    checked = run("check", "--json").document
    assert (checked["table"], checked["findings"]) == (table_name, [])
    view = look_at_table(client, table_name)
    assert view.expiry is not None
    assert view.expiry["AttributeName"] == "expiresAt"
    assert view.table.get("DeletionProtectionEnabled") is True
    if engine.name == "dynamodb-local":  # It takes tags, and keeps none.
        return
    tags = client.list_tags_of_resource(ResourceArn=view.table["TableArn"])["Tags"]
    assert tags == [{"Key": "team", "Value": "search"}]


def test_a_table_that_exists_is_checked_and_not_changed(
    run: Run, client: DynamoDBClient, table_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.create_table(**describe_table(table_name))
    before = look_at_table(client, table_name)
    monkeypatch.setenv("AI_USAGE_RETENTION_DAYS", "90")
    ended = run("create")
    assert ended.status == 1
    assert f"table {table_name} exists; nothing was changed" in ended.out
    assert "advised: time to live is off" in ended.out
    assert run("create", "--json").document["created"] is False
    assert look_at_table(client, table_name) == before


def test_what_is_not_wanted_is_not_made_and_not_missed(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("create", "--no-ttl", "--no-pitr").status == 0
    assert run("check", "--no-ttl", "--no-pitr", "--quiet") == Ended(0, "", "")
    assert run("check", "--no-pitr", "--quiet") == Ended(0, "", "")
    monkeypatch.setenv("AI_USAGE_RETENTION_DAYS", "90")
    assert run("check", "--quiet").out.startswith("advised: time to live is off")
    assert run("check", "--no-ttl", "--no-pitr", "--quiet") == Ended(0, "", "")


def test_a_time_to_live_that_other_items_use_is_left_alone(
    run: Run, client: DynamoDBClient, table_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("create", "--no-ttl", "--no-pitr").status == 0
    client.update_time_to_live(
        TableName=table_name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"}
    )
    assert run("check", "--no-pitr", "--quiet") == Ended(0, "", "")
    monkeypatch.setenv("AI_USAGE_RETENTION_DAYS", "90")
    (finding,) = run("check", "--no-pitr", "--json").document["findings"]
    assert (finding["code"], finding["commands"]) == ("ttl-attribute", [])
    assert "leave it while other items use ttl" in finding["advice"]


def test_the_fixes_heal_a_table_that_is_wrong_in_many_ways(
    run: Run, client: DynamoDBClient, table_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.create_table(**break_table(table_name))
    monkeypatch.setenv("AI_USAGE_RETENTION_DAYS", "90")
    broken = run("check", "--no-pitr", "--json")
    assert broken.status == 2
    assert [(each["subject"], each["code"]) for each in broken.document["findings"]] == [
        ("GSI1", "index-missing"),
        ("GSI3", "index-keys"),
        ("table", "billing-mode"),
        ("table", "ttl-off"),
    ]
    healed = 0
    while findings := look(client, table_name):
        apply_fixes(client, findings[0])
        healed += 1
    assert healed == 4
    assert run("check", "--no-pitr").status == 0


def break_table(table_name: str) -> Any:
    """Return the parameters of a table that lacks GSI1 and whose GSI3 has another key."""
    wrong: dict[str, Any] = json.loads(json.dumps(describe_table(table_name)))
    capacity = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 5}
    wrong |= {"BillingMode": "PROVISIONED", "ProvisionedThroughput": capacity}
    indexes = wrong["GlobalSecondaryIndexes"][1:]
    indexes[1]["KeySchema"][1]["AttributeName"] = "date"
    wrong["GlobalSecondaryIndexes"] = [
        {**index, "ProvisionedThroughput": capacity} for index in indexes
    ]
    gone = {"GSI1PK", "GSI1SK", "GSI3SK"}
    names = {each["AttributeName"] for each in wrong["AttributeDefinitions"]} - gone | {"date"}
    wrong["AttributeDefinitions"] = [
        {"AttributeName": name, "AttributeType": "S"} for name in sorted(names)
    ]
    return wrong


def look(client: DynamoDBClient, table_name: str) -> list[TableFinding]:
    return find_differences(look_at_table(client, table_name), TableOptions(recovers=False))


def apply_fixes(client: DynamoDBClient, finding: TableFinding) -> None:
    """Do what the commands of the AWS CLI would do, each when the one before has taken effect."""
    assert finding.fixes, finding
    for fix in finding.fixes:
        client._make_api_call(fix.operation, fix.parameters)  # type: ignore[attr-defined]
        wait_until_settled(client, fix.parameters["TableName"])


def wait_until_settled(client: DynamoDBClient, table_name: str) -> None:
    """Wait until nothing comes or goes; DynamoDB Local takes its time for an index, as AWS does."""
    pause = threading.Event()
    for _ in range(600):
        table = client.describe_table(TableName=table_name)["Table"]
        states = {index.get("IndexStatus") for index in table.get("GlobalSecondaryIndexes", ())}
        if {table["TableStatus"], *states} == {"ACTIVE"}:
            return
        pause.wait(0.05)
    raise AssertionError(f"not settled: {table}")
