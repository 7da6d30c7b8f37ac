"""The configuration as it is understood, and the environment that follows from it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from receipt_dynamo.cli.findings import Finding, Level
from receipt_dynamo.support import IGNORED, Setting, find_endpoint, hide_passwords, list_settings
from receipt_label.cli.doctor.checks import CheckContext, CheckResult
from receipt_label.client_config import TABLE_VARIABLES, ClientConfig
from receipt_label.environment import explain_environment, validate_table
from receipt_label.errors import ConfigurationError
from receipt_label.pricing import PriceBook

_SECRET_FIELDS: Final = frozenset({"openai_api_key", "anthropic_api_key"})
_ANY_TABLE: Final = {"DYNAMODB_TABLE_NAME": "test-table", "ENVIRONMENT": "test"}


def check_configuration(context: CheckContext) -> CheckResult:
    """Return for each setting which variable gave it, or what is accepted."""
    settings = [each for each in list_settings(ClientConfig) if each.name != "dynamo_table"]
    findings = [*_check_table_variables(context)]
    shown = {}
    for setting in settings:
        findings += _check_setting(setting, context.variables)
        for variable in setting.list_set(context.variables):
            shown[variable] = _show(setting.name, context.variables[variable].strip())
    return CheckResult(tuple(findings), {"configuration": shown})


def _check_table_variables(context: CheckContext) -> Iterator[Finding]:
    new, old = TABLE_VARIABLES
    given = {name: context.variables.get(name, "").strip() for name in TABLE_VARIABLES}
    name = new if given[new] else old
    if not given[name]:
        if context.table_name is not None:  # Else the table's check reports it.
            said = f"{new} is not set: a service needs it, this command has --table"
            yield Finding(Level.OK, said)
        return
    problem, _ = _read_alone({"ENVIRONMENT": "test", name: given[name]})
    if problem is not None:
        yield Finding(Level.ERROR, problem)
    elif name == old:
        yield Finding(Level.WARNING, f"{old} is deprecated", f"set {new} to {given[old]!r} instead")
    else:
        yield Finding(Level.OK, f"{new} is {given[new]!r}")


def _check_setting(setting: Setting, variables: Mapping[str, str]) -> Iterator[Finding]:
    """Return the value of a setting, the variable that gave it, and those that are not read."""
    names = setting.list_set(variables)
    if not names:
        default = setting.default_in_words
        by_default = f": {default} by default" if default else ""
        yield Finding(Level.OK, f"{' and '.join(setting.variables)}: not set{by_default}")
        return
    first, *others = names
    text = variables[first].strip()
    problem, ignored = _read_alone({**_ANY_TABLE, first: text})
    if problem is not None:
        yield Finding(Level.ERROR, problem)
    elif ignored is not None:
        yield Finding(Level.WARNING, ignored)
    else:
        yield Finding(Level.OK, f"{first} is {_show(setting.name, text)}")
    for other in others:
        yield Finding(Level.OK, f"{other} is not read, because {first} is set")


def _read_alone(variables: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Return what ClientConfig has against variables, and which it ignores, read by themselves."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            ClientConfig.from_env(variables)
    except ConfigurationError as error:
        return str(error), None
    # Findings about the environment and the table have separate lines.
    said = [str(each.message) for each in caught if IGNORED in str(each.message)]
    return None, said[0] if said else None


def _show(field: str, text: str) -> str:
    return "set (hidden)" if field in _SECRET_FIELDS else hide_passwords(repr(text))


def check_environment(context: CheckContext) -> CheckResult:
    """Return the environment in which this shell would write, and whether the table fits."""
    explained = explain_environment(context.table_name, context.variables)
    environment = explained.environment.value
    level = Level.WARNING if explained.is_unknown or explained.is_guessed else Level.OK
    said = f"environment: {environment}, because {explained.because}"
    if explained.is_guessed:
        said += "; what guards data stays as in production until ENVIRONMENT says test"
    findings = [Finding(level, said)]
    if context.table_name is not None and not explained.is_guessed:
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
