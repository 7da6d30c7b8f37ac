"""How one instant may have been written: all offsets, Z, naive; a bounded number of forms."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given

from receipt_dynamo.data.queries.earlier_keys import list_times, read_moment
from support.strategies import times

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_todays_form_comes_first_and_then_the_most_probable() -> None:
    assert list_times(NOON)[:5] == [
        "2026-03-01T12:00:00+00:00",
        "2026-03-01T12:00:00",
        "2026-03-01T12:00:00Z",
        "2026-03-01T12:00:00.000",
        "2026-03-01T12:00:00.000Z",
    ]
    half_past_six = "2026-03-01T17:30:00.25+05:30"
    assert list_times(half_past_six)[:2] == ["2026-03-01T12:00:00.250000+00:00", half_past_six]


@pytest.mark.parametrize(
    "zone",
    ["America/Los_Angeles", "America/St_Johns", "Asia/Kathmandu", "Pacific/Chatham", "Etc/GMT+12"],
)
def test_what_python_prints_in_any_zone_is_among_them(zone: str) -> None:
    """Kathmandu is at +05:45, Chatham at +13:45 in summer."""
    for month in (1, 7):
        for microsecond in (0, 120_000, 123_456):
            moment = NOON.replace(month=month, microsecond=microsecond)
            local = moment.astimezone(ZoneInfo(zone))
            assert local.isoformat() in list_times(moment)
            assert local.isoformat() in list_times(local.isoformat())
            if microsecond % 1_000 == 0:
                assert local.isoformat(timespec="milliseconds") in list_times(moment)


@given(times)
def test_each_form_is_of_the_same_instant_and_there_once(moment: datetime) -> None:
    forms = list_times(moment)
    assert {read_moment(form) for form in forms} == {read_moment(moment)}
    assert moment.isoformat() in forms
    assert len(forms) == len(set(forms)) <= 330
    assert list_times(read_moment(moment))[0] == forms[0] == read_moment(moment).isoformat()


@pytest.mark.parametrize("offset", [timedelta(hours=-4, minutes=-56), timedelta(seconds=1)])
def test_an_offset_of_no_zone_is_among_them_when_it_is_given(offset: timedelta) -> None:
    """What ``datetime(..., tzinfo=pytz.timezone("America/New_York"))`` makes: local mean time."""
    local = NOON.astimezone(timezone(offset))
    assert local.isoformat() in list_times(local)
    assert local.isoformat() in list_times(local.isoformat())


def test_a_text_is_tried_as_it_is_given() -> None:
    for text in ("2026-03-01 12:00:00", "20260301T120000Z", "2026-03-01T12:00:00.123456789Z"):
        assert list_times(text)[1] == text


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00", "9999-12-31T23:59:59.999999"])
def test_the_ends_of_time_have_fewer_forms(moment: str) -> None:
    assert 3 <= len(list_times(moment)) < 330


@pytest.mark.parametrize(
    "wrong",
    [
        "yesterday",
        "",
        1_700_000_000,
        None,
        "0001-01-01T00:00:00+01:00",
    ],
)
def test_what_is_no_time_is_named(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"timestamp is .*accepted are a datetime and a text"):
        list_times(wrong)
