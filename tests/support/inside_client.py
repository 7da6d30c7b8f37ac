"""What tests look at inside of a client; the one place that knows the way there."""

from __future__ import annotations

from typing import Any

from receipt_dynamo import ResilientDynamoClient


def read_delivery(client: ResilientDynamoClient) -> Any:
    """Return what delivers the client's records."""
    return client._delivery


def read_writer(client: ResilientDynamoClient) -> Any:
    """Return the boto3 client that sends the records."""
    writer: Any = client._delivery._sender._writer
    return writer._connection.client()


def wait_for_proof(client: ResilientDynamoClient) -> None:
    """Wait until the client has asked DynamoDB which table it is, as its first record made it."""
    looks = client._delivery._chores.looks
    assert looks.flush(60), looks.get_stats()


def look_for_journals(client: ResilientDynamoClient) -> None:
    """Have the client look for journals of dead processes now, as it does once a minute."""
    adoption = client._delivery._adoption
    assert adoption is not None
    adoption.look()
