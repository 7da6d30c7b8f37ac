"""Read a range of keys, of the table or of an index, page after page."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from receipt_dynamo.data.connection import UnreadableReplyError
from receipt_dynamo.data.queries.pages_ahead import Page, PagesAhead, ShardPages
from receipt_dynamo.data.table.shards import read_shard_count
from receipt_dynamo.entities.ai_usage_metric import AIUsageMetric, InvalidItemError
from receipt_dynamo.entities.wire_form import ITEM_TYPE
from receipt_dynamo.errors import ReceiptDynamoError

if TYPE_CHECKING:
    from receipt_dynamo.data.connection import Connection
    from receipt_dynamo.data.read_tally import ReadTally

_ITEMS_AT_ONCE: Final = 8000
"""On the pages that the shards are read from at a time, so that the memory does not grow with
their number: pages of 1 MB of 100 shards, and 100 more ahead, would take more than a GB."""

_FEWEST_PAGE_ITEMS: Final = 200
"""Smaller pages would cost requests, and read units, each page being rounded up."""

KeyedRecord: TypeAlias = tuple[str, AIUsageMetric]
"""A record and the sort key under which the range has it."""


class MissingIndexError(ReceiptDynamoError):
    """The table lacks an index that the query needs; the message names it."""


@dataclass(frozen=True, slots=True)
class KeyRange:
    """What one query asks for: a partition, from a first to a last sort key.

    Args:
        index: Name of the index; None reads the table itself.
        partition_key: Whose items.
        sort_keys: First and last sort key, both included; None takes all.
        equal: Paths of attributes, such as "metadata.environment", and the text that one of
            them must hold. DynamoDB filters what it has read: that spares bytes on the wire, and
            no read units.
        page_items: Items of a page, at most; by default what fits in 1 MB.
    """

    index: str | None
    partition_key: str
    sort_keys: tuple[str, str] | None = None
    equal: tuple[tuple[str, ...], str] | None = None
    page_items: int | None = None

    @property
    def sort_key_name(self) -> str:
        """Name of the attribute in whose order the items come."""
        return f"{self.index or ''}SK"

    def make_request(self, table_name: str) -> dict[str, Any]:
        """Return the parameters of Query."""
        condition = f"{self.index or ''}PK = :pk"
        values = {":pk": {"S": self.partition_key}}
        request: dict[str, Any] = {
            "TableName": table_name,
            "ExpressionAttributeValues": values,
            "ReturnConsumedCapacity": "TOTAL",
        }
        if self.sort_keys is not None:
            condition += f" AND {self.sort_key_name} BETWEEN :first AND :last"
            values |= {":first": {"S": self.sort_keys[0]}, ":last": {"S": self.sort_keys[1]}}
        if self.index is not None:
            request["IndexName"] = self.index
        if self.page_items is not None:
            request["Limit"] = self.page_items
        if self.equal is not None:
            paths, text = self.equal
            # Placeholder names, because some attributes are reserved words: "environment".
            names = {f"#{name}": name for path in paths for name in path.split(".")}
            request["FilterExpression"] = " OR ".join(
                f"#{path.replace('.', '.#')} = :equal" for path in paths
            )
            request["ExpressionAttributeNames"] = names
            values |= {":equal": {"S": text}}
        return request | {"KeyConditionExpression": condition}


def read_pages(connection: Connection, key_range: KeyRange) -> Iterator[Page]:
    """Iterate over the pages of a range, each read when it is asked for.

    Raises:
        MissingIndexError: The table has no such index.
        UnreadableReplyError: A page is no JSON.
        botocore.exceptions.ClientError: DynamoDB refused it otherwise.
    """
    client = connection.client()
    request = key_range.make_request(connection.table_name)
    try:
        yield from client.get_paginator("query").paginate(**request)
    except UnicodeDecodeError as error:  # Of a botocore that reads pages itself.
        raise UnreadableReplyError("the reply to a query is no JSON") from error
    except client.exceptions.ClientError as error:
        index = key_range.index
        if index is not None and _says_index_is_missing(error, index):
            raise MissingIndexError(
                f"table {connection.table_name} has no index {index}; create it, or see "
                "what the query accepts in its place"
            ) from error
        raise


def _says_index_is_missing(error: Any, index: str) -> bool:
    """Return whether an error means a missing index; DynamoDB has no error code for that."""
    details = error.response.get("Error", {})
    message = str(details.get("Message", ""))
    # DynamoDB says the first, moto the second.
    return details.get("Code") in ("ValidationException", "ResourceNotFoundException") and (
        "index" in message.lower() and index in message
    )


class RangeReader:
    """Reads the records of key ranges for one query, and counts what it passes over.

    Args:
        connection: To the table.
        tally: To add to.
        skip_invalid: Pass over an item that is no whole record, instead of raising.
        limit: The largest number of records to return; None for all.
    """

    def __init__(
        self,
        connection: Connection,
        tally: ReadTally,
        *,
        skip_invalid: bool,
        limit: int | None = None,
    ) -> None:
        self._connection = connection
        self.tally = tally
        self._skip_invalid = skip_invalid
        self._limit = limit

    def read(self, key_range: KeyRange) -> Generator[KeyedRecord, None, None]:
        """Iterate over the records of a range, in the order of its sort key.

        Raises:
            InvalidItemError: An item is not a whole record, and none is to be skipped.
            MissingIndexError: The table has no such index.
            botocore.exceptions.ClientError: DynamoDB refused it otherwise.
        """
        for page in read_pages(self._connection, key_range):
            self.tally.count_page(page)
            yield from self._read_page(page, key_range.sort_key_name)

    def read_shards(
        self, make_range: Callable[[int], KeyRange]
    ) -> Generator[KeyedRecord, None, None]:
        """Iterate over the records of one range in each shard, merged by sort key.

        Reads first how many shards there are, and then all of them at once.

        Args:
            make_range: Makes the range in the shard of a number, from 0.

        Raises:
            As :meth:`read`; one shard's error is the query's, and ends the others.
        """
        shards = read_shard_count(self._connection, self.tally)
        if shards == 1:
            yield from self.read(make_range(0))
            return
        page_items = max(_ITEMS_AT_ONCE // shards, _FEWEST_PAGE_ITEMS)
        ranges = [replace(make_range(shard), page_items=page_items) for shard in range(shards)]
        with PagesAhead(shards, self.tally) as ahead:
            streams = [
                self._read_ahead(ahead.read(read_pages(self._connection, each)), each)
                for each in ranges
            ]
            yield from heapq.merge(*streams, key=itemgetter(0))

    def _read_ahead(self, pages: ShardPages, key_range: KeyRange) -> Iterator[KeyedRecord]:
        while (page := pages.take()) is not None:
            for pair in self._read_page(page, key_range.sort_key_name):
                yield pair
                pages.look_ahead()  # Only when more than one record of the page is wanted.

    def _read_page(self, page: Page, sort_key_name: str) -> Iterator[KeyedRecord]:
        if "Items" not in page:
            raise UnreadableReplyError("the reply to a query has no attribute 'Items'")
        for item in page["Items"]:
            if item.get("TYPE") != {"S": ITEM_TYPE}:
                self.tally.other_items += 1
                continue
            # Inside of the loop: a generator that has raised cannot go on.
            try:
                record = AIUsageMetric.from_dynamodb_item(item)
            except InvalidItemError as error:
                self.pass_over(error)
            else:
                self.tally.count_negative(record)
                yield item[sort_key_name]["S"], record

    def pass_over(self, error: InvalidItemError) -> None:
        """Count an item that is not a whole record, or raise when none is to be skipped."""
        if not self._skip_invalid:
            raise error
        self.tally.count_invalid(error)

    def hand_out(
        self, records: Generator[KeyedRecord, None, None]
    ) -> Generator[AIUsageMetric, None, None]:
        """Iterate over the records alone, up to the limit, and then read no more."""
        with closing(records):
            for _, record in islice(records, self._limit):
                self.tally.records += 1
                yield record
