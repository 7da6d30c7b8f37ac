"""DYNAMODB_TABLE_NAME, and the deprecated DYNAMO_TABLE_NAME before it."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from receipt_label.client_config import ClientConfig
from receipt_label.client_manager import ClientManager

DEPRECATED = "DYNAMO_TABLE_NAME is deprecated. Use DYNAMODB_TABLE_NAME instead."
MISSING = "Either DYNAMODB_TABLE_NAME or DYNAMO_TABLE_NAME must be set"


def read_config(variables: Mapping[str, str] | None = None) -> str:
    return ClientConfig.from_env(variables).dynamo_table


def read_manager(variables: Mapping[str, str] | None = None) -> str:
    with ClientManager.from_env(variables) as manager:
        return manager.config.dynamo_table


both_ways = pytest.mark.parametrize("read", [read_config, read_manager])
Read = Callable[..., str]


@both_ways
def test_the_new_variable_names_the_table(read: Read) -> None:
    assert read({"DYNAMODB_TABLE_NAME": "receipts"}) == "receipts"


@both_ways
def test_the_old_variable_still_works_with_a_warning_that_points_at_the_caller(read: Read) -> None:
    with pytest.warns(DeprecationWarning, match="DYNAMO_TABLE_NAME") as caught:
        assert read({"DYNAMO_TABLE_NAME": "receipts"}) == "receipts"
    assert [str(warning.message) for warning in caught] == [DEPRECATED]
    line = Path(__file__).read_text(encoding="utf-8").splitlines()[caught[0].lineno - 1]
    assert Path(caught[0].filename) == Path(__file__)
    assert f"{'ClientConfig' if read is read_config else 'ClientManager'}.from_env" in line


def test_a_program_of_the_users_sees_the_warning_without_any_option(tmp_path: Path) -> None:
    """Python shows a DeprecationWarning only where it points into the main program."""
    program = tmp_path / "service.py"
    program.write_text("from receipt_label import ClientConfig\n\nClientConfig.from_env()\n")
    done = subprocess.run(
        [sys.executable, program],
        capture_output=True,
        text=True,
        check=True,
        env={"DYNAMO_TABLE_NAME": "receipts"},
        timeout=60,
    )
    assert f"service.py:3: DeprecationWarning: {DEPRECATED}" in done.stderr


@both_ways
def test_of_both_the_new_one_wins_without_a_warning(read: Read) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read({"DYNAMODB_TABLE_NAME": "new", "DYNAMO_TABLE_NAME": "old"}) == "new"


@both_ways
@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_new_variable_counts_as_not_set(read: Read, empty: str) -> None:
    with pytest.warns(DeprecationWarning, match=re.escape(DEPRECATED)):
        assert read({"DYNAMODB_TABLE_NAME": empty, "DYNAMO_TABLE_NAME": "old"}) == "old"


@both_ways
@pytest.mark.parametrize("variables", [{}, {"DYNAMODB_TABLE_NAME": ""}, {"DYNAMO_TABLE_NAME": " "}])
def test_neither_table_variable_set_is_a_key_error(read: Read, variables: dict[str, str]) -> None:
    with pytest.raises(KeyError) as caught:
        read(variables)
    assert caught.value.args == (MISSING,)


@both_ways
def test_the_variables_of_the_process_are_the_default(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyError, match=MISSING):
        read()
    monkeypatch.setenv("DYNAMODB_TABLE_NAME", "my-test")
    assert read() == "my-test"


def test_a_malformed_old_variable_is_named_as_such() -> None:
    with (
        pytest.warns(DeprecationWarning, match="DYNAMO_TABLE_NAME"),
        pytest.raises(ValueError, match=r"^DYNAMO_TABLE_NAME is 'my table'"),
    ):
        ClientConfig.from_env({"DYNAMO_TABLE_NAME": "my table"})
