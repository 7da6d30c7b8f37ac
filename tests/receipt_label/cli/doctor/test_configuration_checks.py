"""What the doctor says of variables: each malformed one is named, and no secret is shown."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from receipt_dynamo import DynamoClient
from receipt_dynamo.cli.findings import Finding, Level
from receipt_dynamo.testing import FaultProxy
from receipt_dynamo.utils.settings import list_settings
from receipt_label import ClientConfig
from receipt_label.cli.doctor.checks import CheckContext
from receipt_label.cli.doctor.configuration import check_configuration
from receipt_label.cli.doctor.secrets import SecretMask
from receipt_label.client_config import TABLE_VARIABLES
from support.command_runs import Ended

Doctor = Callable[..., Ended]

# Other software may read these as well: what we cannot use is a warning.
GENERIC = {
    "CIRCUIT_BREAKER_THRESHOLD": "0",
    "CIRCUIT_BREAKER_TIMEOUT": "inf",
    "MAX_RETRY_ATTEMPTS": "many",
    "RETRY_BASE_DELAY": "-1",
    "BATCH_SIZE": "26",
    "BATCH_FLUSH_INTERVAL": "soon",
    "ENABLE_BATCH_PROCESSING": "y",
    "TRACK_TO_FILE": "maybe",
}
MALFORMED = {
    **{f"AI_USAGE_{name}": text for name, text in GENERIC.items()},
    "TRACK_AI_USAGE": "perhaps",
    "AI_USAGE_TRACK_AI_USAGE": "perhaps",
    "USE_RESILIENT_TRACKER": "2",
    "AI_USAGE_USE_RESILIENT_TRACKER": "2",
    "AI_USAGE_SENDERS": "65",
    "AI_USAGE_MAX_PENDING_RECORDS": "0",
    "AI_USAGE_MAX_PENDING_BYTES": "64M",
    "AI_USAGE_OVERFLOW": "spill",
    "AI_USAGE_DURABILITY": "paper",
    "AI_USAGE_JOURNAL_MAX_BYTES": "1.5",
    "AI_USAGE_PRICE_FILE": "~nobody-of-this-name/prices.toml",
    "AI_USAGE_GSI_SHARDS": "101",
    "AI_USAGE_RETENTION_DAYS": "forever",
    "AI_USAGE_TABLE_CHECK": "sometimes",
    "AI_USAGE_ADOPT_UNPROVEN": "maybe",
}
ANYTHING = {
    "AI_USAGE_JOURNAL_DIR",  # What names no place is looked at with the disk.
    "AI_USAGE_LOG_FILE",
    "ENVIRONMENT",  # An unknown one means production: a warning of its own.
    "USER_ID",
    "AI_USAGE_USER_ID",
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL",
}


def look_at(variables: dict[str, str]) -> list[Finding]:
    context = CheckContext(argparse.Namespace(table="usage"), variables)
    return list(check_configuration(context).findings)


def test_every_variable_and_field_of_the_configuration_is_looked_at() -> None:
    fields = {field.name for field in dataclasses.fields(ClientConfig)}
    settings = list_settings(ClientConfig)
    assert {each.name for each in settings} == fields - {"environment_is_guessed"}
    variables = {name for each in settings for name in each.variables}
    assert variables == {*GENERIC, *MALFORMED, *ANYTHING, *TABLE_VARIABLES}
    says = " ".join(line.says for line in look_at({}))
    assert set(re.findall(r"[A-Z][A-Z_]+", says)) >= variables - set(TABLE_VARIABLES)


@pytest.mark.parametrize("name", GENERIC)
def test_a_generic_variable_that_cannot_be_used_is_a_warning(name: str) -> None:
    (line,) = [line for line in look_at({name: GENERIC[name]}) if line.level is not Level.OK]
    assert line.level is Level.WARNING
    assert line.says.startswith(f"{name} is {GENERIC[name]!r}; accepted are ")
    assert line.says.endswith(f"; AI_USAGE_{name} is read by this package only")


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"AI_USAGE_BATCH_SIZE": "3"}, ["AI_USAGE_BATCH_SIZE is '3'"]),
        ({"BATCH_SIZE": "7"}, ["BATCH_SIZE is '7'"]),
        (
            {"AI_USAGE_BATCH_SIZE": "3", "BATCH_SIZE": "128"},
            [
                "AI_USAGE_BATCH_SIZE is '3'",
                "BATCH_SIZE is not read, because AI_USAGE_BATCH_SIZE is set",
            ],
        ),
        ({}, ["AI_USAGE_BATCH_SIZE and BATCH_SIZE: not set: 25 by default"]),
    ],
)
def test_the_variable_that_gave_a_setting_is_named(
    variables: dict[str, str], says: list[str]
) -> None:
    assert [line.says for line in look_at(variables) if "BATCH_SIZE" in line.says] == says


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_variable_is_an_error_that_says_what_is_accepted(name: str) -> None:
    (line,) = [line for line in look_at({name: MALFORMED[name]}) if line.level is not Level.OK]
    assert line.level is Level.ERROR
    assert line.says.startswith(f"{name} is {MALFORMED[name]!r}; accepted are ")


def test_all_malformed_variables_are_told_at_once(
    table: DynamoClient, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = {name: text for name, text in MALFORMED.items() if "nobody" not in text}
    wrong = {name: text for name, text in wrong.items() if f"AI_USAGE_{name}" not in wrong}
    for name, text in wrong.items():
        monkeypatch.setenv(name, text)
    ended = doctor("--quiet")
    assert ended.status == 2
    lines = ended.out.splitlines()
    assert {line.split()[1] for line in lines} == set(wrong)
    assert len(lines) == len(wrong)


def test_what_is_set_and_what_is_the_default_is_told(
    table: DynamoClient, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCH_SIZE", " 7\n")
    said = doctor().out
    assert "ok: BATCH_SIZE is '7'\n" in said
    assert "ok: AI_USAGE_MAX_RETRY_ATTEMPTS and MAX_RETRY_ATTEMPTS: not set: 3 by default\n" in said
    assert "ok: OPENAI_API_KEY: not set\n" in said
    assert f"ok: DYNAMODB_TABLE_NAME is '{table.table_name}'\n" in said


def test_the_deprecated_table_variable_is_a_warning(
    table: DynamoClient, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DYNAMODB_TABLE_NAME")
    monkeypatch.setenv("DYNAMO_TABLE_NAME", table.table_name)
    ended = doctor("--quiet")
    assert (ended.status, ended.err) == (1, "")
    assert ended.out.startswith("warning: DYNAMO_TABLE_NAME is deprecated; set DYNAMODB_TABLE")


def test_a_malformed_table_name_is_an_error(
    doctor: Doctor, moto_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DYNAMODB_TABLE_NAME", "no spaces")
    assert (
        "error: DYNAMODB_TABLE_NAME is 'no spaces'; accepted are a table's name"
        in doctor("--endpoint-url", moto_endpoint).out
    )


@pytest.mark.parametrize(
    ("environment", "table_name", "level"),
    [
        ("oops", "usage-test", "warning: environment: production, because ENVIRONMENT is 'oops'"),
        ("qa", "usage-test", "ok: environment: staging, because ENVIRONMENT is 'qa'"),
        ("", "usage-test", "warning: environment: test, because ENVIRONMENT is not set, and"),
        ("dev", "usage-prod", "error: the environment is development, but the table 'usage-prod'"),
        ("prod", "usage-test", "warning: the environment is production, but the table"),
        ("test", "usage", "error: the environment is test, but the table 'usage' does not"),
    ],
)
def test_an_environment_that_does_not_fit_the_table_is_said(
    environment: str,
    table_name: str,
    level: str,
    doctor: Doctor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ENVIRONMENT", environment)
    # Not this machine, and nobody at home: a test table is not needed on this machine.
    assert level in doctor("--table", table_name, "--endpoint-url", "http://[::2").out


def test_a_price_file_that_cannot_be_used_is_an_error(
    table: DynamoClient, doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prices = tmp_path / "prices.toml"
    monkeypatch.setenv("AI_USAGE_PRICE_FILE", str(prices))
    assert f"error: AI_USAGE_PRICE_FILE: the price file {prices} cannot be read" in doctor().out
    prices.write_text("[[price]]\nservice = 3\n", encoding="utf-8")
    assert "error: AI_USAGE_PRICE_FILE: " in doctor("--quiet").out
    prices.write_text("", encoding="utf-8")
    assert doctor("--quiet") == Ended(0, "", "")


SECRETS = {
    "OPENAI_API_KEY": "sk-canary-openai-1234567890",
    "ANTHROPIC_API_KEY": "sk-ant-canary-1234567890",
    "AWS_ACCESS_KEY_ID": "AKIACANARY1234567890",
    "AWS_SECRET_ACCESS_KEY": "canary+secret/1234567890",
    "AWS_SESSION_TOKEN": "canary-session-token-1234567890",
    "OTHER_PASSWORD": "canary-password-1234567890",
}


@pytest.mark.parametrize("how", [(), ("--json",)])
@pytest.mark.parametrize("state", ["well", "down", "no table", "key as table", "key as number"])
def test_no_secret_is_ever_shown(
    how: tuple[str, ...],
    state: str,
    table: DynamoClient,
    proxy: FaultProxy,
    doctor: Doctor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    url = proxy.endpoint_url.replace("http://", "http://user:canary-in-url@")
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", url)
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    if state == "down":
        proxy.down()
    if state == "no table":
        monkeypatch.delenv("DYNAMODB_TABLE_NAME")
    if state == "key as table":
        monkeypatch.setenv("DYNAMODB_TABLE_NAME", SECRETS["OPENAI_API_KEY"])
    if state == "key as number":
        monkeypatch.setenv("BATCH_SIZE", SECRETS["ANTHROPIC_API_KEY"])
    ended = doctor(*how)
    shown = ended.out + ended.err
    assert "canary" not in shown
    if how == ("--json",):
        assert json.loads(ended.out)["checks"]
    else:
        assert "ok: OPENAI_API_KEY is set (hidden)" in shown


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=8))
def test_whatever_a_secret_looks_like_no_message_about_another_variable_shows_it(
    secret: str,
) -> None:
    """A key that was pasted into the wrong variable is in the error about that one."""
    assume(len(secret.strip()) >= 8)
    wrong = (
        "BATCH_SIZE",
        "AI_USAGE_LOG_FILE",
        "AWS_ENDPOINT_URL",
        "DYNAMODB_TABLE_NAME",
        "USER_ID",
    )
    variables = {"OPENAI_API_KEY": secret, **dict.fromkeys(wrong, secret)}
    context = CheckContext(argparse.Namespace(table=None), variables)
    mask = SecretMask(variables)
    found = check_configuration(context)
    for line in found.findings:
        said = mask.hide(line.says)
        assert secret.strip() not in said
        assert repr(secret.strip())[1:-1] not in said
    document = json.dumps(mask.hide_in(found.document), ensure_ascii=False)
    assert secret.strip() not in document


def test_a_secret_within_another_is_masked_whole_and_a_short_word_is_none() -> None:
    mask = SecretMask({"A_KEY": "12345678", "B_TOKEN": "0123456789", "C_SECRET": "test"})
    assert mask.hide("0123456789 12345678 test") == "*** *** test"
    odd = "p\\ss w'rd"
    shown = SecretMask({"D_PASSWORD": odd}).hide(f"{odd} {odd!r} {quote(odd, safe='')}")
    assert shown.replace('"', "") == "*** *** ***"
    assert mask.hide_in({"a": ["12345678", 7, None]}) == {"a": ["***", 7, None]}
