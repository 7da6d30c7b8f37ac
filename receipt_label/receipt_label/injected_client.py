"""What becomes of a DynamoDB client that the user brings.

In a test any object that takes records will do. Elsewhere an object that merely looks
right would bypass the resilience that the rest of the program counts on.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeGuard

import receipt_dynamo
from receipt_label.environment import Environment


class MetricWriter(Protocol):
    """Takes usage records: the one thing that a tracker needs of a client."""

    def put_ai_usage_metric(self, metric: receipt_dynamo.AIUsageMetric) -> object:
        """Write the record, or accept it for delivery."""


def adopt_client(
    client: object,
    *,
    environment: Environment,
    table_name: str | None,
    **settings: Any,
) -> MetricWriter:
    """Return the client through which an injected one delivers resiliently.

    A :class:`~receipt_dynamo.DynamoClient` keeps the table that it was made for.

    Args:
        client: What the user brought.
        environment: In the test environment, whatever has a method ``put_ai_usage_metric``
            is used as it is.
        table_name: The table for a boto3 client, which has none of its own.
        **settings: Of a :class:`~receipt_dynamo.ResilientDynamoClient` that has to be made.

    Returns:
        ``client`` itself, or a new ``ResilientDynamoClient`` with the endpoint, region and
        credentials of ``client``. Who called closes the new one.

    Raises:
        TypeError: ``client`` is something else.
        ValueError: A boto3 client without ``table_name``, or a bad setting.
    """
    if isinstance(client, receipt_dynamo.ResilientDynamoClient):
        return client
    if environment is Environment.TEST and _takes_metrics(client):
        return client
    if isinstance(client, receipt_dynamo.DynamoClient):
        return receipt_dynamo.ResilientDynamoClient.from_client(client, **settings)
    if is_boto3_client(client):
        return receipt_dynamo.ResilientDynamoClient.from_client(client, table_name, **settings)
    raise _refuse(client)


def adopt_direct_client(
    client: object, *, environment: Environment, table_name: str | None, **form: Any
) -> MetricWriter:
    """As :func:`adopt_client`, for those who chose to write straight through.

    Returns:
        ``client`` itself, or a ``DynamoClient`` that uses the boto3 client.
    """
    if isinstance(client, (receipt_dynamo.DynamoClient, receipt_dynamo.ResilientDynamoClient)):
        return client
    if environment is Environment.TEST and _takes_metrics(client):
        return client
    if is_boto3_client(client):
        if table_name is None:
            raise ValueError("table_name is None; with a boto3 client it is needed")
        return receipt_dynamo.DynamoClient(table_name, client=client, **form)
    raise _refuse(client)


def is_boto3_client(client: object) -> TypeGuard[Any]:
    """Tell whether this is a boto3 client for DynamoDB, without importing boto3."""
    model = getattr(getattr(client, "meta", None), "service_model", None)
    return getattr(model, "service_name", None) == "dynamodb"


def _takes_metrics(client: object) -> TypeGuard[MetricWriter]:
    return callable(getattr(client, "put_ai_usage_metric", None))


def _refuse(client: object) -> TypeError:
    return TypeError(
        f"dynamo_client is of type {type(client).__name__}; accepted are "
        "ResilientDynamoClient, DynamoClient and a boto3 DynamoDB client, and in the test "
        "environment any object with a method put_ai_usage_metric"
    )
