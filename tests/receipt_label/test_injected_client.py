"""What becomes of an injected DynamoDB client, in a test and in production."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, MagicMock, Mock, create_autospec

import boto3
import botocore.client
import pytest
from botocore.credentials import RefreshableCredentials

from receipt_dynamo import AIUsageMetric, DynamoClient, ResilientDynamoClient, is_boto3_client
from receipt_dynamo.entities.item_form import ItemForm
from receipt_label.client_config import ClientConfig
from receipt_label.client_manager import ClientManager
from receipt_label.environment import Environment
from receipt_label.injected_client import accept_client, accept_direct_client
from support.inside_client import read_writer
from support.memory_writer import MemoryWriter

ELSEWHERE = [environment for environment in Environment if environment is not Environment.TEST]
ENDPOINT = "http://127.0.0.1:9"
"""Nothing listens there: accepting a client needs no network."""

both_paths = pytest.mark.parametrize("accept", [accept_client, accept_direct_client])
elsewhere = pytest.mark.parametrize("environment", ELSEWHERE)


class AnythingGoes:
    """Answers to every name, as a mock does."""

    def __getattr__(self, name: str) -> Any:
        return AnythingGoes()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return AnythingGoes()


class AsyncWriter:
    async def put_ai_usage_metric(self, metric: AIUsageMetric) -> None: ...


class UnmadeClient(DynamoClient):
    """A double that skips the constructor."""

    def __init__(self) -> None:
        self.records: list[AIUsageMetric] = []

    def put_ai_usage_metric(self, metric: AIUsageMetric) -> None:
        self.records.append(metric)


class UnmadeResilientClient(ResilientDynamoClient):
    """Another one."""

    def __init__(self) -> None:
        self.records: list[AIUsageMetric] = []


class UnmadeClientOfATable(UnmadeResilientClient):
    """One that has a table's name all the same."""

    table_name = "receipts"


class Audited(DynamoClient):
    """A class of the user's own that does more."""


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


def make_asyncio_client() -> Any:
    """As aiobotocore makes them: of botocore's own class, with calls that return coroutines."""

    class AioClient(botocore.client.BaseClient):
        async def _make_api_call(self, operation_name: str, api_params: Any) -> Any: ...

    client = AioClient.__new__(AioClient)
    client.__dict__.update(make_boto3_client().__dict__)
    return client


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
def test_in_a_test_any_object_with_the_method_is_used_as_it_is(accept: Any) -> None:
    writer = MemoryWriter()
    accepted = accept(writer, environment=Environment.TEST, table_name="receipts")
    assert accepted is writer


@both_paths
def test_in_a_test_a_plain_client_stays_plain(accept: Any) -> None:
    client = make_dynamo_client()
    assert accept(client, environment=Environment.TEST, table_name="receipts") is client


@both_paths
@pytest.mark.parametrize("environment", Environment)
def test_a_resilient_client_is_used_as_it_is(
    accept: Any, environment: Environment, closing: ExitStack
) -> None:
    client = closing.enter_context(ResilientDynamoClient("its-table", "eu-central-1"))
    assert accept(client, environment=environment, table_name="receipts") is client


def test_a_class_of_its_own_that_is_a_resilient_client_is_used_as_it_is(closing: ExitStack) -> None:
    class Metered(ResilientDynamoClient):
        pass

    client = closing.enter_context(Metered("its-table", "eu-central-1"))
    accepted = accept_client(client, environment=Environment.PRODUCTION, table_name=None)
    assert accepted is client


@elsewhere
def test_elsewhere_a_plain_client_is_rebuilt_with_endpoint_region_and_credentials(
    environment: Environment, closing: ExitStack
) -> None:
    accepted = accept_client(make_dynamo_client(), environment=environment, table_name="receipts")
    closing.callback(accepted.close, 0)
    assert_reaches_the_same(accepted)
    assert accepted.table_name == "its-table"


@elsewhere
def test_elsewhere_a_boto3_client_is_rebuilt_with_endpoint_region_and_credentials(
    environment: Environment, closing: ExitStack
) -> None:
    accepted = accept_client(make_boto3_client(), environment=environment, table_name="receipts")
    closing.callback(accepted.close, 0)
    assert_reaches_the_same(accepted)
    assert accepted.table_name == "receipts"


def test_a_plain_client_around_a_boto3_client_is_rebuilt_too(closing: ExitStack) -> None:
    client = DynamoClient("its-table", client=make_boto3_client())
    accepted = accept_client(client, environment=Environment.PRODUCTION, table_name=None)
    closing.callback(accepted.close, 0)
    assert_reaches_the_same(accepted)


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
    accepted = accept_client(
        boto3_client, environment=Environment.PRODUCTION, table_name="receipts"
    )
    closing.callback(accepted.close, 0)
    assert read_writer(accepted)._request_signer._credentials is refreshable


def test_the_rebuilt_client_makes_one_wire_attempt_at_a_time(closing: ExitStack) -> None:
    """The trap: the SDK's retries would multiply ours."""
    accepted = accept_client(
        make_boto3_client(), environment=Environment.PRODUCTION, table_name="receipts"
    )
    closing.callback(accepted.close, 0)
    assert read_writer(accepted).meta.config.retries["total_max_attempts"] == 1


def test_the_settings_reach_the_rebuilt_client() -> None:
    with pytest.raises(ValueError, match="batch_size is 26"):
        accept_client(
            make_dynamo_client(),
            environment=Environment.PRODUCTION,
            table_name=None,
            batch_size=26,
        )


def test_in_a_test_a_boto3_client_is_rebuilt_because_it_takes_no_records(
    closing: ExitStack,
) -> None:
    accepted = accept_client(
        make_boto3_client(), environment=Environment.TEST, table_name="my-test"
    )
    closing.callback(accepted.close, 0)
    assert_reaches_the_same(accepted)


def test_straight_through_a_boto3_client_is_used_by_a_plain_client() -> None:
    boto3_client = make_boto3_client()
    accepted = accept_direct_client(
        boto3_client, environment=Environment.PRODUCTION, table_name="receipts"
    )
    assert isinstance(accepted, DynamoClient)
    assert accepted.table_name == "receipts"
    assert accepted.target.endpoint_url == ENDPOINT


def test_straight_through_a_plain_client_stays_plain() -> None:
    client = make_dynamo_client()
    accepted = accept_direct_client(client, environment=Environment.PRODUCTION, table_name=None)
    assert accepted is client


@both_paths
def test_a_boto3_client_needs_a_table_name(accept: Any) -> None:
    with pytest.raises(ValueError, match="table_name is None"):
        accept(make_boto3_client(), environment=Environment.PRODUCTION, table_name=None)


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
        lambda: boto3.session.Session().resource("dynamodb", region_name="eu-central-1"),
        make_asyncio_client,
        Mock,
        MagicMock,
        AsyncMock,
        lambda: Mock(spec=DynamoClient),
        lambda: Mock(spec=ResilientDynamoClient),
        lambda: create_autospec(ResilientDynamoClient, instance=True),
        lambda: Mock(spec=make_boto3_client()),
        lambda: SimpleNamespace(put_ai_usage_metric=print, table_name="receipts"),
        lambda: SimpleNamespace(meta=make_boto3_client().meta),
        UnmadeClient,
        UnmadeResilientClient,
        UnmadeClientOfATable,
        lambda: ResilientDynamoClient,
    ],
    ids=[
        "writer",
        "anything",
        "object",
        "text",
        "s3",
        "streams",
        "table resource",
        "resource",
        "asyncio client",
        "mock",
        "magic mock",
        "async mock",
        "mock of a plain client",
        "mock of a resilient client",
        "autospec of a resilient client",
        "mock of a boto3 client",
        "namespace",
        "namespace with boto3's meta",
        "plain client that was never made",
        "resilient client that was never made",
        "resilient client that has nothing but a table",
        "class",
    ],
)
def test_elsewhere_anything_else_is_a_type_error_that_says_what_is_accepted(
    accept: Any, environment: Environment, make: Any
) -> None:
    """Resilience cannot be bypassed by accident."""
    client = make()
    with pytest.raises(TypeError) as caught:
        accept(client, environment=environment, table_name="receipts")
    assert f"of type {type(client).__name__};" in str(caught.value)
    assert "ResilientDynamoClient, DynamoClient and a boto3 DynamoDB client" in str(caught.value)


@both_paths
@elsewhere
@pytest.mark.parametrize("invented", [MagicMock(), make_asyncio_client()])
def test_elsewhere_a_plain_client_around_an_invented_one_is_refused(
    accept: Any, environment: Environment, invented: Any
) -> None:
    client = DynamoClient("receipts", client=invented)
    with pytest.raises(TypeError, match=f"client is of type {type(invented).__name__}"):
        accept(client, environment=environment, table_name="receipts")


def test_a_plain_client_is_not_made_resilient_around_an_invented_one() -> None:
    with pytest.raises(TypeError, match="client is of type MagicMock"):
        ResilientDynamoClient.from_client(DynamoClient("receipts", client=MagicMock()))
    with pytest.raises(TypeError, match="client is of type Mock; accepted are DynamoClient"):
        ResilientDynamoClient.from_client(Mock(spec=DynamoClient))


@elsewhere
def test_a_class_of_its_own_is_rebuilt_and_what_it_changes_is_said_to_be_lost(
    environment: Environment, closing: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    plain = Audited(
        "its-table",
        "eu-central-1",
        ENDPOINT,
        aws_access_key_id="its-key",
        aws_secret_access_key="its-secret",
    )
    accepted = accept_client(plain, environment=environment, table_name=None)
    closing.callback(accepted.close, 0)
    assert_reaches_the_same(accepted)
    assert "dynamo_client is of type Audited" in caplog.text


@both_paths
def test_a_client_for_another_table_is_said(
    accept: Any, closing: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    """Its rows would be looked for in the other table."""
    production = Environment.PRODUCTION
    for table in (None, "its-table", "arn:aws:dynamodb:eu-central-1:1:table/its-table", "another"):
        accepted = accept(make_dynamo_client(), environment=production, table_name=table)
        if isinstance(accepted, ResilientDynamoClient):
            closing.callback(accepted.close, 0)
    (line,) = caplog.messages
    assert "for the table its-table, where records go; the table another is not used" in line


@both_paths
@pytest.mark.parametrize(
    "make",
    [
        Mock,
        MagicMock,
        UnmadeClient,
        UnmadeClientOfATable,
        lambda: Mock(spec=DynamoClient),
        lambda: create_autospec(DynamoClient, instance=True),
        lambda: create_autospec(ResilientDynamoClient, instance=True),
    ],
)
def test_in_a_test_a_double_of_any_kind_is_used_as_it_is(accept: Any, make: Any) -> None:
    double = make()
    assert accept(double, environment=Environment.TEST, table_name="receipts") is double


@both_paths
@pytest.mark.parametrize(
    "make",
    [
        AsyncMock,
        AsyncWriter,
        lambda: Mock(spec=AsyncWriter),
        lambda: create_autospec(AsyncWriter, instance=True),
    ],
)
def test_in_a_test_a_client_that_would_have_to_be_awaited_is_refused(
    accept: Any, make: Any
) -> None:
    with pytest.raises(TypeError, match="put_ai_usage_metric is async"):
        accept(make(), environment=Environment.TEST, table_name="receipts")


class AsyncDynamoClient(DynamoClient):
    async def put_ai_usage_metric(self, metric: AIUsageMetric) -> None: ...  # type: ignore[override]


@both_paths
@pytest.mark.parametrize("environment", Environment)
def test_a_plain_client_that_would_have_to_be_awaited_is_refused(
    accept: Any, environment: Environment
) -> None:
    client = AsyncDynamoClient("its-table", "eu-central-1", ENDPOINT)
    with pytest.raises(TypeError, match="put_ai_usage_metric is async"):
        accept(client, environment=environment, table_name=None)


@both_paths
@pytest.mark.parametrize("client", [object(), "receipts", None, MemoryWriter])
def test_in_a_test_an_object_without_the_method_is_a_type_error(
    accept: Any, client: object
) -> None:
    with pytest.raises(TypeError, match="any object with a method put_ai_usage_metric"):
        accept(client, environment=Environment.TEST, table_name="receipts")


def test_a_boto3_client_for_dynamodb_is_told_from_all_else() -> None:
    assert is_boto3_client(make_boto3_client())
    assert not is_boto3_client(AnythingGoes())
    assert not is_boto3_client(make_dynamo_client())
    assert not is_boto3_client(make_asyncio_client())
    assert not is_boto3_client(Mock(spec=make_boto3_client()))
    assert not is_boto3_client(create_autospec(make_boto3_client()))
    assert not is_boto3_client(SimpleNamespace(meta=make_boto3_client().meta))
    assert not is_boto3_client(type(make_boto3_client()))
    assert not is_boto3_client(None)


def test_the_question_imports_no_boto3() -> None:
    program = (
        "import sys, receipt_dynamo; "
        "print(receipt_dynamo.is_boto3_client(object()), 'botocore' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=True
    )
    assert done.stdout.split() == ["False", "False"]


@both_paths
def test_the_form_of_items_reaches_a_client_made_of_a_boto3_client(
    accept: Any, closing: ExitStack
) -> None:
    accepted = accept(
        make_boto3_client(),
        environment=Environment.PRODUCTION,
        table_name="receipts",
        gsi_shards=4,
        retention_days=30,
    )
    if isinstance(accepted, ResilientDynamoClient):
        closing.callback(accepted.close, 0)
    assert accepted.item_form == ItemForm(4, 30)


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
    accepted = accept_client(
        plain,
        environment=Environment.PRODUCTION,
        table_name=None,
        gsi_shards=asked.gsi_shards,
        retention_days=asked.retention_days,
    )
    assert isinstance(accepted, ResilientDynamoClient)
    closing.callback(accepted.close, 0)
    assert accepted.item_form == expected


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
