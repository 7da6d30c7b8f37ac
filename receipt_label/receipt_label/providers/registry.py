"""The list of providers: ours, and those of other packages.

Another package brings one by an entry point of the group ``receipt_label.providers``, whose
name is the service and whose value the :class:`Provider`, as ``docs/add_a_provider.md`` shows.
None is imported before it is asked for.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Final

from receipt_label.providers.provider import Provider

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_logger = logging.getLogger(__name__)

GROUP: Final = "receipt_label.providers"
"""Group of the entry points."""

# One row for each provider of ours: its service and its module, which has it as ``PROVIDER``.
_OURS: Final = {
    "openai": "receipt_label.providers.openai",
    "anthropic": "receipt_label.providers.anthropic",
    "google_places": "receipt_label.providers.google_places",
}


def find_provider(service: str) -> Provider | None:
    """Return the provider of a service; None if it is unknown.

    Raises:
        ImportError: The package that brings it cannot be imported.
        TypeError: What that package brings is no :class:`Provider`.
        ValueError: It is one of another name.
    """
    if service in _OURS:
        provider: Provider = importlib.import_module(_OURS[service]).PROVIDER
        return provider
    entry = _find_entries().get(service)
    return None if entry is None else _load(entry)


def need_provider(service: str) -> Provider:
    """Like :func:`find_provider`, of one that has to be there.

    Raises:
        ValueError: It is unknown; the message names those that are known.
    """
    provider = find_provider(service)
    if provider is None:
        known = join_words(each.service for each in list_providers())
        raise ValueError(f"service is {service!r}; accepted are {known}")
    return provider


def list_providers() -> Iterator[Provider]:
    """Yield ours, then the others; one that cannot be imported is logged and left out."""
    # The others are looked for when ours will not do.
    for services in (lambda: _OURS, _find_entries):
        for service in services():
            provider = _try_to_find(service)
            if provider is not None:
                yield provider


@cache
def _try_to_find(service: str) -> Provider | None:
    try:
        return find_provider(service)
    except Exception as error:  # noqa: BLE001 - whatever their module does
        kind = type(error).__name__
        _logger.warning("the provider %r cannot be used: %s: %s", service, kind, error)
        return None


@cache
def _find_entries() -> dict[str, EntryPoint]:
    """Return the entry points by service; ours cannot be replaced, and the first one wins."""
    from importlib import metadata

    found: dict[str, EntryPoint] = {}
    for entry in metadata.entry_points(group=GROUP):
        if entry.name in _OURS or found.setdefault(entry.name, entry) != entry:
            _logger.warning(
                "the provider %r of %s is there already, and is left out", entry.name, entry.value
            )
    return found


def _load(entry: EntryPoint) -> Provider:
    provider = entry.load()
    if not isinstance(provider, Provider):
        raise TypeError(
            f"the entry point {entry.name} = {entry.value} is of type {type(provider).__name__}; "
            "accepted is Provider"
        )
    if provider.service != entry.name:
        raise ValueError(
            f"the entry point {entry.name} = {entry.value} is the provider "
            f"{provider.service!r}; accepted is the same name for both"
        )
    return provider


def join_words(words: Iterable[str]) -> str:
    """Return words with commas and an "and" between them."""
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last
