"""``table``: what its commands say and refuse, and the table as a CloudFormation template."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest

from receipt_dynamo import DynamoClient
from receipt_dynamo.cli.command_line import main
from receipt_dynamo.testing import ErrorReply, FaultProxy
from support.command_runs import Ended

Run = Callable[..., Ended]
DENIED = ErrorReply(400, "AccessDeniedException", "not for you")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run_command(*arguments: str) -> Ended:
        try:
            status = main(["table", *arguments])
        except SystemExit as ended:
            assert isinstance(ended.code, int)
            status = ended.code
        return Ended(status, *capsys.readouterr())

    return run_command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["drop"], "invalid choice: 'drop'"),
        (["check"], "no table is named; give --table or set DYNAMODB_TABLE_NAME"),
        (["create"], "no table is named"),
        (["template"], "no table is named"),
        (["check", "--table", "no-such"], "there is no table no-such in this account"),
        (["create", "--table", "t", "--tag", "team"], "tag is 'team'; accepted is KEY=VALUE"),
        (["create", "--table", "t", "--tag", "=x"], "tag is '=x'; accepted is KEY=VALUE"),
        (["template", "--table", "arn:aws:dynamodb:a:1:table/t"], "accepted is a name"),
    ],
)
def test_bad_arguments_are_named_and_exit_with_2(
    arguments: list[str],
    message: str,
    run: Run,
    moto_endpoint: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", moto_endpoint)
    ended = run(*arguments)
    assert (ended.status, ended.out) == (2, "")
    assert message in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("name", ["no spaces", "a", "x" * 300, "bad\x1b[2Jname"])
def test_a_name_that_dynamodb_refuses_is_a_line(
    name: str, run: Run, start_engine: Callable[[str], Any]
) -> None:
    where = ("--endpoint-url", start_engine("ministack").endpoint_url)
    ended = run("create", "--table", name, *where, "--quiet")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.count("\n") == 1
    assert "\x1b" not in ended.err


def test_a_check_without_the_rights_for_all_of_it_says_what_is_not_told(
    run: Run, table: DynamoClient, proxy: FaultProxy
) -> None:
    proxy.always(DENIED, operations=["DescribeTimeToLive"])
    where = ("--table", table.table_name, "--endpoint-url", proxy.endpoint_url)
    ended = run("check", *where, "--no-pitr")
    assert ended.status == 1
    untold = "advised: time to live is unknown: AccessDeniedException: not for you"
    assert f"{untold}; allow these credentials to see it" in ended.out
    proxy.always(DENIED, operations=["DescribeTable"])
    ended = run("check", *where)
    assert (ended.status, ended.out) == (2, "")
    assert "may not do dynamodb:DescribeTable on table" in ended.err


def test_a_new_table_that_is_not_ready_for_backups_is_asked_again(
    run: Run, proxy: FaultProxy, table_name: str
) -> None:
    busy = ErrorReply(400, "ContinuousBackupsUnavailableException", "Backups are being enabled")
    proxy.script(busy, operations=["UpdateContinuousBackups"])
    ended = run("create", "--table", table_name, "--endpoint-url", proxy.endpoint_url)
    assert ended.status == 0, ended


def test_what_could_not_be_turned_on_is_said_and_found(
    run: Run, proxy: FaultProxy, table_name: str
) -> None:
    proxy.always(DENIED, operations=["UpdateTimeToLive"])
    where = ("--table", table_name, "--endpoint-url", proxy.endpoint_url)
    ended = run("create", *where)
    assert ended.status == 1
    assert "note: time to live is not turned on: AccessDeniedException: not for you" in ended.out
    assert "advised: time to live is off" in ended.out
    assert f"--endpoint-url {proxy.endpoint_url}\n" in ended.out


def test_quiet_and_json_print_what_was_asked_for(
    run: Run, table: DynamoClient, moto_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI_USAGE_RETENTION_DAYS", "90")
    where = ("--table", table.table_name, "--endpoint-url", moto_endpoint)
    quiet = run("check", *where, "--quiet")
    assert (quiet.status, quiet.err) == (1, "")
    assert [line.split(":")[0] for line in quiet.out.splitlines() if line[0] != " "] == [
        "advised",
        "advised",
    ]
    document = run("check", *where, "--json").document
    assert [each["code"] for each in document["findings"]] == ["ttl-off", "pitr-off"]
    assert {each["level"] for each in document["findings"]} == {"advised"}
    assert all(each["commands"][0].startswith("aws dynamodb ") for each in document["findings"])
    assert document["arn"].endswith(f":table/{table.table_name}")


def test_the_commands_name_table_and_place_as_they_were_named(
    run: Run, table: DynamoClient, moto_endpoint: str
) -> None:
    arn = f"arn:aws:dynamodb:us-east-1:123456789012:table/{table.table_name}"
    secret = moto_endpoint.replace("http://", "http://user:s3cret@")
    where = ("--region", "us-east-1", "--endpoint-url", secret)
    document = run("check", "--table", arn, *where, "--json").document
    for finding in document["findings"]:
        words = shlex.split(finding["commands"][0])
        assert json.loads(words[4])["TableName"] == arn
        shown = moto_endpoint.replace("http://", "http://***@")
        assert words[5:] == ["--region", "us-east-1", "--endpoint-url", shown]


@pytest.fixture
def stack_table(
    run: Run, moto_endpoint: str, table_name: str
) -> Iterator[Callable[..., tuple[str, Any]]]:
    """Make a stack of a template; return the table's name and the template."""
    formation = boto3.client("cloudformation", endpoint_url=moto_endpoint)

    def make(*more: str) -> tuple[str, Any]:
        template = run("template", "--table", table_name, *more)
        assert (template.status, template.err) == (0, "")
        formation.create_stack(StackName=table_name, TemplateBody=template.out)
        (stack,) = formation.describe_stacks(StackName=table_name)["Stacks"]
        outputs = {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}
        assert outputs["TableArn"].endswith(f":table/{table_name}")
        return outputs["TableName"], template.document

    yield make
    formation.close()


def test_a_stack_of_the_template_has_a_table_without_findings(
    run: Run, stack_table: Callable[..., tuple[str, Any]], moto_endpoint: str
) -> None:
    name, template = stack_table("--deletion-protection", "--tag", "team=search")
    # moto's stacks leave time to live and backups out; that they are asked for is seen below.
    where = ("--endpoint-url", moto_endpoint)
    assert run("check", "--table", name, *where, "--no-ttl", "--no-pitr", "--quiet").out == ""
    table = template["Resources"]["UsageTable"]
    assert table["DeletionPolicy"] == "Retain"
    properties = table["Properties"]
    assert properties["TimeToLiveSpecification"] == {"AttributeName": "expiresAt", "Enabled": True}
    assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert properties["DeletionProtectionEnabled"] is True
    assert properties["Tags"] == [{"Key": "team", "Value": "search"}]


def test_the_template_leaves_out_what_is_not_wanted(run: Run) -> None:
    properties = run("template", "--table", "usage", "--no-ttl", "--no-pitr").document["Resources"][
        "UsageTable"
    ]["Properties"]
    assert set(properties) == {
        "TableName",
        "BillingMode",
        "AttributeDefinitions",
        "KeySchema",
        "GlobalSecondaryIndexes",
    }


def test_the_template_is_valid_by_the_schema_of_cloudformation(run: Run) -> None:
    """Properties that CloudFormation does not know would fail only when somebody deploys."""
    api = pytest.importorskip("cfnlint.api")
    template = run("template", "--table", "usage", "--deletion-protection", "--tag", "a=b").out
    assert list_errors(api, template) == []
    wrong = json.loads(template)
    wrong["Resources"]["UsageTable"]["Properties"]["BillingModus"] = "x"
    assert list_errors(api, json.dumps(wrong)) != []


def list_errors(api: Any, template: str) -> list[str]:
    # Advice, which a newer cfn-lint may have more of, begins with I or W.
    return [str(found) for found in api.lint_all(template) if found.rule.id.startswith("E")]
