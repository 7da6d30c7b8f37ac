"""The table of a command: the arguments that choose it, and the client that reaches it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import Final

from receipt_dynamo.cli.arguments import CommandError, add_output
from receipt_dynamo.cli.explain import explain_failure, is_from_boto3
from receipt_dynamo.cli.output import remark
from receipt_dynamo.data.connection import Connection, SdkSettings, Target
from receipt_dynamo.data.dynamo_client import DynamoClient

__all__ = [
    "DEPRECATED_TABLE_VARIABLE",
    "TABLE_VARIABLE",
    "Connection",
    "add_target",
    "find_table",
    "open_client",
    "open_connection",
    "require_table",
]

TABLE_VARIABLE: Final = "DYNAMODB_TABLE_NAME"
DEPRECATED_TABLE_VARIABLE: Final = "DYNAMO_TABLE_NAME"

_IMPATIENT: Final = SdkSettings(total_max_attempts=2, connect_timeout=3.0, read_timeout=10.0)


def add_target(parser: argparse.ArgumentParser) -> None:
    """Add ``--table``, ``--region``, ``--endpoint-url``, ``--json`` and ``--quiet``.

    With the command chosen, :func:`open_client` makes a client of them.
    """
    parser.add_argument(
        "--table",
        metavar="NAME",
        help=f"name or ARN of the table; by default {TABLE_VARIABLE}, else the deprecated "
        f"{DEPRECATED_TABLE_VARIABLE}",
    )
    parser.add_argument(
        "--region", metavar="REGION", help="AWS region; by default AWS_REGION, else as boto3 does"
    )
    parser.add_argument(
        "--endpoint-url",
        metavar="URL",
        help="of another DynamoDB; by default AWS_ENDPOINT_URL_DYNAMODB, else as boto3 does",
    )
    add_output(parser)


def find_table(
    chosen: argparse.Namespace, variables: Mapping[str, str] | None = None
) -> str | None:
    """Return the table that a command is for, or None when nothing names one.

    Args:
        chosen: The parsed arguments of a command that has :func:`add_target`.
        variables: Environment variables; by default those of the process.
    """
    given = os.environ if variables is None else variables
    names = (TABLE_VARIABLE, DEPRECATED_TABLE_VARIABLE)
    candidates = [getattr(chosen, "table", None) or "", *(given.get(name, "") for name in names)]
    return next((found for text in candidates if (found := text.strip())), None)


def require_table(chosen: argparse.Namespace) -> str:
    """Return the table that a command is for; remark that the deprecated variable names it.

    Raises:
        CommandError: Nothing names one.
    """
    table = find_table(chosen)
    if table is None:
        raise CommandError(f"no table is named; give --table or set {TABLE_VARIABLE}")
    if find_table(chosen, {TABLE_VARIABLE: os.environ.get(TABLE_VARIABLE, "")}) is None:
        old, new = DEPRECATED_TABLE_VARIABLE, TABLE_VARIABLE
        remark(chosen, f"{old} is deprecated. Use {new} instead.")
    return table


def open_connection(chosen: argparse.Namespace, *, is_impatient: bool = False) -> Connection:
    """Return a connection whose boto3 client is made; nothing touches the network yet.

    Args:
        chosen: The parsed arguments of a command that has :func:`add_target`.
        is_impatient: Fail within seconds when no answer comes, and not as late as a
            :class:`DynamoClient` does.

    Raises:
        CommandError: No table is named, or boto3 cannot make a client of region, endpoint
            and profile.
    """
    table = require_table(chosen)
    target = Target(table, chosen.region or None, chosen.endpoint_url or None)
    connection = Connection(target, _IMPATIENT if is_impatient else SdkSettings())
    try:
        connection.client()
    except Exception as error:
        if not is_from_boto3(error):
            raise
        raise CommandError(explain_failure(error, table)) from None
    return connection


def open_client(chosen: argparse.Namespace) -> DynamoClient:
    """Return the client of the table that a command is for.

    What boto3 raises later, when the client is used, :func:`guard` turns into a line.

    Raises:
        CommandError: As for :func:`open_connection`.
    """
    connection = open_connection(chosen)
    return DynamoClient(connection.table_name, client=connection.client())
