"""Fixtures that give tests a running DynamoDB; each engine starts once, when first asked for."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator

import pytest

from engines.install import are_required
from engines.launch import ENGINE_NAMES, Engine, MissingEngineError, launch
from receipt_dynamo import DynamoClient
from receipt_dynamo.testing import FaultProxy

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def start_engine() -> Iterator[Callable[[str], Engine]]:
    """Return a function that gives the running engine of a name, starting it if need be.

    A missing engine is a skip, or a failure when ``RECEIPT_REQUIRE_ENGINES`` is ``1``.
    """
    running: dict[str, Engine] = {}
    with contextlib.ExitStack() as stack:

        def start(name: str) -> Engine:
            if name not in running:
                try:
                    running[name] = stack.enter_context(launch(name))
                except MissingEngineError as error:
                    report = pytest.fail if are_required() else pytest.skip
                    report(str(error))
            return running[name]

        yield start


@pytest.fixture(scope="session", params=ENGINE_NAMES)
def engine(request: pytest.FixtureRequest, start_engine: Callable[[str], Engine]) -> Engine:
    """Run the test on each of the three engines."""
    return start_engine(request.param)


@pytest.fixture(scope="session")
def moto_endpoint(start_engine: Callable[[str], Engine]) -> str:
    """Return the URL of moto's server, for what needs no other judge."""
    return start_engine("moto").endpoint_url


@pytest.fixture
def table_name() -> str:
    """Return a name that no other test uses, and that looks like a test table."""
    return f"test-table-{next(_numbers)}"


@pytest.fixture
def table(moto_endpoint: str, table_name: str) -> DynamoClient:
    """A new table on moto, without the proxy in between: what is really stored."""
    client = DynamoClient(table_name, "us-east-1", moto_endpoint)
    client.create_table()
    return client


@pytest.fixture
def proxy(moto_endpoint: str) -> Iterator[FaultProxy]:
    """The fault proxy before moto."""
    with FaultProxy(moto_endpoint, seed=7) as proxy:
        yield proxy
