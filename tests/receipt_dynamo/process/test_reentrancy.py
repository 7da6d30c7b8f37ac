"""Code of the user's that runs inside of ours: finalizers, listeners, log handlers.

The garbage collector runs a finalizer in whatever thread comes along, between any two steps,
inside of locks too.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from receipt_dynamo import AIUsageMetric, DynamoClient, ResilientDynamoClient
from receipt_dynamo.data.delivery.admission import Admission
from receipt_dynamo.data.delivery.backlog import Backlog
from receipt_dynamo.data.delivery.events import DeliveryEvent, DeliveryEventKind
from receipt_dynamo.data.delivery.ledger import Ledger
from receipt_dynamo.data.delivery.record_store import RecordStore
from receipt_dynamo.data.delivery.sender import BatchSender
from receipt_dynamo.data.journal.journal import Journal
from receipt_dynamo.testing import FaultProxy, Stall
from receipt_dynamo.utils.batch.buffer import BatchBuffer
from support.lockstep import at_each_step
from support.programs import Program, name_ids, read_ids

PATIENCE = 60.0
MOST_STEPS = 150


class Puts:
    """Puts records with a client, each with a number of its own."""

    def __init__(self, client: ResilientDynamoClient) -> None:
        self.client = client
        self.count = 0
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            number, self.count = self.count, self.count + 1
        start = datetime(2026, 3, 1, 12, tzinfo=UTC)
        metric = AIUsageMetric("openai", "gpt-4o", "completion", start, request_id=f"id-{number}")
        assert self.client.put_ai_usage_metric(metric)

    def check(self, table: DynamoClient) -> None:
        """Assert that each record is there and counted once."""
        stats = self.client.get_stats()
        assert (stats.accepted, stats.delivered, stats.pending) == (self.count, self.count, 0)
        assert stats.undurable == stats.journal_bytes == 0
        assert read_ids(table) == name_ids(range(self.count))

    def settle(self) -> None:
        """Flush until nobody puts any more."""
        count = -1
        while count != self.count:
            count = self.count
            assert self.client.flush(PATIENCE)


@pytest.fixture
def puts(table: DynamoClient) -> Iterator[Puts]:
    target = table.target
    with ResilientDynamoClient(
        target.table_name,
        "us-east-1",
        endpoint_url=target.endpoint_url,
        batch_flush_interval=0,
        max_pending_records=2,  # The rest is on disk alone, and must be found there.
    ) as client:
        yield Puts(client)


def test_a_finalizer_that_puts_while_a_sender_deletes_does_not_deadlock_with_another_put(
    run_well: Callable[[str], None], table: DynamoClient
) -> None:
    """The sender is inside of the journal; the other put waits for that inside of its own lock."""
    run_well(
        """
        import gc, time

        signal.alarm(60)
        client = open_client(batch_flush_interval=0)
        put(client, 1)
        assert client.flush(30)
        wait_for_proof(client)
        delivery, main = client._delivery, threading.main_thread()
        journal = delivery._store._own.journal
        other = threading.Thread(target=put, args=(client, 1, 2))

        class Cycle:
            def __init__(self):
                self.me = self

            def __del__(self):
                put(client, 1, first=3)

        def interrupt():
            if threading.current_thread() is main or other.ident is not None:
                return
            other.start()
            # Until the other put is inside of its lock.
            while delivery._store._lock.acquire(blocking=False):
                delivery._store._lock.release()
                time.sleep(0.001)
            Cycle()
            gc.collect()

        journal._writer.set_progress_handler(interrupt, 1)
        put(client, 1, first=1)
        while other.ident is None:
            time.sleep(0.001)
        other.join()
        assert client.flush(30)
        assert client.close(30).delivered == 4
        """
    )
    assert read_ids(table) == name_ids(range(4))


@pytest.mark.parametrize(
    "method",
    [
        Admission._admit,
        RecordStore.accept,
        RecordStore._take_in,
        Backlog.append,
        Journal.append,
        Ledger.count,
    ],
    ids=lambda method: method.__qualname__,
)
def test_a_finalizer_that_puts_at_any_step_of_a_put_loses_and_doubles_nothing(
    puts: Puts, table: DynamoClient, method: Callable[..., Any]
) -> None:
    interrupt_each_step(puts, method, threading.current_thread().name, puts)
    puts.check(table)


@pytest.mark.parametrize(
    "method",
    [Journal._change, Ledger.count, RecordStore.settle, BatchBuffer.settle_batch],
    ids=lambda method: method.__qualname__,
)
def test_a_finalizer_that_puts_at_any_step_of_a_sender_loses_and_doubles_nothing(
    puts: Puts, table: DynamoClient, method: Callable[..., Any]
) -> None:
    interrupt_each_step(puts, method, f"dynamodb:{table.table_name}-worker", puts)
    puts.check(table)


@pytest.mark.parametrize(
    "method",
    [BatchSender._write_once, BatchSender._record_reply],
    ids=lambda method: method.__qualname__,
)
def test_a_finalizer_that_asks_for_the_figures_at_any_step_does_not_deadlock(
    puts: Puts, table: DynamoClient, method: Callable[..., Any]
) -> None:
    interrupt_each_step(puts, method, f"dynamodb:{table.table_name}-worker", puts.client.get_stats)


@pytest.mark.parametrize(
    "method",
    [RecordStore.accept, RecordStore._take_in, Journal.append],
    ids=lambda method: method.__qualname__,
)
def test_what_flushes_at_any_step_of_a_put_does_not_wait_for_itself(
    puts: Puts, table: DynamoClient, method: Callable[..., Any]
) -> None:
    """As a signal handler might; the sender that it would wait for waits for the put's lock."""
    where = threading.current_thread().name
    interrupt_each_step(puts, method, where, lambda: puts.client.flush(PATIENCE))
    puts.check(table)


def interrupt_each_step(
    puts: Puts, method: Callable[..., Any], where: str, action: Callable[[], object]
) -> None:
    """Put a record, and call ``action`` before each byte code of a method in one thread."""
    steps = 0

    def interrupt() -> None:
        nonlocal steps
        if threading.current_thread().name == where and steps < MOST_STEPS:
            steps += 1
            action()

    with at_each_step(method, interrupt):
        puts()
        puts.settle()
    puts.settle()
    assert steps > 10


def test_a_log_handler_that_puts_does_not_deadlock(puts: Puts, table: DynamoClient) -> None:
    """Such as one that records each error in the table, or asks for the figures."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if puts.count < 20:
                puts()
                puts.client.get_stats()
                puts.client.flush(PATIENCE)

    def fail(event: DeliveryEvent) -> None:
        raise ValueError

    logger, handler = logging.getLogger("receipt_dynamo"), Handler()
    logger.addHandler(handler)
    puts.client.add_listener(fail)  # That is logged, in the sender.
    try:
        puts()
        puts.settle()
    finally:
        logger.removeHandler(handler)
    puts.settle()
    assert puts.count > 1
    assert read_ids(table) == name_ids(range(puts.count))


def test_a_listener_may_put_ask_and_flush(puts: Puts, table: DynamoClient) -> None:
    """What it flushes for would have to wait for the listener: it does not wait."""
    told: list[DeliveryEventKind] = []
    enough = threading.Event()

    def listen(event: DeliveryEvent) -> None:
        told.append(event.kind)
        if puts.count < 20:
            puts()
        else:
            enough.set()
        assert puts.client.get_stats().accepted >= puts.count
        puts.client.flush()

    puts.client.add_listener(listen)
    puts()
    assert enough.wait(PATIENCE)  # The flush below does not wait for listeners.
    puts.settle()
    assert puts.count == 20
    assert set(told) == {DeliveryEventKind.DELIVERED}
    assert read_ids(table) == name_ids(range(20))


def test_listeners_that_flush_in_a_sender_and_in_the_adoption_do_not_wait_for_each_other(
    make_program: Callable[..., Program], table: DynamoClient, moto_endpoint: str
) -> None:
    with FaultProxy(moto_endpoint) as proxy:
        program = """
            client = open_client(batch_flush_interval=60)
            put(client, 1, first=1)
            wait_for_proof(client)
            os.kill(os.getpid(), signal.SIGKILL)
            """
        assert make_program(program, proxy.endpoint_url).run().returncode == -signal.SIGKILL
        proxy.always(Stall(), operations=["DescribeTable"])
        target = table.target
        client = ResilientDynamoClient(
            target.table_name, "us-east-1", endpoint_url=proxy.endpoint_url, batch_flush_interval=0
        )
        looks, told, flushed = client._delivery._chores.looks, threading.Event(), threading.Event()

        def listen(event: DeliveryEvent) -> None:
            if event.kind is DeliveryEventKind.DELIVERED:
                told.set()
            client.flush()
            flushed.set()

        client.add_listener(listen)
        puts = Puts(client)
        puts()
        assert told.wait(PATIENCE)
        while not (looks._flushers or flushed.is_set()):
            flushed.wait(0.01)
        proxy.heal()
        assert client.flush(PATIENCE)
        assert client.close().delivered == 2
    assert read_ids(table) == name_ids(range(2))
