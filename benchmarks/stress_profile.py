"""The stress profile: a DynamoDB that gets slower and shorter of capacity as records arrive.

The DynamoDB (moto's server behind the fault proxy) runs in a process of its own, so that
it does not share the interpreter lock with the caller that is measured.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from receipt_dynamo import AIUsageMetric, DynamoClient

CREDENTIALS = {"aws_access_key_id": "bench", "aws_secret_access_key": "bench"}
REGION = "us-east-1"
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Phase:
    """So many records arrive at a DynamoDB with this latency and this share of throttles."""

    records: int
    latency: float
    throttled_share: float


PHASES = (Phase(500, 0.001, 0.0), Phase(1_000, 0.010, 0.10), Phase(2_000, 0.050, 0.25))


@dataclass(frozen=True)
class World:
    """The process that plays DynamoDB, and the way to make it worse."""

    endpoint_url: str
    process: subprocess.Popen[str]

    def enter(self, phase: Phase) -> None:
        """Have the DynamoDB behave as in ``phase`` from now on."""
        self._say(f"{phase.latency} {phase.throttled_share}")

    def heal(self) -> None:
        """Have the DynamoDB behave at its best."""
        self._say("0 0")

    def _say(self, line: str) -> None:
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("the DynamoDB process has no pipes")
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        self.process.stdout.readline()  # It has taken effect.


@contextmanager
def start_world() -> Iterator[World]:
    """Start the DynamoDB process."""
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve()), "serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            if process.stdout is None:
                raise RuntimeError("the DynamoDB process has no pipes")
            yield World(process.stdout.readline().strip(), process)
        finally:
            process.terminate()


def serve() -> None:
    """Play DynamoDB until the parent ends it; one line on stdin for each change."""
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    from receipt_dynamo.testing import FaultProxy, Latency, Throttle, UnprocessedItems

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with FaultProxy(f"http://{host}:{port}", seed=1) as proxy:
        sys.stdout.write(proxy.endpoint_url + "\n")
        sys.stdout.flush()
        for line in sys.stdin:
            latency, share = map(float, line.split())
            proxy.heal()
            if latency:
                proxy.always(Latency(latency))
            if share:
                # A batch is throttled by the record, a single put as a whole.
                proxy.always(UnprocessedItems(share=share), operations=("BatchWriteItem",))
                proxy.always(Throttle(), share=share, operations=("PutItem",))
            sys.stdout.write("\n")
            sys.stdout.flush()


def make_records(first: int, count: int) -> list[AIUsageMetric]:
    """Return records as a service writes them, each with a key of its own."""
    return [
        AIUsageMetric(
            "openai",
            "gpt-4o-mini",
            "completion",
            START + timedelta(seconds=number),
            request_id=f"chatcmpl-{number}",
            input_tokens=1_200,
            output_tokens=340,
            cost_usd="0.000384",
            latency_ms=820,
            user_id="user-42",
            job_id=f"job-{number // 100}",
            environment="production",
        )
        for number in range(first, first + count)
    ]


@dataclass(frozen=True)
class StressResult:
    """What one contender did under the profile.

    Attributes:
        rates: Records a second that the caller got rid of, in each phase.
        offered: Records that the caller handed over.
        rows: Rows found in the table after the drain.
        drain_seconds: From the last record handed over to the last one settled.
    """

    rates: tuple[float, ...]
    offered: int
    rows: int
    drain_seconds: float

    @property
    def kept(self) -> float:
        """Late throughput over early throughput."""
        return self.rates[-1] / self.rates[0]


def run_profile(
    world: World,
    table_name: str,
    put: Callable[[AIUsageMetric], object],
    drain: Callable[[], object],
    *,
    phases: Sequence[Phase] = PHASES,
    longest_phase: float = float("inf"),
) -> StressResult:
    """Hand the records of each phase to ``put`` from this thread, then drain and count rows.

    Args:
        world: The DynamoDB.
        table_name: A table that does not exist yet.
        put: Takes one record; a failure that it raises loses the record.
        drain: Returns when nothing is pending.
        phases: What DynamoDB does in turn.
        longest_phase: Seconds after which a phase is cut short, for slow contenders.
    """
    world.heal()
    reader = DynamoClient(table_name, client=make_patient_client(world.endpoint_url))
    reader.create_table()
    put(make_records(0, 1)[0])  # Connections and lazy imports are not what is measured.
    drain()
    offered, rates = 1, []
    for phase in phases:
        records = make_records(offered, phase.records)
        world.enter(phase)
        done, seconds = _hand_over(records, put, longest_phase)
        rates.append(done / seconds)
        offered += done
    started = time.perf_counter()
    drain()
    drain_seconds = time.perf_counter() - started
    world.heal()
    rows = sum(1 for _ in reader.query_ai_usage_costs_by_date(START, START + timedelta(days=1)))
    return StressResult(tuple(rates), offered, rows, drain_seconds)


def make_patient_client(url: str) -> Any:
    """Return a boto3 client that waits: moto takes 7 s and more for one page of 3,500 rows."""
    config = Config(read_timeout=120)
    return boto3.client(
        "dynamodb", region_name=REGION, endpoint_url=url, config=config, **CREDENTIALS
    )


def _hand_over(
    records: list[AIUsageMetric], put: Callable[[AIUsageMetric], object], longest: float
) -> tuple[int, float]:
    started = time.perf_counter()
    done = 0
    while done < len(records) and time.perf_counter() - started <= longest:
        put(records[done])
        done += 1
    return done, time.perf_counter() - started


if __name__ == "__main__":
    serve()
