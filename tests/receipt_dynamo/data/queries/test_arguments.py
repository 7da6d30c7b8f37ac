"""A query's bad argument names itself before anything is asked of DynamoDB."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from receipt_dynamo import DynamoClient

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def client() -> DynamoClient:
    """Nothing listens there: a request would be another error."""
    return DynamoClient("t", "us-east-1", "http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (
            lambda client: client.get_ai_usage_metric("openai", "m", "March 1st", "r"),
            "timestamp is 'March 1st'; accepted are a datetime and a text in ISO 8601",
        ),
        (
            lambda client: client.get_ai_usage_metric(None, "m", NOON, "r"),
            "service is of type NoneType; accepted is a non-empty str",
        ),
        (
            lambda client: client.get_ai_usage_metric("openai", "", NOON, "r"),
            "model is ''; accepted is a non-empty str",
        ),
        (
            lambda client: client.get_ai_usage_metric("openai", "m", NOON, 7),
            "request_id is of type int; accepted is a non-empty str",
        ),
        (
            lambda client: client.query_ai_usage_metrics_by_date("2026-03-01", 7),
            "service is of type int; accepted is a non-empty str",
        ),
        (
            lambda client: client.query_ai_usage_metrics_by_job(""),
            "job_id is ''; accepted is a non-empty str",
        ),
        (
            lambda client: client.query_ai_usage_metrics_by_batch(None),
            "batch_id is of type NoneType; accepted is a non-empty str",
        ),
        (
            lambda client: client.query_ai_usage_metrics_by_batch("b", start_date=NOON),
            "end_date is None; accepted are a date and 'YYYY-MM-DD', or neither of the two",
        ),
        (
            lambda client: client.query_ai_usage_metrics_by_job("j", limit="5"),
            "limit is '5'; accepted are None and whole numbers of 1 or more",
        ),
        (
            lambda client: client.query_ai_usage_metrics_by_job("j", limit=0),
            "limit is 0; accepted are None and whole numbers of 1 or more",
        ),
        (
            lambda client: client.query_ai_usage_metrics_by_job("j", start_date=NOON),
            "end_date is None; accepted are a date and 'YYYY-MM-DD', or neither of the two",
        ),
        (
            lambda client: client.query_ai_usage_metrics_by_model("openai", "", NOON, NOON),
            "model is ''; accepted is a non-empty str",
        ),
        (
            lambda client: client.query_ai_usage_metrics_by_user(None, NOON, NOON),
            "user_id is of type NoneType; accepted is a non-empty str",
        ),
        (
            lambda client: client.query_ai_usage_metrics_by_environment("", NOON, NOON),
            "environment is ''; accepted is a non-empty str",
        ),
        (
            lambda client: client.sum_ai_usage_costs_by_day(NOON, NOON, service=""),
            "service is ''; accepted is a non-empty str",
        ),
        (
            lambda client: client.sum_ai_usage_costs_by_day("2026-03-02", "2026-03-01"),
            "start_date 2026-03-02 is after end_date 2026-03-01; accepted is the reverse",
        ),
        (
            lambda client: client.query_ai_usage_costs_by_date(NOON, tally={}),
            "tally is {}; accepted are None and a ReadTally",
        ),
        (
            lambda client: client.query_ai_usage_costs_by_date(NOON, skip_invalid=1),
            "skip_invalid is 1; accepted are True and False",
        ),
    ],
)
def test_a_bad_argument_names_itself_its_value_and_what_is_accepted(
    client: DynamoClient, ask: Callable[[Any], object], message: str
) -> None:
    with pytest.raises(ValueError, match="accepted") as caught:
        ask(client)
    assert str(caught.value) == message
