"""The local clock against the table's: over a loopback relay whose replies bear another date."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import formatdate

import pytest

from receipt_dynamo import DynamoClient
from receipt_dynamo.cli.clock import ReplyClock
from support.command_runs import Ended
from support.loopback_relay import relay

Doctor = Callable[..., Ended]


@pytest.mark.parametrize(
    ("ahead", "status", "said"),
    [
        # Of the machine; a loaded one may take its time, so that no case is near a limit.
        (0, 0, "clock: as DynamoDB's"),
        (150, 1, " s ahead of DynamoDB's; set it by NTP"),
        (-150, 1, " s behind DynamoDB's; set it by NTP"),
        (400, 2, " s ahead of DynamoDB's; set it by NTP: AWS refuses more than 5 minutes"),
        (-400, 2, " s behind DynamoDB's; set it by NTP: AWS refuses more than 5 minutes"),
    ],
)
def test_a_clock_that_is_off_is_a_warning_and_then_an_error(
    ahead: int, status: int, said: str, table: DynamoClient, moto_endpoint: str, doctor: Doctor
) -> None:
    date = formatdate(time.time() - ahead, usegmt=True)
    with relay(moto_endpoint, set_date=lambda _: date) as endpoint:
        ended = doctor("--endpoint-url", endpoint, "--json")
    assert ended.status == status
    (line,) = [each for each in ended.document["checks"] if each["says"].startswith("clock: ")]
    assert line["level"] == ("ok", "warning", "error")[status]
    assert line["says"].endswith(said)
    assert abs(ended.document["clock_skew_seconds"] - ahead) < 50


def test_a_refusal_bears_a_date_too(moto_endpoint: str, doctor: Doctor) -> None:
    """So does AWS's of a signature that is out of time: then the clock is the finding."""
    date = formatdate(time.time() - 400, usegmt=True)
    with relay(moto_endpoint, set_date=lambda _: date) as endpoint:
        ended = doctor("--table", "no-such-test", "--endpoint-url", endpoint)
    assert "error: clock: 4" in ended.out


@pytest.mark.parametrize("date", [None, "yesterday"])
def test_without_a_date_nothing_is_said_of_the_clock(
    date: str | None, table: DynamoClient, moto_endpoint: str, doctor: Doctor
) -> None:
    with relay(moto_endpoint, set_date=lambda _: date) as endpoint:
        ended = doctor("--endpoint-url", endpoint)
    assert ended.status == 0
    assert "clock" not in ended.out


def test_the_skew_is_what_the_local_clock_is_ahead() -> None:
    watcher = ReplyClock(lambda: 1_000_060.0)
    assert watcher.skew is None
    watcher._compare({"headers": {"date": formatdate(1_000_000, usegmt=True)}})
    assert watcher.skew == 60.0
    watcher._compare(None)
    assert watcher.skew == 60.0
