"""``receipt-usage doctor``: what it says of a table, on a real engine."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from receipt_dynamo import AIUsageMetric, DynamoClient
from receipt_label.cli import main

NOW = datetime.now(UTC)
UNKNOWN = {"pricing": {"status": "unpriced", "reason": "unknown model"}}


def make_metric(number: int, model: str = "gpt-4o", **fields: Any) -> AIUsageMetric:
    moment = NOW - timedelta(minutes=number)
    return AIUsageMetric("openai", model, "completion", moment, request_id=str(number), **fields)


def run(table: DynamoClient, endpoint: str, *more: str) -> int:
    return main(["doctor", "--table", table.table_name, "--endpoint-url", endpoint, *more])


def test_a_table_where_all_is_well(
    table: DynamoClient, moto_endpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table.batch_put_ai_usage_metrics(
        [make_metric(0, cost_usd="0.1"), make_metric(1, error="RateLimitError: HTTP 429")]
    )
    assert run(table, moto_endpoint) == 0
    said = capsys.readouterr().out
    assert "environment: test, because ENVIRONMENT is 'test'" in said
    assert f"table {table.table_name}: 2 records since" in said
    assert "0 without a known cost" in said
    assert said.endswith("all is well\n")


def test_models_without_a_price_are_listed_with_their_number(
    table: DynamoClient, moto_endpoint: str, capsys: pytest.CaptureFixture[str]
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
    assert run(table, moto_endpoint) == 1
    said = capsys.readouterr().out
    last = f"{NOW - timedelta(minutes=1):%Y-%m-%d %H:%M} UTC"
    assert "5 records since" in said
    assert "4 without a known cost" in said
    assert f"  3 of openai gpt-9\\x1b[2J: unknown model, last on {last}\n" in said
    assert "  1 of openai gpt-8: not told" in said
    assert "gpt-old" not in said
    assert said.endswith("1 warning\n")
    assert run(table, moto_endpoint, "--since", "30d") == 1
    assert "gpt-old" in capsys.readouterr().out


def test_json_has_the_same_for_programs(
    table: DynamoClient, moto_endpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table.put_ai_usage_metric(make_metric(0, "gpt-9", metadata=UNKNOWN))
    day = NOW.date().isoformat()
    assert run(table, moto_endpoint, "--since", day, "--json") == 1
    assert json.loads(capsys.readouterr().out) == {
        "environment": {"name": "test", "because": "ENVIRONMENT is 'test'"},
        "table": table.table_name,
        "since": day,
        "records": 1,
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
    }


def test_an_environment_that_is_not_understood_is_a_warning(
    table: DynamoClient,
    moto_endpoint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ENVIRONMENT", "qa")
    assert run(table, moto_endpoint) == 1
    said = capsys.readouterr().out
    assert "environment: production, because ENVIRONMENT is 'qa', which is unknown" in said


def test_the_table_of_the_environment_is_the_default(
    table: DynamoClient,
    moto_endpoint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("ENVIRONMENT")
    monkeypatch.setenv("DYNAMODB_TABLE_NAME", table.table_name)
    assert main(["doctor", "--endpoint-url", moto_endpoint]) == 0
    said = capsys.readouterr().out
    looks = f"the table '{table.table_name}' looks like a test table"
    assert f"environment: test, because ENVIRONMENT is not set, and {looks}" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no table is named; give --table or set DYNAMODB_TABLE_NAME"),
        (["--table", "no-such-table"], "there is no table no-such-table in this account"),
        (["--table", "t", "--endpoint-url", "nonsense"], "Invalid endpoint: nonsense"),
        (["--table", "no spaces"], "there is no table no spaces in this account"),
    ],
)
def test_what_a_user_gets_wrong_is_a_line_and_status_2(
    arguments: list[str], message: str, moto_endpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    where = [] if "--endpoint-url" in arguments else ["--endpoint-url", moto_endpoint]
    assert main(["doctor", *where, *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("receipt-usage doctor: error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("since", ["yesterday", "2026-13-01", "d", "99999d"])
def test_a_day_that_is_none_is_refused(since: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--table", "t", "--since", since])
    assert ended.value.code == 2
    assert f"since is '{since}'; accepted are a date such as 2026-11-01" in capsys.readouterr().err
