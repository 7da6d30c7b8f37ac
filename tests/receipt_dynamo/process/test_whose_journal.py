"""What a process left that never heard from DynamoDB goes to its own table, and to no other."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engines.launch import Engine
from receipt_dynamo import DynamoClient
from receipt_dynamo.data.table.identity import prove_table
from receipt_dynamo.testing import FaultProxy
from receipt_dynamo.testing.fault_proxy import _parse_upstream
from support.left_journals import read_ids

if sys.platform == "win32":
    pytest.skip("there is no lease there", allow_module_level=True)

# A process that puts a record and is killed at once, or that delivers what others left.
PROGRAM = """
import contextlib, json, os, signal, sys
from datetime import UTC, datetime
from receipt_dynamo import AIUsageMetric, DynamoClient, ResilientDynamoClient

plan = json.loads(sys.argv[1])
with contextlib.ExitStack() as stack:
    if plan["mock"] is not None:
        from moto import mock_aws
        stack.enter_context(mock_aws(config={"core": {"mock_credentials": plan["mock"]}}))
        DynamoClient(plan["table"].rpartition("/")[2], "us-east-1").create_table()
    client = ResilientDynamoClient(
        plan["table"], plan["region"], endpoint_url=plan["endpoint"], batch_flush_interval=60
    )
    if plan["record"]:
        metric = AIUsageMetric(
            "openai", "gpt-4o", "completion", datetime(2026, 3, 1, tzinfo=UTC),
            request_id=plan["record"],
        )
        assert client.put_ai_usage_metric(metric)
        os.kill(os.getpid(), signal.SIGKILL)
    client.flush(30)
    stats = client.get_stats()
    print(json.dumps({"adopted": stats.adopted, "delivered": stats.delivered}))
"""

# Of account 609629065308, as was published; and two of AWS's own form that hold the same.
REAL_KEY = "ASIAY34FZKBOKMUTVV7A"
NEXT_KEY = "ASIAY34FZKBOKAAAAAAA"
OTHER_ACCOUNTS_KEY = "ASIAQAAAAAAAAAAAAAAA"
# Nothing goes to AWS from a test.
NO_NETWORK = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}


def run(
    table: str,
    record: str | None = None,
    *,
    endpoint: str | None = None,
    region: str | None = "us-east-1",
    mock: bool | None = None,
    **variables: str | None,
) -> dict[str, Any]:
    """Run the program; by default with the keys of the test."""
    plan = {"table": table, "record": record, "endpoint": endpoint, "region": region, "mock": mock}
    changed = {**os.environ, **({} if endpoint else NO_NETWORK), **variables}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(plan)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={name: value for name, value in changed.items() if value is not None},
    )
    assert done.returncode == (-signal.SIGKILL if record else 0), done.stderr
    return {} if record else {**json.loads(done.stdout), "log": done.stderr}


def test_a_process_of_milliseconds_is_followed_by_one_with_the_same_credentials(
    table: DynamoClient, proxy: FaultProxy
) -> None:
    proxy.down()
    run(table.table_name, "a", endpoint=proxy.endpoint_url)
    proxy.up()
    assert run(table.table_name, endpoint=proxy.endpoint_url)["adopted"] == 1
    assert read_ids(table) == {"a"}


@pytest.mark.parametrize("words", ["region", "profile", "arn", "slash", "upper case"])
def test_the_same_table_in_other_words_is_the_same_table(
    table: DynamoClient, moto_endpoint: str, words: str, tmp_path: Path
) -> None:
    arn = prove_table(table._connection)
    profile = tmp_path / "config"
    profile.write_text("[default]\nregion = us-east-1\n", encoding="utf-8")
    said: dict[str, Any] = {
        "region": {"region": None, "AWS_DEFAULT_REGION": None, "AWS_REGION": "us-east-1"},
        "profile": {"region": None, "AWS_DEFAULT_REGION": None, "AWS_CONFIG_FILE": str(profile)},
        "arn": {"table": arn},
        "slash": {"endpoint": f"{moto_endpoint}/"},
        "upper case": {"endpoint": moto_endpoint.replace("http", "HTTP")},
    }[words]
    run(table.table_name, "a", endpoint=moto_endpoint)
    assert run(**{"table": table.table_name, "endpoint": moto_endpoint} | said)["adopted"] == 1
    assert read_ids(table) == {"a"}


@pytest.mark.parametrize("left_on", ["moto", "ministack", "dynamodb-local"])
def test_rows_of_a_killed_test_run_do_not_surface_where_name_and_endpoint_are_equal(
    left_on: str,
    start_engine: Callable[[str], Engine],
    table: DynamoClient,
    proxy: FaultProxy,
) -> None:
    """One engine after the other listens on the port; only the keys differ."""
    engine = start_engine(left_on)
    if left_on != "moto":
        DynamoClient(table.table_name, "us-east-1", engine.endpoint_url).create_table()
    upstream, proxy._upstream = proxy._upstream, _parse_upstream(engine.endpoint_url)
    run(
        table.table_name,
        "of-a-test",
        endpoint=proxy.endpoint_url,
        AWS_ACCESS_KEY_ID="testrun",
        AWS_ACCOUNT_ID="123456789012",
    )
    proxy._upstream = upstream
    _forget_arns(Path(os.environ["AI_USAGE_JOURNAL_DIR"]))
    ended = run(table.table_name, endpoint=proxy.endpoint_url, AI_USAGE_ADOPT_UNPROVEN="true")
    assert ended["adopted"] == 0
    assert "is left alone: it is of other credentials" in ended["log"]
    assert read_ids(table) == set()


def test_rows_of_a_test_run_on_moto_in_its_process_do_not_surface_on_aws() -> None:
    """AWS is moto here as well, of another account: name, region and endpoint are equal."""
    production = {"AWS_ACCESS_KEY_ID": REAL_KEY, "MOTO_ACCOUNT_ID": "609629065308"}
    run("usage", "of-a-test", mock=True, **production)
    _forget_arns(Path(os.environ["AI_USAGE_JOURNAL_DIR"]))
    ended = run("usage", mock=False, **production)
    assert (ended["adopted"], ended["delivered"]) == (0, 0)


@pytest.mark.parametrize(
    ("key", "adopted"), [(REAL_KEY, 1), (NEXT_KEY, 1), (OTHER_ACCOUNTS_KEY, 0), ("testing", 0)]
)
def test_on_aws_the_account_in_the_keys_says_whose_it_is(key: str, adopted: int) -> None:
    run("usage", "a", AWS_ACCESS_KEY_ID=key)
    ended = run("usage", mock=False, AWS_ACCESS_KEY_ID=REAL_KEY, MOTO_ACCOUNT_ID="609629065308")
    assert (ended["adopted"], ended["delivered"]) == (adopted, adopted)


def test_an_account_proves_nothing_where_the_endpoint_is_not_awss(
    table: DynamoClient, moto_endpoint: str
) -> None:
    run(table.table_name, "a", endpoint=moto_endpoint, AWS_ACCESS_KEY_ID=REAL_KEY)
    _forget_arns(Path(os.environ["AI_USAGE_JOURNAL_DIR"]))
    ended = run(table.table_name, endpoint=moto_endpoint, AWS_ACCESS_KEY_ID=NEXT_KEY)
    assert ended["adopted"] == 0


@pytest.mark.parametrize("word", ["true", "false"])
def test_what_has_no_evidence_is_adopted_on_the_operators_word_in_advance(
    table: DynamoClient, moto_endpoint: str, word: str
) -> None:
    nobody = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}
    run(table.table_name, "a", endpoint=moto_endpoint, **nobody)
    ended = run(table.table_name, endpoint=moto_endpoint, AI_USAGE_ADOPT_UNPROVEN=word)
    assert ended["adopted"] == (word == "true")
    assert ("--adopt-unproven" in ended["log"]) is (word == "false")


def test_a_process_says_at_its_end_what_it_leaves_unproven(tmp_path: Path) -> None:
    program = """
import logging
from datetime import UTC, datetime
from receipt_dynamo import AIUsageMetric, ResilientDynamoClient
client = ResilientDynamoClient("usage", "us-east-1", endpoint_url="http://127.0.0.1:9")
client.put_ai_usage_metric(AIUsageMetric("openai", "gpt-4o", "completion", datetime.now(UTC)))
print(client.close(0.1).unproven)
"""
    said = {}
    for keys in ({"AWS_ACCESS_KEY_ID": "x"}, {}):
        kept = {name: value for name, value in os.environ.items() if "KEY" not in name}
        secret = {"AWS_SECRET_ACCESS_KEY": "x"} if keys else {}
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
            env={**kept, **keys, **secret},
        )
        said[bool(keys)] = (done.stdout.strip(), done.stderr)
    assert said[True][0] == "0"
    assert "for the next process with the same account or credentials" in said[True][1]
    assert "unproven" not in said[True][1]
    assert said[False][0] == "1"
    assert "python -m receipt_dynamo journal drain --adopt-unproven" in said[False][1]
    assert "next process" not in said[False][1]


def _forget_arns(folder: Path) -> None:
    """Have journals be those of processes that were killed before DynamoDB had answered."""
    for path in folder.glob("*.db"):
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("DELETE FROM target WHERE name = 'table_arn'")
