"""``receipt-usage report`` on real engines, against plain sums."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import boto3
import pytest

from engines.fixtures import Engine
from receipt_dynamo import AIUsageMetric, DynamoClient
from receipt_dynamo.data.table.schema import describe_table
from receipt_label.reporting.dimensions import DIMENSIONS, TIMES
from support.command_runs import Ended
from support.report_records import FIRST_DAY, make_report_records, read_value, sum_plainly

Run = Callable[..., Ended]
LEDGER = make_report_records(150, seed=6)
_numbers = itertools.count(1)
SUMMED = ("records", "api_calls", "input_tokens", "output_tokens", "unpriced", "estimated",
          "partial", "errors")  # fmt: skip
FIELDS = {"user": "user_id", "job": "job_id", "batch": "batch_id", "pull-request": "github_pr"}


@pytest.fixture(scope="module")
def full_table(engine: Engine) -> Iterator[list[str]]:
    """The arguments that name a table with the report records, on each engine."""
    with write_table(engine) as arguments:
        yield arguments


@pytest.fixture(scope="module")
def judged(start_engine: Callable[[str], Engine]) -> Iterator[list[str]]:
    """The same on one engine: for what is calculated once the records are read."""
    with write_table(start_engine("ministack")) as arguments:
        yield arguments


@contextmanager
def write_table(engine: Engine) -> Iterator[list[str]]:
    name = f"test-table-report-{next(_numbers)}"
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    client = DynamoClient(name, "us-east-1", engine.endpoint_url, **keys)
    client.create_table()
    assert client.batch_put_ai_usage_metrics(LEDGER) == []
    raw = boto3.client("dynamodb", "us-east-1", endpoint_url=engine.endpoint_url, **keys)
    raw.put_item(TableName=name, Item=make_item_of_another_type())
    yield ["--table", name, "--region", "us-east-1", "--endpoint-url", engine.endpoint_url]
    raw.delete_table(TableName=name)
    raw.close()


def make_item_of_another_type() -> Any:
    """Return an item that stands in the same indexes as the records."""
    record = AIUsageMetric(
        "openai", "gpt-4o", "completion", FIRST_DAY + timedelta(hours=1), cost_usd="1000000"
    )
    return record.to_dynamodb_item() | {"TYPE": {"S": "Receipt"}, "SK": {"S": "OTHER"}}


def expect(records: list[AIUsageMetric], by: list[str], zone: tzinfo) -> dict[Any, Any]:
    groups: defaultdict[Any, list[AIUsageMetric]] = defaultdict(list)
    for record in records:
        groups[tuple(read_value(record, name, zone) for name in by)].append(record)
    return {key: sum_plainly(group) for key, group in groups.items()}


def read(document: dict[str, Any]) -> dict[Any, Any]:
    return {
        tuple(group[name] for name in document["by"]): plain(group) for group in document["groups"]
    }


def plain(group: dict[str, Any]) -> dict[str, Any]:
    return {name: group[name] for name in SUMMED} | {"cost_usd": Fraction(group["cost_usd"])}


@pytest.mark.parametrize(
    ("by", "zone"),
    [
        *((name, "UTC") for name in DIMENSIONS),
        *((name, "Europe/Berlin") for name in sorted(TIMES)),
        ("user,model", "UTC"),
        ("day,service,operation", "Asia/Kathmandu"),
    ],
)
def test_each_report_equals_plain_sums(run: Run, judged: list[str], by: str, zone: str) -> None:
    status, out, err = run(
        "report", *judged, "--since", "2026-03-01", "--by", by, "--timezone", zone, "--json"
    )
    document = json.loads(out)
    assert status == 0, err
    where = UTC if zone == "UTC" else ZoneInfo(zone)
    assert read(document) == expect(LEDGER, by.split(","), where)
    assert plain(document["total"]) == sum_plainly(LEDGER)
    assert document["read"]["records"] == len(LEDGER)


PERIODS = [
    ("2026-03-28", "2026-03-30", "UTC"),
    ("2026-03-29", "2026-03-29", "Europe/Berlin"),
    ("2026-03-28", "2026-03-28", "Asia/Kathmandu"),
    ("2026-03-28", "2026-03-28", "Pacific/Kiritimati"),
    ("2026-03-28", "2026-03-28", "Pacific/Niue"),
    ("2026-03-28T23:59:59.999999", "2026-03-29T00:00:00.000001", "UTC"),
    ("2026-03", None, "UTC"),
    ("last-month", None, "UTC"),
    ("7d", None, "UTC"),
]


def cut(since: str, until: str | None, zone: str) -> list[AIUsageMetric]:
    where = UTC if zone == "UTC" else ZoneInfo(zone)
    moments = {record.request_id: record.timestamp.astimezone(where) for record in LEDGER}
    if until is None:
        first, last = ("2026-03-30", "9") if since == "7d" else ("2026-03-01", "2026-03-32")
    elif "T" in since:
        start, end = (datetime.fromisoformat(text).replace(tzinfo=where) for text in (since, until))
        return [record for record in LEDGER if start <= moments[record.request_id] < end]
    else:
        first, last = since, until
    return [r for r in LEDGER if first <= f"{moments[r.request_id]:%Y-%m-%d}" <= last]


@pytest.mark.parametrize(("since", "until", "zone"), PERIODS)
def test_each_period_equals_plain_sums(
    run: Run, judged: list[str], since: str, until: str | None, zone: str
) -> None:
    more = [] if until is None else ["--until", until]
    status, out, _ = run(
        "report",
        *judged,
        "--since",
        since,
        *more,
        "--timezone",
        zone,
        "--by",
        "hour",
        "--json",
    )
    wanted = cut(since, until, zone)
    assert wanted
    assert status == 0
    assert plain(json.loads(out)["total"]) == sum_plainly(wanted)


FILTERS: list[dict[str, Any]] = [
    {"service": "OpenAI"},
    {"model": "gpt-4o"},
    {"service": "anthropic", "model": "gpt-4o"},
    {"operation": "embedding"},
    {"user": "ann"},
    {"job": "job-1"},
    {"job": "job-1", "batch": "batch-1"},
    {"batch": "batch-1"},
    {"environment": "production"},
    {"environment": "production", "user": "bob"},
    {"pull-request": 7},
    {"service": "openai", "user": "ann", "operation": "completion"},
]


def select(wanted: dict[str, Any]) -> list[AIUsageMetric]:
    return [
        record
        for record in LEDGER
        if all(
            getattr(record, FIELDS.get(name, name))
            == (value.lower() if name == "service" else value)
            for name, value in wanted.items()
        )
    ]


@pytest.mark.parametrize("wanted", FILTERS, ids="-".join)
def test_each_filter_equals_plain_sums(
    run: Run, full_table: list[str], wanted: dict[str, Any]
) -> None:
    given = [text for name, value in wanted.items() for text in (f"--{name}", str(value))]
    since = [] if {"job", "batch"} & set(wanted) else ["--since", "2026-03-01"]
    status, out, err = run("report", *full_table, *since, *given, "--by", "day", "--json")
    document = json.loads(out)
    assert status == 0, err
    assert select(wanted)
    assert read(document) == expect(select(wanted), ["day"], UTC)
    assert document["filters"] == {name.replace("-", "_"): wanted[name] for name in wanted}


def test_top_n_and_the_others_are_the_whole(run: Run, judged: list[str]) -> None:
    arguments = (
        "report",
        *judged,
        "--since",
        "2026-03-01",
        "--by",
        "user,model",
        "--top",
        "2",
    )
    document = json.loads(run(*arguments, "--json")[1])
    costs = [Fraction(group["cost_usd"]) for group in document["groups"]]
    assert len(costs) == 2
    assert costs[0] >= costs[1] >= 0
    assert sum(costs) + Fraction(document["rest"]["cost_usd"]) == sum_plainly(LEDGER)["cost_usd"]
    _, out, _ = run(*arguments)
    assert f"({document['rest']['groups']} others)" in out


def test_csv_has_a_line_for_each_group(run: Run, judged: list[str]) -> None:
    status, out, _ = run("report", *judged, "--since", "2026-03-01", "--by", "user,model", "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    expected = expect(LEDGER, ["user", "model"], UTC)
    assert status == 0
    found = {(row["user"] or None, row["model"]): Fraction(row["cost_usd"]) for row in rows}
    assert found == {key: sums["cost_usd"] for key, sums in expected.items()}
    assert {int(row["input_tokens"]) for row in rows} == {
        sums["input_tokens"] for sums in expected.values()
    }


def test_a_name_that_is_a_formula_is_text_in_csv(
    run: Run, table: DynamoClient, moto_endpoint: str, now: datetime
) -> None:
    table.put_ai_usage_metric(AIUsageMetric("openai", "=cmd()", "completion", now))
    _, out, _ = run("report", "--table", table.table_name, "--endpoint-url", moto_endpoint,
                    "--by", "model", "--csv")  # fmt: skip
    assert out.splitlines()[1].startswith("'=cmd(),")


def test_a_page_is_written_for_this_user_only(run: Run, judged: list[str], tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    status, out, err = run("report", *judged, "--since", "2026-03", "--html", str(file))
    assert (status, out) == (0, "")
    assert "records read" in err
    html = file.read_text("utf-8")
    assert html.startswith("<!DOCTYPE html>")
    assert "claude-sonnet-4" in html
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.glob(".*")) == []


def test_a_table_on_a_terminal(run: Run, judged: list[str]) -> None:
    status, out, err = run("report", *judged, "--since", "2026-03-01")
    assert status == 0
    assert out.splitlines()[0] == f"{judged[1]}: since 2026-03-01 (UTC)"
    assert "claude-sonnet-4" in out
    assert "150 records read" in err
    status, _, err = run("report", *judged, "--since", "2026-03-01", "--quiet")
    assert (status, err) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--since", "yestreday"], "--since is 'yestreday'; accepted are a date"),
        (["--until", "2026-02-30"], "--until is '2026-02-30'; accepted are a date"),
        (["--since", "2026-04-02", "--until", "2026-04-01"], "accepted is the reverse"),
        (["--timezone", "Moon"], "--timezone is 'Moon'; accepted are UTC and names"),
        (["--by", "planet"], "--by has 'planet'; accepted are service, model"),
        (["--by", "day,day"], "--by is 'day,day'; accepted is each name once"),
        (["--top", "0"], "argument --top: '0'; accepted are whole numbers of 1 or more"),
        (["--pull-request", "x"], "argument --pull-request: 'x'; accepted are whole"),
        (["--user", ""], "--user is empty; accepted is a name"),
        (["--json", "--csv"], "--json, --csv and --html exclude each other"),
        (["--html", "/no/such/folder/x.html"], "No such file or directory"),
        (["--html", "/"], "is a directory; accepted is a file"),
        (["--table", "test-table-that-is-not"], "there is no table test-table-that-is-not"),
        (["--endpoint-url", "http://127.0.0.1:1"], "DynamoDB cannot be reached"),
        (["--endpoint-url", "gopher"], "check --endpoint-url"),
        (["--region", "no such region"], "region"),
    ],
)
def test_bad_input_is_a_line_and_status_2(
    run: Run, table: DynamoClient, moto_endpoint: str, arguments: list[str], message: str
) -> None:
    where = ["--table", table.table_name, "--endpoint-url", moto_endpoint]
    status, out, err = run("report", *where, *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def create_table_with(indexes: int, name: str, endpoint: str) -> list[str]:
    """Make a table with the first of our indexes; return the arguments that name it."""
    description = describe_table(name)
    kept = description["GlobalSecondaryIndexes"][:indexes]
    names = {"PK", "SK", *(key["AttributeName"] for index in kept for key in index["KeySchema"])}
    description["GlobalSecondaryIndexes"] = kept
    description["AttributeDefinitions"] = [
        each for each in description["AttributeDefinitions"] if each["AttributeName"] in names
    ]
    boto3.client("dynamodb", "us-east-1", endpoint_url=endpoint).create_table(**description)
    return ["--table", name, "--endpoint-url", endpoint]


def test_a_missing_index_is_named(run: Run, table_name: str, moto_endpoint: str) -> None:
    where = create_table_with(1, table_name, moto_endpoint)
    status, _, err = run("report", *where)
    assert status == 2
    assert "GSI2" in err
    assert run("report", *where, "--service", "openai")[0] == 0


def test_a_batch_of_a_table_without_its_index_is_read_from_a_day_on(
    run: Run, table_name: str, moto_endpoint: str
) -> None:
    where = create_table_with(3, table_name, moto_endpoint)
    DynamoClient(table_name, "us-east-1", moto_endpoint).batch_put_ai_usage_metrics(LEDGER)
    status, _, err = run("report", *where, "--batch", "batch-1")
    assert status == 2
    assert "GSI4" in err
    assert "--since reads all records from then on instead" in err
    status, out, err = run(
        "report", *where, "--batch", "batch-1", "--since", "2026-03-01", "--by", "day", "--json"
    )
    assert status == 0
    assert "reading all records from 2026-03-01" in err
    assert plain(json.loads(out)["total"]) == sum_plainly(select({"batch": "batch-1"}))


def test_items_that_cannot_be_read_are_counted_and_left_out(
    run: Run, table: DynamoClient, moto_endpoint: str, now: datetime
) -> None:
    """The trap: one item without an attribute fails the whole month's sum, or is taken for 0."""
    good = AIUsageMetric("openai", "gpt-4o", "completion", now, cost_usd="0.5", user_id="ann")
    table.put_ai_usage_metric(good)
    raw = boto3.client("dynamodb", "us-east-1", endpoint_url=moto_endpoint)
    whole = good.to_dynamodb_item()
    for number, broken in enumerate(({"costUSD": {"S": "-1"}}, {"timestamp": {"S": "noon"}})):
        item: Any = whole | {"SK": {"S": f"USAGE#{number}"}} | broken
        raw.put_item(TableName=table.table_name, Item=item)
    item = {name: value for name, value in whole.items() if name != "operation"}
    raw.put_item(TableName=table.table_name, Item=item | {"SK": {"S": "USAGE#x"}})
    bare = {name: whole[name] for name in whole if name not in ("costUSD", "userId")}
    unknown = {"SK": {"S": "USAGE#y"}, "newThing": {"BOOL": True}, "requestId": {"S": "y"}}
    raw.put_item(TableName=table.table_name, Item=bare | unknown)
    where = ["--table", table.table_name, "--endpoint-url", moto_endpoint]
    status, out, _ = run("report", *where, "--by", "user", "--json")
    document = json.loads(out)
    assert status == 1
    assert {group["user"]: group["records"] for group in document["groups"]} == {"ann": 1, None: 1}
    assert document["total"]["cost_usd"] == "0.5"
    assert document["total"]["unpriced"] == 1
    assert document["read"]["invalid"] == 3
    assert len(document["read"]["invalid_reasons"]) == 3
    status, out, _ = run("report", *where)
    assert status == 1
    assert "3 items left out, which cannot be read:" in out


def test_a_negative_figure_is_said_and_the_record_is_counted(
    run: Run, table: DynamoClient, moto_endpoint: str, now: datetime
) -> None:
    """An earlier writer used -1 for a call that failed."""
    metric = AIUsageMetric("openai", "gpt-4o", "completion", now, cost_usd="0.5", input_tokens=3)
    raw = boto3.client("dynamodb", "us-east-1", endpoint_url=moto_endpoint)
    item: Any = metric.to_dynamodb_item() | {"costUSD": {"N": "-1"}}
    raw.put_item(TableName=table.table_name, Item=item)
    raw.close()
    where = ["--table", table.table_name, "--endpoint-url", moto_endpoint]
    status, out, _ = run("report", *where, "--json")
    document = json.loads(out)
    assert status == 0
    assert (document["total"]["records"], document["total"]["unpriced"]) == (1, 1)
    assert document["total"]["cost_usd"] == "0"
    assert (document["read"]["negative"], document["read"]["invalid"]) == (1, 0)
    said = "has a negative costUSD, taken as unknown"
    assert said in document["read"]["negative_reasons"][0]
    status, out, _ = run("report", *where)
    assert "1 record with a negative figure, taken as unknown:" in out
    status, out, err = run("export", *where, "-")
    assert (status, "cost_usd" in json.loads(out)) == (0, False)
    assert said in err
