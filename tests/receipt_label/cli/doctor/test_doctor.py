"""``receipt-usage doctor``: what it says of a table and its records, on a real engine."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from engines.fixtures import Engine
from receipt_dynamo import AIUsageMetric, DynamoClient
from receipt_dynamo.data.table.check import TableOptions
from receipt_dynamo.data.table.schema import describe_table
from receipt_dynamo.data.table.setup import make_table
from receipt_dynamo.testing import ErrorReply, FaultProxy
from support.command_runs import Ended

Doctor = Callable[..., Ended]

NOW = datetime.now(UTC)
UNKNOWN = {"pricing": {"status": "unpriced", "reason": "unknown model"}}


def make_metric(number: int, model: str = "gpt-4o", **fields: Any) -> AIUsageMetric:
    moment = NOW - timedelta(minutes=number)
    return AIUsageMetric("openai", model, "completion", moment, request_id=str(number), **fields)


def test_a_table_where_all_is_well(table: DynamoClient, doctor: Doctor) -> None:
    table.batch_put_ai_usage_metrics(
        [make_metric(0, cost_usd="0.1"), make_metric(1, error="RateLimitError: HTTP 429")]
    )
    ended = doctor()
    assert (ended.status, ended.err) == (0, "")
    assert "ok: environment: test, because ENVIRONMENT is 'test'" in ended.out
    assert f"ok: table {table.table_name}: ACTIVE in us-east-1, 0 differences" in ended.out
    assert f"ok: table {table.table_name}: 2 records since" in ended.out
    assert "0 without a known cost" in ended.out
    assert ended.out.endswith("all is well\n")
    assert {line.split(":")[0] for line in ended.out.splitlines()} == {"ok", "all is well"}
    assert doctor("--quiet") == Ended(0, "", "")


def test_models_without_a_price_are_listed_with_their_number(
    table: DynamoClient, doctor: Doctor
) -> None:
    old = AIUsageMetric("openai", "gpt-old", "completion", NOW - timedelta(days=20))
    table.batch_put_ai_usage_metrics(
        [
            make_metric(0, cost_usd="0.1"),
            *[make_metric(number, "gpt-9\x1b[2J", metadata=UNKNOWN) for number in (1, 2, 3)],
            make_metric(4, "gpt-8"),
            old,
        ]
    )
    ended = doctor()
    assert ended.status == 1
    last = f"{NOW - timedelta(minutes=1):%Y-%m-%d %H:%M} UTC"
    assert "5 records since" in ended.out
    assert "4 without a known cost; give your own prices: AI_USAGE_PRICE_FILE" in ended.out
    assert f"\n  3 of openai gpt-9\\x1b[2J: unknown model, last on {last}\n" in ended.out
    assert "\n  1 of openai gpt-8: not reported" in ended.out
    assert "gpt-old" not in ended.out
    assert ended.out.endswith("0 errors, 1 warning\n")
    assert "gpt-old" in doctor("--since", "30d").out
    quiet = doctor("--quiet").out
    assert quiet.startswith("warning: table ")
    assert "ok:" not in quiet


def test_a_negative_figure_is_said(table: DynamoClient, doctor: Doctor) -> None:
    """An earlier writer used -1 for a call that failed."""
    item = make_metric(0, "gpt-4o", error="E").to_dynamodb_item() | {"costUSD": {"N": "-1"}}
    raw: Any = table._connection.client()
    raw.put_item(TableName=table.table_name, Item=item)
    ended = doctor()
    assert ended.status == 1
    assert "1 record with a negative figure, taken as unknown\n  the item with PK" in ended.out
    assert "has a negative costUSD" in ended.out


def test_json_has_the_same_for_programs(table: DynamoClient, doctor: Doctor) -> None:
    table.put_ai_usage_metric(make_metric(0, "gpt-9", metadata=UNKNOWN))
    day = NOW.date().isoformat()
    ended = doctor("--since", day, "--json")
    assert ended.status == 1
    told = {
        "environment": {"name": "test", "because": "ENVIRONMENT is 'test'"},
        "table": table.table_name,
        "table_findings": [],
        "since": day,
        "records": 1,
        "invalid": 0,
        "negative": 0,
        "unpriced": [
            {
                "service": "openai",
                "model": "gpt-9",
                "reason": "unknown model",
                "count": 1,
                "last_seen": NOW.isoformat(),
            }
        ],
        "warnings": 1,
        "errors": 0,
    }
    assert told.items() <= ended.document.items()
    checks = ended.document["checks"]
    (warning,) = [check for check in checks if check["level"] != "ok"]
    assert (warning["check"], warning["level"]) == ("records", "warning")
    assert "1 of openai gpt-9: unknown model" in warning["details"][0]
    assert {check["check"] for check in checks} == {
        "configuration",
        "environment",
        "table",
        "writing",
        "records",
        "clock",
        "journals",
        "disk",
        "python",
        "packages",
        "price_data",
    }


def test_an_item_that_is_no_whole_record_is_counted_and_not_fatal(
    table: DynamoClient, doctor: Doctor, moto_endpoint: str
) -> None:
    table.put_ai_usage_metric(make_metric(0, cost_usd="0.1"))
    item = make_metric(1).to_dynamodb_item()
    del item["timestamp"]
    boto = boto3.client("dynamodb", endpoint_url=moto_endpoint)
    boto.put_item(TableName=table.table_name, Item=item)
    boto.close()
    ended = doctor()
    assert ended.status == 1
    assert "1 record since" in ended.out
    assert "warning: 1 item passed over: of our type, but no whole record" in ended.out


def test_what_a_table_lacks_is_a_warning_or_an_error_with_the_command(
    doctor: Doctor, moto_endpoint: str, table_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI_USAGE_RETENTION_DAYS", "90")
    boto = boto3.client("dynamodb", endpoint_url=moto_endpoint)
    broken: Any = dict(describe_table(table_name))
    del broken["GlobalSecondaryIndexes"][1]
    broken["AttributeDefinitions"] = [
        each for each in broken["AttributeDefinitions"] if "GSI2" not in each["AttributeName"]
    ]
    boto.create_table(**broken)
    boto.close()
    where = ("--table", table_name, "--endpoint-url", moto_endpoint)
    ended = doctor(*where)
    assert ended.status == 2
    assert "error: index GSI2 is missing; create it\n  aws dynamodb update-table" in ended.out
    assert "warning: time to live is off" in ended.out
    assert f"error: table {table_name} has no index GSI2" in ended.out
    assert "ok: Python" in ended.out
    assert "time to live" not in doctor(*where, "--no-ttl", "--no-pitr").out


def test_the_table_of_the_environment_is_the_default(
    table: DynamoClient, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ENVIRONMENT")
    ended = doctor()
    assert ended.status == 1
    looks = f"the table '{table.table_name}' looks like a test table"
    assert f"warning: environment: test, because ENVIRONMENT is not set, and {looks}" in ended.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no table is named; give --table or set DYNAMODB_TABLE_NAME"),
        (["--table", "no-such-test"], "there is no table no-such-test in this account"),
        (["--table", "t", "--endpoint-url", "nonsense"], "Invalid endpoint: nonsense"),
        (["--table", "no spaces"], "there is no table no spaces in this account"),
        (["--table", "test", "--region", "us moon"], "the region is malformed"),
    ],
)
def test_what_keeps_one_check_from_the_table_is_said_once_and_the_others_run(
    arguments: list[str], message: str, moto_endpoint: str, doctor: Doctor
) -> None:
    where = [] if "--endpoint-url" in arguments else ["--endpoint-url", moto_endpoint]
    ended = doctor(*where, *arguments)
    assert (ended.status, ended.err) == (2, "")
    errors = [line for line in ended.out.splitlines() if line.startswith("error: ")]
    assert sum(message in line for line in errors) == 1
    assert "ok: environment: test" in ended.out
    assert "ok: Python" in ended.out
    assert "ok: boto3" in ended.out


def test_a_table_that_cannot_be_reached_or_read_stops_no_other_check(
    table: DynamoClient, proxy: FaultProxy, doctor: Doctor
) -> None:
    proxy.always(ErrorReply(400, "AccessDeniedException"), operations=["DescribeTable"])
    denied = doctor("--endpoint-url", proxy.endpoint_url)
    assert denied.status == 2
    assert "may not do dynamodb:DescribeTable" in denied.out
    assert "0 records since" in denied.out
    proxy.down()
    gone = doctor("--endpoint-url", proxy.endpoint_url)
    assert gone.status == 2
    assert gone.out.count("DynamoDB cannot be reached") == 1
    assert "journals in" in gone.out


@pytest.mark.parametrize("since", ["tomorrow", "2026-13-01", "d", "99999d"])
def test_a_day_that_is_none_is_refused(since: str, doctor: Doctor) -> None:
    ended = doctor("--table", "t", "--since", since)
    assert ended.status == 2
    assert f"since is '{since}'; accepted are a date such as 2026-11-01" in ended.err


def test_each_engine_is_well_and_what_it_does_not_know_is_a_note(
    engine: Engine, table_name: str, doctor: Doctor
) -> None:
    boto = boto3.client("dynamodb", endpoint_url=engine.endpoint_url)
    make_table(boto, table_name, TableOptions())
    boto.close()
    ended = doctor("--table", table_name, "--endpoint-url", engine.endpoint_url)
    assert ended.status == 0
    assert "ok: clock: as DynamoDB's" in ended.out
    note = "  note: point-in-time recovery is unknown: this engine does not know it\n"
    assert (note in ended.out) is (engine.name == "dynamodb-local")


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("how", [(), ("--quiet",)])
def test_a_long_read_is_told_to_a_terminal_unless_it_is_to_be_quiet(
    how: tuple[str, ...], table: DynamoClient, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    assert doctor(*how).status == 0
    assert ("records read" in terminal.getvalue()) is (how == ())
