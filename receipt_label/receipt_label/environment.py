"""Which environment this is, and whether the table fits it. ``docs/environments.md`` explains.

The rules fail safe: what is not clearly a test is production, and what is no production
never writes to a table that may hold production data.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

from receipt_dynamo.support import find_endpoint, require_region
from receipt_label.caller_warnings import warn_caller
from receipt_label.environment_names import (
    ACCEPTED,
    Environment,
    find_named,
    list_named_in,
    looks_like_test_table,
    parse_environment,
)
from receipt_label.errors import ConfigurationError

__all__ = [
    "Environment",
    "ExplainedEnvironment",
    "TableCheck",
    "check_place",
    "default_durability",
    "detect_environment",
    "explain_environment",
    "find_environment",
    "is_loopback",
    "is_table_check",
    "looks_like_test_table",
    "parse_environment",
    "read_table_check",
    "validate_table",
]

TableCheck: TypeAlias = bool | Literal["warn", "error"]
"""True: by the rules of ``docs/environments.md``. False: not at all. "warn" and "error": each
table that does not fit is a warning, or an error."""

_CHECKS: Final[Mapping[str, TableCheck]] = {
    "on": True,
    "off": False,
    "warn": "warn",
    "error": "error",
}
_CHECK_VARIABLE: Final = "AI_USAGE_TABLE_CHECK"


@dataclass(frozen=True, slots=True)
class ExplainedEnvironment:
    """An environment, and why it is this one.

    Attributes:
        environment: Which one.
        because: Why, in words.
        is_unknown: Whether ``ENVIRONMENT`` has a value that is not understood.
        is_guessed: Whether it is a test by the table's name alone.
    """

    environment: Environment
    because: str
    is_unknown: bool = False
    is_guessed: bool = False

    @property
    def guarded_as(self) -> Environment:
        """The environment whose rules guard the data.

        A name alone switches off nothing: a customer-satisfaction-test is no test of ours.
        """
        return Environment.PRODUCTION if self.is_guessed else self.environment


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
        :class:`Environment`, or another spelling of one in ``docs/environments.md``. Any other
        value means production, with a ``UserWarning``. When it is not set: test if the table
        looks like a test table, else production.

    Raises:
        TypeError: ``table_name`` is neither a str nor None.
    """
    explained = explain_environment(table_name, variables)
    if explained.is_unknown:
        warn_caller(explained.because)
    return explained.environment


def find_environment(
    table_name: str | None, variables: Mapping[str, str] | None = None
) -> ExplainedEnvironment:
    """Like :func:`detect_environment`, for whoever writes: a guess is a warning as well."""
    explained = explain_environment(table_name, variables)
    if explained.is_unknown:
        warn_caller(explained.because)
    if explained.is_guessed:
        warn_caller(
            f"{explained.because}, so it is taken for a test; all that guards data stays as in "
            "production until ENVIRONMENT decides: set ENVIRONMENT=test if it is a test, else "
            "ENVIRONMENT=production"
        )
    return explained


def explain_environment(
    table_name: str | None, variables: Mapping[str, str] | None = None
) -> ExplainedEnvironment:
    """Like :func:`detect_environment`, with the reason in place of a warning."""
    if not isinstance(table_name, str | None):
        raise TypeError(
            f"table_name is of type {type(table_name).__name__}; accepted are str and None"
        )
    given = (os.environ if variables is None else variables).get("ENVIRONMENT", "").strip()
    if given:
        if (environment := find_named(given)) is not None:
            return ExplainedEnvironment(environment, f"ENVIRONMENT is {given!r}")
        unknown = (
            f"ENVIRONMENT is {given!r}, which is unknown and taken for production; "
            f"accepted are {ACCEPTED}"
        )
        return ExplainedEnvironment(Environment.PRODUCTION, unknown, is_unknown=True)
    if table_name is not None and looks_like_test_table(table_name):
        looks = f"ENVIRONMENT is not set, and the table {table_name!r} looks like a test table"
        return ExplainedEnvironment(Environment.TEST, looks, is_guessed=True)
    return ExplainedEnvironment(
        Environment.PRODUCTION,
        "ENVIRONMENT is not set, and the table does not look like a test table",
    )


def default_durability(environment: Environment) -> Literal["memory"] | None:
    """Return the durability of delivery where the user chose none; None leaves it to the client.

    A test keeps its records in memory: what a killed test run leaves in a journal must not
    surface in a later one.

    Args:
        environment: The one whose rules guard the data.
    """
    return "memory" if environment is Environment.TEST else None


def check_place(
    table_name: str,
    found: ExplainedEnvironment,
    *,
    client_injected: bool = False,
    endpoint_url: str | None = None,
    check_table: TableCheck | None = None,
) -> None:
    """Refuse a place where records must not go, or could never go.

    Args:
        table_name: Name or ARN of the table.
        found: The environment. If it was guessed by the table's name, they fit.
        client_injected: As for :func:`validate_table`, from here on.
        endpoint_url: Of DynamoDB.
        check_table: How strict to be.

    Raises:
        ConfigurationError: See :func:`validate_table`.
        ValueError: Outside of tests, the region is nowhere to be found.

    Warns:
        UserWarning: See :func:`validate_table`.
    """
    if not found.is_guessed:
        validate_table(
            table_name,
            found.environment,
            client_injected=client_injected,
            endpoint_url=endpoint_url,
            check_table=check_table,
        )
    if not client_injected and found.guarded_as is not Environment.TEST:
        require_region(table_name)


def validate_table(
    table_name: str,
    environment: Environment,
    *,
    client_injected: bool = False,
    endpoint_url: str | None = None,
    check_table: TableCheck | None = None,
) -> None:
    """Refuse to write other records into what may be production data; warn of other misfits.

    Args:
        table_name: Name or ARN of the table.
        environment: See :func:`detect_environment`.
        client_injected: Whether the caller brought the DynamoDB client, and so chose on
            purpose where it writes.
        endpoint_url: Of DynamoDB; by default the one that boto3 takes.
        check_table: How strict to be; by default what ``AI_USAGE_TABLE_CHECK`` says, else by
            the rules.

    Raises:
        ConfigurationError: The table is named for production and the environment is another;
            or the environment is test and the table does not look like a test table. Neither,
            if something else shows that no production data is at risk. Or
            ``AI_USAGE_TABLE_CHECK`` is malformed.

    Warns:
        UserWarning: The table is named for another environment in another way.
    """
    check = read_table_check() if check_table is None else check_table
    misfit = _find_misfit(table_name, environment)
    if check is False or misfit is None:
        return
    if environment is not Environment.PRODUCTION and (
        client_injected or is_loopback(endpoint_url or find_endpoint())
    ):
        return
    if check == "error" or (check is True and misfit.endangers_production):
        raise ConfigurationError(misfit.said)
    warn_caller(misfit.said)


@dataclass(frozen=True, slots=True)
class _Misfit:
    said: str
    endangers_production: bool


def _find_misfit(table_name: str, environment: Environment) -> _Misfit | None:
    """Return how a table does not fit an environment, by its name alone; None if it does."""
    said = f"the environment is {environment}, but the table {table_name!r}"
    is_test_table = looks_like_test_table(table_name)
    named = list_named_in(table_name)
    if environment is Environment.PRODUCTION:
        if is_test_table:
            return _Misfit(
                f"{said} looks like a test table; set ENVIRONMENT=test if this is a test", False
            )
    elif Environment.PRODUCTION in named:
        return _Misfit(
            f"{said} is named for production, and may hold its data; accepted are another table, "
            "ENVIRONMENT=production, an injected client, an endpoint on this machine, and "
            f"{_CHECK_VARIABLE}=warn or off",
            True,
        )
    elif environment is Environment.TEST and not is_test_table:
        return _Misfit(
            f"{said} does not look like a test table and may hold production data; accepted are "
            "a name such as 'my-app-test', an injected client, an endpoint on this machine, and "
            f"{_CHECK_VARIABLE}=off",
            True,
        )
    elif environment is Environment.TEST:
        return None
    if not named or environment in named:
        return None
    others = " and ".join(named)
    return _Misfit(f"{said} is named for {others}; correct ENVIRONMENT or the table's name", False)


def read_table_check(variables: Mapping[str, str] | None = None) -> TableCheck:
    """Return what ``AI_USAGE_TABLE_CHECK`` says: True for "on", as when unset or empty.

    Args:
        variables: Environment variables; by default those of the process.

    Raises:
        ConfigurationError: It is not "on", "off", "warn" or "error", in any case.
    """
    given = (os.environ if variables is None else variables).get(_CHECK_VARIABLE, "")
    word = given.strip().lower() or "on"
    if word not in _CHECKS:
        raise ConfigurationError(
            f"{_CHECK_VARIABLE} is {given!r}; accepted are {', '.join(_CHECKS)}"
        )
    return _CHECKS[word]


def is_table_check(value: object) -> bool:
    """Return whether a value is a :data:`TableCheck`."""
    return isinstance(value, bool) or value in ("warn", "error")


def is_loopback(endpoint_url: str | None) -> bool:
    """Return whether a URL's host is this machine: localhost, 127.0.0.0/8 or ::1."""
    try:
        host = urlsplit(endpoint_url or "").hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # Neither an address nor a URL, so not known to be this machine.
        return False
