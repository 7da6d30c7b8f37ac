"""Asking whether one may write, on each engine: nothing is written, whatever the keys are."""

from __future__ import annotations

from typing import Any

from receipt_dynamo import DynamoClient
from receipt_dynamo.cli.permission import find_denials


def test_whoever_may_write_learns_so_and_nothing_is_written(client: DynamoClient, raw: Any) -> None:
    assert find_denials(raw, client.table_name) == {}
    assert raw.scan(TableName=client.table_name)["Count"] == 0


def test_a_table_with_another_key_is_not_written_to_either(raw: Any, table_name: str) -> None:
    raw.create_table(
        TableName=table_name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
        BillingMode="PAY_PER_REQUEST",
    )
    assert find_denials(raw, table_name) == {}
    assert raw.scan(TableName=table_name)["Count"] == 0
