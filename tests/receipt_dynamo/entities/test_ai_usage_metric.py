"""The fixed wire form, and the records of earlier writers."""

from __future__ import annotations

import dataclasses
import decimal
import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from receipt_dynamo import AIUsageMetric, InvalidItemError

START = datetime(2026, 3, 1, 23, 30, 5, 120_000, tzinfo=UTC)


def make_full() -> AIUsageMetric:
    return AIUsageMetric(
        "OpenAI",
        "gpt-4o",
        "completion",
        START,
        request_id="chatcmpl-1",
        input_tokens=1200,
        output_tokens=340,
        cost_usd="0.000384",
        latency_ms=820,
        user_id="user-42",
        job_id="job-7",
        batch_id="batch-3",
        github_pr=99,
        environment="production",
        error="RateLimitError",
        metadata={"nested": {"list": [1, 2.5, "x", True, None], "empty": {}}},
    )


def test_the_wire_form_is_exactly_the_documented_one() -> None:
    assert make_full().to_dynamodb_item() == {
        "PK": {"S": "AI_USAGE#openai#gpt-4o"},
        "SK": {"S": "USAGE#2026-03-01T23:30:05.120000+00:00#chatcmpl-1"},
        "GSI1PK": {"S": "AI_USAGE#openai"},
        "GSI1SK": {"S": "DATE#2026-03-01"},
        "GSI2PK": {"S": "AI_USAGE_COST"},
        "GSI2SK": {"S": "COST#2026-03-01#openai"},
        "GSI3PK": {"S": "JOB#job-7"},
        "GSI3SK": {"S": "AI_USAGE#2026-03-01T23:30:05.120000+00:00"},
        "GSI4PK": {"S": "BATCH#batch-3"},
        "GSI4SK": {"S": "AI_USAGE#2026-03-01T23:30:05.120000+00:00"},
        "TYPE": {"S": "AIUsageMetric"},
        "service": {"S": "openai"},
        "model": {"S": "gpt-4o"},
        "operation": {"S": "completion"},
        "timestamp": {"S": "2026-03-01T23:30:05.120000+00:00"},
        "requestId": {"S": "chatcmpl-1"},
        "date": {"S": "2026-03-01"},
        "month": {"S": "2026-03"},
        "hour": {"S": "2026-03-01-23"},
        "apiCalls": {"N": "1"},
        "inputTokens": {"N": "1200"},
        "outputTokens": {"N": "340"},
        "totalTokens": {"N": "1540"},
        "costUSD": {"N": "0.000384"},
        "latencyMs": {"N": "820"},
        "githubPR": {"N": "99"},
        "userId": {"S": "user-42"},
        "jobId": {"S": "job-7"},
        "batchId": {"S": "batch-3"},
        "environment": {"S": "production"},
        "error": {"S": "RateLimitError"},
        "metadata": {
            "M": {
                "nested": {
                    "M": {
                        "list": {
                            "L": [
                                {"N": "1"},
                                {"N": "2.5"},
                                {"S": "x"},
                                {"BOOL": True},
                                {"NULL": True},
                            ]
                        },
                        "empty": {"M": {}},
                    }
                }
            }
        },
    }


def test_a_text_is_escaped_only_where_json_demands_it() -> None:
    """A batch of non-ASCII text that triples on the wire is refused for its size."""
    metric = AIUsageMetric(
        "openai", 'gp"t\n', "Völlig", START, request_id="日本😀", user_id="\x00/"
    )
    encoded = metric.to_dynamodb_json()
    assert json.loads(encoded) == metric.to_dynamodb_item()
    assert '"operation":{"S":"Völlig"}'.encode() in encoded
    assert '"requestId":{"S":"日本😀"}'.encode() in encoded


def test_days_and_models_are_not_mixed_up_in_the_json() -> None:
    """What calls of one model and day share is encoded once."""
    for model, day in (("a", 1), ("b", 1), ("a", 2), ("a", 1)):
        start = datetime(2026, 3, day, tzinfo=UTC)
        metric = AIUsageMetric("openai", model, "o", start, request_id=f"{model}{day}")
        assert json.loads(metric.to_dynamodb_json()) == metric.to_dynamodb_item()


def test_a_batch_without_a_job_is_found_by_gsi3() -> None:
    item = AIUsageMetric("openai", "m", "o", START, batch_id="b").to_dynamodb_item()
    assert item["GSI3PK"] == {"S": "BATCH#b"}
    assert "GSI4PK" not in item


def test_a_new_request_id_for_each_record() -> None:
    ids = {AIUsageMetric("openai", "m", "o", START).request_id for _ in range(100)}
    assert len(ids) == 100


@pytest.mark.parametrize(
    ("given_time", "stored"),
    [
        (datetime(2026, 3, 1, 23, 30), "2026-03-01T23:30:00+00:00"),
        (
            datetime(2026, 3, 1, 23, 30, tzinfo=timezone(timedelta(hours=-5))),
            "2026-03-02T04:30:00+00:00",
        ),
    ],
)
def test_dates_are_utc_whatever_the_callers_zone(given_time: datetime, stored: str) -> None:
    item = AIUsageMetric("openai", "m", "o", given_time).to_dynamodb_item()
    assert item["timestamp"] == {"S": stored}
    assert item["date"] == {"S": stored[:10]}


@pytest.mark.parametrize(
    ("cost", "stored"),
    [
        (0.1, "0.1"),
        (0.1 + 0.2, "0.30000000000000004"),
        ("0.00000002", "0.00000002"),
        (1e-07, "0.0000001"),
        (Decimal("1E-7"), "0.0000001"),
        (Decimal("1E+3"), "1000"),
        (0, "0"),
        (3, "3"),
    ],
)
def test_money_is_taken_by_its_printed_value(cost: object, stored: str) -> None:
    metric = AIUsageMetric("openai", "m", "o", START, cost_usd=cost)  # type: ignore[arg-type]
    assert isinstance(metric.cost_usd, Decimal)
    assert metric.to_dynamodb_item()["costUSD"] == {"N": stored}


@pytest.mark.parametrize(
    ("latency", "stored"),
    [
        (820, "820"),
        (58.828, "59"),
        (58.4999, "58"),
        (0.5, "1"),
        (2.5, "3"),
        (0.49999999999999994, "0"),
        (Decimal("58.5"), "59"),
        (Decimal("1E+3"), "1000"),
        (Decimal("-0.0"), "0"),
        (Decimal("1E-200"), "0"),
        (Decimal("7." + "4" * 60), "7"),
        (0, "0"),
    ],
)
def test_a_duration_is_kept_in_whole_milliseconds(latency: object, stored: str) -> None:
    """Earlier readers do ``int(item["latencyMs"]["N"])``, which fails on "58.828"."""
    with decimal.localcontext(prec=1, rounding=decimal.ROUND_DOWN):
        metric = AIUsageMetric("openai", "m", "o", START, latency_ms=latency)  # type: ignore[arg-type]
    assert metric.to_dynamodb_item()["latencyMs"] == {"N": stored}
    assert type(metric.latency_ms) is int


@pytest.mark.parametrize(("stored", "read"), [("58.828", 59), ("0.5", 1), ("58.8E+1", 588)])
def test_a_fraction_of_a_millisecond_that_was_written_meanwhile_is_read(
    stored: str, read: int
) -> None:
    item = make_full().to_dynamodb_item() | {"latencyMs": {"N": stored}}
    metric = AIUsageMetric.from_dynamodb_item(item)
    again = metric.to_dynamodb_item()
    assert (metric.latency_ms, again["latencyMs"]) == (read, {"N": str(read)})
    assert again == item | {"latencyMs": {"N": str(read)}}  # The keys as well.


def test_the_callers_decimal_context_changes_no_number() -> None:
    with decimal.localcontext(capitals=0, prec=3):
        metric = AIUsageMetric("openai", "m", "o", START, cost_usd=Decimal("0.000000123456"))
        assert metric.to_dynamodb_item()["costUSD"] == {"N": "0.000000123456"}


def test_the_total_is_the_sum_only_when_not_given() -> None:
    def total(**tokens: int) -> int | None:
        return AIUsageMetric("openai", "m", "o", START, **tokens).total_tokens  # type: ignore[arg-type]

    assert total() is None
    assert total(input_tokens=3) == 3
    assert total(input_tokens=3, output_tokens=0) == 3
    assert total(input_tokens=3, output_tokens=4, total_tokens=9) == 9


def test_a_record_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_full().model = "other"  # type: ignore[misc]


def test_the_callers_metadata_is_not_shared() -> None:
    metadata = {"tags": ["a"]}
    metric = AIUsageMetric("openai", "m", "o", START, metadata=metadata)
    metadata["tags"].append("b")
    assert metric.metadata == {"tags": ["a"]}


def test_an_earlier_writers_naive_key_is_kept_verbatim() -> None:
    """Naive and aware timestamps mixed in one sort key: a rewrite must not double the row."""
    item = make_full().to_dynamodb_item()
    item["timestamp"] = {"S": "2026-03-01T23:30:05.120000"}
    item["SK"] = {"S": "USAGE#2026-03-01T23:30:05.120000#chatcmpl-1"}
    metric = AIUsageMetric.from_dynamodb_item(item)
    assert metric.timestamp == START
    again = metric.to_dynamodb_item()
    assert (again["PK"], again["SK"]) == (item["PK"], item["SK"])
    assert metric.key == (item["PK"]["S"], item["SK"]["S"])
    assert json.loads(metric.to_dynamodb_json()) == again


def test_int_of_an_exponent_does_not_fail() -> None:
    """`int("1e-07")`: earlier writers stored what str(float) gives."""
    item = make_full().to_dynamodb_item()
    item["costUSD"] = {"N": "1e-07"}
    item["inputTokens"] = {"N": "1.2E+3"}
    metric = AIUsageMetric.from_dynamodb_item(item)
    assert metric.cost_usd == Decimal("0.0000001")
    assert metric.input_tokens == 1200


def test_get_works_on_an_item_without_an_optional_attribute() -> None:
    item = make_full().to_dynamodb_item()
    needed = {"PK", "SK", "service", "model", "operation", "timestamp", "requestId"}
    metric = AIUsageMetric.from_dynamodb_item({name: item[name] for name in needed})
    assert (metric.api_calls, metric.cost_usd, metric.metadata) == (1, None, {})


def test_unknown_attributes_are_ignored() -> None:
    item = make_full().to_dynamodb_item() | {"ttl": {"N": "1"}, "later": {"B": b"x"}}
    assert AIUsageMetric.from_dynamodb_item(item) == make_full()


@pytest.mark.parametrize("missing", ["PK", "SK", "service", "timestamp", "requestId"])
def test_half_an_item_names_what_is_missing(missing: str) -> None:
    item = make_full().to_dynamodb_item()
    del item[missing]
    with pytest.raises(InvalidItemError, match=missing):
        AIUsageMetric.from_dynamodb_item(item)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("timestamp", {"S": "yesterday"}),
        ("inputTokens", {"N": "3.5"}),
        ("service", {"S": ""}),
        ("metadata", {"M": {"x": {"B": b"1"}}}),
        ("requestId", {"N": "3"}),
    ],
)
def test_a_damaged_item_is_an_error_that_names_its_key(
    attribute: str, value: dict[str, object]
) -> None:
    item = make_full().to_dynamodb_item() | {attribute: value}
    with pytest.raises(InvalidItemError, match="chatcmpl-1"):
        AIUsageMetric.from_dynamodb_item(item)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("costUSD", {"S": "0.5"}),
        ("inputTokens", {"L": [{"N": "3"}]}),
        ("error", {"BOOL": True}),
        ("userId", {"N": "42"}),
        ("requestId", {"N": "3"}),
        ("timestamp", {"S": "yesterday"}),
    ],
)
def test_an_attribute_of_another_type_is_named_and_never_taken_for_none(
    attribute: str, value: dict[str, object]
) -> None:
    """A cost that is passed over makes a wrong sum."""
    item = make_full().to_dynamodb_item() | {attribute: value}
    with pytest.raises(InvalidItemError, match=attribute) as caught:
        AIUsageMetric.from_dynamodb_item(item)
    assert str(caught.value).startswith("the item with PK 'AI_USAGE#openai#gpt-4o'")
    assert not any(shown in str(caught.value) for shown in ("0.5", "42", "yesterday"))


@pytest.mark.parametrize(
    ("attribute", "field", "unknown"),
    [
        ("costUSD", "cost_usd", None),
        ("latencyMs", "latency_ms", None),
        ("inputTokens", "input_tokens", None),
        ("outputTokens", "output_tokens", None),
        ("totalTokens", "total_tokens", 1540),  # The sum of the two others.
        ("githubPR", "github_pr", None),
        ("apiCalls", "api_calls", 1),
    ],
)
def test_a_negative_figure_is_read_as_unknown_and_named(
    attribute: str, field: str, unknown: int | None
) -> None:
    """An earlier writer used -1 for "failed"."""
    item = make_full().to_dynamodb_item()
    for figure in ("-1", "-0.5", "-1E-130"):
        metric = AIUsageMetric.from_dynamodb_item(item | {attribute: {"N": figure}})
        assert getattr(metric, field) == unknown
        assert metric.negative_figures == (attribute,)
        assert metric.key == make_full().key
    assert AIUsageMetric.from_dynamodb_item(item).negative_figures == ()
    nothing = AIUsageMetric.from_dynamodb_item(item | {attribute: {"N": "0"}})
    assert (getattr(nothing, field), nothing.negative_figures) == (0, ())


def test_every_figure_may_be_negative() -> None:
    figures = ("apiCalls", "inputTokens", "outputTokens", "totalTokens", "costUSD", "latencyMs")
    item = make_full().to_dynamodb_item() | {name: {"N": "-1"} for name in figures}
    metric = AIUsageMetric.from_dynamodb_item(item)
    assert metric.negative_figures == figures
    again = metric.to_dynamodb_item()
    assert again == {name: value for name, value in item.items() if name not in figures} | {
        "apiCalls": {"N": "1"}
    }


@pytest.mark.parametrize(
    ("own", "environment"),
    [
        (None, "staging"),
        ({"NULL": True}, "staging"),
        ({"S": ""}, "staging"),
        ({"S": "production"}, "production"),
    ],
)
def test_an_environment_in_the_metadata_alone_is_the_records(
    own: dict[str, object] | None, environment: str
) -> None:
    item = make_full().to_dynamodb_item() | {
        "metadata": {"M": {"environment": {"S": "staging"}, "x": {"N": "1"}}}
    }
    del item["environment"]
    metric = AIUsageMetric.from_dynamodb_item(item if own is None else item | {"environment": own})
    assert metric.environment == environment
    assert metric.metadata == {"environment": "staging", "x": 1}
    assert metric.to_dynamodb_item()["environment"] == {"S": environment}


@pytest.mark.parametrize("metadata", [{"M": {"environment": {"N": "3"}}}, {"S": "staging"}])
def test_metadata_that_say_no_environment_are_no_reason_to_fail(
    metadata: dict[str, object],
) -> None:
    item = make_full().to_dynamodb_item() | {"metadata": metadata}
    del item["environment"]
    assert AIUsageMetric.from_dynamodb_item(item).environment is None


def test_an_optional_attribute_that_is_null_is_as_good_as_none() -> None:
    item = make_full().to_dynamodb_item()
    item |= {name: {"NULL": True} for name in ("costUSD", "userId", "metadata")}
    metric = AIUsageMetric.from_dynamodb_item(item)
    assert (metric.cost_usd, metric.user_id, metric.metadata) == (None, None, {})
