"""A process that accepts records and is killed, or lives on until its standard input ends.

Run it with the table, the endpoint and a plan in JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from datetime import UTC, datetime, timedelta

from receipt_dynamo import AIUsageMetric, ResilientDynamoClient

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def main() -> None:
    table, endpoint, plan = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    client = ResilientDynamoClient(
        table, "us-east-1", endpoint_url=endpoint, batch_flush_interval=60
    )

    def put(name: str) -> None:
        user_id = plan["user_id"]
        error = "canary-in-the-error"
        metric = AIUsageMetric(
            "openai",
            "gpt-4o",
            "completion",
            START + timedelta(seconds=len(name)),
            request_id=name,
            user_id=user_id,
            error=error,
        )
        assert client.put_ai_usage_metric(metric)

    if plan["proven"]:
        put("first")
        assert client.flush()
        # The first record makes it ask DynamoDB, in the background, which table that is.
        assert client._delivery._chores.looks.flush()
    for number in range(plan["dead"]):
        put(f"dead-{number}")
        assert client.flush()
    for number in range(plan["pending"]):
        put(f"id-{number}")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    if not plan["lives"]:
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()
    report = client.close()
    sys.stdout.write(f"{report.pending} pending, {client.get_stats().dead} dead\n")


if __name__ == "__main__":
    main()
