"""The configuration as it is understood, and the environment that follows from it."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from receipt_dynamo.cli.findings import Finding, Level
from receipt_dynamo.support import find_endpoint, hide_passwords
from receipt_label.cli.doctor.checks import CheckContext, CheckResult
from receipt_label.client_config import ClientConfig
from receipt_label.environment import explain_environment, validate_table
from receipt_label.errors import ConfigurationError
from receipt_label.pricing import PriceBook

TABLE_VARIABLES: Final = ("DYNAMODB_TABLE_NAME", "DYNAMO_TABLE_NAME")

SETTINGS: Final[Mapping[str, str]] = {
    "ENVIRONMENT": "environment",
    "TRACK_AI_USAGE": "track_ai_usage",
    "USE_RESILIENT_TRACKER": "use_resilient_tracker",
    "USER_ID": "user_id",
    "CIRCUIT_BREAKER_THRESHOLD": "circuit_breaker_threshold",
    "CIRCUIT_BREAKER_TIMEOUT": "circuit_breaker_timeout",
    "MAX_RETRY_ATTEMPTS": "max_retry_attempts",
    "RETRY_BASE_DELAY": "retry_base_delay",
    "BATCH_SIZE": "batch_size",
    "BATCH_FLUSH_INTERVAL": "batch_flush_interval",
    "ENABLE_BATCH_PROCESSING": "enable_batch_processing",
    "TRACK_TO_FILE": "track_to_file",
    "AI_USAGE_LOG_FILE": "ai_usage_log_file",
    "AI_USAGE_PRICE_FILE": "price_file",
    "AI_USAGE_DURABILITY": "durability",
    "AI_USAGE_JOURNAL_DIR": "journal_dir",
    "AI_USAGE_JOURNAL_MAX_BYTES": "journal_max_bytes",
    "AI_USAGE_GSI_SHARDS": "gsi_shards",
    "AI_USAGE_RETENTION_DAYS": "retention_days",
    "AI_USAGE_TABLE_CHECK": "check_table",
    "OPENAI_API_KEY": "openai_api_key",
    "ANTHROPIC_API_KEY": "anthropic_api_key",
    "AWS_ENDPOINT_URL_DYNAMODB": "endpoint_url",
    "AWS_ENDPOINT_URL": "endpoint_url",
}
"""The variables that ``ClientConfig.from_env`` reads, beside the table's, and their fields."""

_SECRET_FIELDS: Final = frozenset({"openai_api_key", "anthropic_api_key"})
_ANY_TABLE: Final = {"DYNAMODB_TABLE_NAME": "test-table"}


def check_configuration(context: CheckContext) -> CheckResult:
    """Say of each variable what it is understood as, or what is accepted."""
    findings = [
        *_check_table_variables(context),
        *(_check_setting(name, context.variables) for name in SETTINGS),
    ]
    known = {name: context.variables.get(name, "").strip() for name in SETTINGS}
    shown = {name: _show(SETTINGS[name], text) for name, text in known.items() if text}
    return CheckResult(tuple(findings), {"configuration": shown})


def _check_table_variables(context: CheckContext) -> Iterator[Finding]:
    new, old = TABLE_VARIABLES
    given = {name: context.variables.get(name, "").strip() for name in TABLE_VARIABLES}
    name = new if given[new] else old
    if not given[name]:
        if context.table_name is not None:  # Else the table's check says so.
            said = f"{new} is not set: a service needs it, this command has --table"
            yield Finding(Level.OK, said)
        return
    problem = _find_problem({name: given[name]})
    if problem is not None:
        yield Finding(Level.ERROR, problem)
    elif name == old:
        yield Finding(Level.WARNING, f"{old} is deprecated", f"set {new} to {given[old]!r} instead")
    else:
        yield Finding(Level.OK, f"{new} is {given[new]!r}")


def _check_setting(name: str, variables: Mapping[str, str]) -> Finding:
    text = variables.get(name, "").strip()
    if not text:
        return Finding(Level.OK, f"{name} is not set{_describe_default(SETTINGS[name])}")
    problem = _find_problem({**_ANY_TABLE, name: text})
    if problem is not None:
        return Finding(Level.ERROR, problem)
    return Finding(Level.OK, f"{name} is {_show(SETTINGS[name], text)}")


def _find_problem(variables: Mapping[str, str]) -> str | None:
    """Return what ClientConfig has against some variables, read by themselves."""
    try:
        with warnings.catch_warnings():  # They are told by lines of their own.
            warnings.simplefilter("ignore")
            ClientConfig.from_env(variables)
    except ConfigurationError as error:
        return str(error)
    return None


def _show(field: str, text: str) -> str:
    return "set (hidden)" if field in _SECRET_FIELDS else hide_passwords(repr(text))


def _describe_default(field: str) -> str:
    defaults = {each.name: each.default for each in dataclasses.fields(ClientConfig)}
    default = defaults[field]
    return "" if default is None else f": {default!r} by default"


def check_environment(context: CheckContext) -> CheckResult:
    """Say in which environment this shell would write to the table, and whether they fit."""
    explained = explain_environment(context.table_name, context.variables)
    environment = explained.environment.value
    level = Level.WARNING if explained.is_unknown else Level.OK
    findings = [Finding(level, f"environment: {environment}, because {explained.because}")]
    if context.table_name is not None:
        endpoint = context.chosen.endpoint_url or find_endpoint(context.variables)
        findings += _check_fit(context.table_name, explained.environment, endpoint)
    document = {"environment": {"name": environment, "because": explained.because}}
    return CheckResult(tuple(findings), document)


def _check_fit(table: str, environment: Any, endpoint: str | None) -> Iterator[Finding]:
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            validate_table(table, environment, endpoint_url=endpoint)
    except ConfigurationError as error:
        yield Finding(Level.ERROR, str(error))
    else:
        yield from (Finding(Level.WARNING, str(warning.message)) for warning in caught)


def check_price_file(context: CheckContext) -> CheckResult:
    """Read the user's own prices."""
    path = context.variables.get("AI_USAGE_PRICE_FILE", "").strip()
    if not path:
        return CheckResult(())
    said = f"AI_USAGE_PRICE_FILE: the prices in {path} can be read"
    try:
        PriceBook.from_file(Path(path).expanduser())
    except (ConfigurationError, RuntimeError) as error:  # The latter: no such user's home.
        return CheckResult((Finding(Level.ERROR, f"AI_USAGE_PRICE_FILE: {error}"),))
    return CheckResult((Finding(Level.OK, said),))
