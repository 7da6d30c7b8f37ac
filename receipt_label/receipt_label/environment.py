"""Which environment this is, and whether the table fits it. ``docs/environments.md`` explains.

The rules fail safe: what is not clearly a test is production, and a test run never
writes to a table that may hold production data.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal
from urllib.parse import urlsplit

from receipt_dynamo.support import find_endpoint
from receipt_label.caller_warnings import warn_caller
from receipt_label.errors import ConfigurationError


class Environment(StrEnum):
    """Where this process runs; its value is stored with each record."""

    PRODUCTION = "production"
    STAGING = "staging"
    DEVELOPMENT = "development"
    CICD = "cicd"
    TEST = "test"


_NAMES: Final[Mapping[str, Environment]] = {
    **{environment.value: environment for environment in Environment},
    "prod": Environment.PRODUCTION,
    "stage": Environment.STAGING,
    "dev": Environment.DEVELOPMENT,
    "ci": Environment.CICD,
    "ci/cd": Environment.CICD,
    "ci-cd": Environment.CICD,
    "testing": Environment.TEST,
}

# "-test-table" also covers integration-test-table, perf-test-table, stress-test-table and
# resilient-test-table. What precedes it decides: contest-table is nobody's test table.
_HOLDS_TEST_TABLE: Final = re.compile(r"(?<![A-Za-z0-9])test-table|TestTable")
_IS_NAMED_TEST: Final = re.compile(r"test|test-.*|.*-test", re.IGNORECASE | re.DOTALL)


def detect_environment(
    table_name: str | None, variables: Mapping[str, str] | None = None
) -> Environment:
    """Return the environment by ``ENVIRONMENT``, else by the table's name.

    No other variable takes part: one that a CI service sets would switch the behaviour of
    production code.

    Args:
        table_name: Name or ARN of the table; None when it is not known.
        variables: Environment variables; by default those of the process.

    Returns:
        What ``ENVIRONMENT`` says, when it is set and not empty, in any case: a value of
        :class:`Environment`, prod, stage, dev, ci, ci/cd, ci-cd or testing. Any other value
        means production, with a ``UserWarning``. When it is not set: test if the table looks
        like a test table, else production.

    Raises:
        TypeError: ``table_name`` is neither a str nor None.
    """
    explained = explain_environment(table_name, variables)
    if explained.is_unknown:
        warn_caller(explained.because)
    return explained.environment


@dataclass(frozen=True, slots=True)
class ExplainedEnvironment:
    """An environment, and why it is this one.

    Attributes:
        environment: Which one.
        because: Why, in words.
        is_unknown: Whether ``ENVIRONMENT`` has a value that is not understood.
    """

    environment: Environment
    because: str
    is_unknown: bool = False


def explain_environment(
    table_name: str | None, variables: Mapping[str, str] | None = None
) -> ExplainedEnvironment:
    """As :func:`detect_environment`, with the reason in place of a warning."""
    if not isinstance(table_name, str | None):
        raise TypeError(
            f"table_name is of type {type(table_name).__name__}; accepted are str and None"
        )
    given = (os.environ if variables is None else variables).get("ENVIRONMENT", "").strip()
    if given:
        if (environment := _NAMES.get(given.lower())) is not None:
            return ExplainedEnvironment(environment, f"ENVIRONMENT is {given!r}")
        unknown = (
            f"ENVIRONMENT is {given!r}, which is unknown and taken for production; "
            f"accepted are {', '.join(_NAMES)}"
        )
        return ExplainedEnvironment(Environment.PRODUCTION, unknown, is_unknown=True)
    if table_name is not None and looks_like_test_table(table_name):
        looks = f"ENVIRONMENT is not set, and the table {table_name!r} looks like a test table"
        return ExplainedEnvironment(Environment.TEST, looks)
    return ExplainedEnvironment(
        Environment.PRODUCTION,
        "ENVIRONMENT is not set, and the table does not look like a test table",
    )


def parse_environment(value: object) -> Environment:
    """Return the environment that a value names.

    Args:
        value: An :class:`Environment`, or its value or a short form of it, in any case; see
            :func:`detect_environment`.

    Raises:
        TypeError: It is neither an Environment nor a str.
        ValueError: It names none.
    """
    if not isinstance(value, str):
        raise TypeError(
            f"environment is of type {type(value).__name__}; accepted are Environment and str"
        )
    if (environment := _NAMES.get(value.strip().lower())) is None:
        raise ValueError(f"environment is {value!r}; accepted are {', '.join(_NAMES)}")
    return environment


def default_durability(environment: Environment) -> Literal["memory"] | None:
    """Return the durability of delivery where the user chose none; None leaves it to the client.

    A test keeps its records in memory: what a killed test run leaves in a journal must not
    surface in a later one.
    """
    return "memory" if environment is Environment.TEST else None


def looks_like_test_table(table_name: str) -> bool:
    """Tell whether a table is a test table, by its name alone.

    It is when the name

    * contains ``test-table`` (as ``integration-test-table`` and its like do) not preceded by
      a letter or a digit, or ``TestTable``; case matters;
    * or, ignoring case, ends with ``-test``, starts with ``test-``, or is ``test``.

    Args:
        table_name: Name or ARN of the table.
    """
    name = _read_name(table_name)
    return bool(_HOLDS_TEST_TABLE.search(name) or _IS_NAMED_TEST.fullmatch(name))


def _read_name(table: str) -> str:
    """Return the name within a table's ARN, ``arn:aws:dynamodb:region:account:table/name``."""
    return table.rpartition(":table/")[2] if table.startswith("arn:") else table


def validate_table(
    table_name: str,
    environment: Environment,
    *,
    client_injected: bool = False,
    endpoint_url: str | None = None,
    check_table: bool | None = None,
) -> None:
    """Refuse to write test records into what may be production data; warn of the reverse.

    Args:
        table_name: Name or ARN of the table.
        environment: See :func:`detect_environment`.
        client_injected: Whether the caller brought the DynamoDB client, and so chose on
            purpose where it writes.
        endpoint_url: Of DynamoDB; by default what boto3 takes from the process's
            variables, see :func:`find_endpoint`.
        check_table: Whether a test environment needs a test table at all; by default
            what ``AI_USAGE_TABLE_CHECK`` says, else True.

    Raises:
        ConfigurationError: In the test environment the table does not look like a test
            table, and nothing else shows that it is one; or ``AI_USAGE_TABLE_CHECK`` is
            neither "on" nor "off".

    Warns:
        UserWarning: In production the table looks like a test table.
    """
    looks_like_test = looks_like_test_table(table_name)
    if environment is Environment.PRODUCTION and looks_like_test:
        warn_caller(
            f"the environment is production, but the table {table_name!r} looks like a test "
            "table; set ENVIRONMENT=test if this is a test"
        )
    if environment is not Environment.TEST or looks_like_test or client_injected:
        return
    if is_loopback(endpoint_url or find_endpoint()):
        return
    if check_table if check_table is not None else read_table_check():
        raise ConfigurationError(
            f"the environment is test, but the table {table_name!r} does not look like a test "
            "table and may hold production data; accepted are a name such as 'my-app-test', "
            "an injected client, an endpoint on this machine, and AI_USAGE_TABLE_CHECK=off"
        )


def read_table_check(variables: Mapping[str, str] | None = None) -> bool:
    """Return whether ``AI_USAGE_TABLE_CHECK`` is on, as it is when unset or empty.

    Args:
        variables: Environment variables; by default those of the process.

    Raises:
        ConfigurationError: It is neither "on" nor "off", in any case.
    """
    given = (os.environ if variables is None else variables).get("AI_USAGE_TABLE_CHECK", "")
    switch = given.strip().lower() or "on"
    if switch not in ("on", "off"):
        raise ConfigurationError(f"AI_USAGE_TABLE_CHECK is {given!r}; accepted are on and off")
    return switch == "on"


def is_loopback(endpoint_url: str | None) -> bool:
    """Tell whether a URL's host is this machine: localhost, 127.0.0.0/8 or ::1."""
    try:
        host = urlsplit(endpoint_url or "").hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # Neither an address nor a URL, so not known to be this machine.
        return False
