"""Checks of a query's arguments; an error names the argument, its value and what is accepted."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TypeAlias

from receipt_dynamo.data.read_tally import ReadTally

Day: TypeAlias = date | str
"""A UTC day: a date, an aware datetime, or "YYYY-MM-DD"."""

Days: TypeAlias = tuple[str, str]
"""The first and the last day of a range, as "YYYY-MM-DD"."""


def check_reading(
    *, tally: ReadTally | None, skip_invalid: bool, limit: int | None = None
) -> ReadTally:
    """Check what every query takes; return the tally to add to."""
    if limit is not None and (type(limit) is not int or limit < 1):
        raise ValueError(f"limit is {limit!r}; accepted are None and whole numbers of 1 or more")
    if not isinstance(skip_invalid, bool):
        raise ValueError(  # noqa: TRY004 - as every bad argument of a query
            f"skip_invalid is {skip_invalid!r}; accepted are True and False"
        )
    if tally is None:
        return ReadTally()
    if not isinstance(tally, ReadTally):
        raise ValueError(f"tally is {tally!r}; accepted are None and a ReadTally")  # noqa: TRY004
    return tally


def check_optional_range(start: Day | None, end: Day | None) -> Days | None:
    """Return the range of days, or None when neither end is given."""
    if start is not None and end is not None:
        return check_range(start, end)
    if start is None and end is None:
        return None
    missing = "start_date" if start is None else "end_date"
    raise ValueError(
        f"{missing} is None; accepted are a date and 'YYYY-MM-DD', or neither of the two"
    )


def check_range(start: Day, end: Day) -> Days:
    """Return the range of days."""
    first, last = _format_day(start, "start_date"), _format_day(end, "end_date")
    if first > last:
        raise ValueError(f"start_date {first} is after end_date {last}; accepted is the reverse")
    return first, last


def _format_day(day: Day, name: str) -> str:
    if isinstance(day, datetime):
        return (day if day.tzinfo is None else day.astimezone(UTC)).date().isoformat()
    if isinstance(day, date):
        return day.isoformat()
    try:
        # strptime, because fromisoformat accepts other forms, such as week dates.
        return datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).date().isoformat()
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {day!r}; accepted are a date and 'YYYY-MM-DD'") from None
