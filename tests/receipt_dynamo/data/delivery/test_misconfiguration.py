"""A wrong table is told from wrong records, and the waits grow to five minutes."""

from __future__ import annotations

import pytest

from receipt_dynamo.data.delivery.misconfiguration import Hold, RejectionStreak


def reject(streak: RejectionStreak, *names: str, message: str = "no") -> bool:
    for name in names:
        streak.record_rejection(("PK", name), message)
    return streak.blames_the_table


def test_three_different_records_with_one_message_blame_the_table() -> None:
    streak = RejectionStreak()
    assert not reject(streak, "a", "b")
    assert reject(streak, "c")
    assert ("PK", "a") in streak
    assert ("PK", "z") not in streak


def test_one_record_rejected_again_and_again_does_not_mean_a_wrong_table() -> None:
    assert not reject(RejectionStreak(), *["a"] * 10)


def test_different_messages_do_not_add_up() -> None:
    streak = RejectionStreak()
    assert not reject(streak, "a", "b", message="x")
    assert not reject(streak, "c", "d", message="y")


def test_a_success_in_between_ends_the_streak() -> None:
    streak = RejectionStreak()
    reject(streak, "a", "b")
    streak = streak.begin_anew()
    assert not reject(streak, "c", "d")


def test_a_refuted_verdict_needs_ten_times_the_proof_the_next_time() -> None:
    """Else a row of bad records would be held back with every batch, and never end."""
    streak = RejectionStreak()
    for proof in (3, 30, 300, 3_000, 3_000):
        assert not reject(streak, *map(str, range(proof - 1)))
        assert reject(streak, "last")
        streak = streak.begin_anew()
    assert not reject(streak.begin_anew(), "a", "b", "c")


def test_the_hold_doubles_to_five_minutes_and_begins_anew_after_a_success() -> None:
    hold, now, waits = Hold(), 1_000.0, []
    for _ in range(6):
        waits.append(hold.begin(now))
        now += waits[-1]
    assert waits == [30.0, 60.0, 120.0, 240.0, 300.0, 300.0]
    hold.end()
    assert hold.begin(now) == 30.0


def test_several_senders_do_not_lengthen_each_others_hold() -> None:
    hold = Hold()
    assert hold.begin(1_000.0) == 30.0
    assert hold.begin(1_010.0) == pytest.approx(20.0)
    assert hold.begin(1_030.0) == 60.0
