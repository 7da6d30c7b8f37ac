"""Nothing secret is ever shown, whoever's message holds it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

_HOLDS_SECRET: Final = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)

# What is shorter is a word that tells nothing, such as "test", and would black out others' text.
_SHORTEST: Final = 8
_MASK: Final = "***"


class SecretMask:
    """Masks the values of secret variables wherever they turn up.

    Args:
        variables: Environment variables; those whose names speak of keys, tokens, secrets or
            passwords are secret.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        secrets = {
            text.strip()
            for name, text in variables.items()
            if _HOLDS_SECRET.search(name) and len(text.strip()) >= _SHORTEST
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
