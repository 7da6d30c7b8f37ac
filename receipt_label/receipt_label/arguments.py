"""Checks of arguments; an error names the argument, what it is and what is accepted."""

from __future__ import annotations

from collections.abc import Mapping


def check_type(name: str, value: object, kind: type) -> None:
    """Refuse what is neither of this type nor None, without showing it: it may be a secret.

    Raises:
        TypeError: ``value`` is something else.
    """
    if value is not None and not isinstance(value, kind):
        raise TypeError(
            f"{name} is of type {type(value).__name__}; accepted are {kind.__name__} and None"
        )


def check_text(name: str, value: object) -> None:
    """Refuse what is no text, or an empty one.

    Raises:
        TypeError: ``value`` is no str.
        ValueError: It is empty or blank.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} is of type {type(value).__name__}; accepted is str")
    if not value.strip():
        raise ValueError(f"{name} is {value!r}; accepted is a non-empty str")


def check_count(name: str, value: object) -> None:
    """Refuse what is no whole number, or a negative one.

    Raises:
        TypeError: ``value`` is no int.
        ValueError: It is below 0.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} is of type {type(value).__name__}; accepted is int")
    if value < 0:
        raise ValueError(f"{name} is {value}; accepted is int, 0 or more")


def check_mapping(name: str, value: object) -> None:
    """Refuse what is no mapping.

    Raises:
        TypeError: ``value`` is something else.
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} is of type {type(value).__name__}; accepted is a mapping")


def check_bool(name: str, value: object) -> bool:
    """Return a value that has to be True or False.

    Raises:
        TypeError: ``value`` is something else.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} is of type {type(value).__name__}; accepted is bool")
    return value
