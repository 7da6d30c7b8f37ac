"""Since when the oldest record waits, whatever became of it meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from receipt_dynamo.data.delivery.ages import FINEST, SHARE, PendingAges, RowAges
from receipt_dynamo.data.delivery.delivery import Delivery
from receipt_dynamo.data.delivery.settings import DeliverySettings
from receipt_dynamo.testing import ErrorReply
from support.simulation.disk import UPDATE
from support.simulation.machine import Simulation, make_item, run_for


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_oldest_is_found_whichever_leaves_first() -> None:
    clock = Clock()
    ages = PendingAges(clock)
    assert ages.find_oldest() == 0.0
    first = ages.enter()
    clock.now += 10
    second = ages.enter(2)
    clock.now += 5
    assert ages.find_oldest() == 15
    ages.leave(first)
    assert ages.find_oldest() == 5
    ages.leave(second)
    assert ages.find_oldest() == 5
    ages.leave(second)
    assert ages.find_oldest() == 0.0


def test_a_day_of_backlog_takes_little_memory_and_is_told_to_a_hundredth() -> None:
    clock = Clock()
    ages = PendingAges(clock)
    entered: list[tuple[float, float]] = []
    for _ in range(100_000):
        entered.append((clock.now, ages.enter()))
        clock.now += 1
    assert len(ages._records) < 1_500
    for done, (moment, since) in enumerate(entered):
        assert 0 <= moment - since <= max(FINEST, SHARE * (moment - 100)), done
        ages.leave(since)
    assert not ages._records


def test_rows_are_as_old_as_they_were_when_they_went_to_disk() -> None:
    clock = Clock()
    ages = PendingAges(clock)
    rows = RowAges(ages)
    rows.enter(2)
    for seq in (11, 12, 13):
        clock.now += 10
        rows.add(seq, ages.enter())
    assert (rows.take(11), rows.take(12)) == (110, 120)
    assert rows.take(3) == 100
    rows.give_up()
    assert sorted(ages._records) == [100, 110, 120]
    assert rows.take(14) == clock.now


@pytest.fixture
def simulation(tmp_path: Path) -> Simulation:
    return Simulation(tmp_path / "journal")


def open_delivery(simulation: Simulation, **settings: Any) -> Delivery:
    return simulation.open(DeliverySettings(**{"durability": "journal", **settings}))


def put(delivery: Delivery, *numbers: int, **attributes: str) -> None:
    for number in numbers:
        assert delivery.accept(*make_item(number, **attributes), None) is None


def find_age(delivery: Delivery) -> float:
    return delivery.get_stats().oldest_pending_seconds


@pytest.mark.parametrize("durability", ["journal", "memory"])
def test_a_record_ages_from_its_put_until_it_is_settled(
    simulation: Simulation, durability: str
) -> None:
    delivery = open_delivery(simulation, durability=durability)
    simulation.table.down()
    put(delivery, 1)
    run_for(delivery, simulation.host, 50)
    put(delivery, 2)
    run_for(delivery, simulation.host, 20)
    assert find_age(delivery) == pytest.approx(70)
    simulation.table.heal()
    assert delivery.flush(600.0)
    assert find_age(delivery) == 0.0
    delivery.close(0.0)


def test_what_comes_back_from_disk_is_as_old_as_it_is(simulation: Simulation) -> None:
    """What memory has no room for is on disk only, and is read again when there is room."""
    delivery = open_delivery(simulation, max_pending_records=2, batch_size=1)
    simulation.table.down()
    put(delivery, 1, 2, 3)
    run_for(delivery, simulation.host, 40)
    put(delivery, 4)
    assert delivery.get_stats().spilled == 2
    simulation.table.heal()
    while delivery.get_stats().delivered < 3:
        run_for(delivery, simulation.host, 1)
        left = delivery.get_stats()
        if left.pending > 1:
            assert left.oldest_pending_seconds >= 40
    assert delivery.flush(60.0)
    assert find_age(delivery) == 0.0
    delivery.close(0.0)


def test_what_a_dead_process_left_ages_from_its_adoption(simulation: Simulation) -> None:
    first = open_delivery(simulation)
    put(first, 1)
    run_for(first, simulation.host, 10)  # It learns which table this is.
    simulation.table.down()
    put(first, 2)
    simulation.disk.crash()
    simulation.host.now += 1_000
    second = open_delivery(simulation)
    simulation.table.heal()
    assert second._look()
    simulation.table.down()
    assert second.get_stats().adopted == 1
    run_for(second, simulation.host, 90)
    assert find_age(second) == pytest.approx(90)
    simulation.table.heal()
    assert second.flush(600.0)
    assert find_age(second) == 0.0
    second.close(0.0)


@pytest.mark.parametrize("denied", [(), (UPDATE,)], ids=["on disk", "in memory"])
def test_a_dead_letter_does_not_age_until_it_is_redriven(
    simulation: Simulation, denied: tuple[int, ...]
) -> None:
    delivery = open_delivery(simulation)
    simulation.table.script(ErrorReply(400, "ValidationException", "bad"))
    simulation.disk.deny(*denied)
    put(delivery, 1)
    assert delivery.flush(60.0)
    simulation.disk.deny()
    assert delivery.get_stats().dead == 1
    simulation.host.now += 500
    assert find_age(delivery) == 0.0
    simulation.table.down()
    assert delivery.redrive() == 1
    run_for(delivery, simulation.host, 60)
    assert 50 < find_age(delivery) <= 60
    simulation.table.heal()
    assert delivery.flush(600.0)
    assert find_age(delivery) == 0.0
    delivery.close(0.0)
