"""The pace: unlimited until throttled, never below the floor, and finding its way back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from receipt_dynamo.data.delivery.pacing import (
    FIRST_REQUEST_BYTES,
    FLOOR,
    SLOWEST_UPLINK,
    SMALLEST_REQUEST_BYTES,
    Pacer,
    RequestSize,
    allow_seconds,
)


def run(pacer: Pacer, shares: list[float], now: float = 100.0) -> float:
    """Send one batch after the other as the pace allows; return when the last one started."""
    for share in shares:
        now += pacer.reserve(now)
        pacer.record_batch(share)
    return now


def test_nothing_is_held_back_before_a_throttle() -> None:
    assert run(Pacer(), [0.0] * 1_000) == 100.0


def test_a_throttled_batch_is_not_sent_again_at_once() -> None:
    pacer = Pacer()
    run(pacer, [1.0])
    assert pacer.reserve(100.0) > 0


@given(st.lists(st.floats(0, 1), max_size=200))
def test_the_floor_is_two_batches_a_second(shares: list[float]) -> None:
    pacer = Pacer()
    start = 100.0
    assert run(pacer, shares, start) - start <= len(shares) / FLOOR
    assert pacer.rate >= FLOOR


def test_a_constant_share_of_throttles_does_not_starve() -> None:
    """An AIMD pace without a floor, or one that halves at each throttle, goes to nothing."""
    seconds = run(Pacer(), [0.25] * 400) - 100.0
    assert 400 / seconds > 2 * FLOOR


def test_a_single_throttled_record_does_not_halve_the_pace() -> None:
    pacer = Pacer()
    pacer.rate = 100.0
    pacer.record_batch(1 / 25)
    assert pacer.rate > 97.0


def test_a_wholly_throttled_batch_halves_it() -> None:
    pacer = Pacer()
    pacer.rate = 100.0
    pacer.record_batch(1.0)
    assert pacer.rate == 50.0


def test_it_grows_back_after_the_throttling() -> None:
    pacer = Pacer()
    run(pacer, [1.0] * 10)
    before = pacer.rate
    run(pacer, [0.0] * 50, 200.0)
    assert pacer.rate > 5 * before


def test_an_idle_pace_does_not_grow() -> None:
    """A pace that nobody waited for proves nothing about what the table can take."""
    pacer = Pacer()
    pacer.restart()
    for second in range(100):
        pacer.reserve(1_000.0 + 10 * second)
        pacer.record_batch(0.0)
    assert pacer.rate == FLOOR


def test_after_an_outage_it_begins_at_the_floor() -> None:
    pacer = Pacer()
    run(pacer, [0.0] * 100)
    pacer.restart()
    assert pacer.rate == FLOOR


def test_the_bound_of_a_request_halves_after_a_timeout_and_doubles_after_a_reply() -> None:
    size = RequestSize(8 * FIRST_REQUEST_BYTES)
    assert size.limit == FIRST_REQUEST_BYTES
    size.record_timeout(FIRST_REQUEST_BYTES)
    assert size.limit == FIRST_REQUEST_BYTES // 2
    size.record_timeout(1000)
    assert size.limit == SMALLEST_REQUEST_BYTES
    size.record_reply(1000)  # proves nothing about larger ones
    assert size.limit == SMALLEST_REQUEST_BYTES
    for _ in range(20):
        size.record_reply(size.limit)
    assert size.limit == 8 * FIRST_REQUEST_BYTES


def test_the_time_for_a_request_follows_its_bytes() -> None:
    assert allow_seconds(0, 5.0) == 5.0
    assert allow_seconds(100 * SLOWEST_UPLINK, 5.0) == 105.0
