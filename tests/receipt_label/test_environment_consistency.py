"""A test never writes into what may be production data; production says when it looks wrong."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest

from receipt_dynamo import ReceiptDynamoError
from receipt_dynamo.data.endpoints import find_endpoint
from receipt_label.environment import (
    Environment,
    is_loopback,
    read_table_check,
    validate_table,
)
from receipt_label.errors import ConfigurationError

ELSEWHERE = [environment for environment in Environment if environment is not Environment.TEST]
LOOPBACK = [
    "http://localhost",
    "http://localhost:8000",
    "http://LOCALHOST:8000/",
    "https://localhost:8000/path",
    "http://127.0.0.1:5000",
    "http://127.9.8.7",
    "http://[::1]:8000",
    "http://user:password@127.0.0.1:8000",
]
NOT_LOOPBACK = [
    None,
    "",
    "https://dynamodb.eu-west-1.amazonaws.com",
    "http://localhost.example.com:8000",
    "http://127.0.0.1.example.com",
    "http://example.com/localhost",
    "http://example.com?host=127.0.0.1",
    "http://localhost@example.com",
    "http://notlocalhost",
    "http://10.0.0.1:8000",
    "http://0.0.0.0:8000",
    "http://128.0.0.1",
    "http://[::2]",
    "http://[::1",
    "localhost:8000",
    "127.0.0.1",
    "localhost",
]


@pytest.mark.parametrize("table", ["receipts", "contest-results", "latest-table", "prod-receipts"])
def test_a_test_environment_refuses_what_may_be_production_data(table: str) -> None:
    with pytest.raises(ConfigurationError, match=f"environment is test.*'{table}'.*accepted are"):
        validate_table(table, Environment.TEST)


def test_the_refusal_is_a_value_error_and_one_of_the_packages() -> None:
    assert issubclass(ConfigurationError, ValueError)
    assert issubclass(ConfigurationError, ReceiptDynamoError)


@pytest.mark.parametrize("table", ["test", "my-test", "test-x", "TestTable", "prod-test-table-1"])
def test_a_test_environment_takes_a_test_table(table: str) -> None:
    validate_table(table, Environment.TEST)


def test_an_injected_client_is_the_callers_own_choice() -> None:
    validate_table("receipts", Environment.TEST, client_injected=True)


@pytest.mark.parametrize("url", LOOPBACK)
def test_a_loopback_endpoint_holds_no_production_data(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_loopback(url)
    validate_table("receipts", Environment.TEST, endpoint_url=url)
    for variable in ("AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL"):
        with monkeypatch.context() as patch:
            patch.setenv(variable, url)
            validate_table("receipts", Environment.TEST)


@pytest.mark.parametrize("url", NOT_LOOPBACK)
def test_another_endpoint_proves_nothing(url: str | None) -> None:
    assert not is_loopback(url)
    with pytest.raises(ConfigurationError):
        validate_table("receipts", Environment.TEST, endpoint_url=url)


def test_an_explicit_endpoint_counts_before_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://localhost:8000")
    with pytest.raises(ConfigurationError):
        validate_table(
            "receipts",
            Environment.TEST,
            endpoint_url="https://dynamodb.eu-west-1.amazonaws.com",
        )


def test_the_check_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    validate_table("receipts", Environment.TEST, check_table=False)
    monkeypatch.setenv("AI_USAGE_TABLE_CHECK", "off")
    validate_table("receipts", Environment.TEST)
    with pytest.raises(ConfigurationError):
        validate_table("receipts", Environment.TEST, check_table=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("on", True), ("ON", True), ("", True), ("  ", True), ("off", False), (" Off ", False)],
)
def test_the_switch_is_read_in_any_case(text: str, expected: bool) -> None:
    assert read_table_check({"AI_USAGE_TABLE_CHECK": text}) is expected
    assert read_table_check({}) is True


@pytest.mark.parametrize("text", ["false", "0", "no", "of", "disabled"])
def test_only_on_and_off_are_accepted(text: str) -> None:
    """A switch that protects data is not switched off by a guess."""
    with pytest.raises(
        ConfigurationError, match=f"AI_USAGE_TABLE_CHECK is '{text}'; accepted are on and off"
    ):
        read_table_check({"AI_USAGE_TABLE_CHECK": text})


@pytest.mark.parametrize("environment", ELSEWHERE)
def test_trap_the_default_configuration_does_not_raise(environment: Environment) -> None:
    validate_table("receipts", environment)


@pytest.mark.parametrize("table", ["test", "my-test", "prod-test-table-1", "TestTable"])
def test_production_warns_of_a_table_that_looks_like_a_test(table: str) -> None:
    with pytest.warns(UserWarning, match=f"is production, but the table '{table}'") as caught:
        validate_table(table, Environment.PRODUCTION)
    assert Path(caught[0].filename) == Path(__file__)


def test_production_warns_whatever_the_endpoint_and_the_switch() -> None:
    for options in ({"client_injected": True}, {"check_table": False}):
        with pytest.warns(UserWarning, match="looks like a test table"):
            validate_table("my-test", Environment.PRODUCTION, **options)


@pytest.mark.parametrize(
    "environment", [Environment.STAGING, Environment.DEVELOPMENT, Environment.CICD]
)
def test_between_test_and_production_every_table_will_do(environment: Environment) -> None:
    validate_table("my-test", environment)
    validate_table("receipts", environment)


def test_the_endpoint_is_found_as_boto3_finds_it() -> None:
    both = {"AWS_ENDPOINT_URL_DYNAMODB": "http://a", "AWS_ENDPOINT_URL": "http://b"}
    assert find_endpoint({}) is None
    assert find_endpoint({"AWS_ENDPOINT_URL": "http://b"}) == "http://b"
    assert find_endpoint(both) == "http://a"
    assert find_endpoint({**both, "AWS_ENDPOINT_URL_DYNAMODB": ""}) == "http://b"


@pytest.mark.parametrize("ignored", ["true", "false"])
@pytest.mark.parametrize("specific", ["", "http://localhost:1"])
@pytest.mark.parametrize("general", ["", "http://localhost:2"])
def test_the_found_endpoint_is_the_one_that_boto3_goes_to(
    ignored: str, specific: str, general: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With AWS_IGNORE_CONFIGURED_ENDPOINT_URLS a test would reach AWS past a loopback URL."""
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", ignored)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", specific)
    monkeypatch.setenv("AWS_ENDPOINT_URL", general)
    client = boto3.session.Session().client("dynamodb", region_name="eu-west-1")
    aws = "https://dynamodb.eu-west-1.amazonaws.com"
    assert client.meta.endpoint_url == (find_endpoint() or aws)
