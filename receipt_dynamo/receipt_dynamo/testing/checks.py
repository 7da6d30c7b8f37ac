"""Checks of the faults' arguments, each with an error that says what is accepted."""

from __future__ import annotations

import math

_ERROR_STATUS = range(400, 600)


def check_number(name: str, value: float, lowest: float) -> None:
    """Check a finite number.

    Raises:
        ValueError: It is no number, not finite, or below ``lowest``.
    """
    if type(value) not in {int, float} or not math.isfinite(value) or value < lowest:
        raise ValueError(f"{name} is {value!r}; accepted is a finite number of {lowest:g} or more")


def check_share(name: str, value: float) -> None:
    """Check a share above 0, up to 1.

    Raises:
        ValueError: It is no number or out of range.
    """
    if type(value) not in {int, float} or not 0 < value <= 1:
        raise ValueError(f"{name} is {value!r}; accepted is a number above 0, up to 1")


def check_error(status: int, code: str) -> None:
    """Check an error's HTTP status and code.

    Raises:
        ValueError: The status is no error's, or the code is empty.
    """
    if type(status) is not int or status not in _ERROR_STATUS:
        raise ValueError(f"status is {status!r}; accepted is an int from 400 to 599")
    if not code:
        raise ValueError(f"code is {code!r}; accepted is a non-empty string")
