"""A bad argument: the error names it, says what it is, and what is accepted."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from receipt_dynamo.utils import arguments


class OwnError(Exception):
    """Of a module with an error class of its own."""


@pytest.mark.parametrize(
    ("check", "error", "message"),
    [
        (
            lambda: arguments.check_text(user="ok", job=7),
            TypeError,
            "job is of type int; accepted is a non-empty str",
        ),
        (
            lambda: arguments.check_text(OwnError, job=None),
            OwnError,
            "job is of type NoneType; accepted is a non-empty str",
        ),
        (
            lambda: arguments.check_text(OwnError, job=" "),
            ValueError,
            "job is ' '; accepted is a non-empty str",
        ),
        (
            lambda: arguments.check_type(date, day="sk-secret"),
            TypeError,
            "day is of type str; accepted is date",
        ),
        (
            lambda: arguments.check_type(date | None, OwnError, day=5),
            OwnError,
            "day is of type int; accepted are date and None",
        ),
        (
            lambda: arguments.check_choice(("a", "b"), kind="c"),
            ValueError,
            "kind is 'c'; accepted are 'a', 'b'",
        ),
        (
            lambda: arguments.check_whole(size=True),
            ValueError,
            "size is True; accepted are whole numbers of 1 or more",
        ),
        (
            lambda: arguments.check_whole_within(1, 25, OwnError, size=26),
            OwnError,
            "size is 26; accepted are whole numbers from 1 to 25",
        ),
        (
            lambda: arguments.check_whole_within(0, math.inf, size=-1),
            ValueError,
            "size is -1; accepted are whole numbers of 0 or more",
        ),
    ],
)
def test_a_bad_argument_is_named(
    check: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        check()


@pytest.mark.parametrize("timeout", ["1", True, b"1", [], math.nan, 10**400])
def test_what_is_no_time_to_wait_is_refused(timeout: Any) -> None:
    with pytest.raises(
        (TypeError, ValueError), match=r"timeout is .*; accepted are numbers of sec"
    ):
        arguments.check_timeout(timeout)


@pytest.mark.parametrize("timeout", [None, 0, 1, 0.5, -1, math.inf, 10**300])
def test_what_is_a_time_to_wait_is_accepted(timeout: Any) -> None:
    arguments.check_timeout(timeout)


def test_good_arguments_pass() -> None:
    arguments.check_text(user="a", job="b")
    arguments.check_type(str | None, user="a", job=None)
    arguments.check_choice(("a", "b"), kind="b")
    arguments.check_whole(size=1, bound=10**30)
    arguments.check_whole_within(1, 25, low=1, high=25)


def test_an_argument_may_have_any_name() -> None:
    """Of a record, for example, that has an error and a kind."""
    arguments.check_text(error="throttled", wrong_type="none")
    arguments.check_type(str, kind="a", error="b")
    arguments.check_whole_within(1, 2, low=1, high=2, error=1)
