"""The plugin as a user has it: found by pytest, cheap until asked for, clear without moto."""

from __future__ import annotations

import subprocess
import sys

import pytest

USERS_TESTS = """
import asyncio

import openai
import pytest

from receipt_label import ClientManager, ai_usage_context
from receipt_label.testing import ProviderStub, assert_usage

QUESTION = [{"role": "user", "content": "How much was the bread?"}]


@pytest.fixture
def stub(monkeypatch):
    with ProviderStub() as stub:
        monkeypatch.setenv("OPENAI_API_KEY", "any")
        monkeypatch.setenv("OPENAI_BASE_URL", stub.openai_base_url)
        yield stub


def ask(client):
    return client.chat.completions.create(model="gpt-4o", messages=QUESTION)


def test_wrapped_decorated_and_managed_clients_in_memory(ai_usage, stub):
    ask(ai_usage.wrap_openai(openai.OpenAI()))
    ai_usage.tracker.track_openai_completion(ask)(openai.OpenAI())
    with ClientManager.from_env(dynamo_client=ai_usage.client) as manager:
        with ai_usage_context("labeling", job_id="job-7"):
            ask(manager.openai)

    assert_usage(ai_usage.records, count=3, service="openai", environment="test")
    (record,) = assert_usage(ai_usage.records, count=1, job_id="job-7")
    assert ai_usage.total_cost == 3 * record.cost_usd


def test_each_test_begins_without_records(ai_usage, ai_usage_table):
    assert ai_usage.records == ai_usage_table.records == []
    assert ai_usage.total_cost == ai_usage_table.total_cost == 0


def test_a_table_holds_what_a_manager_records(ai_usage_table, stub):
    ask(ai_usage_table.manager.openai)
    assert_usage(ai_usage_table.records, count=1, service="openai", cost_usd="0.000105")
    assert ai_usage_table.total_cost == ai_usage_table.records[0].cost_usd


def test_a_table_holds_what_the_users_own_manager_records(ai_usage_table, stub):
    async def work():
        async with ClientManager.from_env() as manager:
            await ask(manager.async_openai)

    asyncio.run(work())
    assert len(ai_usage_table.records) == 1
"""


def test_the_fixtures_are_there_without_a_line_of_configuration(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a shell that points to AWS itself, or to an endpoint where moto is not."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("ENVIRONMENT", "production")
    monkeypatch.setenv("DYNAMODB_TABLE_NAME", "customers")
    pytester.makepyfile(USERS_TESTS)
    result = pytester.runpytest_subprocess("-p", "no:xdist", "-p", "no:asyncio", "-W", "error")
    result.assert_outcomes(passed=4)


def test_without_moto_the_table_says_what_to_install(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(
        moto="raise ModuleNotFoundError(\"No module named 'moto'\", name='moto')",
        test_users="def test_memory(ai_usage): pass\ndef test_table(ai_usage_table): pass",
    )
    monkeypatch.setenv("PYTHONPATH", str(pytester.path))
    result = pytester.runpytest_subprocess("-p", "no:xdist", "-p", "no:asyncio")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*needs moto: pip install 'receipt-label[[]testing[]]'"])


def test_a_test_run_that_uses_no_fixture_pays_for_none() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import receipt_label_pytest; "
        "print(*(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["receipt_label_pytest"]
