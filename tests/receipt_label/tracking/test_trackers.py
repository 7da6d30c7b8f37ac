"""Both trackers: how they are made, what they fill in, what they count, how they end."""

from __future__ import annotations

import logging
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, Mock

import boto3
import pytest

from receipt_dynamo import AIUsageMetric, CloseReport, DynamoClient, ResilientDynamoClient
from receipt_label.client_config import ClientConfig
from receipt_label.client_manager import ClientManager
from receipt_label.environment import Environment
from receipt_label.errors import ConfigurationError
from receipt_label.pricing import PriceBook, TokenPrice
from receipt_label.tracking import AIUsageTracker, ResilientAIUsageTracker, UsageLogFile
from support.memory_writer import MemoryWriter

NOW = datetime(2026, 11, 20, tzinfo=UTC)
TRACKERS = [AIUsageTracker, ResilientAIUsageTracker]
NOWHERE = "http://127.0.0.1:9"


def make_metric(**fields: Any) -> AIUsageMetric:
    return AIUsageMetric("openai", "gpt-4o", "completion", NOW, **fields)


class Closable(MemoryWriter):
    """Notes how it is flushed and closed."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: list[tuple[str, float | None]] = []

    def flush(self, timeout: float | None = None) -> bool:
        self.ended.append(("flush", timeout))
        return False

    def close(self, timeout: float | None = None) -> CloseReport:
        self.ended.append(("close", timeout))
        return CloseReport(0, 0, 0)


class KeepingClient(DynamoClient):
    """A client of the user's own that keeps the records."""

    def __init__(self) -> None:
        super().__init__("receipts", "eu-central-1", NOWHERE)
        self.records: list[AIUsageMetric] = []

    def put_ai_usage_metric(self, metric: AIUsageMetric) -> None:
        self.records.append(metric)


@pytest.mark.parametrize("kind", TRACKERS)
@pytest.mark.parametrize("environment", list(Environment))
def test_the_environment_is_filled_in(
    kind: type[AIUsageTracker], environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = MemoryWriter()
    tracker = kind(writer)
    assert tracker.record(make_metric())
    assert writer.only.environment == "test"

    monkeypatch.setenv("ENVIRONMENT", environment.value)
    keeping = KeepingClient()
    AIUsageTracker(keeping).record(make_metric())
    assert keeping.records[-1].environment == environment.value


@pytest.mark.parametrize("given", [Environment.STAGING, "staging", "Stage"])
def test_the_environment_can_be_given_and_is_never_guessed_over(given: Any) -> None:
    client = KeepingClient()
    tracker = AIUsageTracker(client, environment=given)
    tracker.record(make_metric())
    tracker.record(make_metric(environment="elsewhere"))
    assert [record.environment for record in client.records] == ["staging", "elsewhere"]


@pytest.mark.parametrize("kind", TRACKERS)
def test_without_a_client_and_a_table_it_says_what_is_needed(kind: type[AIUsageTracker]) -> None:
    with pytest.raises(KeyError, match="Either DYNAMODB_TABLE_NAME or DYNAMO_TABLE_NAME must be"):
        kind()


@pytest.mark.parametrize("kind", TRACKERS)
def test_without_arguments_the_table_is_the_variables(
    kind: type[AIUsageTracker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", NOWHERE)
    monkeypatch.setenv("DYNAMODB_TABLE_NAME", " my-app-test\n")
    with kind() as tracker:
        assert tracker._client.table_name == "my-app-test"  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", TRACKERS)
def test_the_earlier_variable_works_and_warns_at_the_callers_line(
    kind: type[AIUsageTracker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", NOWHERE)
    monkeypatch.setenv("DYNAMO_TABLE_NAME", "my-app-test")
    with pytest.warns(DeprecationWarning, match="Use DYNAMODB_TABLE_NAME instead") as caught:
        tracker = kind()
    tracker.close(0)
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize("kind", TRACKERS)
@pytest.mark.parametrize(
    ("given", "variable", "expected"),
    [
        ("mine-test", "other-test", "mine-test"),
        (None, "other-test", "other-test"),
        ("mine-test", None, "mine-test"),
    ],
)
def test_a_boto3_client_is_used_for_the_table_that_is_named(
    kind: type[AIUsageTracker],
    given: str | None,
    variable: str | None,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if variable is not None:
        monkeypatch.setenv("DYNAMODB_TABLE_NAME", variable)
    client = boto3.client("dynamodb", "us-east-1", endpoint_url=NOWHERE)
    with kind(client, given) as tracker:
        assert tracker._client.table_name == expected  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", TRACKERS)
def test_a_boto3_client_without_any_table_is_refused(kind: type[AIUsageTracker]) -> None:
    with pytest.raises(ValueError, match="table_name is None"):
        kind(boto3.client("dynamodb", "us-east-1", endpoint_url=NOWHERE))


@pytest.mark.parametrize("kind", TRACKERS)
@pytest.mark.parametrize("name", ["", "  ", "a b", "x"])
def test_a_table_name_that_is_none_is_refused_by_name_and_value(
    kind: type[AIUsageTracker], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DYNAMODB_TABLE_NAME", "my-app-test")
    with pytest.raises(ConfigurationError, match=re.escape(f"table_name is {name!r}; accepted")):
        kind(table_name=name)


@pytest.mark.parametrize("kind", TRACKERS)
def test_a_test_run_does_not_make_a_client_for_a_production_table(
    kind: type[AIUsageTracker],
) -> None:
    with pytest.raises(ValueError, match="does not look like a test table"):
        kind(table_name="receipts")


@pytest.mark.parametrize(
    ("kind", "client"),
    [(AIUsageTracker, DynamoClient), (ResilientAIUsageTracker, ResilientDynamoClient)],
)
def test_the_client_is_made_for_the_table(
    kind: type[AIUsageTracker], client: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", NOWHERE)
    with kind(None, "my-app-test", "ann") as tracker:
        assert type(tracker._client) is client
        assert tracker._client.table_name == "my-app-test"


@pytest.mark.parametrize("settings", [{"nonsense": 1}, {"batch_size": 5, "max_retries": 2}])
def test_an_unknown_setting_is_refused_also_where_a_client_is_given(
    writer: MemoryWriter, settings: dict[str, Any]
) -> None:
    name = list(settings)[-1]
    resilient = ResilientDynamoClient("my-app-test", "us-east-1", endpoint_url=NOWHERE)
    clients = [writer, resilient, DynamoClient("my-app-test", "us-east-1", NOWHERE)]
    for client in clients:
        with pytest.raises(TypeError, match=f"{name} is no setting; accepted are region, "):
            ResilientAIUsageTracker(client, "my-app-test", **settings)
    resilient.close(0)


def test_settings_that_a_given_client_does_not_take_are_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with ResilientDynamoClient("my-app-test", "us-east-1", endpoint_url=NOWHERE) as client:
        tracker = ResilientAIUsageTracker(client, batch_size=5, senders=1)
        assert tracker._client is client
    assert "keeps its own settings; not used: batch_size, senders" in caplog.text


def test_settings_go_to_the_client_that_is_made() -> None:
    with pytest.raises(ValueError, match="batch_size"):
        ResilientAIUsageTracker(None, "my-app-test", batch_size=26)
    with pytest.raises(TypeError, match="no_such_setting"):
        ResilientAIUsageTracker(None, "my-app-test", no_such_setting=1)


@pytest.mark.parametrize("kind", TRACKERS)
@pytest.mark.parametrize("environment", [Environment.PRODUCTION, "prod", "staging", None])
@pytest.mark.parametrize(
    "client",
    [
        MemoryWriter(),
        Mock(),
        MagicMock(),
        Mock(spec=DynamoClient),
        Mock(spec=ResilientDynamoClient),
        SimpleNamespace(put_ai_usage_metric=print),
        SimpleNamespace(put_ai_usage_metric=print, table_name="receipts"),
    ],
    ids=["writer", "mock", "magic", "as plain", "as resilient", "namespace", "with a table"],
)
def test_an_invented_client_stays_out_of_production(
    kind: type[AIUsageTracker],
    environment: Environment | str | None,
    client: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ENVIRONMENT")
    with pytest.raises(TypeError, match=f"dynamo_client is of type {type(client).__name__};"):
        kind(client, environment=environment)


def test_a_plain_client_is_rebuilt_into_a_resilient_one_and_closed_with_the_tracker() -> None:
    plain = DynamoClient("my-app-test", "us-east-1", NOWHERE)
    tracker = ResilientAIUsageTracker(plain, environment=Environment.PRODUCTION)
    assert type(tracker._client) is ResilientDynamoClient
    assert tracker.get_stats().delivery is not None

    tracker.close(1)
    assert not tracker.record(make_metric())
    assert tracker.get_stats().refused == 1


@pytest.mark.parametrize("client", [object(), "table", 7])
@pytest.mark.parametrize("kind", TRACKERS)
def test_what_takes_no_records_is_refused(kind: type[AIUsageTracker], client: object) -> None:
    with pytest.raises(TypeError, match="dynamo_client is of type"):
        kind(client)


@pytest.mark.parametrize("kind", TRACKERS)
def test_bad_arguments_are_refused(kind: type[AIUsageTracker], writer: MemoryWriter) -> None:
    with pytest.raises(TypeError, match="environment is of type int; accepted are Environment"):
        kind(writer, environment=7)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="environment is 'qa7'; accepted are production"):
        kind(writer, environment="qa7")
    with pytest.raises(TypeError, match="user_id is of type int"):
        kind(writer, user_id=7)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="table_name is of type int; accepted are str and None"):
        kind(writer, 7)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="usage_log is of type str; accepted are UsageLogFile"):
        kind(writer, usage_log="usage.jsonl")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="price_book is of type dict; accepted are PriceBook"):
        kind(writer, price_book={})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="metric is of type dict"):
        kind(writer).record({})  # type: ignore[arg-type]


@pytest.mark.parametrize("is_given", [False, True])
def test_a_tracker_in_a_test_leaves_no_journal(
    *, is_given: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "journal"
    monkeypatch.setenv("AI_USAGE_JOURNAL_DIR", str(journal))
    monkeypatch.setenv("AWS_ENDPOINT_URL", NOWHERE)
    client = boto3.client("dynamodb", "us-east-1") if is_given else None
    with ResilientAIUsageTracker(client, "my-test") as tracker:
        assert tracker.record(make_metric())
        assert not journal.exists()
        tracker.close(0)


@pytest.mark.parametrize("kind", TRACKERS)
def test_a_client_that_can_do_everything_names_no_table(kind: type[AIUsageTracker]) -> None:
    """A MagicMock has a ``table_name`` too, which is no text."""
    client = MagicMock()
    assert kind(client).record(make_metric())
    (metric,) = client.put_ai_usage_metric.call_args.args
    assert metric.environment == "test"


@pytest.mark.parametrize("kind", TRACKERS)
def test_defaults_reach_every_record(kind: type[AIUsageTracker], writer: MemoryWriter) -> None:
    """Of one kind of call or another, pull request and batch were lost."""
    tracker = kind(writer, user_id="ann")
    tracker.set_tracking_context(job_id="job", batch_id="batch", github_pr=7)
    tracker.record(make_metric())
    tracker.track_github_claude_review(8, "claude-haiku-4-5", 1, 1)
    tracker.track_openai_completion(dict)()
    tracker.track_anthropic_completion(dict)()
    tracker.track_google_places("nearby")(dict)()

    assert {record.job_id for record in writer.records} == {"job"}
    assert {record.batch_id for record in writer.records} == {"batch"}
    assert {record.user_id for record in writer.records} == {"ann"}
    assert [record.github_pr for record in writer.records] == [7, 8, 7, 7, 7]
    assert {record.environment for record in writer.records} == {"test"}


@pytest.mark.parametrize("kind", TRACKERS)
def test_what_set_tracking_context_sets_adds_up(
    kind: type[AIUsageTracker], writer: MemoryWriter
) -> None:
    """The second call dropped the job of the first."""
    tracker = kind(writer, user_id="ann")
    tracker.set_tracking_context(job_id="job", user_id="bob")
    tracker.set_tracking_context(batch_id="batch", job_id=None)
    tracker.set_tracking_context(github_pr=0, environment="staging")
    tracker.set_tracking_context(batch_id="other")
    tracker.record(make_metric())
    tracker.clear_tracking_context()
    tracker.record(make_metric())

    first, second = writer.records
    assert (first.job_id, first.batch_id, first.user_id) == ("job", "other", "bob")
    assert (first.github_pr, first.environment) == (0, "staging")
    assert (second.job_id, second.batch_id, second.user_id) == (None, None, "ann")
    assert (second.github_pr, second.environment) == (None, "test")


def test_a_bad_argument_changes_nothing_that_was_set(writer: MemoryWriter) -> None:
    tracker = AIUsageTracker(writer)
    tracker.set_tracking_context(job_id="job")
    for bad in ({"batch_id": ""}, {"github_pr": "7"}, {"environment": "nowhere"}):
        with pytest.raises((TypeError, ValueError), match=next(iter(bad))):
            tracker.set_tracking_context(**{"user_id": "ann", **bad})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="shop"):
        tracker.set_tracking_context(shop="a")  # type: ignore[call-arg]
    tracker.record(make_metric())
    assert (writer.only.job_id, writer.only.user_id) == ("job", None)


def test_threads_that_set_something_at_once_lose_nothing(writer: MemoryWriter) -> None:
    tracker = AIUsageTracker(writer)
    names = ["job_id", "batch_id", "user_id"]
    with ThreadPoolExecutor(3) as pool:
        for number in range(200):
            list(pool.map(lambda name: tracker.set_tracking_context(**{name: name}), names))
            tracker.record(make_metric(request_id=str(number)))
            tracker.clear_tracking_context()
    found = {(metric.job_id, metric.batch_id, metric.user_id) for metric in writer.records}
    assert found == {("job_id", "batch_id", "user_id")}


@pytest.mark.parametrize("kind", TRACKERS)
def test_a_failing_client_is_counted_and_logged_once(
    kind: type[AIUsageTracker], writer: MemoryWriter, caplog: pytest.LogCaptureFixture
) -> None:
    writer.failure = ConnectionError("prompt: secret")
    tracker = kind(writer)
    with caplog.at_level(logging.WARNING):
        assert [tracker.record(make_metric()) for _ in range(5)] == [False] * 5

    assert (tracker.get_stats().recorded, tracker.get_stats().failed) == (0, 5)
    (line,) = caplog.messages
    assert "ConnectionError" in line
    assert "secret" not in line


@pytest.mark.parametrize("kind", TRACKERS)
def test_a_given_client_is_flushed_and_stays_open(kind: type[AIUsageTracker]) -> None:
    client = Closable()
    tracker = kind(client)
    assert tracker.flush(2) is False
    tracker.close(3)
    assert client.ended == [("flush", 2), ("flush", 3)]


@pytest.mark.parametrize("kind", TRACKERS)
def test_flush_without_a_timeout_waits_for_30_seconds_at_most(kind: type[AIUsageTracker]) -> None:
    """It waited until the end of an outage."""
    client = Closable()
    assert not kind(client).flush()
    assert not kind(client).flush(None)
    assert client.ended == [("flush", 30.0), ("flush", None)]


def test_flush_says_that_something_is_left_and_how_much() -> None:
    client = ResilientDynamoClient(
        "my-app-test", "us-east-1", endpoint_url=NOWHERE, durability="memory"
    )
    tracker = ResilientAIUsageTracker(client)
    tracker.record(make_metric())
    tracker.record(make_metric())
    assert tracker.flush(0) is False
    delivery = tracker.get_stats().delivery
    assert delivery is not None
    assert delivery.pending == 2
    client.close(0)


@pytest.mark.parametrize(("says", "is_done"), [(None, True), (True, True), (False, False)])
def test_what_a_client_of_the_users_own_says_of_its_flush_is_passed_on(
    says: bool | None, is_done: bool
) -> None:
    client = Mock(flush=Mock(return_value=says))
    assert ResilientAIUsageTracker(client).flush() is is_done


class FlushesAll(MemoryWriter):
    """A double whose ``flush`` takes no timeout."""

    flushed = 0

    def flush(self) -> bool:
        self.flushed += 1
        return False


@pytest.mark.parametrize("kind", TRACKERS)
def test_a_clients_flush_may_take_no_timeout(kind: type[AIUsageTracker]) -> None:
    client = FlushesAll()
    assert kind(client).flush() is False
    kind(client).close(1)
    with ClientManager(ClientConfig(dynamo_table="my-test"), dynamo_client=client):
        pass
    assert client.flushed == 3


def test_a_client_without_flush_has_nothing_pending(writer: MemoryWriter) -> None:
    with AIUsageTracker(writer) as tracker:
        assert tracker.flush() is True


def test_the_log_file_gets_a_copy_and_its_failure_costs_nothing(
    writer: MemoryWriter, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = AIUsageTracker(writer, usage_log=UsageLogFile(tmp_path / "usage.jsonl"))
    bad = AIUsageTracker(writer, usage_log=UsageLogFile(tmp_path / "nowhere" / "usage.jsonl"))
    assert good.record(make_metric(request_id="good"))
    assert bad.record(make_metric(request_id="bad"))

    assert '"good"' in (tmp_path / "usage.jsonl").read_text()
    assert [record.request_id for record in writer.records] == ["good", "bad"]
    assert (good.get_stats().failed, bad.get_stats().failed) == (0, 1)
    assert "FileNotFoundError" in caplog.text


def test_a_claude_review_is_priced_and_belongs_to_its_pull_request(writer: MemoryWriter) -> None:
    tracker = AIUsageTracker(writer)
    assert tracker.track_github_claude_review(
        123,
        "claude-sonnet-4-6",
        10_000,
        500,
        cache_read_tokens=4_000,
        request_id="msg_1",
        timestamp=NOW,
        latency_ms=1_500,
        metadata={"repository": "a/b"},
    )

    record = writer.only
    assert (record.service, record.operation, record.github_pr) == ("anthropic", "code_review", 123)
    assert (record.request_id, record.timestamp, record.latency_ms) == ("msg_1", NOW, 1_500)
    assert (record.input_tokens, record.output_tokens) == (10_000, 500)
    # 6,000 x 3.00, 4,000 x 0.30 and 500 x 15.00 USD a million.
    assert record.cost_usd == Decimal("0.0267")
    assert record.metadata["pricing"]["status"] == "priced"
    assert record.metadata["repository"] == "a/b"


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"github_pr": -1}, "github_pr"),
        ({"github_pr": "7"}, "github_pr"),
        ({"model": ""}, "model"),
        ({"input_tokens": -5}, "input_tokens"),
        ({"output_tokens": 1.5}, "output_tokens"),
        ({"cache_read_tokens": -1}, "cache_read_tokens is -1"),
        ({"cache_write_tokens": True}, "cache_write_tokens is True"),
        ({"cache_read_tokens": 1, "cache_write_tokens": 1}, "are parts of input_tokens"),
    ],
)
def test_a_bad_review_is_refused(
    writer: MemoryWriter, arguments: dict[str, Any], field: str
) -> None:
    good = {"github_pr": 1, "model": "claude-haiku-4-5", "input_tokens": 1, "output_tokens": 1}
    with pytest.raises(ValueError, match=field):
        AIUsageTracker(writer).track_github_claude_review(**{**good, **arguments})
    assert writer.records == []


@pytest.mark.parametrize("metadata", ["repository", 7, [("a", 1)], ""])
def test_metadata_of_a_review_that_are_no_mapping_are_refused_by_name(
    writer: MemoryWriter, metadata: Any
) -> None:
    with pytest.raises(TypeError, match=r"metadata is of type .*; accepted is a mapping"):
        AIUsageTracker(writer).track_github_claude_review(1, "m", 1, 1, metadata=metadata)
    assert writer.records == []


def test_prices_of_the_users_own_are_used(writer: MemoryWriter) -> None:
    book = PriceBook({("anthropic", "claude-next"): TokenPrice(input=Decimal(1))})
    AIUsageTracker(writer, price_book=book).track_github_claude_review(1, "claude-next", 7, 0)
    assert writer.only.cost_usd == Decimal("0.000007")
    assert writer.only.metadata["pricing"]["source"] == "override"


def test_an_unpriced_review_is_counted(writer: MemoryWriter) -> None:
    tracker = AIUsageTracker(writer)
    tracker.track_github_claude_review(1, "claude-nobody", 7, 0)
    assert writer.only.cost_usd is None
    assert tracker.get_stats().unpriced == 1
