"""What a record costs on its way to DynamoDB, beside boto3 and PynamoDB.

The DynamoDB is one that writes nothing, in another process, so that only the client is
measured: CPU time of this process for each record, from the first put until all are
confirmed, in interleaved rounds; then how long the caller waits in put; then a million
records through a bounded memory; then what an idle client does.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import platform
import resource
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import boto3

from null_dynamodb import start_null_dynamodb
from receipt_dynamo import AIUsageMetric, ResilientDynamoClient

TABLE = "bench-test-table"
REGION = "us-east-1"
CREDENTIALS = {"aws_access_key_id": "bench", "aws_secret_access_key": "bench"}
START = datetime(2026, 1, 1, tzinfo=UTC)
ANCHOR = "boto3 Table.batch_writer"
MEMORY_BOUND = 64 * 1024 * 1024

Contender = Callable[[str, Sequence[AIUsageMetric]], Callable[[], object]]
"""Made ready for an endpoint and its records; what it returns writes all of them."""


def make_metrics(count: int, first: int = 0) -> Iterator[AIUsageMetric]:
    """Return records of the usual size, about 900 bytes on the wire."""
    for number in range(first, first + count):
        yield AIUsageMetric(
            "openai",
            "gpt-4o-mini",
            "completion",
            START + timedelta(milliseconds=number),
            request_id=f"chatcmpl-{number:012d}",
            input_tokens=1_200,
            output_tokens=330,
            cost_usd="0.000378",
            latency_ms=812,
            user_id="user-1",
            job_id="job-7",
            environment="production",
        )


def make_client(url: str) -> Any:
    return boto3.client("dynamodb", region_name=REGION, endpoint_url=url, **CREDENTIALS)


def by_put_item(url: str, metrics: Sequence[AIUsageMetric]) -> Callable[[], object]:
    client, items = make_client(url), [metric.to_dynamodb_item() for metric in metrics]

    def write() -> None:
        for item in items:
            client.put_item(TableName=TABLE, Item=item)

    return write


def by_batch_write_item(url: str, metrics: Sequence[AIUsageMetric]) -> Callable[[], object]:
    client, items = make_client(url), [metric.to_dynamodb_item() for metric in metrics]

    def write() -> None:
        for start in range(0, len(items), 25):
            puts = [{"PutRequest": {"Item": item}} for item in items[start : start + 25]]
            client.batch_write_item(RequestItems={TABLE: puts})

    return write


def by_batch_writer(url: str, metrics: Sequence[AIUsageMetric]) -> Callable[[], object]:
    from boto3.dynamodb.types import TypeDeserializer

    read = TypeDeserializer().deserialize
    session = boto3.resource("dynamodb", region_name=REGION, endpoint_url=url, **CREDENTIALS)
    items = [
        {name: read(value) for name, value in metric.to_dynamodb_item().items()}
        for metric in metrics
    ]

    def write() -> None:
        with session.Table(TABLE).batch_writer() as writer:
            for item in items:
                writer.put_item(Item=item)

    return write


def by_pynamodb(url: str, metrics: Sequence[AIUsageMetric]) -> Callable[[], object]:
    from pynamodb.attributes import NumberAttribute, UnicodeAttribute
    from pynamodb.models import Model

    first = next(iter(metrics)).to_dynamodb_item()
    kinds = {"S": UnicodeAttribute, "N": NumberAttribute}
    fields: dict[str, Any] = {
        name: kinds[next(iter(value))]()
        for name, value in first.items()
        if name not in ("PK", "SK")
    }
    settings = {
        "table_name": TABLE,
        "host": url,
        "region": REGION,
        "aws_access_key_id": "bench",
        "aws_secret_access_key": "bench",
    }
    keys = {"PK": UnicodeAttribute(hash_key=True), "SK": UnicodeAttribute(range_key=True)}
    record = type("Record", (Model,), {**keys, **fields, "Meta": type("Meta", (), settings)})
    numbers = {name for name, value in first.items() if "N" in value}
    rows = [
        record(
            **{
                name: float(text) if name in numbers else text
                for name, value in metric.to_dynamodb_item().items()
                for text in value.values()
            }
        )
        for metric in metrics
    ]

    def write() -> None:
        with record.batch_write() as batch:
            for row in rows:
                batch.save(row)

    return write


def by_ours(durability: str) -> Contender:
    def prepare(url: str, metrics: Sequence[AIUsageMetric]) -> Callable[[], object]:
        client = open_ours(url, durability)
        warm_up(client)  # The others have made their boto3 client as well.

        def write() -> None:
            for metric in metrics:
                assert client.put_ai_usage_metric(metric)
            assert client.close(None).pending == 0

        return write

    return prepare


def warm_up(client: ResilientDynamoClient) -> None:
    client.put_ai_usage_metric(next(make_metrics(1, first=10**9)))
    client.flush()


def open_ours(url: str, durability: str, **settings: Any) -> ResilientDynamoClient:
    return ResilientDynamoClient(
        TABLE,
        REGION,
        endpoint_url=url,
        durability=durability,  # type: ignore[arg-type]
        max_pending_records=settings.pop("max_pending_records", 1_000_000),
        **settings,
        **CREDENTIALS,
    )


CONTENDERS: dict[str, Contender] = {
    "boto3 put_item": by_put_item,
    "boto3 batch_write_item, by 25": by_batch_write_item,
    ANCHOR: by_batch_writer,
    "PynamoDB batch_write": by_pynamodb,
    "ours, memory": by_ours("memory"),
    "ours, journal": by_ours("journal"),
    "ours, journal-sync": by_ours("journal-sync"),
}
GOALS = {"ours, memory": 0.22, "ours, journal": 0.40}


def bench_cpu(url: str, rounds: int, records: int) -> None:
    """Print CPU time for each record, of all contenders in turn."""
    metrics = list(make_metrics(records))
    found: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in range(rounds):
        for name, prepare in CONTENDERS.items():
            write = prepare(url, metrics)
            gc.collect()
            started = time.process_time()
            write()
            found[name].append((time.process_time() - started) / records)
    anchor = statistics.median(found[ANCHOR])
    print(f"\nCPU for each record, of {records:,}\n\n| | us | / {ANCHOR} |\n|---|---|---|")
    for name, seconds in found.items():
        median = statistics.median(seconds)
        print(f"| {name} | {median * 1e6:,.0f} | {median / anchor:.2f} |")
    for name, goal in GOALS.items():
        ratios = [mine / its for mine, its in zip(found[name], found[ANCHOR], strict=True)]
        ratio = statistics.median(ratios)
        print(f"goal: {name} at most {goal}: {ratio:.2f}, {'met' if ratio <= goal else 'MISSED'}")


def bench_put(url: str, records: int) -> None:
    """Print how long the caller waits in put, and in SQLite alone."""
    print("\nTime in put, journal mode\n\n| | p50, us | p99, us | longest, us |\n|---|---|---|---|")
    few = min(records, 5_000)
    for name, waits in (
        ("an INSERT by SQLite alone", measure_inserts(records, None)),
        ("an INSERT by SQLite alone, 1,000 records/s", measure_inserts(few, 1_000)),
        ("put, 1,000 records/s", measure_puts(url, few, 1_000)),
        ("put, as fast as it goes", measure_puts(url, records, None)),
    ):
        waits.sort()
        p50, p99 = waits[len(waits) // 2], waits[len(waits) * 99 // 100]
        print(f"| {name} | {p50 * 1e6:,.0f} | {p99 * 1e6:,.0f} | {waits[-1] * 1e6:,.0f} |")
    print("goals: p50 at most 30; p99 at most 250 at 1,000 records/s, 2,000 as fast as it goes")


def measure_inserts(count: int, rate: int | None) -> list[float]:
    """Return how long a commit of the same bytes takes when nothing else runs: the floor."""
    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(Path(folder, "floor.db"), isolation_level=None)
        with closing(connection):
            for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "wal_autocheckpoint = 0"):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute("CREATE TABLE records (seq INTEGER PRIMARY KEY, item BLOB)")
            insert = partial(connection.execute, "INSERT INTO records (item) VALUES (?)")
            items = [(metric.to_dynamodb_json(),) for metric in make_metrics(count)]
            return measure_calls(insert, items, rate)


def measure_puts(url: str, count: int, rate: int | None) -> list[float]:
    with open_ours(url, "journal") as client:
        warm_up(client)
        return measure_calls(client.put_ai_usage_metric, make_metrics(count), rate)


def measure_calls(
    call: Callable[[Any], object], arguments: Iterable[Any], rate: int | None
) -> list[float]:
    """Return how long each call takes, at so many a second; None is as fast as it goes."""
    waits = []
    next_at = time.perf_counter()
    for argument in arguments:
        if rate is not None:
            next_at += 1 / rate
            time.sleep(max(0.0, next_at - time.perf_counter()))
        started = time.perf_counter()
        call(argument)
        waits.append(time.perf_counter() - started)
    return waits


def bench_million(records: int) -> None:
    """Send so many records from a process of its own, and print what it took."""
    command = [sys.executable, __file__, "--child", "--records", str(records)]
    print(subprocess.run(command, check=True, capture_output=True, text=True).stdout, end="")


def run_child(records: int) -> None:
    """Put all of them while DynamoDB hangs, so that they pass the bound, then deliver them."""
    with (
        start_null_dynamodb() as server,
        open_ours(
            server.url,
            "journal",
            max_pending_bytes=MEMORY_BOUND,
            journal_max_bytes=4 * 1024**3,
            circuit_breaker_timeout=1.0,
        ) as client,
    ):
        warm_up(client)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        server.process.send_signal(signal.SIGSTOP)
        started = time.perf_counter()
        for metric in make_metrics(records):
            assert client.put_ai_usage_metric(metric)
        accepted, stats = time.perf_counter() - started, client.get_stats()
        server.process.send_signal(signal.SIGCONT)
        report = client.close(None)
        took = time.perf_counter() - started - accepted
        used = resource.getrusage(resource.RUSAGE_SELF)
    print(
        f"\n{records:,} records through {MEMORY_BOUND >> 20} MiB of memory while DynamoDB "
        f"hangs: accepted in {accepted:,.0f} s, {stats.pending_bytes / 2**20:.0f} MiB of them "
        f"queued and {stats.spilled:,} on disk alone; then {report.delivered - 1:,} delivered "
        f"in {took:,.0f} s; the process grew by {(used.ru_maxrss - before) / 1024:,.0f} MiB"
    )


def bench_idle(url: str, seconds: float = 3.0) -> None:
    """Print how often an idle client's threads wake up (Linux)."""
    with open_ours(url, "journal") as client:
        warm_up(client)
        time.sleep(0.5)  # Until the last of them has gone to sleep.
        threads = [thread for thread in threading.enumerate() if "dynamodb:" in thread.name]
        before = count_switches(threads)
        time.sleep(seconds)
        wakes = count_switches(threads) - before
    print(f"\nidle for {seconds:.0f} s: {len(threads)} threads asleep, {wakes} wake-ups")


def count_switches(threads: Sequence[threading.Thread]) -> int:
    total = 0
    for thread in threads:
        status = Path(f"/proc/self/task/{thread.native_id}/status")
        if status.exists():
            lines = status.read_text(encoding="utf-8").splitlines()
            total += sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--million", type=int, default=1_000_000, help="records of the long run")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    if arguments.child:
        run_child(arguments.records)
        return
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, Python "
        f"{platform.python_version()}, boto3 {boto3.__version__}"
    )
    with tempfile.TemporaryDirectory() as folder, start_null_dynamodb() as server:
        os.environ["AI_USAGE_JOURNAL_DIR"] = folder
        bench_cpu(server.url, arguments.rounds, arguments.records)
        bench_put(server.url, arguments.records * 2)
        bench_idle(server.url)
        if arguments.million:
            bench_million(arguments.million)


if __name__ == "__main__":
    main()
