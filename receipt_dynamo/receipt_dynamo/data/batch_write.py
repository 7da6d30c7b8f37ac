"""One BatchWriteItem: a legal request out, a proven reply back."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from receipt_dynamo.data.connection import UnreadableReplyError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from receipt_dynamo.entities.attribute_values import Item

MAX_BATCH_ITEMS: Final = 25
"""Limit of BatchWriteItem (Amazon DynamoDB API Reference)."""

Key = tuple[str, str]


def key_of(item: Item) -> Key:
    """Return the item's PK and SK."""
    return item["PK"]["S"], item["SK"]["S"]


def write_batch(client: DynamoDBClient, table_name: str, items: Sequence[Item]) -> set[Key]:
    """Write 1 to 25 items with different keys; return the keys of those not written.

    Raises:
        UnreadableReplyError: The reply does not say which items were written.
        botocore.exceptions.ClientError: DynamoDB refused the batch.
        botocore.exceptions.BotoCoreError: No reply came, or the request never left.
    """
    reply = client.batch_write_item(
        RequestItems={table_name: [{"PutRequest": {"Item": item}} for item in items]}
    )
    status = reply["ResponseMetadata"]["HTTPStatusCode"]
    # A truncated body is parsed as {}: taken as "nothing unprocessed", it would lose the batch.
    if status != HTTPStatus.OK or not isinstance(reply.get("UnprocessedItems"), dict):
        raise UnreadableReplyError(f"the reply (HTTP {status}) has no UnprocessedItems")
    unprocessed = {
        _requested_key(request)
        for requests in reply["UnprocessedItems"].values()
        for request in requests
    }
    if not unprocessed <= {key_of(item) for item in items}:
        raise UnreadableReplyError("the reply has unprocessed items that were not sent")
    return unprocessed


def _requested_key(request: Any) -> Key:
    try:
        return key_of(request["PutRequest"]["Item"])
    except (KeyError, TypeError):
        raise UnreadableReplyError("the reply has an unprocessed item without a key") from None
