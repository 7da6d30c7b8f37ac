"""The clients that are measured, and their tools."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from receipt_dynamo.data.resilient_dynamo_client import ResilientDynamoClient


def check_clients(clients: tuple[ResilientDynamoClient, ...]) -> tuple[ResilientDynamoClient, ...]:
    """Return the clients, each of another table.

    Raises:
        TypeError: One is no ``ResilientDynamoClient``.
        ValueError: No client is given, or two are for one table.
    """
    from receipt_dynamo.data.resilient_dynamo_client import ResilientDynamoClient

    if not clients:
        raise ValueError("clients is empty; accepted is one ResilientDynamoClient or more")
    for client in clients:
        if not isinstance(client, ResilientDynamoClient):
            raise TypeError(
                f"clients has one of type {type(client).__name__}; "
                "accepted is ResilientDynamoClient"
            )
    names = [client.table_name for client in clients]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(
            f"clients has two for table {min(twice)!r}; accepted is one for each table, "
            "because the table is the label of their figures"
        )
    return clients


def import_extra(module: str, extra: str) -> ModuleType:
    """Import what an extra of this package brings.

    Raises:
        ModuleNotFoundError: It is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{module} is not installed; it comes with the extra {extra!r} of receipt-dynamo",
            name=error.name,
        ) from error
