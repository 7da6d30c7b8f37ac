"""What goes wrong for long is said, at most once a minute, and when it is over."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from receipt_dynamo.data.delivery.alarms import (
    INTERVAL,
    LONGEST_WAIT,
    Alarms,
    Counts,
    LongWait,
    Situation,
    Word,
)
from receipt_dynamo.data.delivery.delivery import Delivery
from receipt_dynamo.data.delivery.events import DeliveryEvent, DeliveryEventKind
from receipt_dynamo.data.delivery.settings import DeliverySettings
from receipt_dynamo.testing import ErrorReply, Fault, Throttle
from support.simulation.machine import Simulation, make_item, run_for
from support.simulation.table import TABLE


def test_a_long_wait_is_said_once_a_minute_and_its_end_once() -> None:
    wait = LongWait(30.0)
    said = [(now, wait.look(now, age)) for now, age in enumerate([*range(200), 30, 0, 0])]
    assert [(now, word) for now, word in said if word] == [
        (31, Word.TOO_LONG),
        (91, Word.TOO_LONG),
        (151, Word.TOO_LONG),
        (200, Word.OVER),
    ]


def test_one_that_comes_and_goes_is_said_once_a_minute_too() -> None:
    wait = LongWait(30.0)
    said = [wait.look(now, 31.0 * (now % 2)) for now in range(121)]
    assert said.count(Word.TOO_LONG) == said.count(Word.OVER) == 2


def test_counts_are_said_at_once_then_summed_up_for_a_minute() -> None:
    counts = Counts()
    counts.add("{records} dead: {detail}", 1, "first")
    assert list(counts.take_due(0.0)) == ["1 record dead: first"]
    for number in range(40_000):
        counts.add("{records} dead: {detail}", 1, f"no. {number} {{records}}")
        assert list(counts.take_due(1.0)) == []
    assert list(counts.take_due(INTERVAL)) == ["40000 records dead: no. 39999 {records}"]
    assert list(counts.take_due(9 * INTERVAL, is_last=True)) == []
    counts.add("{records}", 2, None)
    counts.add("{records} dead: {detail}", 3, "x")
    assert list(counts.take_due(INTERVAL + 1)) == ["2 records"]
    assert list(counts.take_due(INTERVAL + 1, is_last=True)) == ["3 records dead: x"]


def test_since_when_is_the_time_of_day(caplog: pytest.LogCaptureFixture) -> None:
    situation = Situation(pending=3, age=100.0, breaker="open", last_error="Gone: away")
    alarms = Alarms("t", 0.0, lambda: situation, clock=lambda: 500.0, now=lambda: 1_700_000_100.0)
    alarms.hear(DeliveryEvent(DeliveryEventKind.FAILED, 1, "Gone: away"))
    alarms.look()
    (line,) = caplog.messages
    assert line == (
        "table t: 3 pending, the oldest since 2023-11-14T22:13:20+00:00 (100 s); circuit breaker: "
        "open; DynamoDB does not answer; look at network, proxy and endpoint. Last failure: Gone: "
        "away. See docs/troubleshooting.md"
    )


@pytest.fixture
def simulation(tmp_path: Path) -> Simulation:
    return Simulation(tmp_path / "journal")


def open_delivery(simulation: Simulation, **settings: Any) -> Delivery:
    return simulation.open(DeliverySettings(**{"durability": "journal", **settings}))


def put(delivery: Delivery, *numbers: int) -> list[str | None]:
    return [delivery.accept(*make_item(number), None) for number in numbers]


def find_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage() for record in caplog.records if record.name.endswith("delivery.alarms")
    ]


@pytest.mark.parametrize("durability", ["journal", "memory"])
def test_an_outage_of_80_seconds_is_in_the_log_and_its_end_too(
    simulation: Simulation, caplog: pytest.LogCaptureFixture, durability: str
) -> None:
    """Nobody puts meanwhile, and the breaker is open."""
    delivery = open_delivery(simulation, durability=durability)
    simulation.table.down()
    put(delivery, 1, 2)
    run_for(delivery, simulation.host, LONGEST_WAIT)
    assert find_lines(caplog) == []
    run_for(delivery, simulation.host, 50)
    (line,) = find_lines(caplog)
    assert "2 pending, the oldest since" in line
    assert "circuit breaker: open" in line
    assert "look at network" in line
    simulation.table.heal()
    run_for(delivery, simulation.host, 120)
    assert delivery.get_stats().pending == 0
    assert [line for line in find_lines(caplog) if "any more" in line] == find_lines(caplog)[-1:]
    delivery.close(0.0)


def test_ten_minutes_of_outage_are_a_line_a_minute(
    simulation: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    delivery = open_delivery(simulation)
    simulation.table.down()
    for number in range(600):
        put(delivery, number)
        run_for(delivery, simulation.host, 1)
    lines = find_lines(caplog)
    assert 9 <= len(lines) <= 10
    ages = [int(found[1]) for line in lines if (found := re.search(r"\((\d+) s\)", line))]
    assert all(later - earlier >= INTERVAL - 1 for earlier, later in itertools.pairwise(ages))
    simulation.table.heal()
    assert delivery.flush(600.0)
    delivery.close(0.0)


@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        (Throttle(), "short of capacity"),
        (ErrorReply(400, "AccessDeniedException", "no"), "look at table, region and role"),
        (ErrorReply(500), "DynamoDB does not answer"),
    ],
    ids=["throttled", "denied", "failing"],
)
def test_what_to_look_at_follows_from_what_happened(
    simulation: Simulation, caplog: pytest.LogCaptureFixture, fault: Fault, advice: str
) -> None:
    delivery = open_delivery(simulation)
    simulation.table.always(fault)
    put(delivery, 1)
    assert not delivery.flush(45.0)
    put(delivery, 2)
    lines = find_lines(caplog)
    assert len(lines) == 1
    assert advice in lines[0]
    assert "None" not in lines[0]
    simulation.table.heal()
    assert delivery.flush(600.0)
    assert "any more" in find_lines(caplog)[-1]
    delivery.close(0.0)


def test_a_process_that_was_frozen_says_what_waited(
    simulation: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    delivery = open_delivery(simulation)
    put(delivery, 1)
    simulation.host.now += 100
    put(delivery, 2)
    assert "no request has failed" in find_lines(caplog)[0]
    delivery.close(60.0)


def test_no_line_while_records_wait_by_right(
    simulation: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    delivery = open_delivery(simulation, batch_flush_interval=100.0)
    put(delivery, 1)
    run_for(delivery, simulation.host, 99)
    put(delivery, 2)
    run_for(delivery, simulation.host, 500)
    assert delivery.get_stats().pending == 0
    assert find_lines(caplog) == []
    delivery.close(0.0)


def test_what_is_refused_and_what_dies_is_said_once_with_its_number(
    simulation: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    delivery = open_delivery(simulation, journal_max_bytes=1_000)
    simulation.table.down()
    answers = put(delivery, *range(100))
    refused = answers.count("full")
    assert refused > 80
    (line,) = find_lines(caplog)
    assert line == (
        f"table {TABLE}: 1 record refused, because too many wait and there is no room for more: "
        "the bound is journal_max_bytes or, without a journal, max_pending_records"
    )
    delivery.close(0.0)
    assert put(delivery, 1) == ["stopped"]
    (rest,) = find_lines(caplog)[1:]
    assert rest.startswith(f"table {TABLE}: {refused - 1} records refused, because too many wait")


def test_dead_letters_are_said_with_the_latest_reason(
    simulation: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    delivery = open_delivery(simulation, batch_size=1, batch_flush_interval=0.0)
    simulation.table.script(ErrorReply(400, "ValidationException", "bad"))
    put(delivery, 1)
    run_for(delivery, simulation.host, 1)
    (line,) = find_lines(caplog)
    assert "dead letters: 1 record, the last because of ValidationException: bad" in line
    delivery.close(60.0)


def test_what_is_dropped_is_said(simulation: Simulation, caplog: pytest.LogCaptureFixture) -> None:
    delivery = open_delivery(simulation, journal_max_bytes=1_000, overflow="drop_oldest")
    simulation.table.down()
    put(delivery, *range(30))
    delivery.close(0.0)
    lines = find_lines(caplog)
    assert all("dropped for newer ones" in line for line in lines)
    assert sum(int(line.split()[2]) for line in lines) == delivery.get_stats().dropped > 0
