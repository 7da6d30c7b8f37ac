"""What the calls in a block belong to: job, batch, pull request, user.

It is kept in a contextvar: asyncio tasks begin with that of who made them and change only
their own. A thread begins without any; open the block in the thread's own function, or run
that by ``contextvars.copy_context().run``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, TypeVar

TrackerT = TypeVar("TrackerT")


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageContext:
    """What calls belong to; None where it is not said.

    Attributes:
        job_id: Of which job.
        batch_id: Of which batch.
        github_pr: For which pull request.
        user_id: On whose behalf.
        metadata: Goes into each record's metadata.
    """

    job_id: str | None = None
    batch_id: str | None = None
    github_pr: int | None = None
    user_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the types: a mistake shows where it is made, not in a lost record."""
        for name in ("job_id", "batch_id", "user_id"):
            if (value := getattr(self, name)) is not None:
                check_text(name, value)
        if self.github_pr is not None:
            _check_count("github_pr", self.github_pr)
        _check_metadata(self.metadata)

    def over(self, base: UsageContext) -> UsageContext:
        """Return ``base`` with what is said here in place of what is said there."""
        said = {
            field_.name: value
            for field_ in fields(self)
            if (value := getattr(self, field_.name)) is not None
        }
        return replace(base, **said | {"metadata": {**base.metadata, **self.metadata}})


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """One open block."""

    tracker: object
    context: UsageContext


_frames: Final[ContextVar[tuple[_Frame, ...]]] = ContextVar("ai_usage_frames", default=())


def find_context(tracker: object, defaults: UsageContext) -> UsageContext:
    """Return what a call made here and now belongs to, for this tracker.

    Args:
        tracker: Blocks that were opened for another one are passed over.
        defaults: Of the tracker; what a block says comes before it.
    """
    context = defaults
    for frame in _frames.get():
        if frame.tracker is None or frame.tracker is tracker:
            context = frame.context.over(context)
    return context


@contextlib.contextmanager
def ai_usage_context(
    operation_type: str,
    tracker: TrackerT | None = None,
    *,
    job_id: str | None = None,
    batch_id: str | None = None,
    github_pr: int | None = None,
    user_id: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    **tags: Any,
) -> Iterator[TrackerT | None]:
    """Say what the calls in the block belong to.

    Blocks nest: an inner one adds to the outer one, and overrides it. After the block all is
    as before. It changes no price: a batch discount belongs to what the provider's Batch
    API served, not to each call in a block.

    Args:
        operation_type: What the block does, such as "receipt_labeling"; goes to the
            records' metadata as ``operation_type``.
        tracker: Whose records are meant; by default those of every tracker.
        job_id: Of which job.
        batch_id: Of which batch.
        github_pr: For which pull request.
        user_id: On whose behalf.
        metadata: More for the records' metadata.
        **tags: The same, by name.

    Yields:
        The tracker, as given.

    Raises:
        TypeError: An argument is of a wrong type.
        ValueError: An argument is empty or negative.
    """
    check_text("operation_type", operation_type)
    if metadata is not None:
        _check_metadata(metadata)
    context = UsageContext(
        job_id=job_id,
        batch_id=batch_id,
        github_pr=github_pr,
        user_id=user_id,
        metadata={**(metadata or {}), **tags, "operation_type": operation_type},
    )
    frame = _Frame(tracker, context)
    _frames.set((*_frames.get(), frame))
    try:
        yield tracker
    finally:
        # Not by a token: that fails where a generator is closed in another context, and
        # would also remove blocks which were opened in the meantime.
        _frames.set(tuple(open_ for open_ in _frames.get() if open_ is not frame))


def batch_ai_usage_context(
    batch_id: str, tracker: TrackerT | None = None, *, operation_type: str = "batch", **kwargs: Any
) -> contextlib.AbstractContextManager[TrackerT | None]:
    """Say that the calls in the block belong to a batch; see :func:`ai_usage_context`.

    Args:
        batch_id: Of which batch.
        tracker: Whose records are meant; by default those of every tracker.
        operation_type: What the block does.
        **kwargs: As of :func:`ai_usage_context`.

    Raises:
        TypeError: An argument is of a wrong type.
        ValueError: An argument is empty or negative.
    """
    check_text("batch_id", batch_id)
    return ai_usage_context(operation_type, tracker, batch_id=batch_id, **kwargs)


def check_text(name: str, value: object) -> None:
    """Refuse what is no text, or an empty one.

    Raises:
        TypeError: ``value`` is no str.
        ValueError: It is empty or blank.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} is of type {type(value).__name__}; accepted is str")
    if not value.strip():
        raise ValueError(f"{name} is {value!r}; accepted is a non-empty str")


def _check_count(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} is of type {type(value).__name__}; accepted is int")
    if value < 0:
        raise ValueError(f"{name} is {value}; accepted is int, 0 or more")


def _check_metadata(value: object) -> None:
    if not isinstance(value, Mapping):
        raise TypeError(f"metadata is of type {type(value).__name__}; accepted is a mapping")
