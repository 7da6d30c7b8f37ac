"""The names of environments: in ``ENVIRONMENT``, and in the name of a table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final


class Environment(StrEnum):
    """The environment of this process; its value is stored with each record."""

    PRODUCTION = "production"
    STAGING = "staging"
    DEVELOPMENT = "development"
    CICD = "cicd"
    TEST = "test"


SPELLINGS: Final[Mapping[Environment, tuple[str, ...]]] = {
    Environment.PRODUCTION: ("production", "prod", "prd", "live", "canary"),
    Environment.STAGING: (
        *("staging", "stage", "stg", "preprod", "pre-prod", "preproduction", "pre-production"),
        *("uat", "qa", "acceptance", "preview", "demo", "int", "integration", "perf", "beta"),
    ),
    Environment.DEVELOPMENT: (
        *("development", "dev", "develop", "local", "localhost", "sandbox", "playground"),
        *("nonprod", "non-prod", "nonproduction", "non-production"),
    ),
    Environment.CICD: ("cicd", "ci", "ci/cd", "ci-cd", "e2e"),
    Environment.TEST: ("test", "testing"),
}
"""What ``ENVIRONMENT`` may be, in any case, with ``_`` for ``-`` as well.

Only two words mean a test, because a test keeps its records in memory and takes any client. An
environment that people use, be it to try things out, keeps what guards data.
"""

_NAMES: Final = {
    spelling: environment
    for environment, words in SPELLINGS.items()
    for word in words
    for spelling in (word, word.replace("-", "_"))
}
ACCEPTED: Final = f"{', '.join(Environment)} and the other spellings in docs/environments.md"

# Of the words above, those that mean an environment in a table's name as well: "live-scores",
# "demo-accounts" and "integration-events" are names of things.
_WORDS_IN_TABLES: Final[Mapping[str, Environment]] = {
    **dict.fromkeys(("production", "prod", "prd"), Environment.PRODUCTION),
    **dict.fromkeys(("staging", "stage", "stg", "uat", "qa"), Environment.STAGING),
    **dict.fromkeys(("preprod", "preproduction"), Environment.STAGING),
    **dict.fromkeys(("development", "dev", "develop"), Environment.DEVELOPMENT),
    **dict.fromkeys(("cicd", "ci"), Environment.CICD),
    **dict.fromkeys(("test", "testing", "tests"), Environment.TEST),
}
# Before a word for production, these make it another one: pre-prod, NonProd.
_BEFORE_PRODUCTION: Final[Mapping[str, Environment | None]] = {
    "pre": Environment.STAGING,
    "non": None,
    "not": None,
    "no": None,
}
_SEPARATOR: Final = re.compile(r"[^A-Za-z0-9]+")
# Between receipts and Prod, receipts2 and PROD, and between AI and Usage.
_CASE_CHANGE: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_DIGITS: Final = "0123456789"

# "-test-table" also covers integration-test-table, perf-test-table, stress-test-table and
# resilient-test-table. The character before it decides: contest-table is no test table.
_HOLDS_TEST_TABLE: Final = re.compile(r"(?<![A-Za-z0-9])test-table|TestTable")
_IS_NAMED_TEST: Final = re.compile(r"test|test-.*|.*-test", re.IGNORECASE | re.DOTALL)


def find_named(text: str) -> Environment | None:
    """Return the environment that a text is a name of, or None."""
    return _NAMES.get(text.strip().lower())


def parse_environment(value: object) -> Environment:
    """Return the environment that a value names.

    Args:
        value: An :class:`Environment`, or one of :data:`SPELLINGS`, in any case.

    Raises:
        TypeError: It is neither an Environment nor a str.
        ValueError: It names none.
    """
    if not isinstance(value, str):
        raise TypeError(
            f"environment is of type {type(value).__name__}; accepted are Environment and str"
        )
    if (environment := find_named(value)) is None:
        raise ValueError(f"environment is {value!r}; accepted are {ACCEPTED}")
    return environment


def looks_like_test_table(table_name: str) -> bool:
    """Return whether a table is a test table, by its name alone.

    It is when the name

    * contains ``test-table`` (as ``integration-test-table`` and its like do) not preceded by
      a letter or a digit, or ``TestTable``; case matters;
    * or, ignoring case, ends with ``-test``, starts with ``test-``, or is ``test``.

    Args:
        table_name: Name or ARN of the table.
    """
    name = _read_name(table_name)
    return bool(_HOLDS_TEST_TABLE.search(name) or _IS_NAMED_TEST.fullmatch(name))


def list_named_in(table_name: str) -> list[Environment]:
    """Return the environments that a table's name has as separate words, in their order.

    Words are what stands between separators or changes of case, without digits at their end:
    ``receipts-prod2`` and ``ReceiptsProd`` are for production, ``products`` and
    ``reproduction`` for nothing. ``pre-prod`` is staging, ``non-prod`` says nothing.

    Args:
        table_name: Name or ARN of the table.
    """
    return list(dict.fromkeys(_read_environments(_read_name(table_name))))


def _read_environments(name: str) -> Iterator[Environment]:
    before = ""
    for word in _split(name):
        found = _WORDS_IN_TABLES.get(word)
        if found is Environment.PRODUCTION:
            found = _BEFORE_PRODUCTION.get(before, found)
        if found is not None:
            yield found
        before = word


def _split(name: str) -> Iterator[str]:
    for part in _SEPARATOR.split(name):
        for word in _CASE_CHANGE.split(part):
            yield word.lower().rstrip(_DIGITS)


def _read_name(table: str) -> str:
    """Return the name within a table's ARN, ``arn:aws:dynamodb:region:account:table/name``."""
    return table.rpartition(":table/")[2] if table.startswith("arn:") else table
