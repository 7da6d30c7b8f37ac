"""boto3 clients: made late, one for each process, where the arguments and the variables say."""

from __future__ import annotations

import os
from typing import Any

import boto3
import pytest
from botocore.exceptions import NoRegionError

from receipt_dynamo import DynamoClient, ResilientDynamoClient
from receipt_dynamo.data.connection import Connection, SdkSettings, Target

NOBODY = "http://127.0.0.1:9"


def connect(**target: Any) -> Connection:
    return Connection(Target("test-table", **target), SdkSettings())


@pytest.mark.parametrize("client_type", [DynamoClient, ResilientDynamoClient])
def test_no_network_call_in_the_constructor(client_type: Any) -> None:
    """A service must start while DynamoDB is down."""
    client = client_type("test-table", "us-east-1", endpoint_url=NOBODY)
    assert client.table_name == "test-table"


def test_a_resilient_client_without_a_region_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(ValueError, match="set AWS_REGION"):
        ResilientDynamoClient("test-table", endpoint_url=NOBODY)


def test_a_missing_region_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(NoRegionError, match="region"):
        connect().client()


def test_arguments_win_over_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:10")
    meta = connect(region="ap-south-1", endpoint_url=NOBODY).client().meta
    assert (meta.region_name, meta.endpoint_url) == ("ap-south-1", NOBODY)


@pytest.mark.parametrize("variable", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_region_and_endpoint_come_from_the_variables(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv(variable, "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:10")
    meta = connect().client().meta
    assert (meta.region_name, meta.endpoint_url) == ("eu-west-1", "http://127.0.0.1:10")


def test_without_any_endpoint_it_is_amazons() -> None:
    meta = connect(region="eu-west-1").client().meta
    assert meta.endpoint_url == "https://dynamodb.eu-west-1.amazonaws.com"


def test_one_client_for_a_process_and_the_default_session_untouched() -> None:
    before = boto3.DEFAULT_SESSION
    connection = connect()
    assert connection.client() is connection.client()
    assert boto3.DEFAULT_SESSION is before


def test_a_renewed_client_finds_new_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = connect()
    before = connection.client()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "rotated")
    assert connection.client() is before
    connection.renew()
    after = connection.read_target()
    assert connection.client() is not before
    assert after.table_name == "test-table"


def test_sdk_retries_are_explicit() -> None:
    """botocore's defaults changed from 10 attempts to 4; ours do not follow."""
    settings = SdkSettings(total_max_attempts=1)
    config = Connection(Target("test-table"), settings).client().meta.config
    assert config.retries["total_max_attempts"] == 1  # type: ignore[attr-defined]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_makes_a_client_of_its_own() -> None:
    connection = connect()
    parents = connection.client()
    pid = os.fork()
    if pid == 0:
        os._exit(0 if connection.client() is not parents else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert connection.client() is parents


def test_a_boto3_client_gives_its_endpoint_region_and_credentials() -> None:
    made = boto3.client(
        "dynamodb",
        region_name="ap-south-1",
        endpoint_url=NOBODY,
        aws_access_key_id="mine",
        aws_secret_access_key="my-secret",
    )
    target = DynamoClient("test-table", client=made).target
    assert (target.region, target.endpoint_url) == ("ap-south-1", NOBODY)
    assert target.credentials.access_key == "mine"
    assert "my-secret" not in repr(target)


@pytest.mark.parametrize("thing", [None, object(), "client", boto3.client])
def test_only_real_clients_are_rebuilt(thing: Any) -> None:
    with pytest.raises(TypeError, match="accepted are DynamoClient and a boto3 DynamoDB client"):
        ResilientDynamoClient.from_client(thing)


def test_a_boto3_client_needs_a_table_name() -> None:
    made = boto3.client("dynamodb", region_name="us-east-1", endpoint_url=NOBODY)
    with pytest.raises(ValueError, match="table_name"):
        ResilientDynamoClient.from_client(made)


def test_another_services_client_is_refused() -> None:
    made: Any = boto3.client("sts", region_name="us-east-1", endpoint_url=NOBODY)
    with pytest.raises(TypeError, match="STS"):
        ResilientDynamoClient.from_client(made, "test-table")
