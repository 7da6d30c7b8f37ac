"""Google Places: what a call to it is billed as, and clients of it whose calls are watched.

Clients are known by what they can do; nothing here imports a Google package. A wrapped one is a
shallow copy of the client that shares its connections: with ``googlemaps`` all methods end
in ``_request``, and of ``google-maps-places`` each method is one call. One page is one call.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from receipt_label.calls.call import CallSink, ObservedCall, Start
from receipt_label.calls.error_words import describe_error, read_error_word
from receipt_label.calls.recorded import mark_recorded
from receipt_label.calls.reply import Reply, get_field
from receipt_label.pricing import TokenUsage
from receipt_label.providers.google_places_skus import BilledAs, find_legacy_sku, find_sku
from receipt_label.watching.methods import observe

ClientT = TypeVar("ClientT")

PLACES_SERVICE: Final = "google_places"
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
_LEGACY_REQUEST: Final = "_request"
_RETRY_ARGUMENT: Final = 3  # retry_counter, after url, params and first_request_time

_SUCCESSES: Final = frozenset({"OK", "ZERO_RESULTS"})
_FIELD_MASK_HEADER: Final = "x-goog-fieldmask"
_SINK: Final = "_receipt_label_sink"


def read_places(billed_as: BilledAs) -> Callable[[object], Reply]:
    """Return a reader of replies: they say whether the call went well, the request the rest."""
    details: dict[str, Any] = {
        name: value
        for name, value in (("sku", billed_as.sku), ("field_tier", billed_as.tier))
        if value is not None
    }
    usage = None if billed_as.sku is None else TokenUsage(sku=billed_as.sku)

    def read(result: object) -> Reply:
        status = result.get("status") if isinstance(result, dict) else None
        error = result.get("error") if isinstance(result, dict) else None
        if error is not None or (isinstance(status, str) and status not in _SUCCESSES):
            word = read_error_word(result if error is None else error)
            return Reply(model=PLACES_MODEL, error=word or "unknown_error", details=details)
        return Reply(model=PLACES_MODEL, usage=usage, details=details)

    return read


def wrap_places_client(client: ClientT, sink: CallSink) -> ClientT:
    """Return a copy of a client of Google Places whose calls go down in ``sink``.

    Raises:
        TypeError: It is none.
    """
    is_legacy = callable(getattr(client, "places_nearby", None))
    names = [_LEGACY_REQUEST] if is_legacy else list(_METHODS)
    hooked = [name for name in names if callable(getattr(client, name, None))]
    if not hooked:
        raise TypeError(
            f"client is of type {type(client).__name__}; accepted are googlemaps.Client, and "
            "PlacesClient and PlacesAsyncClient of google.maps.places_v1"
        )
    if getattr(client, _SINK, None) is sink:
        return client
    copied = copy.copy(client)
    for name in hooked:
        # The class's own method: the instance's would record for the tracker before as well.
        vars(copied).pop(name, None)
        begin = _begin_legacy if is_legacy else functools.partial(_begin_method, _METHODS[name])
        setattr(copied, name, observe(_Watch(sink, begin), getattr(copied, name)))
    setattr(copied, _SINK, sink)
    return copied


@dataclass(frozen=True, slots=True)
class _Call:
    operation: str
    start: Start
    read: Callable[[object], Reply]
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Watch:
    """Makes an :class:`ObservedCall` of each call. No method raises.

    Args:
        sink: Takes the calls.
        begin_call: Returns the call by its arguments; None when it is not one to record.
    """

    sink: CallSink
    begin_call: Callable[[CallSink, tuple[Any, ...], Mapping[str, Any]], _Call | None]

    def begin(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> _Call | None:
        """Return the call that begins; None when it is not one to record."""
        try:
            return self.begin_call(self.sink, args, kwargs)
        except Exception as error:  # noqa: BLE001
            self.sink.count_failure(error)
            return None

    def finish(self, call: _Call | None, result: object) -> ObservedCall | None:
        """Return what there is to record of a call that gave ``result``."""
        if call is None:
            return None
        try:
            mark_recorded(result, None)
            reply = call.read(result)
            return self._describe(call, reply, reply.error)
        except Exception as error:  # noqa: BLE001
            self.sink.count_failure(error)
            return None

    def fail(self, call: _Call | None, failure: BaseException) -> ObservedCall | None:
        """Return what there is to record of a call that raised ``failure``."""
        if call is None:
            return None
        mark_recorded(None, None)
        return self._describe(call, Reply(model=PLACES_MODEL), describe_error(failure))

    def _describe(self, call: _Call, reply: Reply, error: str | None) -> ObservedCall:
        return ObservedCall(
            service=PLACES_SERVICE,
            operation=call.operation,
            start=call.start,
            reply=reply,
            error=error,
            metadata=call.metadata,
        )


def _begin_legacy(sink: CallSink, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> _Call | None:
    """Return the call that a request of ``googlemaps.Client`` begins."""
    retries = args[_RETRY_ARGUMENT] if len(args) > _RETRY_ARGUMENT else 0
    if retries or kwargs.get("retry_counter"):
        return None  # The client calls itself to try again: one call.
    url = kwargs["url"] if "url" in kwargs else args[0]
    operation = _LEGACY_PATHS.get(url.removeprefix(_LEGACY_PREFIX))
    if operation is None:
        sink.count_untracked()
        return None
    params = dict(kwargs["params"] if "params" in kwargs else args[1])
    billed_as = find_legacy_sku(operation, params.get("fields"))
    return _make_call(sink, operation, billed_as, params.get("sessiontoken"))


def _begin_method(
    operation: str, sink: CallSink, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> _Call:
    """Return the call that a method of ``google-maps-places`` is."""
    request = args[0] if args else kwargs.get("request")
    billed_as = find_sku(operation, _find_field_mask(kwargs.get("metadata") or ()))
    return _make_call(sink, operation, billed_as, get_field(request, "session_token"))


def _make_call(sink: CallSink, operation: str, billed_as: BilledAs, session: object) -> _Call:
    if session and operation == "autocomplete":
        # Billed by how the session ends, which is not known yet.
        return _Call(operation, sink.start(), read_places(BilledAs()), {"session": True})
    return _Call(operation, sink.start(), read_places(billed_as))


def _find_field_mask(metadata: Iterable[tuple[str, Any]]) -> str | None:
    for name, value in metadata:
        if name.lower() == _FIELD_MASK_HEADER:
            return value.decode() if isinstance(value, bytes) else str(value)
    return None
