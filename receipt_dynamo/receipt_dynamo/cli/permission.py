"""What these credentials may do with a table, found out without writing a record."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from receipt_dynamo.data.failures import FailureKind, classify_failure, name_failure

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

IN_BATCHES: Final = "BatchWriteItem"
ONE_BY_ONE: Final = "PutItem"


def is_denied(error: BaseException) -> bool:
    """Return whether the credentials may not do what they were used for."""
    return "AccessDeniedException" in name_failure(error)


def find_denials(client: DynamoDBClient, table_name: str) -> dict[str, Exception]:
    """Return how DynamoDB denies each way to write records, by the way; none is all well.

    Each request has an item without any attribute, which no table takes, whatever its keys are:
    it is refused, for that or because the caller may not write. IAM is asked first: only who may
    write learns what is wrong with an item.

    Args:
        client: A boto3 client.
        table_name: Name or ARN of the table.

    Raises:
        botocore.exceptions.ClientError: DynamoDB refused for another reason.
        botocore.exceptions.BotoCoreError: No reply came.
    """
    nothing: dict[str, Any] = {}
    ways: dict[str, Callable[[], object]] = {
        IN_BATCHES: lambda: client.batch_write_item(
            RequestItems={table_name: [{"PutRequest": {"Item": nothing}}]}
        ),
        ONE_BY_ONE: lambda: client.put_item(TableName=table_name, Item=nothing),
    }
    denials: dict[str, Exception] = {}
    for way, attempt in ways.items():
        try:
            attempt()
        except Exception as error:
            if is_denied(error):
                denials[way] = error
            elif classify_failure(error) is not FailureKind.REJECTED:
                raise
    return denials
