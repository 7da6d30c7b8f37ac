"""A month's report over 100,000 rows on DynamoDB Local, beside a plain scan and sum.

Each run is a process of its own, so that its time has the start of Python and its memory is its
own; the two take turns. The scan is what one writes without an index: every page, a sum by model
in a dict. It reads the whole table, whatever the period is; here the month is all of it, which is
the scan's best case. Last, the memory of adding up a million records that no table holds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from engines.launch import launch
from receipt_dynamo import AIUsageMetric, DynamoClient
from receipt_label.reporting.usage_report import add_up

TABLE = "test-table-reports"
FIRST = datetime(2026, 10, 1, tzinfo=UTC)
MONTH = timedelta(days=31)
KEYS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "ENVIRONMENT": "test"}
MOST_OF_A_LOAD = 500

SCAN = """
import boto3, json, resource, sys
from collections import defaultdict
from decimal import Decimal

client = boto3.client("dynamodb", "us-east-1", endpoint_url=sys.argv[2])
pages = client.get_paginator("scan").paginate(
    TableName=sys.argv[1], ReturnConsumedCapacity="TOTAL")
costs, units = defaultdict(Decimal), 0
for page in pages:
    units += page["ConsumedCapacity"]["CapacityUnits"]
    for item in page["Items"]:
        if item["TYPE"]["S"] == "AIUsageMetric" and item["month"]["S"] == "2026-10":
            if "costUSD" in item:
                costs[item["model"]["S"]] += Decimal(item["costUSD"]["N"])
print(json.dumps({"cost": str(sum(costs.values())), "units": units,
                  "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))
"""

REPORT = """
import contextlib, io, json, resource, sys
from receipt_label.cli.main import main

out = io.StringIO()
with contextlib.redirect_stdout(out):
    status = main(["report", "--table", sys.argv[1], "--region", "us-east-1", "--endpoint-url",
                   sys.argv[2], "--since", "2026-10", "--by", "model", "--json", "--quiet"])
found = json.loads(out.getvalue())
assert status == 0
print(json.dumps({"cost": found["total"]["cost_usd"], "units": float(found["read"]["read_units"]),
                  "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))
"""

PROGRAMS = {"report": REPORT, "scan": SCAN}


def make_record(number: int, count: int) -> AIUsageMetric:
    """Return a record as a service writes it, about 900 bytes with its keys."""
    return AIUsageMetric(
        "openai" if number % 3 else "anthropic",
        f"model-{number % 7}",
        "completion",
        FIRST + MONTH * number / count,
        request_id=f"chatcmpl-{number:029d}",
        input_tokens=number % 5000,
        output_tokens=number % 900,
        cost_usd=Decimal(number % 1000) / 100_000,
        latency_ms=812,
        user_id=f"user-{number % 50}",
        job_id=f"job-{number % 200}",
        environment="production",
        metadata={
            "pricing": {
                "status": "priced",
                "source": "genai-prices",
                "version": "0.2.3",
                "model": "gpt-4o",
                "match": "alias",
            }
        },
    )


def load(client: DynamoClient, count: int) -> None:
    """Write the rows of the month."""

    def write(first: int) -> None:
        end = min(first + MOST_OF_A_LOAD, count)
        left = client.batch_put_ai_usage_metrics(make_record(n, count) for n in range(first, end))
        assert left == []

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(0, count, MOST_OF_A_LOAD)))


def run(name: str, endpoint: str) -> dict[str, Any]:
    """Run one of the programs; return what it found and the seconds that it took."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAMS[name], TABLE, endpoint],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, **KEYS},
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return {**found, "seconds": time.perf_counter() - started}


def compare(endpoint: str, count: int, rounds: int) -> None:
    """Let the two take turns, and print the medians and their ratio."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in PROGRAMS}
    for number in range(rounds):
        for name in sorted(PROGRAMS, reverse=bool(number % 2)):
            found[name].append(run(name, endpoint))
    costs = {Decimal(each["cost"]) for runs in found.values() for each in runs}
    assert len(costs) == 1, costs
    print(f"\n{count:,} rows, one month by model, {rounds} rounds; the same {costs.pop()} USD")
    print(f"{'':10}{'seconds':>10}{'memory MiB':>12}{'read units':>12}")
    medians = {}
    for name, runs in found.items():
        medians[name] = statistics.median(each["seconds"] for each in runs)
        memory = max(each["memory"] for each in runs) / 1024
        print(f"{name:10}{medians[name]:10.2f}{memory:12.0f}{runs[0]['units']:12,.1f}")
    print(f"report / scan: {medians['report'] / medians['scan']:.2f} of the time")


def stream(count: int) -> Iterator[AIUsageMetric]:
    """Make records, one at a time."""
    for number in range(count):
        yield make_record(number, count)


def measure_memory(count: int) -> None:
    """Add up records that are made on the way, and print what memory it took."""
    by = [("model",), ("user",), ("day", "service")]
    add_up(stream(1_000), by, UTC)
    begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    report = add_up(stream(count), by, UTC)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - begin) / 1024
    seconds = time.perf_counter() - started
    assert report.total.records == count
    print(f"\nadding up {count:,} records: {grown:.1f} MiB more than 1,000, {seconds:.0f} s")


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--added", type=int, default=1_000_000)
    chosen = parser.parse_args()
    print(f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores")
    measure_memory(chosen.added)
    os.environ.update(KEYS)
    with launch("dynamodb-local", for_long=True) as engine:
        client = DynamoClient(TABLE, "us-east-1", engine.endpoint_url)
        client.create_table()
        load(client, chosen.rows)
        compare(engine.endpoint_url, chosen.rows, chosen.rounds)


if __name__ == "__main__":
    main()
