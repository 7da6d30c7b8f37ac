"""A table's name alone switches off nothing that guards data; a region must be there."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

from receipt_dynamo import DynamoClient, ResilientDynamoClient
from receipt_label import AIUsageTracker, ClientConfig, ClientManager, ResilientAIUsageTracker
from receipt_label.environment import Environment

# Services of production whose names look like a test's.
GUESSED = [
    *("ab-test", "customer-satisfaction-test", "receipts-test-table-prod", "test-drives", "test"),
    *("SmokeTestTable", "arn:aws:dynamodb:eu-west-1:123456789012:table/ab-test"),
]


@pytest.fixture(autouse=True)
def not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody says that this is a test."""
    monkeypatch.delenv("ENVIRONMENT")


def make_by_variables(table: str) -> tuple[ClientManager, Any]:
    manager = ClientManager.from_env({"DYNAMODB_TABLE_NAME": table})
    return manager, manager.dynamo


def make_by_arguments(table: str) -> tuple[ClientManager, Any]:
    manager = ClientManager(ClientConfig(dynamo_table=table))
    return manager, manager.dynamo


def make_tracker(table: str) -> tuple[ResilientAIUsageTracker, Any]:
    tracker = ResilientAIUsageTracker(None, table)
    return tracker, tracker._client


every_way = pytest.mark.parametrize("make", [make_by_variables, make_by_arguments, make_tracker])
Make = Callable[[str], tuple[Any, Any]]


@every_way
@pytest.mark.parametrize("table", GUESSED)
def test_what_only_looks_like_a_test_keeps_its_journal_and_is_said_once(
    make: Make, table: str, tmp_path: Path
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        owner, client = make(table)
    assert isinstance(client, ResilientDynamoClient)
    assert client.get_stats().durability == "journal"
    owner.close(0)
    (warning,) = caught
    assert repr(table) in str(warning.message)
    assert "set ENVIRONMENT=test if it is a test, else ENVIRONMENT=production" in str(
        warning.message
    )
    assert Path(warning.filename) == Path(__file__)


@every_way
def test_the_environment_is_test_all_the_same(make: Make) -> None:
    with pytest.warns(UserWarning, match="taken for a test"):
        owner, _ = make("ab-test")
    owner.close(0)
    kept = owner.environment if isinstance(owner, ClientManager) else owner._recorder._environment
    assert kept is Environment.TEST


@every_way
@pytest.mark.parametrize("said", ["test", "testing", "TEST"])
def test_a_test_that_is_said_keeps_its_records_in_memory_without_a_word(
    make: Make, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVIRONMENT", said)
    if make is make_by_variables:
        variables = {"DYNAMODB_TABLE_NAME": "ab-test", "ENVIRONMENT": said}
        owner: Any = ClientManager.from_env(variables)
        client = owner.dynamo
    else:
        owner, client = make("ab-test")
    assert client.get_stats().durability == "memory"
    owner.close(0)


def test_the_durability_that_the_user_chose_holds() -> None:
    with pytest.warns(UserWarning, match="taken for a test"):
        config = ClientConfig.from_env(
            {"DYNAMODB_TABLE_NAME": "ab-test", "AI_USAGE_DURABILITY": "memory"}
        )
    with ClientManager(config) as manager:
        assert manager.dynamo.get_stats().durability == "memory"


class Stranger:
    def put_ai_usage_metric(self, metric: object) -> bool:
        return True


def test_a_client_that_only_looks_right_is_refused_where_only_the_name_says_test() -> None:
    config = ClientConfig(dynamo_table="ab-test")
    makers: list[Callable[[], object]] = [
        lambda: ClientManager(config, dynamo_client=Stranger()),
        lambda: AIUsageTracker(Stranger(), "ab-test"),
        lambda: ResilientAIUsageTracker(Stranger(), "ab-test"),
    ]
    for make in makers:
        with (
            pytest.warns(UserWarning, match="taken for a test"),
            pytest.raises(TypeError, match="in the test environment any object"),
        ):
            make()


def test_a_plain_client_is_made_resilient_where_only_the_name_says_test() -> None:
    plain = DynamoClient("ab-test", "us-east-1")
    with (
        pytest.warns(UserWarning, match="taken for a test"),
        ClientManager(ClientConfig(dynamo_table="ab-test"), dynamo_client=plain) as manager,
    ):
        assert isinstance(manager.dynamo, ResilientDynamoClient)


def test_an_environment_that_is_given_is_said() -> None:
    config = ClientConfig(dynamo_table="ab-test", environment=Environment.TEST)
    with ClientManager(config, dynamo_client=Stranger()) as manager:
        assert manager.environment is Environment.TEST


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("resilient", [True, False])
def test_a_region_that_is_nowhere_to_be_found_is_an_error_at_once(resilient: bool) -> None:
    """The trap: put says True, and the records wait for ever."""
    with pytest.raises(ValueError, match=r"region is nowhere to be found: set AWS_REGION"):
        ClientManager(ClientConfig(dynamo_table="receipts", use_resilient_tracker=resilient))
    tracker = ResilientAIUsageTracker if resilient else AIUsageTracker
    with pytest.raises(ValueError, match="AWS_REGION"):
        tracker(None, "receipts")


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize(
    ("table", "variables"),
    [
        ("receipts", {"AWS_REGION": "eu-west-1"}),
        ("receipts", {"AWS_DEFAULT_REGION": "eu-west-1"}),
        ("receipts", {"AWS_CONFIG_FILE": "[default]\nregion = eu-west-1\n"}),
        ("receipts", {"AWS_PROFILE": "x", "AWS_CONFIG_FILE": "[profile x]\nregion = eu-west-1\n"}),
        ("arn:aws:dynamodb:eu-west-1:123456789012:table/receipts", {}),
    ],
)
def test_a_region_anywhere_is_enough(
    table: str, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in variables.items():
        text = value
        if name == "AWS_CONFIG_FILE":
            (tmp_path / "config").write_text(value)
            text = str(tmp_path / "config")
        monkeypatch.setenv(name, text)
    with ClientManager(ClientConfig(dynamo_table=table)) as manager:
        assert manager.dynamo._connection.client().meta.region_name == "eu-west-1"


@pytest.mark.usefixtures("nowhere")
def test_a_client_that_is_given_brings_its_region() -> None:
    client = boto3.session.Session().client("dynamodb", "eu-west-1")
    for given in (client, DynamoClient("receipts", "eu-west-1")):
        config = ClientConfig(dynamo_table="receipts")
        with ClientManager(config, dynamo_client=given) as manager:
            assert manager.dynamo._connection.client().meta.region_name == "eu-west-1"


@pytest.mark.usefixtures("nowhere")
def test_the_data_layer_by_itself_wants_a_region_too() -> None:
    with pytest.raises(ValueError, match="AWS_REGION"):
        ResilientDynamoClient("receipts")
    with pytest.raises(ValueError, match="AWS_REGION"):
        ResilientDynamoClient.from_client(DynamoClient("receipts"))
    ResilientDynamoClient("receipts", "eu-west-1").close(0)


@pytest.mark.usefixtures("nowhere")
def test_a_test_may_make_a_manager_without_a_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", "test")
    with ClientManager(ClientConfig(dynamo_table="my-test"), dynamo_client=Stranger()) as manager:
        assert isinstance(manager.dynamo, Stranger)
