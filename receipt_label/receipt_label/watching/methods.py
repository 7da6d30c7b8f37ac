"""Watch a client each of whose methods is a call, on a copy of it that shares its connections."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from receipt_label.calls.call import CallSink
from receipt_label.providers.provider import UNTRACKED, FindOperation, MethodClients, Operation
from receipt_label.watching.function_calls import FunctionCall
from receipt_label.watching.functions import track

ClientT = TypeVar("ClientT")

_SINK: Final = "_receipt_label_sink"
_HOOKED: Final = "_receipt_label_hooked"


def watch_methods(client: ClientT, service: str, kind: MethodClients, sink: CallSink) -> ClientT:
    """Return a copy of a client whose methods are recorded by ``sink``.

    One whose methods are recorded there already is returned itself.

    Args:
        client: One that ``kind`` accepts.
        service: The provider, as records name it.
        kind: What its methods ask for.
        sink: Records the calls.

    Raises:
        TypeError: The attributes of the client, or of a part of it, cannot be set.
    """
    if getattr(client, _SINK, None) is sink:
        return client
    try:
        return _hook_copy(client, service, kind, sink)
    except AttributeError as error:
        name = type(client).__name__
        raise TypeError(f"a client of type {name} cannot be watched: {error}") from error


def _hook_copy(client: ClientT, service: str, kind: MethodClients, sink: CallSink) -> ClientT:
    owners: dict[str, Any] = {"": copy.copy(client)}
    for path, operation in kind.methods.items():
        place, _, name = path.rpartition(".")
        owner = _copy_part(owners, place)
        method = _find_method(owner, name)
        if callable(method):
            observer = MethodObserver(service, operation, sink, _list_names(method))
            hooked: Any = track(observer, method)
            setattr(hooked, _HOOKED, True)
            setattr(owner, name, hooked)
    copied: ClientT = owners[""]
    setattr(copied, _SINK, sink)
    return copied


@dataclass(frozen=True, slots=True)
class MethodObserver:
    """Observes the calls of one method.

    Args:
        service: The provider, as records name it.
        operation: The method's operation, or a function that returns it by the arguments.
        sink: Records the calls.
        names: Of the positional arguments.
    """

    service: str
    operation: Operation | FindOperation
    sink: CallSink
    names: tuple[str, ...]

    def begin(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> FunctionCall | None:
        """Return the call that these arguments begin; None when it is not one to record."""
        request = {**dict(zip(self.names, args, strict=False)), **kwargs}
        operation: Operation | None
        try:
            operation = (
                self.operation if isinstance(self.operation, Operation) else self.operation(request)
            )
        except Exception as error:  # noqa: BLE001
            self.sink.count_failure(error)
            return None
        if operation is UNTRACKED:
            self.sink.count_untracked()
            return None
        if operation is None:
            return None
        return FunctionCall(self.service, operation, self.sink, request, is_own=True)


def _copy_part(owners: dict[str, Any], place: str) -> Any:
    """Return the copy of a part of the client, such as ``chat``, made once."""
    if place not in owners:
        outer, _, name = place.rpartition(".")
        owner = _copy_part(owners, outer)
        part = copy.copy(getattr(owner, name, None))
        if part is not None:
            setattr(owner, name, part)
        owners[place] = part
    return owners[place]


def _find_method(owner: object, name: str) -> Any:
    """Return a method as the SDK made it, without the hook of another tracker."""
    own = getattr(owner, "__dict__", {})
    if getattr(own.get(name), _HOOKED, False):
        original = own.pop(name).__wrapped__
        # A method of the class is bound to the other tracker's copy: this copy has its own.
        return getattr(owner, name) if inspect.ismethod(original) else original
    return getattr(owner, name, None)


def _list_names(method: Callable[..., Any]) -> tuple[str, ...]:
    """Return what positional arguments are called."""
    try:
        parameters = inspect.signature(method).parameters.values()
    except (TypeError, ValueError):  # A function of C may not say.
        return ()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(parameter.name for parameter in parameters if parameter.kind in kinds)
