"""The context of the calls in a block: job, batch, pull request, user, environment.

It is kept in a contextvar: asyncio tasks begin with that of who made them and change only
their own. A thread begins without any: :func:`bind_usage_context` gives it the caller's.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, ParamSpec, TypeVar, cast

from receipt_dynamo.support import notice_fork, reset_in_child
from receipt_label.arguments import check_count, check_mapping, check_text
from receipt_label.environment import Environment, parse_environment

P = ParamSpec("P")
R = TypeVar("R")
TrackerT = TypeVar("TrackerT", bound="RecordMaker")


class RecordMaker:
    """Whose records a block may be meant for: the base class of the trackers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageContext:
    """The context of calls; None for fields that are not set.

    Attributes:
        job_id: The job that they are part of.
        batch_id: The batch that they are part of.
        github_pr: Number of the pull request that they are made for.
        user_id: The user on whose behalf they are made.
        environment: Where they are made.
        metadata: Goes into each record's metadata.
    """

    job_id: str | None = None
    batch_id: str | None = None
    github_pr: int | None = None
    user_id: str | None = None
    environment: Environment | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the types: a mistake shows where it is made, not in a lost record."""
        for name in ("job_id", "batch_id", "user_id"):
            if (value := getattr(self, name)) is not None:
                check_text(name, value)
        if self.github_pr is not None:
            check_count("github_pr", self.github_pr)
        check_mapping("metadata", self.metadata)

    def over(self, base: UsageContext) -> UsageContext:
        """Return ``base``, with the fields that are set here in place of its own."""
        said = {
            field_.name: value
            for field_ in fields(self)
            if (value := getattr(self, field_.name)) is not None
        }
        return replace(base, **said | {"metadata": {**base.metadata, **self.metadata}})


class ContextDefaults:
    """The context of a tracker's calls outside of blocks. Thread-safe.

    Args:
        base: What holds when nothing is set.

    Attributes:
        current: What holds now; another object after each change.
    """

    def __init__(self, base: UsageContext) -> None:
        self._base = base
        self.current = base
        self.reset_after_fork()
        reset_in_child(self)

    def reset_after_fork(self) -> None:
        """Take a new lock; a thread of the parent may hold the old one for ever."""
        self._lock = threading.RLock()

    def add(self, context: UsageContext) -> None:
        """Set what ``context`` says; what it does not say stays as it is."""
        notice_fork()
        with self._lock:
            self.current = context.over(self.current)

    def clear(self) -> None:
        """Clear all that was added."""
        notice_fork()
        with self._lock:
            self.current = self._base


@dataclass(slots=True, eq=False)
class _Block:
    """One block of :func:`ai_usage_context`.

    Attributes:
        tracker: Whose records are meant; None for every tracker's.
        context: What it says.
        place: Thread and task that opened it.
        is_stranded: Whether it was closed elsewhere, and so is still open where it was
            opened: in a generator that another thread or task closed.
    """

    tracker: object
    context: UsageContext
    place: tuple[int, object]
    is_stranded: bool = False


class _OpenBlocks:
    """The open blocks of one context, from the outermost inwards; immutable.

    What they say together is asked for by each call, and put together once.
    """

    __slots__ = ("_known", "blocks")

    def __init__(self, blocks: tuple[_Block, ...]) -> None:
        self.blocks = blocks
        self._known: tuple[UsageContext, int, UsageContext] | None = None

    def find(self, tracker: object, defaults: UsageContext) -> UsageContext:
        """Return what they say to a tracker."""
        known = self._known
        # The defaults are a tracker's own, so that no other one is at its address.
        if known is not None and known[0] is defaults and known[1] == id(tracker):
            return known[2]
        context = defaults
        for block in self.blocks:
            if block.tracker is None or block.tracker is tracker:
                context = block.context.over(context)
        self._known = (defaults, id(tracker), context)
        return context

    def without(self, *closed: _Block) -> _OpenBlocks:
        """Return the other blocks."""
        return _OpenBlocks(tuple(block for block in self.blocks if block not in closed))


_NONE_OPEN: Final = _OpenBlocks(())
_open_blocks: Final[ContextVar[_OpenBlocks]] = ContextVar("ai_usage", default=_NONE_OPEN)


def find_context(tracker: object, defaults: UsageContext) -> UsageContext:
    """Return what a call made here and now belongs to, for this tracker.

    Args:
        tracker: Blocks that were opened for another one are passed over.
        defaults: Of the tracker, and of no other one; what a block says comes before it.
    """
    here = _open_blocks.get()
    if not here.blocks:
        return defaults
    if stranded := [block for block in here.blocks if block.is_stranded]:
        here = here.without(*stranded)
        _open_blocks.set(here)
    return here.find(tracker, defaults)


def bind_usage_context(function: Callable[P, R]) -> Callable[P, R]:
    """Return ``function``, to be run by a thread, in the context of who calls this.

    A thread has no context by itself, so that its calls would belong to no job::

        with ai_usage_context("labeling", job_id="job-7"), ThreadPoolExecutor() as pool:
            pool.map(bind_usage_context(label), receipts)

    Each call runs in its own copy of all context variables, taken now: it may be
    submitted many times at once, and what it sets stays with it.

    Args:
        function: Whatever a thread can call. asyncio tasks need no such help.

    Raises:
        TypeError: ``function`` is not callable, or its body runs after the call: async
            functions and generators.
    """
    if not callable(function):
        raise TypeError(f"function is of type {type(function).__name__}; accepted is a function")
    if inspect.iscoroutinefunction(function) or _makes_generator(function):
        raise TypeError(
            "function is async or a generator, whose body runs after the call; "
            "accepted is a function that does its work when it is called"
        )
    context = copy_context()

    @functools.wraps(function)
    def bound(*args: P.args, **kwargs: P.kwargs) -> R:
        return context.copy().run(function, *args, **kwargs)

    return bound


class UsageBlock(contextlib.AbstractContextManager[TrackerT | None]):
    """What :func:`ai_usage_context` returns: a block for ``with``, or a decorator.

    Each ``with`` takes a separate block. A decorated function, async or not, gets a new one
    for each call.
    """

    def __init__(self, tracker: TrackerT | None, context: UsageContext) -> None:
        self._tracker = tracker
        self._context = context
        self._block: _Block | None = None

    def __enter__(self) -> TrackerT | None:
        if self._block is not None:
            raise RuntimeError("this block was entered before; call ai_usage_context for each")
        self._block = _Block(self._tracker, self._context, _find_place())
        _open_blocks.set(_OpenBlocks((*_open_blocks.get().blocks, self._block)))
        return self._tracker

    def __exit__(self, *exc_info: object) -> None:
        block = self._block
        if block is None:
            return
        # Not by a token: that fails where a generator is closed in another context, and
        # would also remove blocks which were opened in the meantime.
        here = _open_blocks.get()
        block.is_stranded = block not in here.blocks or block.place != _find_place()
        _open_blocks.set(here.without(block))

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function, so that each of its calls is a block.

        Raises:
            TypeError: ``function`` is not callable, or a generator, whose body runs after
                the call: open the block inside of it.
        """
        target: Any = function
        if not callable(target) or _makes_generator(target):
            raise TypeError(
                f"function is {'a generator' if callable(target) else 'not callable'}; "
                "accepted is a function that does its work when it is called or awaited"
            )

        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            with UsageBlock(self._tracker, self._context):
                return function(*args, **kwargs)

        @functools.wraps(function)
        async def run_async(*args: P.args, **kwargs: P.kwargs) -> Any:
            with UsageBlock(self._tracker, self._context):
                return await target(*args, **kwargs)

        decorated: Any = run_async if inspect.iscoroutinefunction(target) else run
        return cast("Callable[P, R]", decorated)


def ai_usage_context(
    operation_type: str,
    tracker: TrackerT | None = None,
    *,
    job_id: str | None = None,
    batch_id: str | None = None,
    github_pr: int | None = None,
    user_id: str | None = None,
    environment: Environment | str | None = None,
    metadata: Mapping[str, Any] | None = None,
    **tags: Any,
) -> UsageBlock[TrackerT]:
    """Set the context of the calls in the block.

    Blocks nest: an inner one adds to the outer one, and overrides it; None is the same as
    left out. After the block all is as before. It changes no price: a batch discount belongs
    to what the provider's Batch API served, not to each call in a block.

    Args:
        operation_type: What the block does, such as "receipt_labeling"; goes to the
            records' metadata as ``operation_type``.
        tracker: Whose records are meant; by default those of every tracker.
        job_id: The job that the calls are part of.
        batch_id: The batch that they are part of.
        github_pr: Number of the pull request that they are made for.
        user_id: The user on whose behalf they are made.
        environment: Where they are made, where that is not the tracker's environment; an
            :class:`Environment`, its value or a short form such as "prod".
        metadata: More for the records' metadata.
        **tags: The same, by name. A value that no record can hold is left out, and named in
            the record's ``invalid_fields``.

    Returns:
        A context manager that gives the tracker, as given; it may decorate a function too.

    Raises:
        TypeError: An argument is of a wrong type.
        ValueError: An argument is empty or negative, or no environment.
    """
    check_text("operation_type", operation_type)
    _check_tracker(tracker)
    if metadata is not None:
        check_mapping("metadata", metadata)
    context = UsageContext(
        job_id=job_id,
        batch_id=batch_id,
        github_pr=github_pr,
        user_id=user_id,
        environment=None if environment is None else parse_environment(environment),
        metadata={**(metadata or {}), **tags, "operation_type": operation_type},
    )
    return UsageBlock(tracker, context)


def batch_ai_usage_context(
    batch_id: str,
    operation_type: str = "batch",
    tracker: TrackerT | None = None,
    **kwargs: Any,
) -> UsageBlock[TrackerT]:
    """Set the batch of the calls in the block; see :func:`ai_usage_context`.

    Args:
        batch_id: The batch that the calls are part of.
        operation_type: What the block does.
        tracker: Whose records are meant; by default those of every tracker.
        **kwargs: Arguments and tags of :func:`ai_usage_context`.

    Returns:
        A context manager that gives the tracker, as given; it may decorate a function too.

    Raises:
        TypeError: An argument is of a wrong type.
        ValueError: An argument is empty or negative.
    """
    check_text("batch_id", batch_id)
    return ai_usage_context(operation_type, tracker, batch_id=batch_id, **kwargs)


def _check_tracker(tracker: object) -> None:
    if tracker is not None and not isinstance(tracker, RecordMaker):
        raise TypeError(
            f"tracker is of type {type(tracker).__name__}; accepted are AIUsageTracker, "
            "ResilientAIUsageTracker and None"
        )


def _find_place() -> tuple[int, object]:
    """Return the thread and the asyncio task that this runs in."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return threading.get_ident(), task


def _makes_generator(function: object) -> bool:
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
