"""How a call failed, in words that are safe to store.

An error's message may quote the prompt, a key or a URL, and no filter finds all of them. So
no message is taken at all: only the error's type, the HTTP status, and the provider's own
word for it (``rate_limit_exceeded``), if it has the form of one. Such a word has no digits
but short numbers at its end, no punctuation and no blanks: that is no key, address or text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from receipt_label.calls.reply import get_field

_WORD: Final = re.compile(r"[A-Za-z]{1,40}(?:_(?:[A-Za-z]{1,40}|\d{1,3})){0,8}")
_MAX_WORD: Final = 64
_HTTP_ERRORS: Final = range(400, 600)


def describe_error(error: BaseException) -> str:
    """Return type, HTTP status and code: ``RateLimitError: HTTP 429 rate_limit_exceeded``."""
    words = [f"HTTP {status}"] if (status := _find_status(error)) else []
    words += [code] if (code := _find_code(error)) else []
    name = type(error).__name__
    return f"{name}: {' '.join(words)}" if words else name


def read_error_word(document: object) -> str | None:
    """Return the word of an ``error`` document, its code before its type; None without one."""
    return next(_read_words(document), None)


def _find_status(error: BaseException) -> int | None:
    metadata = _get(_get(error, "response"), "ResponseMetadata")  # botocore's
    candidates = (
        _get(error, "status_code"),
        _get(error, "code"),
        _get(metadata, "HTTPStatusCode"),
    )
    for status in candidates:
        if isinstance(status, int) and status in _HTTP_ERRORS:
            return int(status)
    return None


def _find_code(error: BaseException) -> str | None:
    body = _get(error, "body")
    sources = (error, _get(body, "error"), body, _get(_get(error, "response"), "Error"))
    return next((word for source in sources for word in _read_words(source)), None)


def _read_words(source: object) -> Iterator[str]:
    for name in ("code", "type", "status", "Code"):  # Google's maps have a status, botocore a Code
        value = _get(source, name)
        if not isinstance(value, str) or value == "error" or len(value) > _MAX_WORD:
            continue
        if _WORD.fullmatch(value):
            yield value


def _get(source: object, name: str) -> Any:
    try:
        return None if source is None else get_field(source, name)
    except Exception:  # noqa: BLE001 - whatever a property of theirs does
        return None
