"""What a ClientManager needs to know, from arguments or from environment variables."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self, get_args

from receipt_dynamo.support import (
    MAX_GSI_SHARDS,
    MAX_RETENTION_DAYS,
    Durability,
    find_endpoint,
    find_state_directory,
)
from receipt_label.caller_warnings import warn_caller
from receipt_label.environment import (
    Environment,
    default_durability,
    detect_environment,
    read_table_check,
)
from receipt_label.errors import ConfigurationError

_SWITCH_WORDS: Final[Mapping[str, bool]] = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}

# Names of tables: 3 to 255 of these characters. An ARN is checked by DynamoDB itself. Source:
# "Naming rules" in the Amazon DynamoDB Developer Guide.
_TABLE_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{3,255}|arn:\S+")


@dataclass(frozen=True, slots=True)
class _Setting:
    """How one setting is read from a variable, and which values it takes.

    Args:
        accepted: What is accepted, in words.
        parse: Makes a value of a variable's text; raises ValueError or KeyError.
        is_valid: Whether a value, of any type, is accepted.
    """

    accepted: str
    parse: Callable[[str], object]
    is_valid: Callable[[Any], bool]

    def read(self, variable: str, text: str) -> object:
        """Return the value that a variable's text stands for."""
        try:
            value = self.parse(text)
        except (ValueError, KeyError):
            value = None
        if not self.is_valid(value):
            raise ConfigurationError(f"{variable} is {text!r}; accepted are {self.accepted}")
        return value

    def check(self, name: str, value: object) -> None:
        """Refuse a value that is not accepted."""
        if not self.is_valid(value):
            raise ConfigurationError(f"{name} is {value!r}; accepted are {self.accepted}")


def _switch() -> _Setting:
    return _Setting(
        "true, false, 1, 0, yes, no, on and off",
        lambda text: _SWITCH_WORDS[text.lower()],
        lambda value: isinstance(value, bool),
    )


def _whole_number(low: int, high: int | None = None) -> _Setting:
    bounds = f"of {low} or more" if high is None else f"from {low} to {high}"
    top = math.inf if high is None else high
    return _Setting(
        f"whole numbers {bounds}", int, lambda value: type(value) is int and low <= value <= top
    )


def _seconds(*, zero: bool) -> _Setting:
    return _Setting(
        f"finite numbers of seconds, {'0 or more' if zero else 'more than 0'}",
        float,
        lambda value: (
            type(value) in (int, float)
            and math.isfinite(value)
            and (value > 0 or (zero and value == 0))
        ),
    )


# The variable of each is its name in capitals. The bounds are those of ResilientDynamoClient.
_DELIVERY: Final[Mapping[str, _Setting]] = {
    "circuit_breaker_threshold": _whole_number(1),
    "circuit_breaker_timeout": _seconds(zero=False),
    "max_retry_attempts": _whole_number(1),
    "retry_base_delay": _seconds(zero=True),
    "batch_size": _whole_number(1, 25),
    "batch_flush_interval": _seconds(zero=True),
    "enable_batch_processing": _switch(),
}
_JOURNAL: Final[Mapping[str, _Setting]] = {
    "durability": _Setting(
        "journal, journal-sync and memory",
        str.lower,
        lambda value: value in get_args(Durability),
    ),
    "journal_max_bytes": _whole_number(1),
}
# How items are written; the bounds are those of both clients.
_FORM: Final[Mapping[str, _Setting]] = {
    "gsi_shards": _whole_number(1, MAX_GSI_SHARDS),
    "retention_days": _whole_number(1, MAX_RETENTION_DAYS),
}
# The variable of each of these has a prefix as well.
_PREFIXED: Final[Mapping[str, _Setting]] = {**_JOURNAL, **_FORM}
# None is accepted for each of these: the client finds the first two, and has no third.
_MAY_BE_OPEN: Final = frozenset({"durability", "journal_max_bytes", "retention_days"})
_CHECKED: Final[Mapping[str, _Setting]] = {
    **_DELIVERY,
    "track_ai_usage": _switch(),
    "use_resilient_tracker": _switch(),
    "track_to_file": _switch(),
}

# None is accepted for each: it means that something else decides.
_TYPES: Final[Mapping[str, type]] = {
    "openai_api_key": str,
    "anthropic_api_key": str,
    "user_id": str,
    "ai_usage_log_file": Path,
    "environment": Environment,
    "endpoint_url": str,
    "journal_dir": Path,
    "price_file": Path,
    "check_table": bool,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """What a :class:`~receipt_label.ClientManager` needs to know.

    Args:
        dynamo_table: Name or ARN of the table (``DYNAMODB_TABLE_NAME``).
        openai_api_key: Needed when an OpenAI client is asked for; never shown.
        anthropic_api_key: Needed when an Anthropic client is asked for; never shown.
        track_ai_usage: False hands out clients that are not wrapped.
        use_resilient_tracker: False writes each record straight through, in the caller's
            thread.
        user_id: Whom records belong to when the context names nobody.
        circuit_breaker_threshold: Failed wire attempts in a row that open the breaker.
        circuit_breaker_timeout: Seconds that it stays open at first.
        max_retry_attempts: Wire attempts in one round of delivery.
        retry_base_delay: Seconds before the first retry of a round, at most.
        batch_size: Records in a request, 1 to 25.
        batch_flush_interval: Seconds that a record waits for others to fill a batch.
        enable_batch_processing: False sends each record by itself.
        durability: "journal" keeps accepted records on disk until they are delivered,
            "journal-sync" also through a loss of power, "memory" keeps them in memory
            only. None: "memory" in the test environment, else "journal".
        journal_dir: Directory of the journals; None takes ``AI_USAGE_JOURNAL_DIR``, else
            one in the user's state directory.
        journal_max_bytes: Bound of this process's journal; None takes
            ``AI_USAGE_JOURNAL_MAX_BYTES``, else 512 MiB.
        gsi_shards: Over so many partitions the index keys of services and costs are spread, 1
            to 100 (``AI_USAGE_GSI_SHARDS``); see ``docs/queries.md``.
        retention_days: So many days after its timestamp a record may be deleted by
            DynamoDB's TTL, 1 to 36,500 (``AI_USAGE_RETENTION_DAYS``); None: it has no end.
        track_to_file: True keeps a copy of each record as a line of JSON.
        ai_usage_log_file: Where that copy goes; None takes ``receipt_label/ai_usage.jsonl``
            in the user's state directory (``$XDG_STATE_HOME``, else ``~/.local/state``).
        price_file: Prices of the user's own, which come first (``AI_USAGE_PRICE_FILE``);
            see ``docs/prices.md``.
        environment: None lets :func:`~receipt_label.detect_environment` find it.
        endpoint_url: Of DynamoDB; None takes what boto3 finds.
        check_table: Whether a test environment needs a test table; None takes
            ``AI_USAGE_TABLE_CHECK``.

    Raises:
        ConfigurationError: A value is not accepted; the message names it and what is.
    """

    dynamo_table: str
    openai_api_key: str | None = field(default=None, repr=False)
    anthropic_api_key: str | None = field(default=None, repr=False)
    track_ai_usage: bool = True
    use_resilient_tracker: bool = True
    user_id: str | None = None
    circuit_breaker_threshold: int = 5
    circuit_breaker_timeout: float = 30.0
    max_retry_attempts: int = 3
    retry_base_delay: float = 1.0
    batch_size: int = 25
    batch_flush_interval: float = 5.0
    enable_batch_processing: bool = True
    durability: Durability | None = None
    journal_dir: Path | None = None
    journal_max_bytes: int | None = None
    gsi_shards: int = 1
    retention_days: int | None = None
    track_to_file: bool = False
    ai_usage_log_file: Path | None = None
    price_file: Path | None = None
    environment: Environment | None = None
    endpoint_url: str | None = None
    check_table: bool | None = None

    def __post_init__(self) -> None:
        """Check each value; a wrong one would show up later, in another thread."""
        check_table_name("dynamo_table", self.dynamo_table)
        for name, setting in {**_CHECKED, **_PREFIXED}.items():
            value = getattr(self, name)
            if value is not None or name not in _MAY_BE_OPEN:
                setting.check(name, value)
        for name, kind in _TYPES.items():
            _check_type(name, getattr(self, name), kind)

    @classmethod
    def from_env(cls, variables: Mapping[str, str] | None = None) -> Self:
        """Read the configuration from environment variables.

        A variable that is empty, or holds white space only, counts as not set.
        ``docs/environments.md`` lists the variables and their defaults.

        Args:
            variables: Environment variables; by default those of the process.

        Raises:
            KeyError: Neither ``DYNAMODB_TABLE_NAME`` nor ``DYNAMO_TABLE_NAME`` is set.
            ConfigurationError: A value is malformed or out of bounds; the message names
                the variable, the value and what is accepted.

        Warns:
            DeprecationWarning: Only ``DYNAMO_TABLE_NAME`` is set.
            UserWarning: ``ENVIRONMENT`` is unknown.
        """
        given = _keep_set(os.environ if variables is None else variables)
        table = read_table_name(given)
        checked = {
            name: setting.read(name.upper(), given[name.upper()])
            for name, setting in _CHECKED.items()
            if name.upper() in given
        }
        prefixed = {
            name: setting.read(variable, given[variable])
            for name, setting in _PREFIXED.items()
            if (variable := f"AI_USAGE_{name.upper()}") in given
        }
        options: dict[str, Any] = {
            **checked,
            **prefixed,
            "journal_dir": _read_path(given, "AI_USAGE_JOURNAL_DIR"),
            "openai_api_key": given.get("OPENAI_API_KEY"),
            "anthropic_api_key": given.get("ANTHROPIC_API_KEY"),
            "user_id": given.get("USER_ID"),
            "ai_usage_log_file": _read_path(given, "AI_USAGE_LOG_FILE"),
            "price_file": _read_path(given, "AI_USAGE_PRICE_FILE"),
            "environment": detect_environment(table, given),
            "endpoint_url": find_endpoint(given),
            "check_table": read_table_check(given),
        }
        return cls(dynamo_table=table, **options)

    def delivery_settings(self, environment: Environment) -> dict[str, Any]:
        """Return the settings of a ResilientDynamoClient, by the names of its arguments."""
        settings = {name: getattr(self, name) for name in (*_DELIVERY, *_JOURNAL, "journal_dir")}
        settings |= self.item_form()
        return settings | {"durability": self.durability or default_durability(environment)}

    def item_form(self) -> dict[str, Any]:
        """Return the settings of how items are written, by the names of both clients' arguments."""
        return {name: getattr(self, name) for name in _FORM}

    def find_log_file(self) -> Path | None:
        """Return where the copy of each record goes; None when this user has no place for it."""
        if self.ai_usage_log_file is not None:
            return self.ai_usage_log_file
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
    variable = "DYNAMODB_TABLE_NAME"
    if variable not in given:
        variable = "DYNAMO_TABLE_NAME"
        if variable not in given:
            raise KeyError("Either DYNAMODB_TABLE_NAME or DYNAMO_TABLE_NAME must be set")
        warn_caller(
            "DYNAMO_TABLE_NAME is deprecated. Use DYNAMODB_TABLE_NAME instead.",
            DeprecationWarning,
        )
    return check_table_name(variable, given[variable])


def check_table_name(name: str, value: object) -> str:
    """Return a table's name or ARN.

    Args:
        name: Of the argument or variable, for the error.
        value: What it holds.

    Raises:
        ConfigurationError: It is neither.
    """
    if not isinstance(value, str) or not _TABLE_NAME.fullmatch(value):
        raise ConfigurationError(
            f"{name} is {value!r}; accepted are a table's name, which is 3 to 255 of the "
            "characters A-Z a-z 0-9 _ . -, and a table's ARN"
        )
    return value


def _check_type(name: str, value: object, kind: type) -> None:
    """Refuse a value of another type, without showing it: it may be a key."""
    if value is not None and not isinstance(value, kind):
        raise ConfigurationError(
            f"{name} is of type {type(value).__name__}; accepted are {kind.__name__} and None"
        )


def _read_path(given: Mapping[str, str], variable: str) -> Path | None:
    return Path(given[variable]).expanduser() if variable in given else None
