"""The configuration of a ClientManager, from arguments or from environment variables."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

from receipt_dynamo.support import (
    DeliverySettings,
    Kind,
    Setting,
    check_settings,
    declare,
    explain_settings,
    file_path,
    find_endpoint,
    find_place,
    find_setting,
    find_state_directory,
    list_settings,
    place,
    switch,
    text,
    typed,
)
from receipt_label.caller_warnings import warn_caller
from receipt_label.environment import (
    Environment,
    TableCheck,
    default_durability,
    find_environment,
    is_table_check,
    read_table_check,
)
from receipt_label.errors import ConfigurationError

TABLE_VARIABLES: Final = ("DYNAMODB_TABLE_NAME", "DYNAMO_TABLE_NAME")
"""The one that names the table, and the deprecated one before it."""

# Names of tables: 3 to 255 of these characters. An ARN is checked by DynamoDB itself. Source:
# "Naming rules" in the Amazon DynamoDB Developer Guide.
_TABLE_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{3,255}|arn:\S+")
_TABLE: Final = Kind(
    "a table's name, which is 3 to 255 of the characters A-Z a-z 0-9 _ . -, and a table's ARN",
    "a table's name, which is 3 to 255 of the characters A-Z a-z 0-9 _ . -, and a table's ARN",
    str,
    lambda value: isinstance(value, str) and bool(_TABLE_NAME.fullmatch(value)),
)
_TABLE_CHECK: Final = Kind(
    "True, False, 'warn' and 'error'", "on, off, warn and error", str, is_table_check
)

# What these say is not in one variable alone.
_READ_OTHERWISE: Final = frozenset({"dynamo_table", "environment", "endpoint_url", "check_table"})


@explain_settings
@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig(DeliverySettings):
    """The settings of a :class:`~receipt_label.ClientManager`, beside those of delivery.

    All arguments are keyword arguments.

    Args:
        environment_is_guessed: Whether ``environment`` is test by the table's name alone: all
            that guards data then stays as in production.

    Raises:
        ConfigurationError: A value is not accepted; the message names it and what is.
    """

    dynamo_table: str = field(
        metadata=declare(
            _TABLE,
            "The table that records go to. The second variable is deprecated.",
            variables=TABLE_VARIABLES,
        )
    )
    openai_api_key: str | None = field(
        default=None,
        repr=False,
        metadata=declare(
            typed(str),
            "Needed when an OpenAI client is asked for; never shown.",
            variables=("OPENAI_API_KEY",),
        ),
    )
    anthropic_api_key: str | None = field(
        default=None,
        repr=False,
        metadata=declare(
            typed(str),
            "Needed when an Anthropic client is asked for; never shown.",
            variables=("ANTHROPIC_API_KEY",),
        ),
    )
    track_ai_usage: bool = field(
        default=True,
        metadata=declare(
            switch(),
            "False gives clients that are not wrapped; usage_tracker still takes your own records.",
            bare="ours",
        ),
    )
    use_resilient_tracker: bool = field(
        default=True,
        metadata=declare(
            switch(),
            "False writes each record straight through, in the caller's thread.",
            bare="ours",
        ),
    )
    user_id: str | None = field(
        default=None,
        metadata=declare(
            text(),
            "The user of records whose context has none.",
            bare="generic",
        ),
    )
    track_to_file: bool = field(
        default=False,
        metadata=declare(
            switch(),
            "True keeps a copy of each record as a line of JSON, in a file that only its user can "
            "read.",
            bare="generic",
        ),
    )
    ai_usage_log_file: Path | None = field(
        default=None,
        metadata=declare(
            place(Path),
            "Where that copy goes; ~ is a home directory.",
            variables=("AI_USAGE_LOG_FILE",),
            otherwise="receipt_label/ai_usage.jsonl under $XDG_STATE_HOME or ~/.local/state",
        ),
    )
    price_file: Path | None = field(
        default=None,
        metadata=declare(
            file_path(Path),
            "File with your own prices, which come before all others: see docs/prices.md; ~ is "
            "a home directory.",
        ),
    )
    environment: Environment | None = field(
        default=None,
        metadata=declare(
            replace(typed(Environment), spelled="see above"),
            "Where this process runs.",
            variables=("ENVIRONMENT",),
            otherwise="test if the table's name looks like a test's, else production",
        ),
    )
    environment_is_guessed: bool = False
    endpoint_url: str | None = field(
        default=None,
        metadata=declare(
            replace(typed(str), spelled="a URL"),
            "Endpoint of another DynamoDB.",
            variables=("AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL"),
            otherwise="what boto3 finds in AWS's configuration files, else AWS itself",
        ),
    )
    check_table: TableCheck | None = field(
        default=None,
        metadata=declare(
            _TABLE_CHECK,
            "What happens when the table's name does not fit the environment. on: the rules of "
            "docs/environments.md, off: nothing, warn: a warning, error: an error.",
            variables=("AI_USAGE_TABLE_CHECK",),
            otherwise="on",
        ),
    )

    def __post_init__(self) -> None:
        """Check each value; a wrong one would show up later, in another thread."""
        check_settings(self, ConfigurationError)

    @classmethod
    def from_env(cls, variables: Mapping[str, str] | None = None) -> Self:
        """Read the configuration from environment variables.

        A variable that is empty, or holds white space only, counts as not set. Each of ours is
        read with the prefix ``AI_USAGE_`` first, and some without it as well.
        ``docs/environments.md`` lists them.

        Args:
            variables: Environment variables; by default those of the process.

        Raises:
            KeyError: Neither ``DYNAMODB_TABLE_NAME`` nor ``DYNAMO_TABLE_NAME`` is set.
            ConfigurationError: A value is malformed or out of bounds; the message names
                the variable, the value and what is accepted.

        Warns:
            DeprecationWarning: Only ``DYNAMO_TABLE_NAME`` is set.
            UserWarning: ``ENVIRONMENT`` is unknown, or not set and the table looks like a test
                table. Or a variable that other software may use too, such as ``BATCH_SIZE``,
                has a value that cannot be used: it is ignored.
        """
        given = _keep_set(os.environ if variables is None else variables)
        table = read_table_name(given)
        options: dict[str, Any] = {
            setting.name: setting.read(given, ConfigurationError, warn_caller)
            for setting in list_settings(cls)
            if setting.name not in _READ_OTHERWISE
        }
        explained = find_environment(table, given)
        return cls(
            dynamo_table=table,
            environment=explained.environment,
            environment_is_guessed=explained.is_guessed,
            endpoint_url=find_endpoint(given),
            check_table=read_table_check(given),
            **options,
        )

    def delivery_settings(self, environment: Environment) -> dict[str, Any]:
        """Return the settings of a ResilientDynamoClient, by the names of its arguments.

        Args:
            environment: The one whose rules guard the data.
        """
        settings = {each.name: getattr(self, each.name) for each in list_settings(DeliverySettings)}
        return settings | {"durability": self.durability or default_durability(environment)}

    def find_log_file(self) -> Path | None:
        """Return where the copy of each record goes; None when this user has no place for it."""
        if self.ai_usage_log_file is not None:
            return find_place(self.ai_usage_log_file)
        state = find_state_directory()
        return None if state is None else state / "receipt_label" / "ai_usage.jsonl"


def _keep_set(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that hold something, without white space around it.

    Files of secrets and of variables end their lines in ways that keys and names must not.
    """
    return {name: text.strip() for name, text in variables.items() if text.strip()}


def read_table_name(variables: Mapping[str, str] | None = None) -> str:
    """Return the table that ``DYNAMODB_TABLE_NAME`` names, else ``DYNAMO_TABLE_NAME``.

    Args:
        variables: Environment variables; by default those of the process.

    Raises:
        KeyError: Neither is set.
        ConfigurationError: It is no name of a table.

    Warns:
        DeprecationWarning: Only ``DYNAMO_TABLE_NAME`` is set.
    """
    given = _keep_set(os.environ if variables is None else variables)
    new, old = TABLE_VARIABLES
    if new not in given and old not in given:
        raise KeyError(f"Either {new} or {old} must be set")
    if new not in given:
        warn_caller(f"{old} is deprecated. Use {new} instead.", DeprecationWarning)
    return str(_find_table_setting().read(given, ConfigurationError))


def check_table_name(name: str, value: object) -> str:
    """Return a table's name or ARN.

    Args:
        name: Of the argument, for the error.
        value: What it holds.

    Raises:
        ConfigurationError: It is neither.
    """
    replace(_find_table_setting(), name=name).check(value, ConfigurationError)
    return str(value)


def _find_table_setting() -> Setting:
    return find_setting(ClientConfig, "dynamo_table")
