"""Which calls are recorded already: a call has one row, however many recorders see it.

A decorated function may use a wrapped client. Two things tell that its call is recorded:
the response object itself, and what was recorded while the function ran. The provider's
id alone would not do: some servers give the same one to every response.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, Final

# By identity, and beside the objects: an attribute on them would show in their dumps.
_recorded: Final[weakref.WeakValueDictionary[int, Any]] = weakref.WeakValueDictionary()

_scopes: Final[ContextVar[tuple[list[str | None], ...]]] = ContextVar("scopes", default=())


def mark_recorded(response: object, request_id: str | None) -> None:
    """Remember that the call which gave this response is recorded.

    Args:
        response: What the caller gets; None for a failed call.
        request_id: The provider's id of it.
    """
    for scope in _scopes.get():
        scope.append(request_id)
    # Plain dicts, texts and None cannot be marked.
    with contextlib.suppress(TypeError):
        _recorded[id(response)] = response


def is_recorded(response: object) -> bool:
    """Tell whether the call which gave this very object is recorded."""
    return response is not None and _recorded.get(id(response)) is response


@contextlib.contextmanager
def collect_recorded() -> Iterator[list[str | None]]:
    """Collect the ids of the calls that are recorded within the block, in this context."""
    scope: list[str | None] = []
    outer = _scopes.get()
    _scopes.set((*outer, scope))
    try:
        yield scope
    finally:
        # Not by a token: a coroutine may be closed in another context than its own.
        _scopes.set(outer)
