"""A setting is declared once: arguments, variables, signature and page say what that says."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import get_type_hints

import pytest

from receipt_dynamo import ResilientDynamoClient
from receipt_dynamo.data.delivery.settings import DeliveryOptions, DeliverySettings
from receipt_dynamo.utils.settings import Setting, list_settings
from receipt_label import ClientConfig
from support.settings_table import PAGE, write_page

ROOT = Path(__file__).parents[2]
DELIVERY = list_settings(DeliverySettings)


def test_the_page_has_the_settings_as_they_are_declared() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == write_page(page), (
        "docs/environments.md is not what is declared; run: python tests/support/settings_table.py"
    )


def test_the_names_and_types_of_the_options_are_those_of_the_settings() -> None:
    declared = get_type_hints(DeliverySettings)
    assert list(get_type_hints(DeliveryOptions).items()) == list(declared.items())
    assert [each.name for each in DELIVERY] == list(declared)


def test_signature_and_help_of_the_client_have_each_setting_with_its_default() -> None:
    """In the order of the design; a wrapper with ``**settings`` would hide them."""
    parameters = inspect.signature(ResilientDynamoClient).parameters
    assert list(parameters)[:9] == [
        *("table_name", "region", "circuit_breaker_threshold", "circuit_breaker_timeout"),
        *("max_retry_attempts", "retry_base_delay", "batch_size", "batch_flush_interval"),
        "enable_batch_processing",
    ]
    for setting in DELIVERY:
        parameter = parameters[setting.name]
        assert parameter.default == setting.default
        assert parameter.kind is parameter.KEYWORD_ONLY
        for explained in (ResilientDynamoClient, DeliverySettings, ClientConfig):
            assert f"{setting.name}: {setting.sentence}" in (explained.__doc__ or "")
    assert not any(each.kind is each.VAR_KEYWORD for each in parameters.values())


def test_an_unknown_setting_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="nonsense"):
        ResilientDynamoClient("test-table", "us-east-1", nonsense=1)  # type: ignore[call-arg]


@pytest.mark.parametrize("setting", list_settings(ClientConfig), ids=lambda each: each.name)
def test_each_sentence_is_one_and_each_variable_is_named_for_its_setting(setting: Setting) -> None:
    assert re.fullmatch(r"[A-Za-z].*\.", setting.sentence)
    foreign = ("DYNAMO", "ENVIRONMENT", "OPENAI_", "ANTHROPIC_", "AWS_")
    if not setting.variables[0].startswith(foreign):
        assert setting.variables[0].startswith("AI_USAGE_")
        assert set(setting.variables[1:]) <= {setting.name.upper()}


def test_the_bounds_of_a_setting_stand_in_its_declaration_only() -> None:
    """What is declared once would be told again by a second list of settings."""
    told = {
        path.relative_to(ROOT).as_posix()
        for package in ("receipt_dynamo/receipt_dynamo", "receipt_label/receipt_label")
        for path in (ROOT / package).rglob("*.py")
        if re.search(r"\bcircuit_breaker_threshold: int\b", path.read_text(encoding="utf-8"))
    }
    assert told == {"receipt_dynamo/receipt_dynamo/data/delivery/settings.py"}
