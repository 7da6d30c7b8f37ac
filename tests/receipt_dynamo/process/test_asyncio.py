"""What waits for DynamoDB or for the disk leaves the event loop.

DynamoDB is healed by the loop alone: were that blocked, it would wait for ever.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from receipt_dynamo import AIUsageMetric, DynamoClient, ResilientDynamoClient
from receipt_dynamo.testing import FaultProxy, Stall
from support.programs import Program, name_ids, read_ids

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def client(table: DynamoClient, proxy: FaultProxy) -> Iterator[ResilientDynamoClient]:
    proxy.always(Stall())
    with ResilientDynamoClient(
        table.table_name, "us-east-1", endpoint_url=proxy.endpoint_url, batch_flush_interval=0
    ) as client:
        yield client


def make_metric(number: int) -> AIUsageMetric:
    return AIUsageMetric("openai", "gpt-4o", "completion", START, request_id=f"id-{number}")


async def finish_beside(work: Awaitable[Any], proxy: FaultProxy) -> Any:
    """Await ``work``, while the loop waits for its request and then lets it be answered."""
    task = asyncio.ensure_future(work)
    assert await asyncio.to_thread(proxy.wait_for_requests, 1)
    assert not task.done()
    proxy.heal()
    return await task


async def test_aflush_leaves_the_loop_free_while_dynamodb_stalls(
    client: ResilientDynamoClient, proxy: FaultProxy, table: DynamoClient
) -> None:
    assert await client.aput(make_metric(0))
    assert await finish_beside(client.aflush(60), proxy)
    assert read_ids(table) == name_ids(range(1))


async def test_aflush_with_a_deadline_returns_while_dynamodb_stalls(
    client: ResilientDynamoClient, proxy: FaultProxy, table: DynamoClient
) -> None:
    assert await client.aput(make_metric(0))
    assert not await client.aflush(0.05)
    assert client.get_stats().pending == 1
    proxy.heal()
    assert await client.aflush(60)


@pytest.mark.parametrize("closes", ["aclose", "async with"])
async def test_aclose_leaves_the_loop_free_while_dynamodb_stalls(
    client: ResilientDynamoClient, proxy: FaultProxy, table: DynamoClient, closes: str
) -> None:
    async def put_and_leave() -> None:
        async with client:
            assert await client.aput(make_metric(0))
            if closes == "aclose":
                await client.aclose(60)

    await finish_beside(put_and_leave(), proxy)
    assert read_ids(table) == name_ids(range(1))


@pytest.mark.parametrize(("durability", "leaves"), [("journal", False), ("journal-sync", True)])
async def test_a_commit_that_syncs_to_disk_leaves_the_loop(
    table: DynamoClient, durability: Any, leaves: bool
) -> None:
    target = table.target
    async with ResilientDynamoClient(
        target.table_name, "us-east-1", endpoint_url=target.endpoint_url, durability=durability
    ) as client:
        assert await client.aput(make_metric(0))
        threads: set[int] = set()
        journal = client._delivery._store._own.journal  # type: ignore[union-attr]
        journal._writer.set_progress_handler(lambda: threads.add(threading.get_ident()), 1)
        assert await client.aput(make_metric(1))
        journal._writer.set_progress_handler(None, 0)
    assert (threading.get_ident() not in threads) == leaves
    assert threads


@pytest.mark.parametrize("call", ["aflush(None)", "aclose(None)"])
def test_what_nobody_awaits_any_more_keeps_no_process_alive(
    make_program: Callable[..., Program], call: str
) -> None:
    """In an outage it would wait until that ends; only what is in the journal needs it."""
    done = make_program(
        f"""
        import asyncio, atexit
        from receipt_dynamo.data.delivery import lifecycle

        atexit.unregister(lifecycle.close_all)
        client = open_client()
        put(client, 1)

        async def main():
            try:
                await asyncio.wait_for(client.{call}, 0.1)
            except TimeoutError:
                print("gave up", flush=True)

        asyncio.run(main())
        print("asyncio has ended", flush=True)
        """,
        "http://127.0.0.1:9",
    ).run()
    assert (done.returncode, done.stdout) == (0, "gave up\nasyncio has ended\n")


def test_aflush_delivers_where_no_thread_can_be_started(
    run_well: Callable[[str], None], table: DynamoClient
) -> None:
    """A loop may run while the interpreter ends, on Python 3.12 and later without threads."""
    run_well(
        """
        import asyncio, atexit

        client = open_client(batch_flush_interval=60, durability="memory")
        put(client, 3)

        def refuse(thread):
            raise RuntimeError("can't create new thread at interpreter shutdown")

        def deliver():
            threading.Thread.start = refuse
            if not asyncio.run(client.aflush(30)):
                os._exit(1)
            os._exit(0)

        atexit.register(deliver)
        """
    )
    assert read_ids(table) == name_ids(range(3))
