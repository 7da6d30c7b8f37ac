"""Hide passwords in what is shown: error messages, log lines, settings."""

from __future__ import annotations

import re
from typing import Final

# A URL begins where its scheme is a separate word. Each alternative begins at the first
# character of a word only, so that a long text is read once: a pattern that may begin anywhere
# takes the square of the text's length.
_URL_START: Final = re.compile(r"(?<![A-Za-z0-9+.:@-])([A-Za-z][A-Za-z0-9+.-]*://)")
_NAME_AT_HOST: Final = re.compile(r"(?<![^\s/\"'])[^\s/@\"'][^\s/\"']*@")

_HIDDEN: Final = "***@"


def hide_passwords(text: str) -> str:
    """Return a text without the users and passwords that URLs in it may hold.

    ``https://user:password@host/`` becomes ``https://***@host/``. Of a URL, all from its
    ``://`` to the last ``@`` of the line goes, because a password that is not escaped may hold
    any character: rather a host is hidden than a password shown. Without a scheme, what stands
    before an ``@`` in its word goes.

    Args:
        text: A URL, or a message with URLs in it.
    """
    return "\n".join(map(_hide_in_line, text.split("\n")))


def _hide_in_line(line: str) -> str:
    before, *parts = _URL_START.split(line)
    shown = [_NAME_AT_HOST.sub(_HIDDEN, before)]
    for start, rest in zip(parts[::2], parts[1::2], strict=True):
        _, found, host = rest.rpartition("@")
        shown += [start, f"{_HIDDEN}{host}" if found else rest]
    return "".join(shown)
