"""The commands, run on journals that real processes left or own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from receipt_dynamo import DynamoClient
from receipt_dynamo.cli.command_line import main
from receipt_dynamo.data.journal.directory import JournalDirectory
from receipt_dynamo.testing import FaultProxy
from support.command_runs import Ended, run_command
from support.left_journals import Processes


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run ``journal`` with some arguments, as ``python -m receipt_dynamo`` does."""

    def run(*arguments: str | Path) -> Ended:
        return run_command(main, ["journal", *map(str, arguments)], capsys)

    return run


@pytest.fixture
def directory(tmp_path: Path) -> JournalDirectory:
    """The test's own journal directory, which the environment names."""
    return JournalDirectory(tmp_path / "journal")


@pytest.fixture
def processes(table: DynamoClient, proxy: FaultProxy) -> Iterator[Processes]:
    started = Processes(table.table_name, proxy)
    yield started
    started.stop()
