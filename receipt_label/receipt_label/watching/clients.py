"""Watch a client of any provider that is known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from receipt_label.calls.call import CallSink
from receipt_label.providers.provider import Provider, RequestClients
from receipt_label.providers.registry import join_words, list_providers, need_provider
from receipt_label.watching.methods import watch_methods
from receipt_label.watching.requests import watch_requests

ClientT = TypeVar("ClientT")


def watch_client(
    client: ClientT,
    sink: CallSink,
    *,
    service: str | None = None,
    include_usage: bool | None = None,
) -> ClientT:
    """Return a copy of a client whose calls are recorded by ``sink``.

    Args:
        client: The client.
        sink: Records its calls.
        service: The provider; by default the first one that knows the client.
        include_usage: Whether streams are asked for their usage where the caller did not
            choose. By default only the provider's own servers are: others may refuse it.

    Raises:
        TypeError: It is no client of the provider, or of none that is known; or
            ``include_usage`` is no bool.
        ValueError: There is no provider ``service``.
    """
    if not isinstance(include_usage, bool | None):
        kind_given = type(include_usage).__name__
        raise TypeError(f"include_usage is of type {kind_given}; accepted are bool and None")
    for provider in _list_candidates(service):
        kind = provider.find_clients(client)
        if isinstance(kind, RequestClients):
            return watch_requests(client, provider.service, kind, sink, include_usage)
        if kind is not None:
            return watch_methods(client, provider.service, kind, sink)
    names = join_words(name for each in _list_candidates(service) for name in each.classes)
    raise TypeError(f"client is of type {type(client).__name__}; accepted are {names}")


def _list_candidates(service: str | None) -> Iterable[Provider]:
    return list_providers() if service is None else (need_provider(service),)
