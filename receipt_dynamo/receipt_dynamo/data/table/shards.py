"""The number of shards of the indexes, which is in one item of the table, for all readers.

A record in a shard that no reader knows of would be missing from every sum. So the number is
raised before the first record of a shard is written, and never lowered: records stay where
they were written.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from receipt_dynamo.data.connection import UnreadableReplyError
from receipt_dynamo.data.failures import FailureKind, classify_failure, summarize_failure
from receipt_dynamo.data.item_reads import read_item
from receipt_dynamo.entities.ai_usage_metric import InvalidItemError
from receipt_dynamo.entities.item_form import MAX_GSI_SHARDS
from receipt_dynamo.entities.item_key import to_attributes
from receipt_dynamo.errors import ReceiptDynamoError
from receipt_dynamo.utils.fork_safety import notice_fork, reset_in_child

if TYPE_CHECKING:
    from receipt_dynamo.data.connection import Connection
    from receipt_dynamo.data.read_tally import ReadTally

# Without any index key, and in no partition of a model: no query of records meets it.
_KEY: Final = ("AI_USAGE_META", "GSI_SHARDS")
_TYPE: Final = "AIUsageMeta"
_COUNT: Final = "gsiShards"


class ShardAnnouncementError(ReceiptDynamoError):
    """The table does not take the item that says how many shards there are."""


class ShardAnnouncer:
    """Writes the number of shards for the readers of a table, once in each process.

    Args:
        connection: To the table, for writes.
        gsi_shards: Of this writer.
    """

    def __init__(self, connection: Connection, gsi_shards: int) -> None:
        self._connection = connection
        self._gsi_shards = gsi_shards
        self.reset_after_fork()
        reset_in_child(self)

    def reset_after_fork(self) -> None:
        """Begin anew in a forked child: it may have been forked in the middle of it."""
        self._lock = threading.RLock()
        self._announced = 1

    def announce(self, shards: Iterable[int]) -> None:
        """Make sure that readers know of these shards, before a record of them is written.

        The shards of other writers, whose records this one delivers, are announced as well.

        Raises:
            ShardAnnouncementError: DynamoDB rejects the item, which is no fault of a record.
            UnreadableReplyError: The reply does not prove that it was written.
            botocore.exceptions.ClientError: DynamoDB refused it otherwise.
            botocore.exceptions.BotoCoreError: No reply came, or the request never left.
        """
        notice_fork()
        highest = max(shards, default=0)
        if highest == 0:
            return
        count = max(self._gsi_shards, highest + 1)
        if count <= self._announced:
            return
        # Not under the lock: it is a request, and a second one does no harm.
        _raise_count(self._connection, count)
        with self._lock:
            self._announced = max(self._announced, count)

    def forget(self) -> None:
        """Announce them again with the next record: the table may be another one by then."""
        notice_fork()
        with self._lock:
            self._announced = 1


def _raise_count(connection: Connection, count: int) -> None:
    client = connection.client()
    number = {"N": str(count)}
    try:
        reply = client.update_item(
            TableName=connection.table_name,
            Key=to_attributes(_KEY),
            UpdateExpression=f"SET {_COUNT} = :count, #type = :type",
            ConditionExpression=f"attribute_not_exists({_COUNT}) OR {_COUNT} < :count",
            ExpressionAttributeNames={"#type": "TYPE"},
            ExpressionAttributeValues={":count": number, ":type": {"S": _TYPE}},
            ReturnValues="UPDATED_NEW",
        )
    except client.exceptions.ConditionalCheckFailedException:
        return  # This number or a larger one is there: by another writer, or by this very request.
    except Exception as error:
        if classify_failure(error) is FailureKind.REJECTED:
            raise explain_announcement(error) from error
        raise
    # A truncated body is parsed as {}.
    if reply.get("Attributes", {}).get(_COUNT) != number:
        raise UnreadableReplyError("the reply does not prove that the number of shards is written")


def explain_announcement(error: Exception) -> ShardAnnouncementError:
    """Return the error of an announcement that DynamoDB did not take."""
    return ShardAnnouncementError(
        f"the number of shards cannot be written: {summarize_failure(error)}"
    )


def read_shard_count(connection: Connection, tally: ReadTally) -> int:
    """Return how many shards the table's indexes have, by a consistent read of one item.

    Raises:
        InvalidItemError: The item is damaged, or of a later version: sums would be wrong.
        UnreadableReplyError: The reply does not have it.
        botocore.exceptions.ClientError: DynamoDB refused it.
    """
    item: Any = read_item(connection, _KEY, tally)
    if item is None:
        return 1
    text = str(item.get(_COUNT, {}).get("N"))
    if not text.isdecimal() or not 1 <= int(text) <= MAX_GSI_SHARDS:
        raise InvalidItemError(
            f"the item with PK {_KEY[0]!r} and SK {_KEY[1]!r} has {_COUNT} "
            f"{text}; accepted are whole numbers from 1 to {MAX_GSI_SHARDS}"
        )
    return int(text)
