"""Read items by their keys, with proof that a missing one does not exist.

botocore returns a damaged reply as ``{}``, which looks like "no such item".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from receipt_dynamo.data.connection import UnreadableReplyError
from receipt_dynamo.data.failures import name_failure
from receipt_dynamo.entities.item_key import Key, key_of, to_attributes
from receipt_dynamo.utils.retry_with_backoff import retry_with_backoff

if TYPE_CHECKING:
    from receipt_dynamo.data.connection import Connection
    from receipt_dynamo.data.read_tally import ReadTally
    from receipt_dynamo.entities.attribute_values import Item

MOST_KEYS: Final = 100
"""Limit of BatchGetItem (Amazon DynamoDB API Reference)."""

_MOST_ASKS: Final = 5
"""For what a reply leaves out: it holds at most 16 MB, and a throttled table may hold back more."""


_CANNOT_ASK_FOR_MANY: Final = frozenset({"AccessDeniedException", "UnknownOperationException"})


def read_item(connection: Connection, key: Key, tally: ReadTally | None = None) -> Item | None:
    """Return one item, read consistently, or None if it does not exist.

    Args:
        connection: To the table.
        key: Its PK and SK.
        tally: To add to what was read.

    Raises:
        UnreadableReplyError: The replies do not say whether it is there.
        botocore.exceptions.ClientError: DynamoDB refused it.
    """
    reply = _ask(
        connection.client().get_item,
        TableName=connection.table_name,
        Key=to_attributes(key),
        ConsistentRead=True,
        ReturnConsumedCapacity="TOTAL",
    )
    if tally is not None:
        tally.count_units(reply)
    item: Item | None = reply.get("Item")
    if item is not None or "ConsumedCapacity" in reply:
        return item
    # A damaged reply, or one of an engine that does not say what it consumed: asked in a form
    # whose answer is never empty.
    return _read_batch(connection, [key], consistently=True).get(key)


def find_item(connection: Connection, keys: Sequence[Key]) -> Item | None:
    """Return the item of the first key that has one, or None when none has.

    Up to 100 keys make one request, and the last requests are spared when an item is found
    before. The reads are eventually consistent. Where BatchGetItem is denied or unknown, one key
    is read after the other.

    Raises:
        RetryExhaustedError: DynamoDB left some of them out, 5 times.
        UnreadableReplyError: A reply does not say which are there.
        botocore.exceptions.ClientError: DynamoDB refused it.
    """
    for start in range(0, len(keys), MOST_KEYS):
        some = keys[start : start + MOST_KEYS]
        try:
            found: Mapping[Key, Item] = _read_batch(connection, some, consistently=False)
        except Exception as error:
            if _CANNOT_ASK_FOR_MANY.isdisjoint(name_failure(error)):
                raise
            found = dict(_read_singly(connection, some))
        for key in some:
            if key in found:
                return found[key]
    return None


def _read_singly(connection: Connection, keys: Sequence[Key]) -> Iterator[tuple[Key, Item]]:
    for key in keys:
        item = read_item(connection, key)
        if item is not None:
            yield key, item
            return


def _read_batch(
    connection: Connection, keys: Sequence[Key], *, consistently: bool
) -> dict[Key, Item]:
    found: dict[Key, Item] = {}
    left = list(keys)

    @retry_with_backoff(_MOST_ASKS, base_delay=0.1, exceptions=(), retry_on_result=bool)
    def ask() -> list[Key]:
        nonlocal left
        items, left = _ask_for(connection, left, consistently=consistently)
        found.update({key_of(item): item for item in items})
        return left

    ask()
    return found


def _ask_for(
    connection: Connection, keys: Sequence[Key], *, consistently: bool
) -> tuple[list[Item], list[Key]]:
    """Return the items, and the keys that were not read."""
    reply = _ask(
        connection.client().batch_get_item,
        RequestItems={
            connection.table_name: {
                "Keys": [to_attributes(key) for key in keys],
                "ConsistentRead": consistently,
            }
        },
    )
    if not isinstance(reply.get("Responses"), dict):
        raise UnreadableReplyError("the reply does not say which items there are")
    items = [item for found in reply["Responses"].values() for item in found]
    unread = [
        key_of(attributes)
        for request in reply.get("UnprocessedKeys", {}).values()
        for attributes in request["Keys"]
    ]
    return items, unread


def _ask(request: Callable[..., Any], **parameters: object) -> Any:
    try:
        return request(**parameters)
    except UnicodeDecodeError as error:  # botocore lets it through.
        raise UnreadableReplyError("DynamoDB's reply cannot be read: it is not UTF-8") from error
