"""The table that holds the records: its keys and its indexes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import (
        CreateTableInputTypeDef,
        GlobalSecondaryIndexTypeDef,
        KeySchemaElementTypeDef,
    )

SERVICE_INDEX: Final = "GSI1"
COST_INDEX: Final = "GSI2"
GROUP_INDEX: Final = "GSI3"
BATCH_OF_JOB_INDEX: Final = "GSI4"
INDEXES: Final = (SERVICE_INDEX, COST_INDEX, GROUP_INDEX, BATCH_OF_JOB_INDEX)


def create_table(client: DynamoDBClient, table_name: str, **more: Any) -> bool:
    """Create the table with its indexes, unless it exists, and wait until it is active.

    Args:
        client: A boto3 client.
        table_name: Its name or ARN.
        more: Further parameters of CreateTable.

    Returns:
        Whether it did not exist.

    Raises:
        botocore.exceptions.ClientError: DynamoDB refused it.
        botocore.exceptions.WaiterError: It was not active within 5 minutes.
    """
    try:
        client.create_table(**describe_table(table_name), **more)
    except client.exceptions.ResourceInUseException:
        is_new = False  # It may still be on the way to active.
    else:
        is_new = True
    client.get_waiter("table_exists").wait(
        TableName=table_name, WaiterConfig={"Delay": 1, "MaxAttempts": 300}
    )
    return is_new


def describe_table(table_name: str) -> CreateTableInputTypeDef:
    """Return the parameters of CreateTable: on-demand capacity, four indexes of whole items."""
    owners = ("", *INDEXES)
    return {
        "TableName": table_name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": key["AttributeName"], "AttributeType": "S"}
            for owner in owners
            for key in describe_keys(owner)
        ],
        "KeySchema": describe_keys(""),
        "GlobalSecondaryIndexes": [describe_index(index) for index in INDEXES],
    }


def describe_keys(owner: str) -> list[KeySchemaElementTypeDef]:
    """Return the keys of an index, or of the table when ``owner`` is empty."""
    return [
        {"AttributeName": f"{owner}PK", "KeyType": "HASH"},
        {"AttributeName": f"{owner}SK", "KeyType": "RANGE"},
    ]


def describe_index(index: str) -> GlobalSecondaryIndexTypeDef:
    """Return an index as CreateTable and UpdateTable take it."""
    return {
        "IndexName": index,
        "KeySchema": describe_keys(index),
        "Projection": {"ProjectionType": "ALL"},
    }
