"""Directing the proxy: script, shares, schedule, healing, outages, stopping."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError, HTTPClientError

from receipt_dynamo.testing import (
    ErrorReply,
    Fault,
    FaultProxy,
    Latency,
    LostReply,
    Reset,
    Stall,
    Throttle,
    UnprocessedItems,
)


def put_status(caller: Any, key: str = "a") -> int:
    """Return the HTTP status of one put, 0 when there was no reply."""
    try:
        return int(caller.put(key)["ResponseMetadata"]["HTTPStatusCode"])
    except ClientError as error:
        return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
    except HTTPClientError:
        return 0


def count_connections(proxy: FaultProxy) -> int:
    return len(proxy._connections)


def test_a_script_is_applied_in_order_and_then_ends(proxy: FaultProxy, caller: Any) -> None:
    proxy.script(Throttle(), None, ErrorReply(503, "ServiceUnavailable"))
    proxy.script(LostReply())
    assert [put_status(caller) for _ in range(6)] == [400, 200, 503, 0, 200, 200]


def test_a_scripted_pass_is_not_met_by_a_standing_fault(proxy: FaultProxy, caller: Any) -> None:
    proxy.always(Throttle())
    proxy.script(None, ErrorReply(500))
    assert [put_status(caller) for _ in range(3)] == [200, 500, 400]


def test_faults_meet_writes_only_unless_told_otherwise(proxy: FaultProxy, caller: Any) -> None:
    proxy.always(Throttle())
    assert caller.client.scan(TableName=caller.table_name)["Count"] == 0
    proxy.heal()
    proxy.always(Throttle(), operations=("Scan",))
    assert put_status(caller) == 200
    with pytest.raises(ClientError, match="ProvisionedThroughputExceeded"):
        caller.client.scan(TableName=caller.table_name)


def test_a_script_for_one_operation_waits_for_it(proxy: FaultProxy, caller: Any) -> None:
    proxy.script(Throttle(), operations=("BatchWriteItem",))
    proxy.script(ErrorReply(500), operations=("PutItem",))
    assert [put_status(caller), put_status(caller)] == [500, 200]
    with pytest.raises(ClientError, match="ProvisionedThroughputExceeded"):
        caller.write_batch(2)


def test_a_share_is_kept_and_the_same_seed_gives_the_same_faults(
    moto_endpoint: str, caller: Any
) -> None:
    def run(seed: int) -> list[int]:
        with FaultProxy(moto_endpoint, seed=seed) as proxy:
            proxy.always(Throttle(), share=0.3)
            client = boto3.client(
                "dynamodb",
                endpoint_url=proxy.endpoint_url,
                config=Config(retries={"total_max_attempts": 1}),
            )
            caller.client.close()
            caller.client = client
            return [put_status(caller) for _ in range(60)]

    first = run(1)
    assert first == run(1) != run(2)
    assert Counter(first)[400] == pytest.approx(18, abs=9)


def test_latency_combines_with_a_fault(proxy: FaultProxy, caller: Any) -> None:
    proxy.always(Latency(0.001))
    proxy.always((Latency(0.002), Throttle()))
    proxy.always(ErrorReply(500))
    assert put_status(caller) == 400
    assert proxy.requests[-1].faults == (Latency(0.001), Latency(0.002), Throttle())


def test_heal_forgets_everything_at_once(proxy: FaultProxy, caller: Any) -> None:
    proxy.script(Throttle(), Throttle())
    proxy.always(Throttle())
    proxy.schedule(lambda seen: Throttle())
    proxy.heal()
    assert put_status(caller) == 200


def test_heal_releases_a_stalled_reply(proxy: FaultProxy, caller: Any) -> None:
    proxy.always(Stall())
    with ThreadPoolExecutor(1) as pool:
        reply = pool.submit(put_status, caller)
        assert proxy.wait_for_requests(1)
        assert not reply.done()
        proxy.heal()
        assert reply.result(30) == 200


def test_heal_ends_a_latency(proxy: FaultProxy, caller: Any) -> None:
    entered = threading.Event()

    def delay(seen: int) -> Fault:
        entered.set()
        return Latency(3600)

    proxy.schedule(delay)
    with ThreadPoolExecutor(1) as pool:
        reply = pool.submit(put_status, caller)
        assert entered.wait(30)
        proxy.heal()
        assert reply.result(30) == 200


def test_a_schedule_follows_the_records_that_arrived(proxy: FaultProxy, caller: Any) -> None:
    seen_counts: list[int] = []

    def faults_for(seen: int) -> Sequence[Fault]:
        seen_counts.append(seen)
        return () if seen < 30 else (Latency(0.001), UnprocessedItems(count=5))

    proxy.schedule(faults_for)
    left = [len(caller.write_batch(10, f"{n}-")["UnprocessedItems"]) for n in range(3)]
    assert left == [0, 0, 0]
    assert put_status(caller) == 400
    assert caller.write_batch(10)["UnprocessedItems"] != {}
    assert seen_counts == [0, 10, 20, 30, 31]


def test_a_schedule_may_direct_the_proxy_itself(proxy: FaultProxy, caller: Any) -> None:
    """The function is called without a lock, in the connection's own thread."""

    def fall_at_20(seen: int) -> Sequence[Fault]:
        if seen >= 20:
            proxy.down()
        return ()

    proxy.schedule(fall_at_20)
    caller.write_batch(20)
    assert put_status(caller) == 0
    with pytest.raises(EndpointConnectionError):
        caller.put()
    assert "a" not in caller.stored
    proxy.heal()
    proxy.up()
    assert put_status(caller) == 200


def test_down_refuses_and_up_accepts_on_the_same_port(proxy: FaultProxy, caller: Any) -> None:
    url = proxy.endpoint_url
    for _ in range(3):
        assert put_status(caller) == 200
        proxy.down()
        proxy.down()
        with pytest.raises(EndpointConnectionError):
            caller.put()
        proxy.up()
        proxy.up()
    assert put_status(caller) == 200
    assert proxy.endpoint_url == url


def test_down_resets_open_connections(proxy: FaultProxy) -> None:
    port = int(proxy.endpoint_url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(b"POST / HTTP/1.1\r\nContent-Le")
        proxy.down()
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_down_interrupts_a_write_that_waits(proxy: FaultProxy, caller: Any) -> None:
    proxy.always(Stall())
    with ThreadPoolExecutor(1) as pool:
        reply = pool.submit(put_status, caller)
        assert proxy.wait_for_requests(1)
        proxy.down()
        assert reply.result(30) == 0


def test_faults_survive_an_outage(proxy: FaultProxy, caller: Any) -> None:
    proxy.always(Throttle())
    proxy.down()
    proxy.up()
    assert put_status(caller) == 400


def test_nobody_else_gets_the_port_during_an_outage(proxy: FaultProxy) -> None:
    port = int(proxy.endpoint_url.rpartition(":")[2])
    proxy.down()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))


def test_connections_are_kept_alive_through_error_replies(proxy: FaultProxy, caller: Any) -> None:
    caller.put()
    (connection,) = proxy._connections
    proxy.script(Throttle(), ErrorReply(500), UnprocessedItems(count=1), Latency(0.001))
    for _ in range(5):
        put_status(caller)
    assert set(proxy._connections) == {connection}


def test_a_fault_ends_one_connection_only(proxy: FaultProxy, caller: Any) -> None:
    port = int(proxy.endpoint_url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)):
        proxy.script(Reset())
        assert put_status(caller) == 0
        assert put_status(caller) == 200
        assert count_connections(proxy) == 2


def test_eight_threads_write_at_once_and_each_gets_its_own_reply(
    proxy: FaultProxy, caller: Any
) -> None:
    caller.client.close()
    caller.client = boto3.client(
        "dynamodb",
        endpoint_url=proxy.endpoint_url,
        config=Config(retries={"total_max_attempts": 1}, max_pool_connections=8),
    )
    proxy.always(UnprocessedItems(share=0.2))
    start = threading.Barrier(8)

    def write(worker: int) -> set[str]:
        start.wait(30)
        kept: set[str] = set()
        for number in range(10):
            prefix = f"{worker}-{number}-"
            left = caller.write_batch(5, prefix)["UnprocessedItems"].get(caller.table_name, [])
            keys = {write["PutRequest"]["Item"]["PK"]["S"] for write in left}
            assert all(key.startswith(prefix) for key in keys)
            kept |= {f"{prefix}{n}" for n in range(5)} - keys
        return kept

    with ThreadPoolExecutor(8) as pool:
        kept = set().union(*pool.map(write, range(8)))
    assert caller.stored == kept
    writes = [entry for entry in proxy.requests if entry.operation == "BatchWriteItem"]
    assert len(writes) == 80
    assert sum(entry.items for entry in writes) == 400


def test_the_log_tells_what_was_done(moto_endpoint: str, caller: Any) -> None:
    times = iter([1.5, 2.5, 3.5])
    with FaultProxy(moto_endpoint, clock=lambda: next(times)) as proxy:
        caller.client.close()
        caller.client = boto3.client(
            "dynamodb",
            endpoint_url=proxy.endpoint_url,
            config=Config(retries={"total_max_attempts": 1}),
        )
        proxy.script(None, Throttle(), LostReply())
        caller.write_batch(3)
        put_status(caller)
        put_status(caller)
        log = proxy.requests
    assert [(e.operation, e.items, e.faults, e.status, e.at) for e in log] == [
        ("BatchWriteItem", 3, (), 200, 1.5),
        ("PutItem", 1, (Throttle(),), 400, 2.5),
        ("PutItem", 1, (LostReply(),), None, 3.5),
    ]


def test_waiting_for_requests_that_do_not_come_ends(proxy: FaultProxy) -> None:
    assert not proxy.wait_for_requests(1, timeout=0)
    assert proxy.wait_for_requests(0, timeout=0)
