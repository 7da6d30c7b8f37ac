"""Which environment this is: by ENVIRONMENT, else by the table's name, else production."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_label import environment_names
from receipt_label.environment import Environment, detect_environment, looks_like_test_table

TEST_TABLES = [
    "test",
    "TEST",
    "Test",
    "my-test",
    "My-Test",
    "MY-APP-TEST",
    "Contest-test",
    "latest-test",
    "test-x",
    "TEST-X",
    "test-",
    "-test",
    "test-table",
    "test-tables",
    "test-table-1",
    "test-tablet",
    "my_test-table",
    "my.test-table",
    "prod-test-table-1",
    "integration-test-table",
    "my-integration-test-table-eu",
    "perf-test-table",
    "stress-test-table",
    "resilient-test-table",
    "TestTable",
    "MyTestTable",
    "TestTable2",
    "prod-TestTable-1",
    "arn:aws:dynamodb:eu-west-1:123456789012:table/test-x",
    "arn:aws-cn:dynamodb:cn-north-1:123456789012:table/my-test",
    "arn:aws:dynamodb:eu-west-1:123456789012:table/a-test-table-1",
]
OTHER_TABLES = [
    "receipts",
    "receipts-prod",
    "latest",
    "latest-receipts",
    "latest-table",
    "latest-table-test2",
    "greatest-table-prod",
    "contest",
    "contest-results",
    "contest-table",
    "Contest-Table",
    "protest-tables",
    "attestation",
    "attest",
    "mytest",
    "mytest-table",
    "my2test-table",
    "9test-table",
    "mytest-x",
    "my_test",
    "test_x",
    "test.x",
    "test2",
    "testing",
    "tests",
    "testtable",
    "Testtable",
    "testTable",
    "latestTable",
    "LATESTTABLE",
    "Test_Table",
    "My-Test-Table",
    "my-testing-table",
    "my-test-2",
    "prod-test-receipts",
    "superperf-testtable",
    "fastest-tables",
    "contest-table-stress",
    "arn:aws:dynamodb:eu-west-1:123456789012:table/latest",
    "arn:aws:dynamodb:eu-west-1:123456789012:table/contest-table",
]
WORDS = {
    Environment.PRODUCTION: "production prod prd live canary",
    Environment.STAGING: (
        "staging stage stg preprod pre-prod pre_prod preproduction pre-production pre_production "
        "uat qa acceptance preview demo int integration perf beta"
    ),
    Environment.DEVELOPMENT: (
        "development dev develop local localhost sandbox playground "
        "nonprod non-prod non_prod nonproduction non-production non_production"
    ),
    Environment.CICD: "cicd ci ci/cd ci-cd ci_cd e2e",
    Environment.TEST: "test testing",
}
SPELLINGS = {word: environment for environment, words in WORDS.items() for word in words.split()}


@pytest.mark.parametrize("table", TEST_TABLES)
def test_a_test_table_is_known_by_its_name(table: str) -> None:
    assert looks_like_test_table(table)


@pytest.mark.parametrize("table", OTHER_TABLES)
def test_trap_test_within_a_name_does_not_make_a_test_table(table: str) -> None:
    """The trap: `"test" in table_name` takes contest-results for a test."""
    assert not looks_like_test_table(table)


@pytest.mark.parametrize("table", TEST_TABLES)
def test_without_environment_a_test_table_means_test(table: str) -> None:
    assert detect_environment(table, {}) is Environment.TEST


@pytest.mark.parametrize("table", [*OTHER_TABLES, "", None])
def test_without_environment_anything_else_is_production(table: str | None) -> None:
    assert detect_environment(table, {}) is Environment.PRODUCTION


@pytest.mark.parametrize("empty", ["", " ", "\t\n"])
def test_an_empty_environment_counts_as_not_set(empty: str) -> None:
    assert detect_environment("my-test", {"ENVIRONMENT": empty}) is Environment.TEST
    assert detect_environment("receipts", {"ENVIRONMENT": empty}) is Environment.PRODUCTION


@pytest.mark.parametrize("table", ["receipts", "my-test", None])
@pytest.mark.parametrize(("text", "expected"), SPELLINGS.items())
def test_environment_decides_whatever_the_table_is_called(
    text: str, expected: Environment, table: str | None
) -> None:
    assert detect_environment(table, {"ENVIRONMENT": text}) is expected


@pytest.mark.parametrize(("text", "expected"), SPELLINGS.items())
def test_environment_is_read_in_any_case_and_without_white_space(
    text: str, expected: Environment
) -> None:
    for variant in (text.upper(), text.title(), f"  {text}\n"):
        assert detect_environment("receipts", {"ENVIRONMENT": variant}) is expected


def test_trap_environment_prod_is_production_and_not_development() -> None:
    assert detect_environment("my-test", {"ENVIRONMENT": "prod"}) is Environment.PRODUCTION


@pytest.mark.parametrize("text", ["produktion", "test1", "tests", "0", "prod,test", "prod-eu"])
def test_an_unknown_environment_is_production_with_a_warning(text: str) -> None:
    with pytest.warns(UserWarning, match="taken for production; accepted are production") as caught:
        assert detect_environment("my-test", {"ENVIRONMENT": text}) is Environment.PRODUCTION
    assert repr(text) in str(caught[0].message)
    assert Path(caught[0].filename) == Path(__file__)


@given(st.text())
def test_only_known_words_lead_away_from_production(text: str) -> None:
    """Fail-safe: whatever ENVIRONMENT holds, production tables are treated as such."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = detect_environment("receipts", {"ENVIRONMENT": text})
    assert found is SPELLINGS.get(text.strip().lower(), Environment.PRODUCTION)


@given(st.text("abcTESTest-_.1", max_size=20))
def test_the_rule_of_table_names_agrees_with_its_wording(name: str) -> None:
    """An independent model, word for word after the design."""
    words = ("test-table", "integration-test-table", "perf-test-table")
    words += ("stress-test-table", "resilient-test-table")
    expected = "TestTable" in name or name.lower() == "test"
    expected |= name.lower().endswith("-test") or name.lower().startswith("test-")
    for word in words:
        for start in range(len(name)):
            if name.startswith(word, start) and not name[start - 1 : start].isalnum():
                expected = True
    assert looks_like_test_table(name) is expected


@pytest.mark.parametrize(
    "variable",
    [
        "CI",
        "GITHUB_ACTIONS",
        "GITLAB_CI",
        "PYTEST_CURRENT_TEST",
        "PYTEST_VERSION",
        "AWS_EXECUTION_ENV",
        "ENV",
        "APP_ENV",
        "STAGE",
        "DEBUG",
    ],
)
def test_trap_a_ci_variable_does_not_switch_production_code(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ENVIRONMENT")
    monkeypatch.setenv(variable, "test")
    assert detect_environment("receipts") is Environment.PRODUCTION
    assert detect_environment("my-test") is Environment.TEST
    monkeypatch.setenv("ENVIRONMENT", "staging")
    assert detect_environment("my-test") is Environment.STAGING


def test_the_variables_of_the_process_are_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", "dev")
    assert detect_environment("receipts") is Environment.DEVELOPMENT


def test_an_environment_is_a_string_of_its_name() -> None:
    """The name goes into each record."""
    assert [str(environment) for environment in Environment] == [
        "production",
        "staging",
        "development",
        "cicd",
        "test",
    ]


def test_a_table_that_is_no_text_is_refused() -> None:
    with pytest.raises(TypeError, match="table_name is of type int; accepted are str and None"):
        detect_environment(7, {})  # type: ignore[arg-type]


def test_only_two_words_switch_off_what_guards_data() -> None:
    """What people call a test environment, qa or e2e, keeps its journal."""
    words = [word for word, environment in SPELLINGS.items() if environment is Environment.TEST]
    assert words == ["test", "testing"]


def test_every_spelling_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "environments.md").read_text(encoding="utf-8")
    told = page.partition("| `ENVIRONMENT` |")[2].partition("\n\n")[0]
    for environment, words in environment_names.SPELLINGS.items():
        (row,) = [line for line in told.splitlines() if f"Environment.{environment.name}`" in line]
        assert set(re.findall(r"`([^`.]+)`", row.split("|")[1])) == set(words)
