"""Programs that use the table from processes of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from receipt_dynamo import DynamoClient
from support.programs import Program


@pytest.fixture
def make_program(tmp_path: Path, table: DynamoClient) -> Callable[..., Program]:
    def make(body: str, endpoint: str | None = None) -> Program:
        return Program(tmp_path / "program.py", table, body, endpoint)

    return make


@pytest.fixture
def run_well(make_program: Callable[..., Program]) -> Callable[[str], None]:
    """Return a function that runs a program, which has to end well and say nothing."""

    def run(body: str) -> None:
        done = make_program(body).run()
        assert (done.returncode, done.stderr) == (0, "")

    return run
