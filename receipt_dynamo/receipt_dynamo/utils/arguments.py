"""Checks of arguments; an error names the argument, its value and what is accepted.

``check_whole(batch_size=batch_size)``: the values come by the name that the message shows. The
class of the error, where it may differ, comes first.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Collection
from types import NoneType, UnionType
from typing import Any, TypeAlias, cast, get_args

ExceptionFilter: TypeAlias = (
    type[BaseException] | tuple[type[BaseException], ...] | Callable[[Exception], bool]
)
"""A filter of exceptions: a type, several types, or a predicate that returns True for a match."""


def given(**values: object) -> dict[str, Any]:
    """Return those that are not None, for the check of arguments that need not be given."""
    return {name: value for name, value in values.items() if value is not None}


def check_text(wrong_type: type[Exception] = TypeError, /, **values: object) -> None:
    """Refuse what is no text, or a blank one.

    Raises:
        wrong_type: A value is no str; it is not shown, because it may hold anything.
        ValueError: A value is empty or blank.
    """
    for name, value in values.items():
        if not isinstance(value, str):
            raise wrong_type(
                f"{name} is of type {type(value).__name__}; accepted is a non-empty str"
            )
        if not value.strip():
            raise ValueError(f"{name} is {value!r}; accepted is a non-empty str")


def check_type(
    kind: type | UnionType, error: type[Exception] = TypeError, /, **values: object
) -> None:
    """Raise ``error`` for a value that is no ``kind``, which may be ``str | None``.

    The value is not shown: it may be a key, or a prompt.
    """
    for name, value in values.items():
        if not isinstance(value, kind):
            raise error(f"{name} is of type {type(value).__name__}; {_list_types(kind)}")


def check_choice(
    choices: Collection[object], error: type[Exception] = ValueError, /, **values: object
) -> None:
    """Raise ``error`` for a value that is none of ``choices``."""
    for name, value in values.items():
        if value not in choices:
            raise error(f"{name} is {value!r}; accepted are {', '.join(map(repr, choices))}")


def check_whole(error: type[Exception] = ValueError, /, **values: object) -> None:
    """Raise ``error`` for a value that is no whole number from 1."""
    check_whole_within(1, math.inf, error, **values)


def check_whole_within(
    low: int, high: float, error: type[Exception] = ValueError, /, **values: object
) -> None:
    """Raise ``error`` for a value that is no whole number of these bounds, both included.

    True and False are no numbers. An infinite ``high`` is no bound.
    """
    bounds = f"of {low} or more" if high == math.inf else f"from {low} to {high}"
    for name, value in values.items():
        if type(value) is not int or not low <= value <= high:
            raise error(f"{name} is {value!r}; accepted are whole numbers {bounds}")


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


def check_timeout(timeout: object) -> None:
    """Refuse what is no time to wait: neither None nor a number of seconds, 0 or less for none.

    Raises:
        TypeError: It is of another type.
        ValueError: It is nan, or no float can hold it.
    """
    if timeout is None or timeout == math.inf:
        return
    if not isinstance(timeout, (int, float)) or isinstance(timeout, bool):
        kind = type(timeout).__name__
        raise TypeError(f"timeout is of type {kind}; accepted are numbers of seconds and None")
    if not _is_finite(timeout):
        raise ValueError("timeout is nan or too large; accepted are numbers of seconds and None")


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


def _list_types(kind: type | UnionType) -> str:
    kinds = get_args(kind) or (kind,)
    names = ["None" if each is NoneType else each.__name__ for each in kinds]
    return f"accepted {'is' if len(names) == 1 else 'are'} {' and '.join(names)}"
