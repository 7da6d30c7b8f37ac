"""What shards cost readers and writers: one day's query on DynamoDB Local, by their number.

The same rows are in one table for each number of shards. The tables take turns, so that what the
machine does meanwhile meets all of them alike; only the ratios carry to another machine. All shards
are on one DynamoDB Local, which answers them from the same cores: what N does for a writer that
partitions throttle cannot be seen here, what it costs a reader can.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from datetime import UTC, datetime, timedelta

from engines.launch import launch
from receipt_dynamo import AIUsageMetric, DynamoClient, ReadTally

SHARDS = (1, 2, 4, 8, 16)
DAY = datetime(2026, 10, 1, tzinfo=UTC)
KEYS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "ENVIRONMENT": "test"}


def make_records(count: int) -> list[AIUsageMetric]:
    """Return the calls of one day, spread over it."""
    return [
        AIUsageMetric(
            "openai" if number % 3 else "anthropic",
            f"model-{number % 7}",
            "completion",
            DAY + timedelta(days=1) * number / count,
            request_id=f"chatcmpl-{number:029d}",
            input_tokens=number % 5000,
            output_tokens=number % 900,
            cost_usd="0.00123",
            latency_ms=812,
            user_id=f"user-{number % 50}",
            environment="production",
        )
        for number in range(count)
    ]


def fill_table(endpoint: str, gsi_shards: int, records: list[AIUsageMetric]) -> DynamoClient:
    """Make a table with so many shards, and write the records to it."""
    client = DynamoClient(f"test-table-{gsi_shards}", "us-east-1", endpoint, gsi_shards=gsi_shards)
    client.create_table()
    assert client.batch_put_ai_usage_metrics(records) == []
    return client


def measure_fan_out(endpoint: str, rows: int, rounds: int) -> None:
    """Print rows a second, pages and read units by the number of shards, and the ratios to one."""
    records = make_records(rows)
    clients = {count: fill_table(endpoint, count, records) for count in SHARDS}
    seconds: dict[int, list[float]] = {count: [] for count in SHARDS}
    firsts: dict[int, list[float]] = {count: [] for count in SHARDS}
    tallies: dict[int, ReadTally] = {}
    for number in range(rounds + 1):
        for count in SHARDS if number % 2 else reversed(SHARDS):
            tally = tallies[count] = ReadTally()
            started = time.perf_counter()
            found = clients[count].query_ai_usage_costs_by_date(DAY, tally=tally)
            next(found)
            first = time.perf_counter() - started
            assert sum(1 for _ in found) == rows - 1
            if number:  # The first round warms up.
                seconds[count].append(time.perf_counter() - started)
                firsts[count].append(first)
    print(f"\n{rows:,} rows of one day, all services in order, {rounds} rounds")
    print("shards    rows/s   of N=1   first row ms   pages   read units")
    one = statistics.median(seconds[1])
    for count in SHARDS:
        median = statistics.median(seconds[count])
        print(
            f"{count:6}{rows / median:10,.0f}{one / median:9.2f}"
            f"{statistics.median(firsts[count]) * 1000:15.0f}"
            f"{tallies[count].pages:8}{tallies[count].read_units:13,}"
        )


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    print(f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores")
    os.environ.update(KEYS)
    with launch("dynamodb-local", for_long=True) as engine:
        measure_fan_out(engine.endpoint_url, chosen.rows, chosen.rounds)


if __name__ == "__main__":
    main()
