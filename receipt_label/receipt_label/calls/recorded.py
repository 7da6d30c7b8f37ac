"""Find out whether a call is recorded already: it has one row, even if two recorders see it.

A decorated function may use a wrapped client. Two things show that its call is recorded:
the response object itself, and what was recorded while the function ran. The provider's
id alone would not do: some servers give the same one to every response.
"""

from __future__ import annotations

import contextlib
import weakref
from contextvars import ContextVar
from typing import Any, Final, Self

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
    """Return whether the call which gave this very object is recorded."""
    return response is not None and _recorded.get(id(response)) is response


class RecordedInside:
    """The ids of the calls that are recorded within its blocks, in their context.

    A generator enters a block for each step, so that what its consumer does in between is
    none of it.
    """

    def __init__(self) -> None:
        self._ids: list[str | None] = []
        self._outer: tuple[list[str | None], ...] = ()

    def __enter__(self) -> Self:
        self._outer = _scopes.get()
        _scopes.set((*self._outer, self._ids))
        return self

    def __exit__(self, *exc_info: object) -> None:
        # Not by a token: a coroutine may be closed in another context than its own.
        _scopes.set(self._outer)

    def __bool__(self) -> bool:
        """Whether there is one."""
        return bool(self._ids)

    def __contains__(self, request_id: str | None) -> bool:
        return request_id in self._ids
