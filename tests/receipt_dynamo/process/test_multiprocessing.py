"""Workers of multiprocessing end by os._exit, which skips atexit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from receipt_dynamo import DynamoClient
from support.programs import deliver_what_is_left, name_ids, read_ids

METHODS = ["spawn"] if sys.platform == "win32" else ["fork", "spawn", "forkserver"]


@pytest.mark.parametrize("method", METHODS)
def test_a_worker_that_just_ends_delivers_first(
    run_well: Callable[[str], None], table: DynamoClient, method: str
) -> None:
    """Whether it makes its client itself, inherits it, or makes it as its module is loaded."""
    run_well(
        f"""
        client = open_client(batch_flush_interval=60)

        import multiprocessing

        def use_that_of_the_module(number):
            put(client, 5, first=number)

        def use_its_own(number):
            put(open_client(batch_flush_interval=60, durability="memory"), 5, first=number)

        if __name__ == "__main__":
            context = multiprocessing.get_context({method!r})
            workers = [
                context.Process(target=use_that_of_the_module, args=(0,)),
                context.Process(target=use_its_own, args=(5,)),
            ]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join(60)
            assert [worker.exitcode for worker in workers] == [0, 0]
            in_table = DynamoClient(TABLE, "us-east-1", ENDPOINT)
            assert len(list(in_table.query_ai_usage_metrics_by_date("2026-03-01", "openai"))) == 10
        """
    )
    assert read_ids(table) == name_ids(range(10))


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no fork")
def test_a_worker_during_an_outage_ends_in_time_and_leaves_its_records_to_the_next_process(
    run_well: Callable[[str], None], table: DynamoClient
) -> None:
    run_well(
        """
        import logging, multiprocessing
        from receipt_dynamo.data.delivery import lifecycle

        client = open_client(batch_flush_interval=60)
        put(client, 1)
        assert client.flush(30)
        wait_for_proof(client)
        client.circuit_breaker.isolate()

        def work():
            lifecycle.close_all.__defaults__ = (0.3,)  # seconds, for 10
            logging.disable()
            put(client, 2, first=1)

        worker = multiprocessing.get_context("fork").Process(target=work)
        worker.start()
        worker.join(60)
        assert worker.exitcode == 0
        """
    )
    assert deliver_what_is_left(table) == 2
    assert read_ids(table) == name_ids(range(3))


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no fork")
def test_a_worker_that_alone_imports_the_package_delivers_first(
    tmp_path: Path, table: DynamoClient
) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        """
import multiprocessing, sys

def work():
    from datetime import UTC, datetime
    from receipt_dynamo import AIUsageMetric, ResilientDynamoClient

    client = ResilientDynamoClient(sys.argv[1], "us-east-1", endpoint_url=sys.argv[2])
    start = datetime(2026, 3, 1, 12, tzinfo=UTC)
    metric = AIUsageMetric("openai", "gpt-4o", "completion", start, request_id="id-0")
    assert client.put_ai_usage_metric(metric)

worker = multiprocessing.get_context("fork").Process(target=work)
worker.start()
worker.join(60)
sys.exit(worker.exitcode or "receipt_dynamo" in sys.modules)
""",
        encoding="utf-8",
    )
    target = table.target
    command = [sys.executable, str(program), target.table_name, str(target.endpoint_url)]
    subprocess.run(command, check=True, timeout=100)
    assert read_ids(table) == ["id-0"]


def test_the_package_does_not_import_multiprocessing() -> None:
    """Who has no workers does not pay for it."""
    code = """if True:
        import sys
        import receipt_dynamo.data.delivery.lifecycle
        sys.exit('multiprocessing' in sys.modules)
        """
    subprocess.run([sys.executable, "-c", code], check=True)
