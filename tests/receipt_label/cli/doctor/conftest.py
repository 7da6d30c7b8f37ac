"""The doctor, run on a table on moto that is as it should be."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from receipt_dynamo import DynamoClient
from receipt_dynamo.data.table.check import TableOptions
from receipt_dynamo.data.table.setup import make_table
from receipt_label.cli.main import main
from support.command_runs import Ended, run_command


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run the command with these arguments."""

    def run(*arguments: str) -> Ended:
        return run_command(main, ["doctor", *arguments], capsys)

    return run


@pytest.fixture
def table(moto_endpoint: str, table_name: str, monkeypatch: pytest.MonkeyPatch) -> DynamoClient:
    """A new table with all that it should have, which the environment names."""
    client = DynamoClient(table_name, "us-east-1", moto_endpoint)
    make_table(client._connection.client(), table_name, TableOptions())
    monkeypatch.setenv("DYNAMODB_TABLE_NAME", table_name)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", moto_endpoint)
    return client
