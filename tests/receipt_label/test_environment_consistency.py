"""A test never writes into what may be production data; production says when it looks wrong."""

from __future__ import annotations

import re
from pathlib import Path

import boto3
import pytest

from receipt_dynamo import ReceiptDynamoError
from receipt_dynamo.data.endpoints import find_endpoint
from receipt_label.environment import (
    Environment,
    TableCheck,
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


@pytest.mark.parametrize("table", ["test", "my-test", "test-x", "TestTable", "dev-test-table-1"])
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
    [
        *[("on", True), ("ON", True), ("", True), ("  ", True), ("off", False), (" Off ", False)],
        *[("warn", "warn"), (" Error", "error")],
    ],
)
def test_the_switch_is_read_in_any_case(text: str, expected: TableCheck) -> None:
    assert read_table_check({"AI_USAGE_TABLE_CHECK": text}) is expected
    assert read_table_check({}) is True


@pytest.mark.parametrize("text", ["false", "0", "no", "of", "disabled"])
def test_only_four_words_are_accepted(text: str) -> None:
    """A switch that protects data is not switched off by a guess."""
    with pytest.raises(
        ConfigurationError,
        match=f"AI_USAGE_TABLE_CHECK is '{text}'; accepted are on, off, warn, error",
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


def test_production_warns_whatever_the_endpoint() -> None:
    """These show that no production data is at risk, not that its records go the right way."""
    for options in ({"client_injected": True}, {"endpoint_url": "http://localhost:8000"}):
        with pytest.warns(UserWarning, match="looks like a test table"):
            validate_table("my-test", Environment.PRODUCTION, **options)


OF_PRODUCTION = [
    *("receipts-prod", "receipts_prod", "receipts.prod", "prod", "PROD", "prod-receipts"),
    *("ReceiptsProd", "ProdReceipts", "receiptsPROD", "PRODReceipts", "receipts-prod2"),
    *("receipts2PROD", "receipts2Prod", "Receipts2026PRD"),
    *("receipts-production", "ProductionReceipts", "AIUsageMetrics-prd", "V2Prod"),
    *("test-table-prod", "prod-test-table-1", "dev-to-prod-copy"),
    "arn:aws:dynamodb:eu-west-1:123456789012:table/receipts-prod",
]
OF_NOTHING = [
    *("receipts", "products", "product-reviews", "ProductReviews", "reproduction", "Reproduction"),
    *("devices", "DeviceReadings", "developers", "stagecoach", "stages", "contest", "latest"),
    *("attestations", "circle", "Cicero", "civic", "quality", "productions", "prodigy", "iprod"),
    *("live-scores", "demo-accounts", "integration-events", "local-shops", "sandboxes"),
    *("non-prod", "receipts-NonProd", "AIUsageMetrics", "s3prod", "1XPROD2ABC"),
    "arn:aws:dynamodb:eu-west-1:123456789012:table/receipts",
    # Only the name within an ARN counts.
    "arn:aws:dynamodb:prod-test-1:123456789012:table/receipts",
]
NAMED = {
    "receipts-staging": Environment.STAGING,
    "ReceiptsStage": Environment.STAGING,
    "receipts-pre-prod": Environment.STAGING,
    "PreProdReceipts": Environment.STAGING,
    "qa_receipts": Environment.STAGING,
    "AIUsageMetrics-development": Environment.DEVELOPMENT,
    "devReceipts": Environment.DEVELOPMENT,
    "receipts.dev3": Environment.DEVELOPMENT,
    "receipts-ci": Environment.CICD,
    "CICDReceipts": Environment.CICD,
    "receipts_test": Environment.TEST,
    "receipts-tests": Environment.TEST,
    "testing-receipts": Environment.TEST,
}
BETWEEN = [Environment.STAGING, Environment.DEVELOPMENT, Environment.CICD]


@pytest.mark.parametrize("table", OF_PRODUCTION)
@pytest.mark.parametrize("environment", [*BETWEEN, Environment.TEST])
def test_no_other_environment_writes_to_a_table_of_production(
    environment: Environment, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = f"the environment is {environment}, but the table '{re.escape(table)}' is named for prod"
    with pytest.raises(ConfigurationError, match=said):
        validate_table(table, environment)
    validate_table(table, environment, client_injected=True)
    validate_table(table, environment, endpoint_url="http://localhost:8000")
    validate_table(table, environment, check_table=False)
    with pytest.warns(UserWarning, match=said):
        validate_table(table, environment, check_table="warn")
    monkeypatch.setenv("AI_USAGE_TABLE_CHECK", "warn")
    with pytest.warns(UserWarning, match=said):
        validate_table(table, environment)
    monkeypatch.setenv("AI_USAGE_TABLE_CHECK", "off")
    validate_table(table, environment)


@pytest.mark.parametrize("table", [*OF_PRODUCTION[:14], *OF_NOTHING])
def test_a_table_of_production_or_of_nothing_is_productions(table: str) -> None:
    validate_table(table, Environment.PRODUCTION)


@pytest.mark.parametrize("table", OF_NOTHING)
@pytest.mark.parametrize("environment", BETWEEN)
def test_trap_a_part_of_a_word_names_no_environment(environment: Environment, table: str) -> None:
    validate_table(table, environment)


@pytest.mark.parametrize(("table", "own"), NAMED.items())
@pytest.mark.parametrize("environment", [Environment.PRODUCTION, *BETWEEN])
def test_a_table_of_another_environment_is_a_warning(
    environment: Environment, table: str, own: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    if environment is own:
        validate_table(table, environment)
        return
    said = f"the environment is {environment}, but the table '{table}' is named for {own};"
    with pytest.warns(UserWarning, match=said) as caught:
        validate_table(table, environment)
    assert Path(caught[0].filename) == Path(__file__)
    monkeypatch.setenv("AI_USAGE_TABLE_CHECK", "error")
    with pytest.raises(ConfigurationError, match=said):
        validate_table(table, environment)
    validate_table(table, environment, check_table=False)


@pytest.mark.parametrize("environment", BETWEEN)
def test_a_test_table_in_another_environment_is_a_warning(environment: Environment) -> None:
    for table in ("my-test", "TestTable"):
        with pytest.warns(UserWarning, match=f"{table}' is named for test"):
            validate_table(table, environment)


def test_a_table_that_has_its_own_environment_beside_another_one_fits() -> None:
    validate_table("dev-test-results", Environment.DEVELOPMENT)
    validate_table("prod-qa-results", Environment.PRODUCTION)


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
