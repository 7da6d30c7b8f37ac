"""Python, packages and price data, as the doctor sees them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from importlib import metadata

import pytest

from receipt_dynamo import DynamoClient
from receipt_label.cli.doctor import machine
from receipt_label.pricing.genai_source import find_newest_day
from support.command_runs import Ended

Doctor = Callable[..., Ended]


def test_packages_are_told_with_their_versions(table: DynamoClient, doctor: Doctor) -> None:
    document = doctor("--json").document["packages"]
    assert set(document) == {*machine.OURS, *machine.LOOKED_AT}
    assert document["boto3"] == metadata.version("boto3")


def test_the_floors_are_those_of_our_own_metadata() -> None:
    floors = dict(machine._read_floors())
    assert floors["boto3"] == "1.34"
    assert {"openai", "anthropic", "genai-prices"} <= set(floors)


@pytest.mark.parametrize(
    ("version", "floor", "level"),
    [
        ("1.33.13", "1.34", "error"),
        ("0.1.9", "0.1.13", "error"),
        ("1.34.0", "1.34", "ok"),
        ("1.100.0rc1", "1.34", "ok"),
        ("2", None, "ok"),
    ],
)
def test_a_package_below_our_floor_is_an_error(version: str, floor: str | None, level: str) -> None:
    line = machine._judge_package("boto3", version, floor)
    assert line.level == level
    assert ("pip install" in line.line) is (level == "error")


def test_a_missing_extra_is_ok_and_noted(
    table: DynamoClient, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "LOOKED_AT", ("no-such-package-anywhere",))
    ended = doctor()
    assert ended.status == 0
    assert "ok: no-such-package-anywhere is not installed; it is needed only" in ended.out


def test_a_python_that_we_do_not_test_is_a_warning(
    table: DynamoClient, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.python_version", lambda: "3.99.1")
    ended = doctor("--quiet")
    assert ended.status == 1
    assert ended.out.startswith("warning: Python 3.99.1 is not tested with this release")


def test_old_price_data_is_a_warning(
    table: DynamoClient, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = find_newest_day(date.max)
    assert newest is not None
    assert find_newest_day(newest - timedelta(days=1)) != newest
    monkeypatch.setattr(machine, "STALE_AFTER_DAYS", -1)
    ended = doctor("--quiet")
    assert ended.status == 1
    assert "pip install -U genai-prices" in ended.out


def test_a_check_that_fails_by_our_own_mistake_stops_no_other_and_shows_nothing(
    table: DynamoClient, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a canary")

    monkeypatch.setattr(machine, "_find_version", fail)
    ended = doctor("--quiet")
    assert (ended.status, ended.err) == (2, "")
    assert ended.out == "error: check_packages failed with RuntimeError; please report this\n"
