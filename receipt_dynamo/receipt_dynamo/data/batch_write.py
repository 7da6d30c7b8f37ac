"""One BatchWriteItem: a legal request out, a proven reply back."""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from receipt_dynamo.data.connection import UnreadableReplyError
from receipt_dynamo.entities.item_key import Key, key_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from receipt_dynamo.entities.attribute_values import Item

MAX_BATCH_ITEMS: Final = 25
"""Limit of BatchWriteItem (Amazon DynamoDB API Reference)."""

MAX_BATCH_BYTES: Final = 8 * 1024 * 1024
"""Bytes on the wire, half of BatchWriteItem's limit of 16 MB (Amazon DynamoDB API
Reference): one item more, escaped to six times its size, still fits."""

_prepared = threading.local()


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
    return _read_unprocessed(reply, {key_of(item) for item in items})


def write_prepared_batch(
    client: DynamoDBClient, table_name: str, keys: Collection[Key], bodies: Sequence[bytes]
) -> set[Key]:
    """Like :func:`write_batch`, of items that are JSON already.

    botocore makes, signs and sends the request, so that credentials, endpoints, event hooks
    and fakes that hook into it work; only the body is ours. ``client`` does not validate
    parameters, and :func:`accept_prepared_bodies` was called for it.
    """
    _prepared.body = _join(table_name, bodies)
    try:
        # The table's name stays: the rules for endpoints look at it, when it is an ARN.
        reply = client.batch_write_item(RequestItems={table_name: []})
    finally:
        _prepared.body = None
    return _read_unprocessed(reply, keys)


def accept_prepared_bodies(client: DynamoDBClient) -> None:
    """Have ``client`` send what :func:`write_prepared_batch` prepared."""
    client.meta.events.register("before-call.dynamodb.BatchWriteItem", _insert_body)


def _insert_body(params: dict[str, Any], **_: object) -> None:
    body = getattr(_prepared, "body", None)
    if body is not None:
        params["body"] = body


def _join(table_name: str, bodies: Sequence[bytes]) -> bytes:
    name = json.dumps(table_name).encode()
    items = b'}},{"PutRequest":{"Item":'.join(bodies)
    return b'{"RequestItems":{%b:[{"PutRequest":{"Item":%b}}]}}' % (name, items)


def _read_unprocessed(reply: Any, keys: Collection[Key]) -> set[Key]:
    status = reply["ResponseMetadata"]["HTTPStatusCode"]
    # A truncated body is parsed as {}: taken as "nothing unprocessed", it would lose the batch.
    if status != HTTPStatus.OK or not isinstance(reply.get("UnprocessedItems"), dict):
        raise UnreadableReplyError(f"the reply (HTTP {status}) has no UnprocessedItems")
    unprocessed = {
        _requested_key(request)
        for requests in reply["UnprocessedItems"].values()
        for request in requests
    }
    if not unprocessed.issubset(keys):
        raise UnreadableReplyError("the reply has unprocessed items that were not sent")
    return unprocessed


def _requested_key(request: Any) -> Key:
    try:
        return key_of(request["PutRequest"]["Item"])
    except (KeyError, TypeError):
        raise UnreadableReplyError("the reply has an unprocessed item without a key") from None
