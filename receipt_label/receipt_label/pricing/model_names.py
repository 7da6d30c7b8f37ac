"""Whether a price entry is meant for a model, by its name.

Price lists match by prefix. A prefix that fits a dated release (``claude-sonnet-4-5`` and
``claude-sonnet-4-5-20250929``) also fits a new model with a longer name, and prices it as
an old one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

# -latest, -20250929, @20250929, -2025-09-29, and the early -0613.
_RELEASE: Final = re.compile(
    r"(?:-preview)?(?:[-@](?:latest|\d{8}|\d{4}-\d{2}-\d{2}|(?:0[1-9]|1[0-2])\d{2}))?$"
)
_PARTIAL_RELEASE: Final = re.compile(r"[-@](?:20\d{2}-?)?$")


def is_priced_by(model: str, match: Any) -> bool:
    """Return whether a matching rule of genai-prices means ``model``, and not a namesake.

    Args:
        model: Name of the model that served the call.
        match: The rule that let it through: "equals" and "regex" are taken at their word,
            "starts_with" only if no more than a release date follows, "contains" never.
    """
    name = model.lower()
    return any(_means(name, clause) for clause in _walk(match))


def strip_release(model: str) -> str:
    """Return the name without its release: ``gpt-4o`` for ``gpt-4o-2024-08-06``.

    Of a fine-tuned model (``ft:gpt-4o-2024-08-06:team::id``) only the base is kept.
    """
    name = model.lower()
    if name.startswith("ft:"):
        name = ":".join(name.split(":")[:2])
    return _RELEASE.sub("", name, count=1)


def _walk(match: Any) -> Iterator[Any]:
    alternatives = getattr(match, "or_", None)
    if alternatives is None:
        yield match
        return
    for alternative in alternatives:
        yield from _walk(alternative)


def _means(name: str, clause: Any) -> bool:
    if (literal := getattr(clause, "equals", None)) is not None:
        # The package finds gpt-5.2-20251211 under gpt-5.2-2025-12-11 as well.
        return strip_release(literal) == strip_release(name)
    if (prefix := getattr(clause, "starts_with", None)) is not None:
        return strip_release(_PARTIAL_RELEASE.sub("", prefix.lower())) == strip_release(name)
    if (pattern := getattr(clause, "regex", None)) is not None:
        return re.fullmatch(pattern, name) is not None
    return False
