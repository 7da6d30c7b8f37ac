"""ClientConfig: from variables and from arguments, each value checked."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import pytest

from receipt_dynamo import ResilientDynamoClient
from receipt_label.client_config import ClientConfig
from receipt_label.client_manager import ClientManager
from receipt_label.environment import Environment
from receipt_label.errors import ConfigurationError

TABLE = {"DYNAMODB_TABLE_NAME": "receipts"}
SWITCHES = [
    "TRACK_AI_USAGE",
    "USE_RESILIENT_TRACKER",
    "ENABLE_BATCH_PROCESSING",
    "TRACK_TO_FILE",
]
OURS = ["TRACK_AI_USAGE", "USE_RESILIENT_TRACKER"]
NUMBERS = {
    "CIRCUIT_BREAKER_THRESHOLD": (int, ["1", "7", " 9 "], ["0", "-1", "1.0", "x", "nan"]),
    "CIRCUIT_BREAKER_TIMEOUT": (float, ["0.5", "60", "1e2"], ["0", "-1", "nan", "inf", "30s"]),
    "MAX_RETRY_ATTEMPTS": (int, ["1", "10"], ["0", "-3", "3.5", "three"]),
    "RETRY_BASE_DELAY": (float, ["0", "0.1", "2"], ["-0.1", "nan", "-inf", "1,5"]),
    "BATCH_SIZE": (int, ["1", "25"], ["0", "26", "-1", "2.5", "many", "1e1"]),
    "BATCH_FLUSH_INTERVAL": (float, ["0", "0.25", "30"], ["-1", "inf", "5 s"]),
}
ACCEPTED = [(name, kind, text) for name, (kind, good, _) in NUMBERS.items() for text in good]
REFUSED = [(name, text) for name, (_, _, bad) in NUMBERS.items() for text in bad]


def test_the_defaults_are_those_of_the_documentation() -> None:
    config = ClientConfig.from_env(TABLE)
    assert {field.name: getattr(config, field.name) for field in fields(config)} == {
        "dynamo_table": "receipts",
        "openai_api_key": None,
        "anthropic_api_key": None,
        "track_ai_usage": True,
        "use_resilient_tracker": True,
        "user_id": None,
        "circuit_breaker_threshold": 5,
        "circuit_breaker_timeout": 30.0,
        "max_retry_attempts": 3,
        "retry_base_delay": 1.0,
        "batch_size": 25,
        "batch_flush_interval": 5.0,
        "enable_batch_processing": True,
        "senders": 2,
        "max_pending_records": 10_000,
        "max_pending_bytes": 64 * 1024 * 1024,
        "overflow": "refuse",
        "durability": None,
        "journal_dir": None,
        "journal_max_bytes": None,
        "adopt_unproven": None,
        "gsi_shards": 1,
        "retention_days": None,
        "track_to_file": False,
        "ai_usage_log_file": None,
        "price_file": None,
        "environment": Environment.PRODUCTION,
        "environment_is_guessed": False,
        "endpoint_url": None,
        "check_table": True,
    }


def test_trap_the_default_configuration_does_not_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ENVIRONMENT")
    monkeypatch.setenv("DYNAMODB_TABLE_NAME", "receipts")
    assert ClientConfig.from_env().environment is Environment.PRODUCTION
    with ClientManager.from_env() as manager:
        assert manager.environment is Environment.PRODUCTION


def test_every_variable_is_read() -> None:
    config = ClientConfig.from_env(
        {
            "DYNAMODB_TABLE_NAME": " my-test \n",
            "ENVIRONMENT": "testing",
            "OPENAI_API_KEY": "sk-o\n",
            "ANTHROPIC_API_KEY": "sk-a",
            "TRACK_AI_USAGE": "false",
            "USE_RESILIENT_TRACKER": "0",
            "USER_ID": "user-7",
            "CIRCUIT_BREAKER_THRESHOLD": "2",
            "CIRCUIT_BREAKER_TIMEOUT": "1.5",
            "MAX_RETRY_ATTEMPTS": "4",
            "RETRY_BASE_DELAY": "0.5",
            "BATCH_SIZE": "10",
            "BATCH_FLUSH_INTERVAL": "2",
            "ENABLE_BATCH_PROCESSING": "no",
            "TRACK_TO_FILE": "on",
            "AI_USAGE_LOG_FILE": "/var/log/usage.jsonl",
            "AI_USAGE_PRICE_FILE": "/etc/prices.toml",
            "AI_USAGE_DURABILITY": "journal-sync",
            "AI_USAGE_JOURNAL_DIR": "/var/lib/usage",
            "AI_USAGE_JOURNAL_MAX_BYTES": "1000000",
            "AI_USAGE_GSI_SHARDS": "8",
            "AI_USAGE_RETENTION_DAYS": "400",
            "AI_USAGE_TABLE_CHECK": "off",
            "AWS_ENDPOINT_URL_DYNAMODB": "http://localhost:8000",
        }
    )
    assert config == ClientConfig(
        dynamo_table="my-test",
        openai_api_key="sk-o",
        anthropic_api_key="sk-a",
        track_ai_usage=False,
        use_resilient_tracker=False,
        user_id="user-7",
        circuit_breaker_threshold=2,
        circuit_breaker_timeout=1.5,
        max_retry_attempts=4,
        retry_base_delay=0.5,
        batch_size=10,
        batch_flush_interval=2.0,
        enable_batch_processing=False,
        durability="journal-sync",
        journal_dir=Path("/var/lib/usage"),
        journal_max_bytes=1_000_000,
        gsi_shards=8,
        retention_days=400,
        track_to_file=True,
        ai_usage_log_file=Path("/var/log/usage.jsonl"),
        price_file=Path("/etc/prices.toml"),
        environment=Environment.TEST,
        endpoint_url="http://localhost:8000",
        check_table=False,
    )


def test_the_variables_of_the_process_are_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNAMODB_TABLE_NAME", "my-test")
    monkeypatch.setenv("BATCH_SIZE", "3")
    config = ClientConfig.from_env()
    assert (config.dynamo_table, config.batch_size) == ("my-test", 3)


def test_an_empty_variable_counts_as_not_set() -> None:
    empty = dict.fromkeys(
        [
            *(*SWITCHES, *NUMBERS, "USER_ID", "OPENAI_API_KEY"),
            *("AI_USAGE_LOG_FILE", "AI_USAGE_PRICE_FILE", "ENVIRONMENT"),
            *("AI_USAGE_GSI_SHARDS", "AI_USAGE_RETENTION_DAYS"),
        ],
        " ",
    )
    assert ClientConfig.from_env(TABLE | empty) == ClientConfig.from_env(TABLE)


@pytest.mark.parametrize("variable", SWITCHES)
def test_switches_are_read_in_many_words_and_any_case(variable: str) -> None:
    for value, words in ((True, "true 1 yes on"), (False, "false 0 no off")):
        for word in words.split():
            for text in (word, word.upper(), f" {word.title()} "):
                config = ClientConfig.from_env(TABLE | {variable: text})
                assert getattr(config, variable.lower()) is value


@pytest.mark.parametrize("variable", [*OURS, *(f"AI_USAGE_{name}" for name in SWITCHES)])
@pytest.mark.parametrize("text", ["tru", "2", "-1", "y", "enabled", "None", "falsch"])
def test_a_malformed_switch_names_variable_value_and_what_is_accepted(
    variable: str, text: str
) -> None:
    """A typing error in the way back would otherwise be its opposite."""
    with pytest.raises(ConfigurationError) as caught:
        ClientConfig.from_env(TABLE | {variable: text})
    assert str(caught.value) == (
        f"{variable} is {text!r}; accepted are true, false, 1, 0, yes, no, on and off"
    )


@pytest.mark.parametrize(("variable", "kind", "text"), ACCEPTED)
def test_numbers_within_their_bounds_are_read(
    variable: str, kind: Callable[[str], float], text: str
) -> None:
    value = getattr(ClientConfig.from_env(TABLE | {variable: text}), variable.lower())
    assert value == kind(text)
    assert type(value) is kind


@pytest.mark.parametrize(("name", "text"), REFUSED)
def test_a_malformed_number_names_variable_value_and_what_is_accepted(name: str, text: str) -> None:
    variable = f"AI_USAGE_{name}"
    with pytest.raises(
        ConfigurationError, match=r"; accepted are (whole|finite) numbers"
    ) as caught:
        ClientConfig.from_env(TABLE | {variable: text})
    assert str(caught.value).startswith(f"{variable} is {text!r}; ")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *REFUSED,
        ("BATCH_SIZE", "128"),
        ("ENABLE_BATCH_PROCESSING", "y"),
        ("TRACK_TO_FILE", "2"),
        ("USER_ID", "\udcff"),
    ],
)
def test_another_programs_variable_never_stops_a_service(name: str, text: str) -> None:
    """BATCH_SIZE=128 is a training job's."""
    with pytest.warns(UserWarning, match=f"^{name} is ") as caught:
        config = ClientConfig.from_env(TABLE | {name: text})
    assert config == ClientConfig.from_env(TABLE)
    (warning,) = caught
    assert repr(text) in str(warning.message)
    assert "; accepted are " in str(warning.message)
    assert f"AI_USAGE_{name}" in str(warning.message)
    assert Path(warning.filename) == Path(__file__)


@pytest.mark.parametrize("text", ["8", "128", "many", ""])
def test_the_prefixed_variable_wins_and_the_bare_one_is_not_looked_at(text: str) -> None:
    config = ClientConfig.from_env(TABLE | {"AI_USAGE_BATCH_SIZE": "3", "BATCH_SIZE": text})
    assert config.batch_size == 3


def test_an_empty_prefixed_variable_counts_as_not_set() -> None:
    config = ClientConfig.from_env(TABLE | {"AI_USAGE_BATCH_SIZE": " ", "BATCH_SIZE": "7"})
    assert config.batch_size == 7


@pytest.mark.parametrize("name", [*SWITCHES, *NUMBERS, "USER_ID"])
def test_every_variable_of_ours_is_read_with_the_prefix(name: str) -> None:
    text = {"ENABLE_BATCH_PROCESSING": "no", "TRACK_TO_FILE": "yes"}.get(name, "0")
    text = NUMBERS[name][1][0] if name in NUMBERS else text
    bare = ClientConfig.from_env(TABLE | {name: text})
    assert bare != ClientConfig.from_env(TABLE)
    assert ClientConfig.from_env(TABLE | {f"AI_USAGE_{name}": text}) == bare
    assert ClientConfig.from_env(TABLE | {f"AI_USAGE_{name}": text, name: "1"}) == bare


def test_what_names_table_and_environment_has_no_prefix() -> None:
    config = ClientConfig.from_env(
        TABLE | {"AI_USAGE_ENVIRONMENT": "test", "AI_USAGE_DYNAMODB_TABLE_NAME": "others"}
    )
    assert (config.dynamo_table, config.environment) == ("receipts", Environment.PRODUCTION)


@pytest.mark.parametrize(
    ("variable", "accepted"),
    [
        ("AI_USAGE_GSI_SHARDS", "whole numbers from 1 to 100"),
        ("AI_USAGE_RETENTION_DAYS", "whole numbers from 1 to 36500"),
    ],
)
@pytest.mark.parametrize("text", ["0", "-1", "36501", "2.5", "many", "1e1"])
def test_a_malformed_form_of_items_names_variable_value_and_what_is_accepted(
    variable: str, accepted: str, text: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ClientConfig.from_env(TABLE | {variable: text})
    assert str(caught.value) == f"{variable} is {text!r}; accepted are {accepted}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("circuit_breaker_threshold", 0),
        ("circuit_breaker_threshold", True),
        ("circuit_breaker_timeout", 0),
        ("circuit_breaker_timeout", "30"),
        ("max_retry_attempts", 2.0),
        ("retry_base_delay", -1),
        ("batch_size", 26),
        ("batch_flush_interval", math.inf),
        ("retry_base_delay", math.nan),
        ("enable_batch_processing", 1),
        ("track_ai_usage", "false"),
        ("use_resilient_tracker", None),
        ("track_to_file", "no"),
        ("durability", "disk"),
        ("journal_max_bytes", 0),
        ("journal_max_bytes", "1000"),
        ("gsi_shards", None),
        ("gsi_shards", 0),
        ("gsi_shards", 101),
        ("gsi_shards", "4"),
        ("retention_days", 0),
        ("retention_days", 36_501),
        ("retention_days", 1.5),
        ("senders", 65),
        ("overflow", "spill"),
        ("check_table", "off"),
        ("check_table", 1),
    ],
)
def test_arguments_are_checked_as_variables_are(name: str, value: Any) -> None:
    arguments: dict[str, Any] = {name: value}
    with pytest.raises(ConfigurationError) as caught:
        ClientConfig(dynamo_table="receipts", **arguments)
    assert str(caught.value).startswith(f"{name} is {value!r}; accepted are ")


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        # A str there would pass for no test environment, and so for any table.
        ("environment", "test", "Environment and None"),
        ("openai_api_key", b"sk-secret", "str and None"),
        ("anthropic_api_key", 7, "str and None"),
        ("user_id", 7, "str and None"),
        ("ai_usage_log_file", "usage.jsonl", "Path and None"),
        ("journal_dir", 7, "str, PathLike and None"),
        ("price_file", "prices.toml", "Path and None"),
        ("endpoint_url", 8000, "str and None"),
    ],
)
def test_an_argument_of_a_wrong_type_is_named_and_its_value_is_not_shown(
    name: str, value: Any, accepted: str
) -> None:
    arguments: dict[str, Any] = {name: value}
    with pytest.raises(ConfigurationError) as caught:
        ClientConfig(dynamo_table="my-test", **arguments)
    kind = type(value).__name__
    assert str(caught.value) == f"{name} is of type {kind}; accepted are {accepted}"


@pytest.mark.parametrize(("variable", "kind", "text"), ACCEPTED)
def test_what_is_accepted_here_is_accepted_by_the_client(
    variable: str, kind: type, text: str
) -> None:
    """Both have their bounds from one declaration."""
    settings = ClientConfig.from_env(TABLE | {variable: text}).delivery_settings(Environment.TEST)
    ResilientDynamoClient("receipts", **settings).close(0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("circuit_breaker_threshold", 0),
        ("circuit_breaker_timeout", 0.0),
        ("max_retry_attempts", 0),
        ("retry_base_delay", -0.1),
        ("batch_size", 26),
        ("batch_flush_interval", -1.0),
        ("gsi_shards", 101),
        ("retention_days", 36_501),
    ],
)
def test_what_the_client_refuses_is_refused_here(name: str, value: float) -> None:
    arguments: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=name):
        ResilientDynamoClient("receipts", **arguments)
    with pytest.raises(ValueError, match=name):
        ClientConfig(dynamo_table="receipts", **arguments)


@pytest.mark.parametrize("table", ["ab", "a" * 256, "my table", "réçus", "receipts!", "a/b"])
def test_a_table_name_that_dynamodb_refuses_is_refused_early(table: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^DYNAMODB_TABLE_NAME is .*; accepted are"):
        ClientConfig.from_env({"DYNAMODB_TABLE_NAME": table})
    with pytest.raises(ConfigurationError, match=r"^dynamo_table is .*; accepted are"):
        ClientConfig(dynamo_table=table)


@pytest.mark.parametrize(
    "table",
    ["abc", "a" * 255, "A.b_c-9", "arn:aws:dynamodb:eu-west-1:123456789012:table/receipts"],
)
def test_names_and_arns_are_accepted(table: str) -> None:
    assert ClientConfig(dynamo_table=table).dynamo_table == table


@pytest.mark.parametrize("text", ["journal", "JOURNAL", "journal-sync", "Memory "])
def test_the_durability_is_read_in_any_case(text: str) -> None:
    config = ClientConfig.from_env(TABLE | {"AI_USAGE_DURABILITY": text})
    assert config.durability == text.strip().lower()


@pytest.mark.parametrize(
    ("variable", "text", "accepted"),
    [
        ("AI_USAGE_DURABILITY", "disk", "journal, journal-sync and memory"),
        ("AI_USAGE_JOURNAL_MAX_BYTES", "0", "whole numbers of 1 or more"),
        ("AI_USAGE_JOURNAL_MAX_BYTES", "64M", "whole numbers of 1 or more"),
    ],
)
def test_a_malformed_variable_of_the_journal_is_named(
    variable: str, text: str, accepted: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ClientConfig.from_env(TABLE | {variable: text})
    assert str(caught.value) == f"{variable} is {text!r}; accepted are {accepted}"


def test_a_test_keeps_its_records_in_memory_unless_told_otherwise() -> None:
    """The journal of a killed test run would be there for the next one."""
    config = ClientConfig(dynamo_table="my-test")
    assert config.delivery_settings(Environment.TEST)["durability"] == "memory"
    assert config.delivery_settings(Environment.CICD)["durability"] is None
    config = ClientConfig(dynamo_table="my-test", durability="journal")
    assert config.delivery_settings(Environment.TEST)["durability"] == "journal"


def test_a_malformed_table_check_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="AI_USAGE_TABLE_CHECK is 'false'"):
        ClientConfig.from_env(TABLE | {"AI_USAGE_TABLE_CHECK": "false"})


def test_keys_are_never_shown() -> None:
    config = ClientConfig(
        dynamo_table="receipts", openai_api_key="sk-secret-1", anthropic_api_key="sk-secret-2"
    )
    assert "secret" not in repr(config)
    assert "secret" not in str(config)


def test_a_configuration_is_frozen() -> None:
    config = ClientConfig(dynamo_table="receipts")
    with pytest.raises(FrozenInstanceError):
        config.batch_size = 1  # type: ignore[misc]


def test_the_copy_goes_where_the_variable_says_also_in_the_home_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    config = ClientConfig.from_env(TABLE | {"AI_USAGE_LOG_FILE": "~/usage.jsonl"})
    assert config.find_log_file() == tmp_path / "usage.jsonl"


@pytest.mark.parametrize("name", ["~nobody-of-this-name/usage.jsonl", "a\0b", "\ud800"])
def test_a_copy_that_has_no_place_stops_nobody(name: str) -> None:
    config = ClientConfig.from_env(TABLE | {"AI_USAGE_LOG_FILE": name})
    assert config.find_log_file() is None


def test_a_journal_directory_without_a_home_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "~nobody-of-this-name/journal"
    assert ClientConfig.from_env(TABLE | {"AI_USAGE_JOURNAL_DIR": name}).journal_dir == Path(name)


def test_the_copy_goes_to_the_users_state_directory_by_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = ClientConfig.from_env(TABLE)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert config.find_log_file() == tmp_path / "state" / "receipt_label" / "ai_usage.jsonl"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    in_home = tmp_path / "home" / ".local" / "state" / "receipt_label" / "ai_usage.jsonl"
    assert config.find_log_file() == in_home
    monkeypatch.delenv("XDG_STATE_HOME")
    assert config.find_log_file() == in_home
