"""The table that holds the records: its keys and its indexes."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import CreateTableInputTypeDef, GlobalSecondaryIndexTypeDef

SERVICE_INDEX: Final = "GSI1"
COST_INDEX: Final = "GSI2"
GROUP_INDEX: Final = "GSI3"
BATCH_OF_JOB_INDEX: Final = "GSI4"
INDEXES: Final = (SERVICE_INDEX, COST_INDEX, GROUP_INDEX, BATCH_OF_JOB_INDEX)


def create_table(client: DynamoDBClient, table_name: str) -> None:
    """Create the table with its indexes, unless it exists, and wait until it is active.

    Raises:
        botocore.exceptions.ClientError: DynamoDB refused it.
        botocore.exceptions.WaiterError: It was not active within 5 minutes.
    """
    # When it exists already, it may still be on the way to active.
    with suppress(client.exceptions.ResourceInUseException):
        client.create_table(**describe_table(table_name))
    client.get_waiter("table_exists").wait(
        TableName=table_name, WaiterConfig={"Delay": 1, "MaxAttempts": 300}
    )


def describe_table(table_name: str) -> CreateTableInputTypeDef:
    """Return the parameters of CreateTable: on-demand capacity, four indexes of whole items."""
    key_names = ["PK", "SK"] + [f"{index}{key}" for index in INDEXES for key in ("PK", "SK")]
    return {
        "TableName": table_name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": name, "AttributeType": "S"} for name in key_names
        ],
        "KeySchema": [
            {"AttributeName": "PK", "KeyType": "HASH"},
            {"AttributeName": "SK", "KeyType": "RANGE"},
        ],
        "GlobalSecondaryIndexes": [_describe_index(index) for index in INDEXES],
    }


def _describe_index(index: str) -> GlobalSecondaryIndexTypeDef:
    return {
        "IndexName": index,
        "KeySchema": [
            {"AttributeName": f"{index}PK", "KeyType": "HASH"},
            {"AttributeName": f"{index}SK", "KeyType": "RANGE"},
        ],
        "Projection": {"ProjectionType": "ALL"},
    }
