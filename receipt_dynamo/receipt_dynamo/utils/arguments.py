"""Checks of constructor arguments: a wrong one names itself, its value and what is accepted."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias, cast

ExceptionFilter: TypeAlias = (
    type[BaseException] | tuple[type[BaseException], ...] | Callable[[Exception], bool]
)
"""What an exception must be: a type, one of several types, or what a predicate says True for."""


def check_whole(**values: int | None) -> None:
    """Raise ValueError for a value that is neither None nor a whole number from 1."""
    for name, value in values.items():
        if value is not None and (type(value) is not int or value < 1):
            raise ValueError(f"{name} is {value!r}; accepted are whole numbers of 1 or more")


def check_positive(**values: float | None) -> None:
    """Raise ValueError for a value that is neither None nor a finite number above 0."""
    for name, value in values.items():
        if value is not None and not (_is_number(value) and 0 < value < math.inf):
            raise ValueError(f"{name} is {value!r}; accepted are finite numbers above 0")


def check_not_negative(**values: float | None) -> None:
    """Raise ValueError for a value that is neither None nor a finite number from 0."""
    for name, value in values.items():
        if value is not None and not (_is_number(value) and 0 <= value < math.inf):
            raise ValueError(f"{name} is {value!r}; accepted are finite numbers of 0 or more")


def check_share(**values: float | None) -> None:
    """Raise ValueError for a value that is neither None nor a number from 0 to 1."""
    for name, value in values.items():
        if value is not None and not (_is_number(value) and 0 <= value <= 1):
            raise ValueError(f"{name} is {value!r}; accepted are numbers from 0 to 1")


def check_callable(**values: object) -> None:
    """Raise TypeError for a value that cannot be called."""
    for name, value in values.items():
        if not callable(value):
            raise TypeError(f"{name} is {value!r}; accepted is what can be called")


def check_callable_or_none(**values: object) -> None:
    """Raise TypeError for a value that is neither None nor can be called."""
    check_callable(**{name: value for name, value in values.items() if value is not None})


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


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
