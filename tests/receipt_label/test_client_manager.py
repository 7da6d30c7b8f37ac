"""ClientManager: which DynamoDB client and tracker it makes, by which rules."""

from __future__ import annotations

import logging
import stat
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pytest

from receipt_dynamo import AIUsageMetric, DynamoClient, ResilientDynamoClient
from receipt_label.client_config import ClientConfig
from receipt_label.client_manager import ClientManager
from receipt_label.environment import Environment
from receipt_label.errors import ConfigurationError
from receipt_label.tracking import AIUsageTracker, ResilientAIUsageTracker
from support.inside_client import read_writer
from support.memory_writer import MemoryWriter

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DEAD_ENDPOINT = "http://127.0.0.1:9"
"""Nothing listens there."""


class Recorder(MemoryWriter):
    """A test's own client, which knows when it is flushed."""

    flushed = 0

    def flush(self, timeout: float | None = None) -> bool:
        self.flushed += 1
        return True

    def close(self, timeout: float | None = None) -> None:
        raise AssertionError("who injects a client closes it")


def make_metric(**fields: Any) -> AIUsageMetric:
    return AIUsageMetric("openai", "gpt-4o", "chat", NOW, **fields)


@pytest.fixture
def production(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests run as a test; these run as production does."""
    monkeypatch.delenv("ENVIRONMENT")


@pytest.fixture
def open_manager() -> Iterator[Callable[..., ClientManager]]:
    """Make managers that are closed at the end, without waiting for what is pending."""
    with ExitStack() as stack:

        def open_one(*, dynamo_client: object = None, **settings: Any) -> ClientManager:
            config = ClientConfig(**{"dynamo_table": "my-test", **settings})
            manager = ClientManager(config, dynamo_client=dynamo_client)
            stack.callback(manager.close, 0)
            return manager

        yield open_one


def test_nothing_is_made_and_no_provider_imported_before_it_is_asked_for() -> None:
    """The trap: a network call in a constructor, and a start that pays for every SDK."""
    code = """
import sys
from receipt_label import ClientManager
with ClientManager.from_env() as manager:
    print(*{"boto3", "openai", "anthropic", "genai_prices"} & sys.modules.keys())
    manager.dynamo, manager.usage_tracker
    print(*{"openai", "anthropic", "genai_prices"} & sys.modules.keys())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            "DYNAMODB_TABLE_NAME": "receipts",
            "AWS_ENDPOINT_URL": DEAD_ENDPOINT,
            "AWS_REGION": "us-east-1",
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == []


def test_by_default_records_are_delivered_resiliently(
    open_manager: Callable[..., ClientManager],
) -> None:
    manager = open_manager(batch_size=7, circuit_breaker_threshold=2)
    assert type(manager.dynamo) is ResilientDynamoClient
    assert type(manager.usage_tracker) is ResilientAIUsageTracker
    assert manager.dynamo is manager.dynamo
    assert manager.usage_tracker is manager.usage_tracker
    assert manager.dynamo.table_name == "my-test"


def test_each_delivery_setting_reaches_the_client(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given: dict[str, Any] = {}

    class Spy(ResilientDynamoClient):
        def __init__(self, *args: Any, **settings: Any) -> None:
            given.update(settings)
            super().__init__(*args, **settings)

    monkeypatch.setattr("receipt_dynamo.ResilientDynamoClient", Spy)
    settings = {
        "circuit_breaker_threshold": 2,
        "circuit_breaker_timeout": 3.0,
        "max_retry_attempts": 4,
        "retry_base_delay": 0.5,
        "batch_size": 6,
        "batch_flush_interval": 7.0,
        "enable_batch_processing": False,
        "senders": 3,
        "max_pending_records": 100,
        "max_pending_bytes": 100_000,
        "overflow": "drop_oldest",
        "durability": "journal",
        "journal_dir": tmp_path,
        "journal_max_bytes": 1_000_000,
        "adopt_unproven": True,
        "gsi_shards": 4,
        "retention_days": 30,
    }
    config = ClientConfig(dynamo_table="my-test", endpoint_url=DEAD_ENDPOINT, **settings)
    with ClientManager(config) as manager:
        assert isinstance(manager.dynamo, Spy)
    assert given == {**settings, "endpoint_url": DEAD_ENDPOINT}


def test_the_switch_back_writes_straight_through(
    open_manager: Callable[..., ClientManager],
) -> None:
    manager = open_manager(use_resilient_tracker=False, endpoint_url=DEAD_ENDPOINT)
    assert type(manager.dynamo) is DynamoClient
    assert type(manager.usage_tracker) is AIUsageTracker
    assert manager.dynamo.target.endpoint_url == DEAD_ENDPOINT


def test_trap_two_threads_do_not_make_two_trackers(
    open_manager: Callable[..., ClientManager],
) -> None:
    manager = open_manager()
    barrier = threading.Barrier(16)
    found: list[tuple[object, object]] = []

    def run() -> None:
        barrier.wait(10)
        found.append((manager.usage_tracker, manager.dynamo))

    threads = [threading.Thread(target=run) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert found == [(manager.usage_tracker, manager.dynamo)] * 16


def test_what_is_no_configuration_is_refused() -> None:
    with pytest.raises(TypeError, match="config is of type str; accepted is ClientConfig"):
        ClientManager("my-test")  # type: ignore[arg-type]


@pytest.mark.parametrize("table", ["receipts", "contest-results", "latest-table"])
def test_a_test_environment_refuses_a_table_of_production(table: str) -> None:
    with pytest.raises(ConfigurationError, match=f"environment is test, but the table '{table}'"):
        ClientManager.from_env({"ENVIRONMENT": "test", "DYNAMODB_TABLE_NAME": table})


@pytest.mark.parametrize(
    "excuse",
    [
        {"AWS_ENDPOINT_URL_DYNAMODB": "http://localhost:8000"},
        {"AWS_ENDPOINT_URL": "http://[::1]:8000"},
        {"AI_USAGE_TABLE_CHECK": "off"},
    ],
    ids=lambda excuse: next(iter(excuse)),
)
def test_a_test_environment_takes_it_with_an_excuse(excuse: dict[str, str]) -> None:
    with ClientManager.from_env(
        {"ENVIRONMENT": "test", "DYNAMODB_TABLE_NAME": "receipts", **excuse}
    ) as manager:
        assert manager.environment is Environment.TEST


def test_a_test_environment_takes_any_table_with_an_injected_client(
    open_manager: Callable[..., ClientManager],
) -> None:
    recorder = Recorder()
    manager = open_manager(
        dynamo_table="receipts", environment=Environment.TEST, dynamo_client=recorder
    )
    assert manager.dynamo is recorder


def test_the_endpoint_that_was_checked_is_the_one_that_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a test with a local endpoint in its variables reaches AWS after all."""
    variables = {
        "ENVIRONMENT": "test",
        "DYNAMODB_TABLE_NAME": "receipts",
        "AWS_ENDPOINT_URL_DYNAMODB": DEAD_ENDPOINT,
    }
    with ClientManager.from_env(variables) as manager:
        dynamo = manager.dynamo
        assert isinstance(dynamo, ResilientDynamoClient)
        assert read_writer(dynamo).meta.endpoint_url == DEAD_ENDPOINT
    monkeypatch.setenv("AWS_ENDPOINT_URL", DEAD_ENDPOINT)
    with ClientManager(ClientConfig(dynamo_table="receipts")) as manager:
        monkeypatch.delenv("AWS_ENDPOINT_URL")
        dynamo = manager.dynamo
        assert isinstance(dynamo, ResilientDynamoClient)
        assert read_writer(dynamo).meta.endpoint_url == DEAD_ENDPOINT


@pytest.mark.usefixtures("production")
def test_production_warns_of_a_test_table_at_the_callers_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    with pytest.warns(UserWarning, match="looks like a test table") as caught:
        ClientManager(ClientConfig(dynamo_table="my-test")).close()
    assert Path(caught[0].filename) == Path(__file__)


@pytest.mark.usefixtures("production")
def test_an_unknown_environment_is_said_once() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        variables = {"ENVIRONMENT": "nowhere", "DYNAMODB_TABLE_NAME": "receipts"}
        with ClientManager.from_env(variables) as manager:
            assert manager.environment is Environment.PRODUCTION
            assert manager.usage_tracker is not None
    assert len(caught) == 1


@pytest.mark.usefixtures("production")
@pytest.mark.parametrize("table", ["receipts", "contest-results", "latest-table"])
def test_trap_in_production_anything_that_merely_looks_right_is_refused(table: str) -> None:
    """At the constructor, where the mistake is, and with either tracker."""
    for resilient in (True, False):
        config = ClientConfig(dynamo_table=table, use_resilient_tracker=resilient)
        with pytest.raises(TypeError, match="dynamo_client is of type Recorder"):
            ClientManager(config, dynamo_client=Recorder())


@pytest.mark.usefixtures("production")
@pytest.mark.parametrize("kind", ["DynamoClient", "boto3"])
def test_in_production_a_plain_client_is_rebuilt_and_closed_with_the_manager(kind: str) -> None:
    plain = (
        DynamoClient("receipts", "eu-central-1", DEAD_ENDPOINT)
        if kind == "DynamoClient"
        else boto3.session.Session().client(
            "dynamodb", region_name="eu-central-1", endpoint_url=DEAD_ENDPOINT
        )
    )
    with ClientManager(ClientConfig(dynamo_table="receipts"), dynamo_client=plain) as manager:
        dynamo = manager.dynamo
        assert type(dynamo) is ResilientDynamoClient
        assert dynamo.table_name == "receipts"
    assert dynamo.put_ai_usage_metric(make_metric()) is False


@pytest.mark.usefixtures("production")
def test_a_rebuilt_client_is_closed_even_if_it_was_never_used() -> None:
    plain = DynamoClient("receipts", "eu-central-1", DEAD_ENDPOINT)
    manager = ClientManager(ClientConfig(dynamo_table="receipts"), dynamo_client=plain)
    rebuilt = manager._accepted
    assert isinstance(rebuilt, ResilientDynamoClient)
    manager.close()
    assert rebuilt.put_ai_usage_metric(make_metric()) is False


@pytest.mark.usefixtures("production")
def test_in_production_a_resilient_client_is_used_and_stays_open() -> None:
    mine = ResilientDynamoClient("receipts", "eu-central-1", endpoint_url=DEAD_ENDPOINT)
    with ClientManager(ClientConfig(dynamo_table="receipts"), dynamo_client=mine) as manager:
        assert manager.dynamo is mine
        assert manager.usage_tracker is not None
    assert mine.put_ai_usage_metric(make_metric()) is True
    mine.close(0)


@pytest.mark.usefixtures("production")
def test_straight_through_a_plain_client_stays_plain() -> None:
    plain = DynamoClient("receipts", "eu-central-1", DEAD_ENDPOINT)
    config = ClientConfig(dynamo_table="receipts", use_resilient_tracker=False)
    with ClientManager(config, dynamo_client=plain) as manager:
        assert manager.dynamo is plain
        assert type(manager.usage_tracker) is AIUsageTracker


def test_an_injected_client_is_flushed_and_stays_open(
    open_manager: Callable[..., ClientManager],
) -> None:
    recorder = Recorder()
    manager = open_manager(dynamo_client=recorder)
    manager.usage_tracker.record(make_metric())
    manager.close()
    assert len(recorder.records) == 1
    assert recorder.flushed >= 1


def test_closing_closes_the_client_that_was_made() -> None:
    with ClientManager(ClientConfig(dynamo_table="my-test")) as manager:
        dynamo = manager.dynamo
    manager.close()
    assert dynamo.put_ai_usage_metric(make_metric()) is False


def test_after_closing_nothing_new_is_made() -> None:
    manager = ClientManager(ClientConfig(dynamo_table="my-test", openai_api_key="any"))
    manager.close()
    for name in ("dynamo", "usage_tracker", "openai", "async_anthropic"):
        with pytest.raises((RuntimeError, ConfigurationError)):
            getattr(manager, name)


def test_records_carry_user_and_environment(
    open_manager: Callable[..., ClientManager],
) -> None:
    manager = open_manager(user_id="user-7", dynamo_client=Recorder())
    tracker = manager.usage_tracker

    @tracker.track_google_places("place_details")
    def look_up() -> dict[str, Any]:
        return {}

    look_up()
    manager.set_tracking_context(
        job_id="job-1", batch_id="batch-2", github_pr=3, user_id="user-8", environment="staging"
    )
    look_up()
    manager.clear_tracking_context()
    look_up()
    assert isinstance(manager.dynamo, Recorder)
    first, second, third = manager.dynamo.records
    assert (third.user_id, third.environment, third.job_id) == ("user-7", "test", None)
    assert (first.user_id, first.environment, first.job_id) == ("user-7", "test", None)
    assert (second.user_id, second.job_id, second.batch_id) == ("user-8", "job-1", "batch-2")
    assert (second.github_pr, second.environment) == (3, "staging")


def test_records_carry_the_environment_of_the_configuration(
    open_manager: Callable[..., ClientManager],
) -> None:
    """Not what the variables of the process say by the time the tracker is made."""
    records: list[AIUsageMetric] = []

    class Keeper(ResilientDynamoClient):
        def put_ai_usage_metric(self, metric: AIUsageMetric) -> bool:
            records.append(metric)
            return True

    keeper = Keeper("receipts", "eu-central-1", endpoint_url=DEAD_ENDPOINT)
    manager = open_manager(environment=Environment.STAGING, dynamo_client=keeper)
    manager.usage_tracker.record(make_metric())
    keeper.close(0)
    assert [record.environment for record in records] == ["staging"]


def test_a_copy_of_each_record_goes_to_a_private_file(
    open_manager: Callable[..., ClientManager], tmp_path: Path
) -> None:
    log = tmp_path / "made" / "usage.jsonl"
    manager = open_manager(track_to_file=True, ai_usage_log_file=log, dynamo_client=Recorder())
    manager.usage_tracker.record(make_metric(request_id="request-1"))
    manager.close()
    assert '"request-1"' in log.read_text(encoding="utf-8")
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert stat.S_IMODE(log.parent.stat().st_mode) == 0o700


def test_a_copy_that_cannot_be_written_stops_nobody(
    open_manager: Callable[..., ClientManager], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "a-file"
    blocked.touch()
    manager = open_manager(
        track_to_file=True, ai_usage_log_file=blocked / "usage.jsonl", dynamo_client=Recorder()
    )
    with caplog.at_level(logging.WARNING, "receipt_label"):
        manager.usage_tracker.record(make_metric())
    assert isinstance(manager.dynamo, Recorder)
    assert len(manager.dynamo.records) == 1
    assert "no folder for the copy of usage records" in caplog.text


def test_a_user_without_a_home_has_no_copy_and_goes_on(
    open_manager: Callable[..., ClientManager],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A container's user id of which the machine knows nothing: ``~`` stays ``~``."""
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", "~")
    manager = open_manager(track_to_file=True, dynamo_client=Recorder())
    with caplog.at_level(logging.WARNING, "receipt_label"):
        manager.usage_tracker.record(make_metric())
    assert isinstance(manager.dynamo, Recorder)
    assert len(manager.dynamo.records) == 1
    assert "set AI_USAGE_LOG_FILE" in caplog.text


def test_prices_of_the_users_own_come_from_the_file_that_the_variable_names(
    tmp_path: Path,
) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text(
        '[[price]]\nservice = "anthropic"\nmodels = ["our-own"]\ninput = 0.3\noutput = 0.9\n',
        encoding="utf-8",
    )
    variables = {
        "ENVIRONMENT": "test",
        "DYNAMODB_TABLE_NAME": "my-test",
        "AI_USAGE_PRICE_FILE": str(prices),
    }
    recorder = Recorder()
    with ClientManager.from_env(variables, dynamo_client=recorder) as manager:
        manager.usage_tracker.track_github_claude_review(7, "our-own", 1_000, 10)

    assert recorder.only.cost_usd == Decimal("0.000309")
    assert recorder.only.metadata["pricing"]["source"] == "override"


def test_a_price_file_that_is_malformed_is_the_mistake_of_who_makes_the_manager(
    open_manager: Callable[..., ClientManager], tmp_path: Path
) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text(
        '[[price]]\nservice = "openai"\nmodels = ["m"]\ninput = -1\n', encoding="utf-8"
    )
    with pytest.raises(ConfigurationError, match=r"price 1 \(openai m\): input is -1; accepted"):
        open_manager(price_file=prices)
    with pytest.raises(ConfigurationError, match=r"missing.toml cannot be read"):
        open_manager(price_file=tmp_path / "missing.toml")
