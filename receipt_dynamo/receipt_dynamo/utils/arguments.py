"""Checks of constructor arguments: a wrong one names itself, its value and what is accepted."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeAlias, cast

ExceptionFilter: TypeAlias = (
    type[BaseException] | tuple[type[BaseException], ...] | Callable[[Exception], bool]
)
"""What an exception must be: a type, one of several types, or what a predicate says True for."""


def given(**values: object) -> dict[str, Any]:
    """Return those that are not None, for the check of arguments that need not be given."""
    return {name: value for name, value in values.items() if value is not None}


def check_whole(**values: int) -> None:
    """Raise ValueError for a value that is no whole number from 1."""
    for name, value in values.items():
        if type(value) is not int or value < 1:
            raise ValueError(f"{name} is {value!r}; accepted are whole numbers of 1 or more")


def check_whole_within(low: int, high: int, **values: int) -> None:
    """Raise ValueError for a value that is no whole number of these bounds, both included."""
    for name, value in values.items():
        if type(value) is not int or not low <= value <= high:
            raise ValueError(
                f"{name} is {value!r}; accepted are whole numbers from {low} to {high}"
            )


def check_positive(**values: float) -> None:
    """Raise ValueError for a value that is no finite number above 0."""
    for name, value in values.items():
        if not (_is_finite(value) and value > 0):
            raise ValueError(f"{name} is {value!r}; accepted are finite numbers above 0")


def check_not_negative(**values: float) -> None:
    """Raise ValueError for a value that is no finite number from 0."""
    for name, value in values.items():
        if not (_is_finite(value) and value >= 0):
            raise ValueError(f"{name} is {value!r}; accepted are finite numbers of 0 or more")


def check_share(**values: float) -> None:
    """Raise ValueError for a value that is no number from 0 to 1."""
    for name, value in values.items():
        if not (_is_finite(value) and 0 <= value <= 1):
            raise ValueError(f"{name} is {value!r}; accepted are numbers from 0 to 1")


def check_flag(**values: object) -> None:
    """Raise TypeError for a value that is neither True nor False."""
    for name, value in values.items():
        if not isinstance(value, bool):
            raise TypeError(f"{name} is {value!r}; accepted are True and False")


def check_callable(**values: object) -> None:
    """Raise TypeError for a value that cannot be called."""
    for name, value in values.items():
        if not callable(value):
            raise TypeError(f"{name} is {value!r}; accepted is what can be called")


def make_filter(name: str, exceptions: ExceptionFilter) -> Callable[[Exception], bool]:
    """Return the predicate that ``exceptions`` stands for.

    Raises:
        TypeError: It is neither exception types nor a function; the message has ``name``.
    """
    types = exceptions if isinstance(exceptions, tuple) else (exceptions,)
    if all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in types):
        accepted = cast("tuple[type[BaseException], ...]", types)
        return lambda error: isinstance(error, accepted)
    if callable(exceptions) and not isinstance(exceptions, type):
        return exceptions
    raise TypeError(
        f"{name} is {exceptions!r}; accepted are exception types, a tuple of them, "
        "and a function that takes the exception"
    )


def _is_finite(value: object) -> bool:
    """Whether it is a number that a float can hold; nan is in no order."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and -sys.float_info.max <= cast("float", value) <= sys.float_info.max
