"""The sort keys under which earlier writers may have stored a call of one instant.

They stored the time as they got it: naive, with ``Z``, or with the offset of the
writer's zone, with the digits of a second that their language prints.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

_QUARTER: Final = timedelta(minutes=15)
_WEST, _EAST = timedelta(hours=-12), timedelta(hours=14)
_OFFSETS: Final = tuple(
    _WEST + number * _QUARTER for number in range((_EAST - _WEST) // _QUARTER + 1)
)
"""All whole quarters of an hour from UTC-12:00 to UTC+14:00, as in the tz database. Zones have
no other offsets since 1972."""


def read_moment(timestamp: datetime | str) -> datetime:
    """Return the instant in UTC; a naive time is taken as UTC.

    Raises:
        ValueError: It is neither a datetime nor a text in ISO 8601, or the instant is outside of
            the years 1 to 9999.
    """
    try:
        moment = timestamp if isinstance(timestamp, datetime) else datetime.fromisoformat(timestamp)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (OverflowError, TypeError, ValueError):
        raise ValueError(
            f"timestamp is {timestamp!r}; accepted are a datetime and a text in ISO 8601"
        ) from None


def list_times(timestamp: datetime | str) -> list[str]:
    """Return how an instant may be written, the most probable form first, each of them once.

    In UTC with an offset, with ``Z`` and naive; with the offset and the very text that are given;
    and with any other offset. Each as Python's ``isoformat`` prints it, and with 3 and 6 digits
    of a second where these give the same time.
    """
    moment = read_moment(timestamp)
    return list(dict.fromkeys(_print_all(timestamp, moment)))


def _print_all(timestamp: datetime | str, moment: datetime) -> Iterator[str]:
    naive = moment.replace(tzinfo=None)
    yield moment.isoformat()
    if isinstance(timestamp, str):
        yield timestamp
        timestamp = datetime.fromisoformat(timestamp)
    for time in _print_digits(naive):
        yield from (f"{time}{zone}" for zone in ("", "Z", "+00:00"))
    if timestamp.tzinfo is not None:
        own = timestamp.isoformat(timespec="seconds")[len("YYYY-MM-DDTHH:MM:SS") :]
        yield from (f"{time}{own}" for time in _print_digits(timestamp.replace(tzinfo=None)))
    for digits in range(3):
        for offset in _OFFSETS:
            yield from _print_with(naive, offset, digits)


def _print_with(naive: datetime, offset: timedelta, digits: int) -> Iterator[str]:
    try:
        local = naive + offset
    except OverflowError:  # Of the year 1, or 9999.
        return
    minutes = abs(offset) // timedelta(minutes=1)
    zone = f"{'-' if offset < timedelta(0) else '+'}{minutes // 60:02}:{minutes % 60:02}"
    yield from (f"{time}{zone}" for time in _print_digits(local)[digits : digits + 1])


def _print_digits(naive: datetime) -> list[str]:
    """Return a time with the digits of a second that Python prints, then with others."""
    forms = [naive.isoformat()]
    if naive.microsecond % 1_000 == 0:
        forms.append(naive.isoformat(timespec="milliseconds"))
    forms.append(naive.isoformat(timespec="microseconds"))
    return list(dict.fromkeys(forms))
