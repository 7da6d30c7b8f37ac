"""A table on moto's server, and programs that use it from processes of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from programs import Program
from receipt_dynamo import DynamoClient
from receipt_dynamo.testing import FaultProxy


@pytest.fixture
def table(moto_endpoint: str, table_name: str) -> DynamoClient:
    client = DynamoClient(table_name, "us-east-1", moto_endpoint)
    client.create_table()
    return client


@pytest.fixture
def proxy(moto_endpoint: str) -> Iterator[FaultProxy]:
    with FaultProxy(moto_endpoint) as proxy:
        yield proxy


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
