"""A bad field costs that field, never the record."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_dynamo import AIUsageMetric
from receipt_dynamo.entities.attribute_values import MAX_ITEM_BYTES, measure_item
from receipt_label.tracking.lenient_metric import make_metric

NOW = datetime(2026, 11, 20, tzinfo=UTC)
GOOD: dict[str, Any] = {
    "service": "openai",
    "model": "gpt-4o",
    "operation": "completion",
    "timestamp": NOW,
    "request_id": "r1",
    "input_tokens": 3,
    "output_tokens": 4,
    "cost_usd": Decimal("0.1"),
    "metadata": {"a": 1},
}


def test_good_fields_are_left_alone() -> None:
    assert make_metric(GOOD) == AIUsageMetric(**GOOD)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("input_tokens", -1),
        ("output_tokens", "4"),
        ("cost_usd", Decimal("NaN")),
        ("latency_ms", -1),
        ("user_id", 7),
        ("job_id", "\ud800"),
        ("github_pr", "12"),
        ("error", b"bytes"),
        ("environment", 1),
    ],
)
def test_an_invalid_field_is_left_out_and_named(field: str, value: Any) -> None:
    metric = make_metric({**GOOD, field: value})

    assert getattr(metric, field) is None
    assert metric.metadata == {"a": 1, "invalid_fields": [field]}
    assert metric.request_id == "r1"


@pytest.mark.parametrize("model", [None, 7, "", "\ud800"])
def test_a_model_that_cannot_be_used_is_unknown(model: Any) -> None:
    metric = make_metric({**GOOD, "model": model})
    assert (metric.model, metric.total_tokens) == ("unknown", 7)
    assert metric.metadata["invalid_fields"] == ["model"]


@pytest.mark.parametrize("request_id", [7, "", "\ud800"])
def test_an_id_that_cannot_be_used_is_replaced(request_id: Any) -> None:
    metric = make_metric({**GOOD, "request_id": request_id})
    assert len(metric.request_id) == 36
    assert metric.metadata["invalid_fields"] == ["request_id"]


@pytest.mark.parametrize("bad", [object(), float("nan"), {"x": {1}}, "\ud800", {7: 1}])
def test_only_the_bad_entry_of_the_metadata_is_left_out(bad: Any) -> None:
    metric = make_metric({**GOOD, "metadata": {"good": [1, "two"], "bad": bad}})
    assert metric.metadata == {"good": [1, "two"], "invalid_fields": ["metadata.bad"]}


@pytest.mark.parametrize("metadata", ["text", 7, [1]])
def test_metadata_that_is_none_is_left_out(metadata: Any) -> None:
    assert make_metric({**GOOD, "metadata": metadata}).metadata == {"invalid_fields": ["metadata"]}


def test_a_key_that_is_no_text_is_named_all_the_same() -> None:
    metric = make_metric({**GOOD, "metadata": {7: 1, "\ud800": 2}})
    assert metric.metadata["invalid_fields"] == ["metadata.7", "metadata.?"]


def test_an_endless_error_text_is_shortened_and_marked() -> None:
    metric = make_metric({**GOOD, "error": "x" * 500_000})
    assert metric.error == "x" * 1_000
    assert metric.metadata == {"a": 1, "truncated": True}
    assert metric.cost_usd == Decimal("0.1")


def test_a_record_without_room_for_a_clients_form_is_shortened_and_marked() -> None:
    """The keys of a shard and an expiry are added later: the client would refuse it."""
    small = AIUsageMetric(**GOOD, error="x")
    room = MAX_ITEM_BYTES - measure_item(small.to_dynamodb_item())
    for spare, is_kept in ((0, False), (33, False), (34, True), (100, True)):
        fields = GOOD | {"error": "x" * (1 + room - spare)}
        assert AIUsageMetric(**fields).has_room() is is_kept
        metric = make_metric(fields)
        assert metric.metadata.get("truncated", False) is not is_kept
        assert metric.has_room()


def test_endless_metadata_is_shortened_and_marked() -> None:
    nested = {"deep": [{"text": "ä" * 300_000}], "small": 1}
    metric = make_metric({**GOOD, "metadata": {"big": nested, "other": 2}})
    assert metric.metadata == {
        "big": {"deep": [{"text": "ä" * 1_000}], "small": 1},
        "other": 2,
        "truncated": True,
    }


def test_too_many_entries_of_metadata_are_cut_off() -> None:
    many = {f"key{number}": "x" * 900 for number in range(1_000)}
    metric = make_metric({**GOOD, "metadata": many})
    assert 10 < len(metric.metadata) < 100
    assert metric.metadata["key0"] == "x" * 900
    assert metric.metadata["truncated"] is True


@pytest.mark.parametrize("field", ["model", "request_id", "job_id", "batch_id"])
def test_a_name_too_long_for_a_key_is_shortened(field: str) -> None:
    metric = make_metric({**GOOD, field: "x" * 3_000})
    assert getattr(metric, field) == "x" * 200
    assert metric.metadata["truncated"] is True


def test_what_identifies_the_call_has_to_be_there() -> None:
    with pytest.raises(ValueError, match="timestamp"):
        make_metric({**GOOD, "timestamp": "yesterday"})


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.binary(max_size=5)
    | st.decimals(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)
fields = ("model", "request_id", "input_tokens", "cost_usd", "user_id", "error", "metadata")


@given(st.dictionaries(st.sampled_from(fields), anything))
def test_nothing_that_a_provider_or_a_user_says_loses_the_record(said: dict[str, Any]) -> None:
    metric = make_metric({**GOOD, **said})
    assert AIUsageMetric.from_dynamodb_item(metric.to_dynamodb_item()) == metric
