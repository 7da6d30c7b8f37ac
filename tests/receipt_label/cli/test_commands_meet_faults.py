"""Every command that reaches a table: a damaged reply is a line, never a traceback."""

from __future__ import annotations

import pytest

from receipt_dynamo import DynamoClient
from receipt_dynamo.testing import Corrupt, EmptyReply, Fault, FaultProxy, Reset, Truncated
from receipt_label.cli.main import main

READS = (
    "DescribeTable",
    "DescribeTimeToLive",
    "DescribeContinuousBackups",
    "GetItem",
    "BatchGetItem",
    "Query",
)
COMMANDS = (["table", "check"], ["doctor"], ["report"], ["export", "-"])


@pytest.mark.parametrize(
    ("command", "fault", "message"),
    [
        (["table", "check"], Truncated(), "the reply does not match its checksum"),
        (["table", "check"], Reset(), "DynamoDB cannot be reached"),
        *((command, Corrupt(), "DynamoDB's reply cannot be read") for command in COMMANDS),
        *((command, EmptyReply(), "the reply does not ") for command in COMMANDS),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Fault) else value[0],
)
def test_a_damaged_reply_is_a_line_and_status_2(
    command: list[str],
    fault: Fault,
    message: str,
    table: DynamoClient,
    proxy: FaultProxy,
    capsys: pytest.CaptureFixture[str],
) -> None:
    proxy.always(fault, operations=READS)
    where = ["--table", table.table_name, "--endpoint-url", proxy.endpoint_url]
    assert main([*command, *where, "--quiet"]) == 2
    captured = capsys.readouterr()
    shown = captured.out + captured.err
    assert "please report this" not in shown
    lines = [line for line in shown.splitlines() if "error: " in line]
    assert lines
    assert all(message in line for line in lines), lines
    if command != ["doctor"]:  # It has a line for each check.
        assert len(shown.splitlines()) == 1
