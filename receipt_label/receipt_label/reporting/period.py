"""From when to when: what ``--since`` and ``--until`` say, in a time zone."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

ACCEPTED: Final = (
    "a date such as 2026-11-01, a month such as 2026-11, a time such as 2026-11-01T08:30, "
    "7d, 4w or 24h (1 to 4 digits), today, yesterday, this-week, last-week, this-month, "
    "last-month, this-year and last-year"
)

_BACK: Final = re.compile(r"(\d{1,4})([dwh])")
_MONTH: Final = re.compile(r"(\d{4})-(\d{2})")
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_MOMENT: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:\d{2})?"
)


@dataclass(frozen=True, slots=True)
class Period:
    """The calls that began from ``start`` on and before ``end``.

    Attributes:
        start: In UTC; None is the beginning of all records.
        end: In UTC, not included; None is no end: a writer's clock may be ahead.
        zone: Time zone of days and hours.
    """

    start: datetime | None
    end: datetime | None
    zone: tzinfo

    def holds(self, moment: datetime) -> bool:
        """Return whether a call that began at ``moment`` belongs to the period."""
        return (self.start is None or moment >= self.start) and (
            self.end is None or moment < self.end
        )

    def list_utc_days(self, today: date) -> tuple[date, date] | None:
        """Return the first and last UTC day that it touches, or None when it has no start.

        Args:
            today: In UTC. A period without an end goes a day beyond it.
        """
        if self.start is None:
            return None
        first = self.start.date()
        if self.end is None:
            return first, max(first, today + timedelta(days=1))
        return first, (self.end - timedelta(microseconds=1)).date()

    def __str__(self) -> str:
        """Describe it for people, in its zone."""
        return f"{self._describe()} ({self.zone})"

    def _describe(self) -> str:
        first = None if self.start is None else _describe_moment(self.start, self.zone)
        if self.end is None:
            return "all records" if first is None else f"since {first}"
        last = _describe_end(self.end, self.zone)
        if first is None:
            return f"until {last}"
        return first if first == last else f"{first} to {last}"


def read_first_day(since: str, *, now: datetime) -> date:
    """Return the UTC day with which ``since`` begins.

    Args:
        since: As of :func:`read_period`.
        now: An aware time.

    Raises:
        ValueError: It cannot be read; the message names it, its value and what is accepted.
    """
    return _read("--since", since, UTC, now).start.date()


@dataclass(frozen=True, slots=True)
class _Span:
    start: datetime
    end: datetime
    is_whole: bool = True
    """Whether ``--since`` with it means all of it, and nothing after it."""


def read_zone(name: str) -> tzinfo:
    """Return the time zone of that name in the IANA database.

    Raises:
        ValueError: The time zone is unknown.
    """
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        raise ValueError(
            f"--timezone is {name!r}; accepted are UTC and names such as Europe/Berlin"
        ) from None


def read_period(
    since: str | None, until: str | None, *, zone: tzinfo = UTC, now: datetime
) -> Period:
    """Return the period from the beginning of ``since`` to the end of ``until``.

    Args:
        since: Where it begins; None is the beginning of all records. ``7d`` is today and the
            six days before it, ``24h`` the last 24 hours.
        until: Where it ends; a day, week, month or year is included, and ``7d`` ends where
            ``since="7d"`` begins. None is the end of ``since`` when that is a month or a
            named span such as "last-month", else no end.
        zone: In which days begin, and times without an offset are.
        now: An aware time.

    Raises:
        ValueError: One of them cannot be read, or they are reversed. The message names it,
            its value and what is accepted.
    """
    first = None if since is None else _read("--since", since, zone, now)
    last = None if until is None else _read("--until", until, zone, now)
    start = None if first is None else first.start
    if last is not None:
        end: datetime | None = last.start if _BACK.fullmatch(until or "") else last.end
    else:
        end = first.end if first is not None and first.is_whole else None
    if start is not None and end is not None and start >= end:
        raise ValueError(
            f"--since {since} is not before the end of --until {until}; accepted is the reverse"
        )
    return Period(start, end, zone)


def _read(name: str, text: str, zone: tzinfo, now: datetime) -> _Span:
    try:
        span = _read_span(text, zone, now)
    except (ValueError, OverflowError):
        span = None
    if span is None:
        raise ValueError(f"{name} is {text!r}; accepted are {ACCEPTED}")
    return span


def _read_span(text: str, zone: tzinfo, now: datetime) -> _Span | None:
    today = now.astimezone(zone).date()
    if text in _NAMED:
        first, after = _NAMED[text](today)
        return _Span(_begin(first, zone), _begin(after, zone))
    if (back := _BACK.fullmatch(text)) is not None:
        return _Span(_go_back(int(back[1]), back[2], zone, now), now, is_whole=False)
    if (month := _MONTH.fullmatch(text)) is not None:
        first = date(int(month[1]), int(month[2]), 1)
        return _Span(_begin(first, zone), _begin(_next_month(first), zone))
    if _DAY.fullmatch(text):
        day = date.fromisoformat(text)
        return _Span(_begin(day, zone), _begin(day + timedelta(days=1), zone), is_whole=False)
    if _MOMENT.fullmatch(text):
        moment = datetime.fromisoformat(text)
        aware = moment.replace(tzinfo=zone) if moment.tzinfo is None else moment
        return _Span(aware.astimezone(UTC), aware.astimezone(UTC), is_whole=False)
    return None


def _go_back(number: int, unit: str, zone: tzinfo, now: datetime) -> datetime:
    if number == 0:
        raise ValueError(number)
    if unit == "h":
        return now.astimezone(UTC) - timedelta(hours=number)
    days = number * 7 if unit == "w" else number
    return _begin(now.astimezone(zone).date() - timedelta(days=days - 1), zone)


def _begin(day: date, zone: tzinfo) -> datetime:
    """Return when ``day`` begins in ``zone``, in UTC."""
    return datetime.combine(day, time.min, zone).astimezone(UTC)


def _next_month(first: date) -> date:
    return (first + timedelta(days=31)).replace(day=1)


def _last_month(today: date) -> tuple[date, date]:
    first = today.replace(day=1)
    return (first - timedelta(days=1)).replace(day=1), first


def _week(today: date, back: int) -> tuple[date, date]:
    monday = today - timedelta(days=today.weekday() + 7 * back)
    return monday, monday + timedelta(days=7)


def _year(year: int) -> tuple[date, date]:
    return date(year, 1, 1), date(year + 1, 1, 1)


_NAMED: Final[dict[str, Callable[[date], tuple[date, date]]]] = {
    "today": lambda today: (today, today + timedelta(days=1)),
    "yesterday": lambda today: (today - timedelta(days=1), today),
    "this-week": lambda today: _week(today, 0),
    "last-week": lambda today: _week(today, 1),
    "this-month": lambda today: (today.replace(day=1), _next_month(today.replace(day=1))),
    "last-month": _last_month,
    "this-year": lambda today: _year(today.year),
    "last-year": lambda today: _year(today.year - 1),
}


def _describe_end(end: datetime, zone: tzinfo) -> str:
    local = end.astimezone(zone)
    if local.time() == time.min:
        return f"{local.date() - timedelta(days=1)}"
    return f"before {_describe_moment(end, zone)}"


def _describe_moment(moment: datetime, zone: tzinfo) -> str:
    local = moment.astimezone(zone)
    return f"{local:%Y-%m-%d}" if local.time() == time.min else f"{local:%Y-%m-%d %H:%M}"
