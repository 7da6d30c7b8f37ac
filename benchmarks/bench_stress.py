"""What a caller keeps of its throughput while DynamoDB gets slow and throttles.

Three ways to write the same records, in interleaved rounds of one run: boto3 in the
caller's thread, the same with botocore's adaptive retries, and ResilientDynamoClient.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from contextlib import suppress

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from receipt_dynamo import AIUsageMetric, ResilientDynamoClient
from stress_profile import CREDENTIALS, REGION, StressResult, World, run_profile, start_world

Contender = Callable[[World, str, float], StressResult]


def run_boto3(world: World, table_name: str, longest_phase: float, **retries: str) -> StressResult:
    """Write each record by put_item in the caller's thread."""
    client = boto3.client(
        "dynamodb",
        region_name=REGION,
        endpoint_url=world.endpoint_url,
        config=Config(retries=retries) if retries else None,  # type: ignore[arg-type]
        **CREDENTIALS,
    )

    def put(metric: AIUsageMetric) -> None:
        # A record whose put fails is lost; the row count shows it.
        with suppress(BotoCoreError, ClientError):
            client.put_item(TableName=table_name, Item=metric.to_dynamodb_item())

    return run_profile(world, table_name, put, lambda: None, longest_phase=longest_phase)


def run_adaptive(world: World, table_name: str, longest_phase: float) -> StressResult:
    """Write each record by put_item with botocore's client-side rate limiting."""
    return run_boto3(world, table_name, longest_phase, mode="adaptive")


def run_ours(world: World, table_name: str, longest_phase: float) -> StressResult:
    """Hand each record to ResilientDynamoClient."""
    with ResilientDynamoClient(
        table_name, REGION, endpoint_url=world.endpoint_url, **CREDENTIALS
    ) as client:
        return run_profile(
            world,
            table_name,
            client.put_ai_usage_metric,
            client.flush,
            longest_phase=longest_phase,
        )


CONTENDERS: dict[str, Contender] = {
    "boto3 put_item": run_boto3,
    "boto3 put_item, adaptive": run_adaptive,
    "ResilientDynamoClient": run_ours,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--longest-phase", type=float, default=10.0, help="seconds; slow contenders are cut there"
    )
    arguments = parser.parse_args()
    results: dict[str, list[StressResult]] = {name: [] for name in CONTENDERS}
    for number in range(arguments.rounds):
        for index, (name, contender) in enumerate(CONTENDERS.items()):
            with start_world() as world:
                table_name = f"stress-test-table-{number}-{index}"
                results[name].append(contender(world, table_name, arguments.longest_phase))
            print(f"round {number + 1}: {name}: kept {results[name][-1].kept:.1%}", flush=True)
    print_table(results)


def print_table(results: dict[str, list[StressResult]]) -> None:
    """Print the medians, and every round's rows."""
    print("\n| | early, records/s | late, records/s | late / early | rows / offered | drain, s |")
    print("|---|---|---|---|---|---|")
    for name, rounds in results.items():
        early = statistics.median(result.rates[0] for result in rounds)
        late = statistics.median(result.rates[-1] for result in rounds)
        kept = statistics.median(result.kept for result in rounds)
        rows = ", ".join(f"{result.rows}/{result.offered}" for result in rounds)
        drain = statistics.median(result.drain_seconds for result in rounds)
        print(f"| {name} | {early:,.0f} | {late:,.0f} | {kept:.1%} | {rows} | {drain:.1f} |")
    print("\nMedians of the rounds. Goal: late / early of 95 % or more, and every row found.")


if __name__ == "__main__":
    main()
