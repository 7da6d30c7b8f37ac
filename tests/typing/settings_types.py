"""The client's settings are seen by type checkers; checked by mypy and pyright, never run."""

from __future__ import annotations

from receipt_dynamo import ResilientDynamoClient
from receipt_label import ClientConfig

client = ResilientDynamoClient("receipts", "eu-west-1", batch_size=10, durability="memory")
ResilientDynamoClient.from_client(client, batch_flush_interval=0.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
ResilientDynamoClient("receipts", batch_size="10")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
ResilientDynamoClient("receipts", durability="disk")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
ResilientDynamoClient("receipts", nonsense=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
config = ClientConfig(dynamo_table="receipts", batch_size=10, senders=4, check_table="warn")
ClientConfig(dynamo_table="receipts", overflow="spill")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
ClientConfig(batch_size=10)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
