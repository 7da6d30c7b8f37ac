"""A coarse guard against the caller paying for a slow DynamoDB; figures are in benchmarks/."""

from __future__ import annotations

from receipt_dynamo import ResilientDynamoClient
from stress_profile import CREDENTIALS, REGION, run_profile, start_world


def test_the_caller_keeps_its_throughput_and_every_row_is_delivered() -> None:
    with (
        start_world() as world,
        ResilientDynamoClient(
            "stress-test-table", REGION, endpoint_url=world.endpoint_url, **CREDENTIALS
        ) as client,
    ):
        result = run_profile(
            world,
            "stress-test-table",
            client.put_ai_usage_metric,
            lambda: client.flush(timeout=90),
        )
        stats = client.get_stats()

    assert result.rows == result.offered == stats.delivered
    assert result.kept >= 0.5, f"late / early throughput is {result.kept:.1%}"
