"""Describe a provider: its name, its clients, their operations, how to read its replies.

All of it is description: nothing here hooks into a client, and nothing imports an SDK.
``docs/add_a_provider.md`` fills one in, step by step.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from receipt_label.calls.reply import ProviderReply

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

Request: TypeAlias = Mapping[str, Any]
"""A request: the JSON of an HTTP request, or the arguments of a method by their names."""

ReadReply: TypeAlias = Callable[[Any, Request], ProviderReply]
"""Reads what came back, an SDK's object or JSON; some bills follow from what was asked."""


def _never(kind: str, event: Mapping[str, Any]) -> bool:  # noqa: ARG001
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEvents:
    """How the events of a provider's streams add up to a plain reply.

    Each function gets an event's ``type`` (empty when it has none) and its JSON.

    Attributes:
        last: Types of events after which the provider counts nothing any more.
        brings_content: Returns whether an event has a part of the answer.
        is_last_count: Returns whether an event has the final usage.
    """

    last: frozenset[str] = frozenset()
    brings_content: Callable[[str, Mapping[str, Any]], bool] = _never
    is_last_count: Callable[[str, Mapping[str, Any]], bool] = _never


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One kind of call that a provider can be asked for.

    Attributes:
        name: As records name it, such as "completion".
        read: Reads its replies.
        model: The model of every call, for services that have none; by default what the
            reply says, else the request.
        model_argument: What the request calls the model.
        metadata: More for the record of each call.
        known: What is known of a call before anything comes back.
        streams: Whether it may answer by a stream of items.
        events: How to read those items; None when each is read as a separate reply, and the
            last one with a usage counts.
        has_stream_options: Whether streams have their usage only if ``stream_options`` asks
            for it.
    """

    name: str
    read: ReadReply
    model: str | None = None
    model_argument: str = "model"
    metadata: Mapping[str, Any] = field(default_factory=dict)
    known: ProviderReply = field(default_factory=ProviderReply)
    streams: bool = False
    events: StreamEvents | None = None
    has_stream_options: bool = False


UNTRACKED: Final = Operation(name="untracked", read=lambda reply, request: ProviderReply())  # noqa: ARG005
"""A call that costs nothing, and is counted in ``get_stats().untracked``."""

FindOperation: TypeAlias = Callable[[Request], Operation | None]
"""Returns what a method asks for by its arguments.

It is :data:`UNTRACKED` for what is none of the provider's calls, and None for what is a part
of a call that is seen already, such as the next try.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestClients:
    """Clients whose methods all end in one ``request``, as Stainless generates them.

    Attributes:
        classes: The accepted ones, as "package.Class"; their subclasses too.
        host: Of the provider's own servers.
        prefix: What all paths begin with.
        operations: By path.
        other: What any other path asks for, but for its name: it is a call if its reply has a
            usage.
    """

    classes: tuple[str, ...]
    host: str
    prefix: str = ""
    operations: Mapping[str, Operation]
    other: Operation = UNTRACKED

    def accepts(self, client: object) -> bool:
        """Return whether an object is such a client."""
        return is_instance(client, self.classes)

    def list_operations(self) -> Iterator[Operation]:
        """Yield those that are the same for every request."""
        yield from self.operations.values()


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodClients:
    """Clients each of whose methods is one call.

    Attributes:
        classes: The accepted ones, as "package.Class"; their subclasses too.
        methods: What a method asks for, by its name; "chat.ask" is the method ``ask`` of what
            the client has as ``chat``. A function returns it by the arguments.
        has: Methods that make any other object an accepted one: one of them will do.
    """

    classes: tuple[str, ...]
    methods: Mapping[str, Operation | FindOperation]
    has: tuple[str, ...] = ()

    def accepts(self, client: object) -> bool:
        """Return whether an object is such a client."""
        return is_instance(client, self.classes) or any(
            callable(getattr(client, name, None)) for name in self.has
        )

    def list_operations(self) -> Iterator[Operation]:
        """Yield those that are the same for every request."""
        for found in self.methods.values():
            if isinstance(found, Operation):
                yield found


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLine:
    """Where a line of a batch's results has what a plain call would have given.

    Attributes:
        result: Name of the field with the outcome.
        reply: Name of the field of that with the reply.
    """

    result: str
    reply: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One provider of calls that cost money.

    Attributes:
        service: Its name in records and price lists, in lower case.
        clients: The kinds of clients that can be wrapped.
        find_operation_of: Returns the operation of a reply, for replies that no wrapped
            client saw; None when they cannot be read without their call.
        batch: How a line of its batches' results reads; None when it has none.
        prices: A file in the form of ``docs/prices.md`` with what it charges: a path, or a
            file of ``importlib.resources``. It comes after the user's own prices and before
            all others.

    Raises:
        ValueError: ``service`` is empty or not in lower case.
    """

    service: str
    clients: tuple[RequestClients | MethodClients, ...] = ()
    find_operation_of: Callable[[object], Operation] | None = None
    batch: BatchLine | None = None
    prices: Traversable | None = None

    def __post_init__(self) -> None:
        """Check the name, by which everything is found."""
        if not self.service or self.service != self.service.strip().lower():
            raise ValueError(f"service is {self.service!r}; accepted are names in lower case")

    def find_clients(self, client: object) -> RequestClients | MethodClients | None:
        """Return the kind of client that an object is; None when it is none."""
        return next((kind for kind in self.clients if kind.accepts(client)), None)

    def find_operation(self, name: str) -> Operation:
        """Return the operation of a name.

        Raises:
            KeyError: The provider has none.
        """
        for kind in self.clients:
            for operation in kind.list_operations():
                if operation.name == name:
                    return operation
        raise KeyError(name)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the clients that can be wrapped."""
        return tuple(name for kind in self.clients for name in kind.classes)


def is_instance(client: object, classes: tuple[str, ...]) -> bool:
    """Return whether an object is of one of the classes, without importing their packages.

    A class whose package is not imported has no objects.
    """
    for name in classes:
        package, _, attribute = name.rpartition(".")
        kind = getattr(sys.modules.get(package), attribute, None)
        if isinstance(kind, type) and isinstance(client, kind):
            return True
    return False
