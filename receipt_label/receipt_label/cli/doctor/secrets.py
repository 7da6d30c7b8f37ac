"""Hide secrets, even those in messages of boto3 or DynamoDB."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

_HOLDS_SECRET: Final = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)

# A shorter value is a usual word such as "test", and masking it would hide ordinary text.
_SHORTEST: Final = 8
_MASK: Final = "***"


def _list_forms(secret: str) -> Iterator[str]:
    """Yield a secret as messages may show it: as it is, as Python prints it, as part of a URL."""
    yield secret
    yield repr(secret)[1:-1]
    yield quote(secret, safe="")


class SecretMask:
    """Masks the values of secret variables wherever they turn up.

    Args:
        variables: Environment variables; those whose names speak of keys, tokens, secrets or
            passwords are secret.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        secrets = {
            form
            for name, text in variables.items()
            if _HOLDS_SECRET.search(name) and len(text.strip()) >= _SHORTEST
            for form in _list_forms(text.strip())
        }
        # The longest first: one may be a part of another.
        self._secrets = sorted(secrets, key=len, reverse=True)

    def hide(self, text: str) -> str:
        """Return a text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, _MASK)
        return text

    def hide_in(self, document: Any) -> Any:
        """Return a JSON document without secrets."""
        if isinstance(document, str):
            return self.hide(document)
        if isinstance(document, Mapping):
            return {name: self.hide_in(part) for name, part in document.items()}
        if isinstance(document, list | tuple):
            return [self.hide_in(part) for part in document]
        return document
