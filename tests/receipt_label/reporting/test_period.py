"""``--since`` and ``--until``, in any zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_label.reporting.period import Period, read_period, read_zone

BERLIN = ZoneInfo("Europe/Berlin")
# A Thursday; in Kiritimati, 14 hours ahead, it is the 27th already.
NOW = datetime(2026, 11, 26, 11, 30, tzinfo=UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("since", "until", "start", "end"),
    [
        ("2026-11-01", None, "2026-11-01", None),
        ("2026-11-01", "2026-11-03", "2026-11-01", "2026-11-04"),
        ("2026-11-01", "2026-11-01", "2026-11-01", "2026-11-02"),
        ("2026-11", None, "2026-11-01", "2026-12-01"),
        ("2026-10", "2026-11", "2026-10-01", "2026-12-01"),
        ("2026-12", None, "2026-12-01", "2027-01-01"),
        ("2024-02-29", "2024-02-29", "2024-02-29", "2024-03-01"),
        ("1d", None, "2026-11-26", None),
        ("7d", None, "2026-11-20", None),
        ("2w", None, "2026-11-13", None),
        ("24h", None, "2026-11-25T11:30", None),
        ("14d", "7d", "2026-11-13", "2026-11-20"),
        ("today", None, "2026-11-26", "2026-11-27"),
        ("yesterday", None, "2026-11-25", "2026-11-26"),
        ("yesterday", "today", "2026-11-25", "2026-11-27"),
        ("this-week", None, "2026-11-23", "2026-11-30"),
        ("last-week", None, "2026-11-16", "2026-11-23"),
        ("this-month", None, "2026-11-01", "2026-12-01"),
        ("last-month", None, "2026-10-01", "2026-11-01"),
        ("this-year", None, "2026-01-01", "2027-01-01"),
        ("last-year", "2026-01", "2025-01-01", "2026-02-01"),
        ("2026-11-01T08:30", "2026-11-01T09:00", "2026-11-01T08:30", "2026-11-01T09:00"),
        ("2026-11-01T08:30:15+02:00", None, "2026-11-01T06:30:15", None),
        ("2026-11-01T08:30Z", None, "2026-11-01T08:30", None),
        (None, "2026-11-03", None, "2026-11-04"),
        (None, None, None, None),
    ],
)
def test_since_and_until_name_a_period(
    since: str | None, until: str | None, start: str | None, end: str | None
) -> None:
    period = read_period(since, until, now=NOW)
    assert period.start == (None if start is None else utc(start))
    assert period.end == (None if end is None else utc(end))


@pytest.mark.parametrize(
    ("zone", "since", "until", "start", "end"),
    [
        ("Europe/Berlin", "2026-11-01", "2026-11-01", "2026-10-31T23:00", "2026-11-01T23:00"),
        # The days on which clocks change have 23 and 25 hours.
        ("Europe/Berlin", "2026-03-29", "2026-03-29", "2026-03-28T23:00", "2026-03-29T22:00"),
        ("Europe/Berlin", "2026-10-25", "2026-10-25", "2026-10-24T22:00", "2026-10-25T23:00"),
        ("Asia/Kathmandu", "2026-11-01", "2026-11-01", "2026-10-31T18:15", "2026-11-01T18:15"),
        ("Pacific/Kiritimati", "today", None, "2026-11-26T10:00", "2026-11-27T10:00"),
        ("America/New_York", "today", None, "2026-11-26T05:00", "2026-11-27T05:00"),
        # Midnight did not exist there on that day.
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04", "2018-11-04T03:00", "2018-11-05T02:00"),
    ],
)
def test_days_begin_where_the_zone_has_midnight(
    zone: str, since: str, until: str | None, start: str, end: str
) -> None:
    period = read_period(since, until, zone=read_zone(zone), now=NOW)
    assert (period.start, period.end) == (utc(start), utc(end))


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "tomorrow", "2026-13", "2026-02-30", "2026-1-1", "2026-W48-4", "20261101",
        "0d", "d", "-7d", "7", "7m", "12345d", "7d ", "0001-01-01T00:00+14:00",
        "9999-12-31", "9999-12", "2026-11-01T25:00", "2026-11-01T08",
        "\u0662\u0660\u0662\u0666-11-01",
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said_with_what_is_accepted(text: str) -> None:
    for since, until, name in ((text, None, "--since"), (None, text, "--until")):
        with pytest.raises(ValueError, match="accepted are") as raised:
            read_period(since, until, zone=ZoneInfo("Pacific/Kiritimati"), now=NOW)
        assert str(raised.value).startswith(f"{name} is {text!r}; accepted are a date such as ")


@pytest.mark.parametrize(
    ("since", "until"),
    [("2026-11-05", "2026-11-04"), ("today", "last-month"), ("2026-11-05", "2026-11-05T00:00")],
)
def test_a_reversed_range_is_refused(since: str, until: str) -> None:
    with pytest.raises(ValueError, match=f"--since {since} is not before the end of --until"):
        read_period(since, until, now=NOW)


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "/etc/passwd", "Europe"])
def test_an_unknown_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="accepted are UTC and names such as Europe/Berlin"):
        read_zone(name)


zones = st.sampled_from(
    ["UTC", "Europe/Berlin", "Asia/Kathmandu", "Pacific/Kiritimati", "Pacific/Niue",
     "Australia/Lord_Howe", "America/New_York", "America/Sao_Paulo"]
).map(read_zone)  # fmt: skip


@given(
    zones,
    st.dates(date(2015, 1, 1), date(2030, 1, 1)),
    st.integers(0, 40),
    st.datetimes(datetime(2014, 12, 1), datetime(2030, 3, 1)),
)
def test_a_period_of_days_holds_the_moments_whose_local_day_is_in_it(
    zone: tzinfo, first: date, more: int, naive: datetime
) -> None:
    """The trap: a day's date that is computed in the caller's zone."""
    moment, last = naive.replace(tzinfo=UTC), first + timedelta(days=more)
    period = read_period(first.isoformat(), last.isoformat(), zone=zone, now=NOW)
    is_in = first <= moment.astimezone(zone).date() <= last
    assert period.holds(moment) == is_in
    days = period.list_utc_days(NOW.date())
    assert days is not None
    if is_in:  # Else the read would not find it.
        assert days[0] <= moment.date() <= days[1]
    assert (days[1] - days[0]).days <= more + 1


def test_the_end_is_the_first_moment_that_is_not_in_it() -> None:
    period = read_period("2026-11-01", "2026-11-02", now=NOW)
    assert period.holds(utc("2026-11-01T00:00"))
    assert period.holds(utc("2026-11-02T23:59:59.999999"))
    assert not period.holds(utc("2026-11-03T00:00"))
    assert not period.holds(utc("2026-10-31T23:59:59.999999"))
    # Another day would be read for nothing.
    assert period.list_utc_days(NOW.date()) == (date(2026, 11, 1), date(2026, 11, 2))


def test_a_period_without_an_end_is_read_a_day_beyond_today() -> None:
    """A writer's clock may be ahead."""
    period = read_period("7d", None, now=NOW)
    assert period.list_utc_days(NOW.date()) == (date(2026, 11, 20), date(2026, 11, 27))
    future = read_period("2026-12-24", None, now=NOW)
    assert future.list_utc_days(NOW.date()) == (date(2026, 12, 24), date(2026, 12, 24))
    assert read_period(None, None, now=NOW).list_utc_days(NOW.date()) is None


@pytest.mark.parametrize(
    ("period", "text"),
    [
        (read_period("2026-11", None, now=NOW), "2026-11-01 to 2026-11-30 (UTC)"),
        (read_period("today", None, now=NOW), "2026-11-26 (UTC)"),
        (read_period("24h", None, now=NOW), "since 2026-11-25 11:30 (UTC)"),
        (read_period("7d", None, now=NOW, zone=BERLIN), "since 2026-11-20 (Europe/Berlin)"),
        (
            read_period("2026-11-01", "2026-11-02T08:00", now=NOW),
            "2026-11-01 to before 2026-11-02 08:00 (UTC)",
        ),
        (read_period(None, None, now=NOW), "all records (UTC)"),
        (read_period(None, "2026-10", now=NOW), "until 2026-10-31 (UTC)"),
    ],
)
def test_a_period_is_told_in_its_zone(period: Period, text: str) -> None:
    assert str(period) == text
