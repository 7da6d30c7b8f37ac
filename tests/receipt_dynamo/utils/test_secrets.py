"""Passwords in URLs are never shown, whatever text they stand in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_dynamo.utils.secrets import hide_passwords


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("nothing to hide", "nothing to hide"),
        ("http://localhost:8000/path", "http://localhost:8000/path"),
        ("https://user:pass@host:8000/x", "https://***@host:8000/x"),
        ("https://user@host", "https://***@host"),
        ("https://:pass@host", "https://***@host"),
        ("'https://user:pass@host'", "'https://***@host'"),
        ('cannot connect to "http://u:p@h/"', 'cannot connect to "http://***@h/"'),
        ("http://a:b@h1 and http://c:d@h2", "http://***@h1 and http://***@h2"),
        ("http://a:b@h1,http://c:d@h2", "http://***@h1,http://***@h2"),
        ("first http://a:b@h1\nthen x@y\n", "first http://***@h1\nthen ***@y\n"),
        ("user:pass@host:8000", "***@host:8000"),
        ("/tmp/someone@here/journal", "/tmp/***@here/journal"),
        ("AWS_ENDPOINT_URL=http://u:p@h", "AWS_ENDPOINT_URL=http://***@h"),
        ("redis+tls://u:p@h", "redis+tls://***@h"),
    ],
)
def test_users_and_passwords_are_hidden(text: str, shown: str) -> None:
    assert hide_passwords(text) == shown


@pytest.mark.parametrize(
    "password",
    ["p@ss", "pa/ss", "pa'ss", 'pa"ss', "pa ss", "p://x", "a?b#c", "p:q", "@", "ü@ß", "\x0b\x85"],
)
def test_a_password_that_is_not_escaped_is_hidden_whole(password: str) -> None:
    shown = hide_passwords(f"cannot use https://user:{password}@host:8000/x (malformed)")
    assert shown == "cannot use https://***@host:8000/x (malformed)"


@given(
    before=st.text(st.characters(exclude_characters="@\n\r", exclude_categories=["Cs"])),
    password=st.text("ab/:@?#'\" %", max_size=8),
)
def test_no_password_is_ever_shown(before: str, password: str) -> None:
    shown = hide_passwords(f"{before} https://me:SECRET{password}@host/")
    assert "SECRET" not in shown
    assert shown.endswith("***@host/")


def test_hiding_again_changes_nothing() -> None:
    once = hide_passwords("a@b https://u:p@h")
    assert hide_passwords(once) == once


@pytest.mark.parametrize("unit", ["a", "a/", "a:", "://", "@", "http://", "é ", "a.b-c+"])
def test_the_time_grows_with_the_text_and_not_with_its_square(unit: str) -> None:
    """A million characters: a pattern that begins anew at each one would take an hour."""
    text = unit * (1_000_000 // len(unit))
    assert len(hide_passwords(text)) <= 4 * len(text)
