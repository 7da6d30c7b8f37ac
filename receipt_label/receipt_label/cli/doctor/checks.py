"""The input and the result of a check."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from receipt_dynamo import DynamoClient
from receipt_dynamo.cli.clock import ReplyClock
from receipt_dynamo.cli.findings import Finding
from receipt_dynamo.cli.target import Connection, find_table, open_connection


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check.

    Attributes:
        findings: For people.
        document: More of the same for programs, by the names of its parts.
    """

    findings: tuple[Finding, ...]
    document: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class CheckContext:
    """The input of the checks.

    Attributes:
        chosen: The arguments.
        variables: Environment variables.
        clock: The local time, in seconds since 1970.
    """

    chosen: argparse.Namespace
    variables: Mapping[str, str]
    clock: Callable[[], float] = time.time
    _connection: Connection | None = None
    _reply_clock: ReplyClock | None = None

    @property
    def table_name(self) -> str | None:
        """The table, or None when nothing names one."""
        return find_table(self.chosen, self.variables)

    @property
    def since(self) -> date:
        """First day whose records are read."""
        since: date = self.chosen.since
        return since

    @property
    def skew(self) -> float | None:
        """Seconds that the local clock is ahead of DynamoDB's; None before a reply."""
        return None if self._reply_clock is None else self._reply_clock.skew

    def connect(self) -> Connection:
        """Return the connection to the table; it is made once.

        Raises:
            CommandError: No table is named, or no client can be made.
        """
        if self._connection is None:
            # Quiet: the deprecated variable for the table has a separate line.
            quiet = argparse.Namespace(**{**vars(self.chosen), "quiet": True})
            self._connection = open_connection(quiet, is_impatient=True)
            self._reply_clock = ReplyClock.watch(self._connection.client(), self.clock)
        return self._connection

    def open_client(self) -> DynamoClient:
        """Return a client of the table; see :meth:`connect`."""
        connection = self.connect()
        return DynamoClient(connection.table_name, client=connection.client())


Check = Callable[[CheckContext], CheckResult]
