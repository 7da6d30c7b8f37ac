"""Google Places: its operations, and the SKUs under which Google bills them.

Clients are known by what they can do; nothing here imports a Google package. With ``googlemaps``
all methods end in ``_request``, and of ``google-maps-places`` each method is one call. One page
is one call.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from receipt_label.calls.error_words import read_error_word
from receipt_label.calls.reply import ProviderReply, get_field
from receipt_label.pricing import TokenUsage
from receipt_label.providers.google_places_skus import (
    BilledAs,
    find_legacy_sku,
    find_sku,
    find_sku_of_function,
)
from receipt_label.providers.provider import UNTRACKED, MethodClients, Operation, Provider, Request

SERVICE: Final = "google_places"
PLACES_MODEL: Final = "places_api"
"""Model in the records of Google Places, which has none."""

# Methods of google-maps-places.
_METHODS: Final[Mapping[str, str]] = {
    "search_text": "text_search",
    "search_nearby": "nearby_search",
    "get_place": "place_details",
    "autocomplete_places": "autocomplete",
    "get_photo_media": "photo",
}

# Paths of the legacy API, as googlemaps asks for them.
_LEGACY_PREFIX: Final = "/maps/api/place/"
_LEGACY_PATHS: Final[Mapping[str, str]] = {
    "textsearch/json": "text_search",
    "nearbysearch/json": "nearby_search",
    "details/json": "place_details",
    "findplacefromtext/json": "find_place",
    "autocomplete/json": "autocomplete",
    "queryautocomplete/json": "query_autocomplete",
    "photo": "photo",
}

_SUCCESSES: Final = frozenset({"OK", "ZERO_RESULTS"})
_FIELD_MASK_HEADER: Final = "x-goog-fieldmask"


def find_operation_of_function(
    name: str, field_mask: str | Iterable[str] | None, *, legacy: bool
) -> Operation:
    """Return what a function asks for that speaks to Places by itself.

    Args:
        name: As records name it, such as "text_search".
        field_mask: The fields asked for; None when that is not said.
        legacy: Whether it asks the legacy API.
    """
    return _make_operation(name, find_sku_of_function(name, field_mask, legacy=legacy))


def _make_operation(name: str, billed_as: BilledAs, *, in_session: bool = False) -> Operation:
    """Return what a call asks for: its reply says whether it went well, its request the rest."""
    details: dict[str, Any] = {
        key: value
        for key, value in (("sku", billed_as.sku), ("field_tier", billed_as.tier))
        if value is not None
    }
    usage = None if billed_as.sku is None else TokenUsage(sku=billed_as.sku)
    known = ProviderReply(model=PLACES_MODEL, usage=usage, details=details)

    def read(result: object, request: Request) -> ProviderReply:  # noqa: ARG001
        status = result.get("status") if isinstance(result, dict) else None
        error = result.get("error") if isinstance(result, dict) else None
        if error is not None or (isinstance(status, str) and status not in _SUCCESSES):
            word = read_error_word(result if error is None else error)
            return ProviderReply(error=word or "unknown_error", details=details)
        return known

    return Operation(
        name=name,
        read=read,
        model=PLACES_MODEL,
        known=known,
        metadata={"session": True} if in_session else {},
    )


# What programs ask for differs little from call to call.
@functools.lru_cache(256)
def _make_known(
    name: str,
    fields: str | None,
    find: Callable[..., BilledAs],
    in_session: bool,
) -> Operation:
    # The end of a session decides how it is billed.
    return _make_operation(
        name, BilledAs() if in_session else find(name, fields), in_session=in_session
    )


def _find_legacy(request: Request) -> Operation | None:
    """Return what a request of ``googlemaps.Client`` asks for."""
    if request.get("retry_counter"):
        return None  # The client calls itself to try again: one call.
    name = _LEGACY_PATHS.get(request["url"].removeprefix(_LEGACY_PREFIX))
    if name is None:
        return UNTRACKED
    params = dict(request["params"])
    in_session = name == "autocomplete" and bool(params.get("sessiontoken"))
    fields = params.get("fields")
    mask = fields if isinstance(fields, str | None) else ",".join(fields)
    return _make_known(name, mask, find_legacy_sku, in_session)


def _find_new(name: str, request: Request) -> Operation:
    """Return what a method of ``google-maps-places`` asks for."""
    fields = _find_field_mask(request.get("metadata") or ())
    session = name == "autocomplete" and get_field(request.get("request"), "session_token")
    return _make_known(name, fields, find_sku, bool(session))


def _find_field_mask(metadata: Iterable[tuple[str, Any]]) -> str | None:
    for name, value in metadata:
        if name.lower() == _FIELD_MASK_HEADER:
            return value.decode() if isinstance(value, bytes) else str(value)
    return None


PROVIDER: Final = Provider(
    service=SERVICE,
    clients=(
        MethodClients(
            methods={"_request": _find_legacy},
            classes=("googlemaps.Client",),
            has=("places_nearby",),
        ),
        MethodClients(
            methods={
                method: functools.partial(_find_new, name) for method, name in _METHODS.items()
            },
            classes=(
                "google.maps.places_v1.PlacesClient",
                "google.maps.places_v1.PlacesAsyncClient",
            ),
            has=tuple(_METHODS),
        ),
    ),
)
