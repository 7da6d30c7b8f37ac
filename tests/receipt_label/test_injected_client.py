"""What becomes of an injected DynamoDB client, in a test and in production."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import boto3
import pytest
from botocore.credentials import RefreshableCredentials

from engines.inside import read_writer
from engines.memory_writer import MemoryWriter
from receipt_dynamo import DynamoClient, ResilientDynamoClient
from receipt_dynamo.entities.item_form import ItemForm
from receipt_label.client_config import ClientConfig
from receipt_label.client_manager import ClientManager
from receipt_label.environment import Environment
from receipt_label.injected_client import adopt_client, adopt_direct_client, is_boto3_client

ELSEWHERE = [environment for environment in Environment if environment is not Environment.TEST]
ENDPOINT = "http://127.0.0.1:9"
"""Nothing listens there: adopting a client needs no network."""

both_paths = pytest.mark.parametrize("adopt", [adopt_client, adopt_direct_client])
elsewhere = pytest.mark.parametrize("environment", ELSEWHERE)


class AnythingGoes:
    """Answers to every name, as a mock does."""

    def __getattr__(self, name: str) -> Any:
        return AnythingGoes()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return AnythingGoes()


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def make_boto3_client(**options: Any) -> Any:
    return boto3.session.Session().client(
        "dynamodb",
        **{
            "region_name": "eu-central-1",
            "endpoint_url": ENDPOINT,
            "aws_access_key_id": "its-key",
            "aws_secret_access_key": "its-secret",
            **options,
        },
    )


def make_dynamo_client(table: str = "its-table") -> DynamoClient:
    return DynamoClient(
        table,
        "eu-central-1",
        ENDPOINT,
        aws_access_key_id="its-key",
        aws_secret_access_key="its-secret",
    )


def assert_reaches_the_same(client: object) -> None:
    assert isinstance(client, ResilientDynamoClient)
    writer = read_writer(client)
    assert writer.meta.endpoint_url == ENDPOINT
    assert writer.meta.region_name == "eu-central-1"
    credentials = writer._request_signer._credentials
    assert (credentials.access_key, credentials.secret_key) == ("its-key", "its-secret")


@both_paths
def test_in_a_test_any_object_with_the_method_is_used_as_it_is(adopt: Any) -> None:
    writer = MemoryWriter()
    adopted = adopt(writer, environment=Environment.TEST, table_name="receipts")
    assert adopted is writer


@both_paths
def test_in_a_test_a_plain_client_stays_plain(adopt: Any) -> None:
    client = make_dynamo_client()
    assert adopt(client, environment=Environment.TEST, table_name="receipts") is client


@both_paths
@pytest.mark.parametrize("environment", Environment)
def test_a_resilient_client_is_used_as_it_is(
    adopt: Any, environment: Environment, closing: ExitStack
) -> None:
    client = closing.enter_context(ResilientDynamoClient("its-table", "eu-central-1"))
    assert adopt(client, environment=environment, table_name="receipts") is client


def test_a_class_of_its_own_that_is_a_resilient_client_is_used_as_it_is(closing: ExitStack) -> None:
    class Metered(ResilientDynamoClient):
        pass

    client = closing.enter_context(Metered("its-table", "eu-central-1"))
    adopted = adopt_client(client, environment=Environment.PRODUCTION, table_name=None)
    assert adopted is client


@elsewhere
def test_elsewhere_a_plain_client_is_rebuilt_with_endpoint_region_and_credentials(
    environment: Environment, closing: ExitStack
) -> None:
    adopted = adopt_client(make_dynamo_client(), environment=environment, table_name="receipts")
    closing.callback(adopted.close, 0)
    assert_reaches_the_same(adopted)
    assert adopted.table_name == "its-table"


@elsewhere
def test_elsewhere_a_boto3_client_is_rebuilt_with_endpoint_region_and_credentials(
    environment: Environment, closing: ExitStack
) -> None:
    adopted = adopt_client(make_boto3_client(), environment=environment, table_name="receipts")
    closing.callback(adopted.close, 0)
    assert_reaches_the_same(adopted)
    assert adopted.table_name == "receipts"


def test_a_plain_client_around_a_boto3_client_is_rebuilt_too(closing: ExitStack) -> None:
    client = DynamoClient("its-table", client=make_boto3_client())
    adopted = adopt_client(client, environment=Environment.PRODUCTION, table_name=None)
    closing.callback(adopted.close, 0)
    assert_reaches_the_same(adopted)


def test_credentials_that_refresh_themselves_go_on_doing_so(closing: ExitStack) -> None:
    """A copy of the keys of a role would work for an hour."""
    refreshable = RefreshableCredentials.create_from_metadata(
        {
            "access_key": "its-key",
            "secret_key": "its-secret",
            "token": "its-token",
            "expiry_time": "2999-01-01T00:00:00Z",
        },
        refresh_using=dict,
        method="test",
    )
    boto3_client = make_boto3_client()
    boto3_client._request_signer._credentials = refreshable
    adopted = adopt_client(boto3_client, environment=Environment.PRODUCTION, table_name="receipts")
    closing.callback(adopted.close, 0)
    assert read_writer(adopted)._request_signer._credentials is refreshable


def test_the_rebuilt_client_makes_one_wire_attempt_at_a_time(closing: ExitStack) -> None:
    """The trap: the SDK's retries would multiply ours."""
    adopted = adopt_client(
        make_boto3_client(), environment=Environment.PRODUCTION, table_name="receipts"
    )
    closing.callback(adopted.close, 0)
    assert read_writer(adopted).meta.config.retries["total_max_attempts"] == 1


def test_the_settings_reach_the_rebuilt_client() -> None:
    with pytest.raises(ValueError, match="batch_size is 26"):
        adopt_client(
            make_dynamo_client(),
            environment=Environment.PRODUCTION,
            table_name=None,
            batch_size=26,
        )


def test_in_a_test_a_boto3_client_is_rebuilt_because_it_takes_no_records(
    closing: ExitStack,
) -> None:
    adopted = adopt_client(make_boto3_client(), environment=Environment.TEST, table_name="my-test")
    closing.callback(adopted.close, 0)
    assert_reaches_the_same(adopted)


def test_straight_through_a_boto3_client_is_used_by_a_plain_client() -> None:
    boto3_client = make_boto3_client()
    adopted = adopt_direct_client(
        boto3_client, environment=Environment.PRODUCTION, table_name="receipts"
    )
    assert isinstance(adopted, DynamoClient)
    assert adopted.table_name == "receipts"
    assert adopted.target.endpoint_url == ENDPOINT


def test_straight_through_a_plain_client_stays_plain() -> None:
    client = make_dynamo_client()
    adopted = adopt_direct_client(client, environment=Environment.PRODUCTION, table_name=None)
    assert adopted is client


@both_paths
def test_a_boto3_client_needs_a_table_name(adopt: Any) -> None:
    with pytest.raises(ValueError, match="table_name is None"):
        adopt(make_boto3_client(), environment=Environment.PRODUCTION, table_name=None)


@both_paths
@elsewhere
@pytest.mark.parametrize(
    "make",
    [
        MemoryWriter,
        AnythingGoes,
        object,
        lambda: "receipts",
        lambda: boto3.session.Session().client("s3", region_name="eu-central-1"),
        lambda: boto3.session.Session().client("dynamodbstreams", region_name="eu-central-1"),
        lambda: (
            boto3.session.Session()
            .resource("dynamodb", region_name="eu-central-1")
            .Table("receipts")
        ),
    ],
    ids=["writer", "mock", "object", "text", "s3", "streams", "table resource"],
)
def test_elsewhere_anything_else_is_a_type_error_that_says_what_is_accepted(
    adopt: Any, environment: Environment, make: Any
) -> None:
    """Resilience cannot be bypassed by accident."""
    client = make()
    with pytest.raises(TypeError) as caught:
        adopt(client, environment=environment, table_name="receipts")
    assert f"of type {type(client).__name__};" in str(caught.value)
    assert "ResilientDynamoClient, DynamoClient and a boto3 DynamoDB client" in str(caught.value)


@both_paths
@pytest.mark.parametrize("client", [object(), "receipts", None])
def test_in_a_test_an_object_without_the_method_is_a_type_error(adopt: Any, client: object) -> None:
    with pytest.raises(TypeError, match="any object with a method put_ai_usage_metric"):
        adopt(client, environment=Environment.TEST, table_name="receipts")


def test_a_boto3_client_for_dynamodb_is_told_from_all_else() -> None:
    assert is_boto3_client(make_boto3_client())
    assert not is_boto3_client(AnythingGoes())
    assert not is_boto3_client(make_dynamo_client())
    assert not is_boto3_client(None)


@both_paths
def test_the_form_of_items_reaches_a_client_made_of_a_boto3_client(
    adopt: Any, closing: ExitStack
) -> None:
    adopted = adopt(
        make_boto3_client(),
        environment=Environment.PRODUCTION,
        table_name="receipts",
        gsi_shards=4,
        retention_days=30,
    )
    if isinstance(adopted, ResilientDynamoClient):
        closing.callback(adopted.close, 0)
    assert adopted.item_form == ItemForm(4, 30)


@pytest.mark.parametrize(
    ("its", "asked", "expected"),
    [
        (ItemForm(4, 30), ItemForm(), ItemForm(4, 30)),
        (ItemForm(4, 30), ItemForm(8, 60), ItemForm(8, 60)),
        (ItemForm(4, 30), ItemForm(2, 7), ItemForm(4, 7)),
        (ItemForm(), ItemForm(2, 7), ItemForm(2, 7)),
    ],
)
def test_a_rebuilt_plain_client_keeps_its_shards_and_the_end_of_its_items(
    its: ItemForm, asked: ItemForm, expected: ItemForm, closing: ExitStack
) -> None:
    """Rows that should have an end, and have none, are kept for ever."""
    plain = DynamoClient("its-table", gsi_shards=its.gsi_shards, retention_days=its.retention_days)
    adopted = adopt_client(
        plain,
        environment=Environment.PRODUCTION,
        table_name=None,
        gsi_shards=asked.gsi_shards,
        retention_days=asked.retention_days,
    )
    assert isinstance(adopted, ResilientDynamoClient)
    closing.callback(adopted.close, 0)
    assert adopted.item_form == expected


@pytest.mark.parametrize("is_resilient", [True, False])
@pytest.mark.parametrize("inject", [True, False])
def test_a_managers_client_writes_the_form_that_is_configured(
    is_resilient: bool, inject: bool
) -> None:
    config = ClientConfig(
        dynamo_table="receipts",
        environment=Environment.PRODUCTION,
        use_resilient_tracker=is_resilient,
        gsi_shards=4,
        retention_days=30,
        endpoint_url=ENDPOINT,
    )
    with ClientManager(config, dynamo_client=make_boto3_client() if inject else None) as manager:
        client: Any = manager.dynamo
        assert isinstance(client, ResilientDynamoClient if is_resilient else DynamoClient)
        assert client.item_form == ItemForm(4, 30)
