"""Warnings that point at the user's own line, however deep in our packages they arise."""

from __future__ import annotations

import sys
import warnings
from typing import Final

_PACKAGES: Final = frozenset({"receipt_label", "receipt_dynamo"})


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the nearest line on the stack that is not ours.

    A fixed stack level is right for one way in only: ``ClientConfig.from_env()`` and
    ``ClientManager.from_env()`` would need two.

    Args:
        message: What is wrong and what to do.
        category: Class of the warning.
    """
    level = 1
    while _is_own_module(sys._getframe(level).f_globals.get("__name__", "")):  # noqa: SLF001
        level += 1
    warnings.warn(message, category, stacklevel=level + 1)


def _is_own_module(name: str) -> bool:
    return name.partition(".")[0] in _PACKAGES
