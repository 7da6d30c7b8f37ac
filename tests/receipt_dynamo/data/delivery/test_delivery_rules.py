"""Delivery on a simulated machine: the rules that hold when disk, table or records are bad."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from receipt_dynamo.data.delivery import record_store
from receipt_dynamo.data.delivery.backlog import PendingRecord
from receipt_dynamo.data.delivery.delivery import Delivery
from receipt_dynamo.data.delivery.ledger import Ledger
from receipt_dynamo.data.delivery.misconfiguration import LONGEST_HOLD
from receipt_dynamo.data.delivery.pacing import FLOOR, STEP
from receipt_dynamo.data.delivery.record_store import RecordStore
from receipt_dynamo.data.delivery.reports import DeliveryReport, Fate
from receipt_dynamo.data.delivery.settings import DeliverySettings
from receipt_dynamo.testing import ErrorReply, Throttle
from receipt_dynamo.utils.batch_queue import BatchQueue
from support.lockstep import at_each_step
from support.simulation.disk import DELETE, INSERT, READ
from support.simulation.host import take_turn
from support.simulation.machine import Simulation, make_item, read_number, run_for


@pytest.fixture
def simulation(tmp_path: Path) -> Simulation:
    return Simulation(tmp_path / "journal")


def open_delivery(simulation: Simulation, **settings: Any) -> Delivery:
    return simulation.open(DeliverySettings(**{"durability": "journal", **settings}))


def put(delivery: Delivery, *numbers: int, **attributes: str) -> list[DeliveryReport]:
    reports: list[DeliveryReport] = []
    for number in numbers:
        key, body = make_item(number, **attributes)
        assert delivery.accept(key, body, reports.append) is None
    return reports


def read_numbers(simulation: Simulation) -> list[int]:
    return sorted(read_number(row) for row in simulation.table.rows.values())


@pytest.mark.parametrize("durability", ["journal", "memory"])
@pytest.mark.parametrize(
    "method",
    [RecordStore._take_in, BatchQueue.add_item, Ledger.count],
    ids=lambda method: method.__qualname__,
)
def test_accepted_is_never_seen_to_shrink_and_the_accounts_hold_at_each_look(
    simulation: Simulation, method: Callable[..., Any], durability: str
) -> None:
    """It was counted before the queue had said whether there was room, and taken back."""
    delivery = open_delivery(
        simulation, durability=durability, max_pending_records=2, journal_max_bytes=1_000
    )
    seen = [delivery.get_stats()]

    def look() -> None:
        seen.append(delivery.get_stats())

    with at_each_step(method, look):
        answers = [delivery.accept(*make_item(number), None) for number in range(12)]
    assert "full" in answers
    assert delivery.flush(60.0)
    look()
    assert len(seen) > 20
    for earlier, later in itertools.pairwise(seen):
        assert earlier.accepted <= later.accepted
        assert 0 <= later.pending == later.accepted - later.delivered
    assert (seen[-1].accepted, seen[-1].pending) == (answers.count(None), 0)
    delivery.close(0.0)


def test_a_caller_at_the_bound_of_a_broken_disk_is_answered(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is delivered cannot be deleted: to try that again and again made the caller hang."""
    monkeypatch.setattr(record_store, "DELETES_AT_ONCE", 1)
    delivery = open_delivery(simulation, journal_max_bytes=400)
    put(delivery, 1)
    simulation.disk.deny(DELETE)
    assert delivery.flush(60.0)
    refusals = [delivery.accept(*make_item(number), None) for number in range(2, 10)]
    assert "full" in refusals
    simulation.disk.deny()
    put(delivery, 10)
    assert delivery.close(60.0).pending == 0


def test_dropping_the_oldest_ends_when_the_disk_gives_no_room_for_it(
    simulation: Simulation,
) -> None:
    """All that memory held was dropped for one record, which was refused after all."""
    delivery = open_delivery(simulation, journal_max_bytes=2_000, overflow="drop_oldest")
    put(delivery, *range(20))
    before = delivery.get_stats()
    assert before.dropped > 0
    simulation.disk.deny(DELETE)
    assert delivery.accept(*make_item(20), None) == "full"
    assert delivery.get_stats().dropped == before.dropped + 1
    simulation.disk.deny()
    put(delivery, 21)
    assert delivery.close(60.0).pending == 0


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many records were asked for, each time that the disk was asked."""
    found: list[int] = []
    take = RecordStore.take

    def count(store: RecordStore, limit: int) -> list[PendingRecord]:
        found.append(limit)
        assert len(found) < 1_000
        return take(store, limit)

    monkeypatch.setattr(RecordStore, "take", count)
    return found


def test_a_flush_of_what_cannot_be_read_from_disk_waits_with_pauses(
    simulation: Simulation, reads: list[int]
) -> None:
    """It asked the disk without a pause, which took a whole core."""
    delivery = open_delivery(simulation, max_pending_records=2)
    put(delivery, *range(10))
    assert delivery.get_stats().spilled > 0
    simulation.disk.deny(READ)
    assert not delivery.flush(60.0)
    assert 5 < len(reads) < 200
    simulation.disk.deny()
    assert delivery.flush(60.0)
    assert read_numbers(simulation) == list(range(10))
    delivery.close(0.0)


def test_what_cannot_be_read_from_disk_is_asked_for_with_pauses_while_others_wait(
    simulation: Simulation, reads: list[int]
) -> None:
    """The thread for chores asked for it again at once, for ever."""
    delivery = open_delivery(simulation, max_pending_records=10, batch_size=3)
    put(delivery, *range(20))
    simulation.disk.deny(READ)
    run_for(delivery, simulation.host, 10.0)
    simulation.table.always(ErrorReply(400, "AccessDeniedException", "no"))
    put(delivery, 20)
    run_for(delivery, simulation.host, 3_600.0)
    assert len(reads) < 600  # every 30 s at last, and a little more often at first
    simulation.disk.deny()
    simulation.table.heal()
    assert delivery.flush(600.0)
    assert read_numbers(simulation) == list(range(21))
    delivery.close(0.0)


def test_a_row_of_bad_records_does_not_keep_the_good_ones_waiting(simulation: Simulation) -> None:
    """More than a batch of them looks like a wrong table, until another record is written."""
    delivery = open_delivery(simulation)
    bad = put(delivery, *range(60), poison="Type mismatch for index key")
    assert not delivery.flush(120.0)
    assert delivery.get_stats().pending == 60
    put(delivery, 60, 61)
    delivery.flush(LONGEST_HOLD)
    assert read_numbers(simulation) == [60, 61]
    put(delivery, 62)
    assert delivery.flush(LONGEST_HOLD)
    assert {report.fate for report in bad} == {Fate.DEAD}
    assert (delivery.get_stats().dead, delivery.get_stats().pending) == (60, 0)
    delivery.close(0.0)


def test_what_a_dead_process_left_does_not_replace_what_this_one_accepted(
    simulation: Simulation,
) -> None:
    dead = open_delivery(simulation)
    put(dead, 0)
    assert dead.flush(60.0)
    assert dead._chores.looks.flush(0.0) or dead._chores.looks.flush(1.0)
    put(dead, 1, name="same")
    simulation.disk.crash()
    delivery = open_delivery(simulation)
    reports = put(delivery, 2, name="same")
    assert delivery.flush(60.0)
    assert delivery.get_stats().adopted == 1
    assert [report.fate for report in reports] == [Fate.DELIVERED]
    assert read_numbers(simulation) == [0, 2]
    delivery.close(0.0)


def test_a_dead_letter_that_comes_back_does_not_replace_a_newer_record(
    simulation: Simulation,
) -> None:
    delivery = open_delivery(simulation, batch_size=1)
    simulation.table.always(
        ErrorReply(400, "ValidationException", "The provided key does not match")
    )
    put(delivery, 1, name="same")
    run_for(delivery, simulation.host, 0.0)
    assert delivery.get_stats().dead == 1
    put(delivery, 2, 3)
    put(delivery, 4, name="same")
    run_for(delivery, simulation.host, 0.0)
    assert (delivery.get_stats().dead, delivery.get_stats().pending) == (0, 4)
    simulation.table.heal()
    assert delivery.flush(60.0)
    assert read_numbers(simulation) == [2, 3, 4]
    delivery.close(0.0)


def test_a_dead_letter_that_stands_for_a_record_on_disk_and_one_in_memory_is_one_account(
    simulation: Simulation,
) -> None:
    """The row of one and the queue's entry of both were dead letters: three came back of two."""
    delivery = open_delivery(simulation, batch_flush_interval=60.0)
    poison = {"name": "same", "poison": "Type mismatch for index key"}
    put(delivery, 1, **poison)
    simulation.disk.deny(INSERT)
    put(delivery, 2, **poison)
    put(delivery, 3)
    run_for(delivery, simulation.host, 61.0)
    stats = delivery.get_stats()
    assert (stats.accepted, stats.delivered, stats.dead, stats.undurable) == (3, 1, 2, 2)
    simulation.disk.deny()
    run_for(delivery, simulation.host, 31.0)
    # The row of the dead letter is pending: nobody but the next process looks at it.
    stats = delivery.get_stats()
    assert (stats.dead, stats.pending, stats.undurable) == (2, 0, 1)
    simulation.table.heal()
    assert delivery.redrive() == 2
    assert delivery.get_stats().dead == 0
    run_for(delivery, simulation.host, 61.0)
    stats = delivery.get_stats()
    assert (stats.accepted, stats.delivered, stats.dead, stats.pending) == (3, 1, 2, 0)
    assert delivery.redrive() == 2
    report = delivery.close(60.0)
    assert (report.pending, report.dead) == (0, 2)


def test_ten_minutes_of_outage_are_bounded_probed_now_and_then_and_recovered_from_in_steps(
    simulation: Simulation,
) -> None:
    bound, seconds, puts_a_second = 1_000, 600, 40
    delivery = open_delivery(simulation, max_pending_records=bound)
    simulation.table.down()
    attempts: Counter[bytes] = Counter()
    receive = simulation.table.receive

    def count(request: Any, **options: Any) -> Any:
        attempts[request.headers["X-Amz-Target"]] += 1
        return receive(request, **options)

    simulation.table.receive = count  # type: ignore[method-assign]
    for second in range(seconds):
        put(delivery, *range(second * puts_a_second, (second + 1) * puts_a_second))
        run_for(delivery, simulation.host, 1.0)
        stats = delivery.get_stats()
        assert stats.pending - stats.spilled <= bound
    assert (stats.accepted, stats.pending) == (24_000, 24_000)
    # Five open the breaker; then one probe each time that the open time is over, which grows
    # from 30 s.
    assert 5 < attempts[b"DynamoDB_20120810.BatchWriteItem"] < 15

    simulation.table.heal()
    assert delivery.flush(3_600.0)
    assert read_numbers(simulation) == list(range(24_000))
    starts = simulation.table.starts
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert all(gap >= 1 / (FLOOR + STEP * answers) - 1e-6 for answers, gap in enumerate(gaps, 1))
    stats = delivery.get_stats()
    assert (stats.delivered, stats.pending, stats.undurable) == (24_000, 0, 0)
    assert delivery.close(0.0).lost == 0


def test_nobody_wakes_up_when_all_is_delivered(simulation: Simulation) -> None:
    """Elsewhere a worker looks ten times a second whether there is something to do."""
    delivery = open_delivery(simulation)
    put(delivery, *range(60))
    simulation.table.script(Throttle())
    assert delivery.flush(600.0)
    run_for(delivery, simulation.host, 1.0)
    queues: list[BatchQueue[Any]] = [delivery._queue, delivery._chores.disk, delivery._chores.looks]
    assert [take_turn(queue) for queue in queues] == [None, None, None]  # no time to wake up
    delivery.close(0.0)
