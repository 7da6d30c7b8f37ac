"""The new Places API's client: the real one over REST where it is installed, else its likeness.

``google-maps-places`` brings grpc; ``.ci/matrix`` installs it.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from http import HTTPStatus
from typing import Any

import pytest

from receipt_label.testing import UsageInMemory, assert_usage
from support.places_stub import PlacesStub, run_places_stub

Metadata = Sequence[tuple[str, Any]]


class ForbiddenError(Exception):
    """As ``google.api_core.exceptions.Forbidden``."""

    code = HTTPStatus.FORBIDDEN


class PlacesClient:
    """The methods of ``google.maps.places_v1.PlacesClient``, with its signatures."""

    def __init__(self) -> None:
        self.answers: list[Any] = []

    def _answer(self) -> Any:
        answer = self.answers.pop(0) if self.answers else object()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def search_text(
        self,
        request: Any = None,
        *,
        retry: Any = None,
        timeout: Any = None,
        metadata: Metadata = (),
    ) -> Any:
        return self._answer()

    def search_nearby(
        self,
        request: Any = None,
        *,
        retry: Any = None,
        timeout: Any = None,
        metadata: Metadata = (),
    ) -> Any:
        return self._answer()

    def get_place(
        self,
        request: Any = None,
        *,
        name: str | None = None,
        retry: Any = None,
        timeout: Any = None,
        metadata: Metadata = (),
    ) -> Any:
        return self._answer()

    def autocomplete_places(
        self,
        request: Any = None,
        *,
        retry: Any = None,
        timeout: Any = None,
        metadata: Metadata = (),
    ) -> Any:
        return self._answer()

    def get_photo_media(
        self,
        request: Any = None,
        *,
        name: str | None = None,
        retry: Any = None,
        timeout: Any = None,
        metadata: Metadata = (),
    ) -> Any:
        return self._answer()


class PlacesAsyncClient(PlacesClient):
    async def search_text(self, request: Any = None, *, metadata: Metadata = ()) -> Any:  # type: ignore[override]
        await asyncio.sleep(0)
        return self._answer()


@pytest.fixture
def places() -> Iterator[PlacesStub]:
    with run_places_stub() as stub:
        yield stub


@pytest.fixture(params=["likeness", "google-maps-places"])
def plain(request: pytest.FixtureRequest) -> Any:
    if request.param == "likeness":
        return PlacesClient()
    places_v1 = pytest.importorskip("google.maps.places_v1")
    from google.auth.credentials import AnonymousCredentials

    stub: PlacesStub = request.getfixturevalue("places")
    transport = places_v1.PlacesClient.get_transport_class("rest")(
        host=stub.host, credentials=AnonymousCredentials(), url_scheme="http"
    )
    return places_v1.PlacesClient(transport=transport)


@pytest.fixture
def client(plain: Any, ai_usage: UsageInMemory) -> Any:
    return ai_usage.tracker.wrap_google_places(plain)


def mask(fields: str) -> list[tuple[str, str]]:
    return [("x-goog-fieldmask", fields)]


@pytest.mark.parametrize(
    ("call", "operation", "sku"),
    [
        (
            lambda c: c.search_text({"text_query": "bakery"}, metadata=mask("places.displayName")),
            "text_search",
            "places_api_text_search_pro",
        ),
        (
            lambda c: c.search_nearby(request={}, metadata=mask("places.id,places.rating")),
            "nearby_search",
            "places_api_nearby_search_enterprise",
        ),
        (
            lambda c: c.get_place(name="places/ChIJ", metadata=mask("reviews")),
            "place_details",
            "places_api_place_details_enterprise_atmosphere",
        ),
        (
            lambda c: c.autocomplete_places({"input": "bak"}),
            "autocomplete",
            "autocomplete_requests",
        ),
        (
            lambda c: c.get_photo_media(name="places/ChIJ/photos/1/media"),
            "photo",
            "places_api_place_details_photos",
        ),
    ],
)
def test_each_method_is_recorded_by_its_sku(
    client: Any, ai_usage: UsageInMemory, call: Callable[[Any], Any], operation: str, sku: str
) -> None:
    call(client)
    (record,) = assert_usage(
        ai_usage.records,
        count=1,
        service="google_places",
        model="places_api",
        operation=operation,
        error=None,
        metadata={"sku": sku},
    )
    assert record.cost_usd is not None
    assert "bak" not in repr(record)


def test_the_client_is_as_without_it(plain: Any, client: Any, ai_usage: UsageInMemory) -> None:
    assert type(client) is type(plain)
    assert inspect.signature(client.search_text) == inspect.signature(plain.search_text)
    plain.autocomplete_places({"input": "bak"})
    assert ai_usage.records == []
    assert ai_usage.tracker.wrap_google_places(client) is client
    other = UsageInMemory()
    other.tracker.wrap_google_places(client).autocomplete_places({"input": "bak"})
    assert (len(ai_usage.records), len(other.records)) == (0, 1)


def test_without_a_field_mask_there_is_no_price(client: Any, ai_usage: UsageInMemory) -> None:
    client.search_text({"text_query": "bakery"})
    assert_usage(ai_usage.records, count=1, cost_usd=None)
    assert ai_usage.tracker.get_stats().unpriced == 1


def test_what_a_session_costs_is_not_known_before_its_end(
    client: Any, ai_usage: UsageInMemory
) -> None:
    client.autocomplete_places({"input": "bak", "session_token": "a-session"})
    assert_usage(ai_usage.records, count=1, cost_usd=None, metadata={"session": True})


def test_errors_of_the_real_client_are_recorded(
    ai_usage: UsageInMemory, places: PlacesStub
) -> None:
    places_v1 = pytest.importorskip("google.maps.places_v1")
    from google.api_core.exceptions import Forbidden
    from google.auth.credentials import AnonymousCredentials

    transport = places_v1.PlacesClient.get_transport_class("rest")(
        host=places.host, credentials=AnonymousCredentials(), url_scheme="http"
    )
    client = ai_usage.tracker.wrap_google_places(places_v1.PlacesClient(transport=transport))
    places.answers.append((403, {"error": {"code": 403, "message": "key AIza", "status": "X"}}))
    with pytest.raises(Forbidden):
        client.get_place(name="places/ChIJ", metadata=mask("id"))
    assert_usage(ai_usage.records, count=1, error="Forbidden: HTTP 403", cost_usd=None)


def test_errors_are_recorded_and_raised_unchanged(ai_usage: UsageInMemory) -> None:
    plain, error = PlacesClient(), ForbiddenError("key AIza...")
    plain.answers.append(error)
    with pytest.raises(ForbiddenError) as caught:
        ai_usage.tracker.wrap_google_places(plain).search_text({})
    assert caught.value is error
    assert_usage(ai_usage.records, count=1, error="ForbiddenError: HTTP 403", cost_usd=None)


async def test_an_async_client_is_recorded_when_it_is_done(ai_usage: UsageInMemory) -> None:
    plain = PlacesAsyncClient()
    client = ai_usage.tracker.wrap_google_places(plain)
    assert inspect.iscoroutinefunction(client.search_text)

    pending = client.search_text({}, metadata=[("X-Goog-FieldMask", b"places.id")])
    assert ai_usage.records == []
    await pending
    plain.answers.append(ForbiddenError())
    with pytest.raises(ForbiddenError):
        await client.search_text({})

    good, bad = ai_usage.records
    assert (good.cost_usd, bad.error) == (Decimal(0), "ForbiddenError: HTTP 403")
    assert good.metadata["sku"] == "places_api_text_search_essentials_ids_only"


def test_a_request_that_cannot_be_read_does_not_stop_the_call(ai_usage: UsageInMemory) -> None:
    client = ai_usage.tracker.wrap_google_places(PlacesClient())
    client.search_text({}, metadata=[None])
    assert ai_usage.records == []
    assert ai_usage.tracker.get_stats().failed == 1


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ({"status": "REQUEST_DENIED", "error_message": "key"}, "REQUEST_DENIED"),
        ({"error": {"code": 403, "status": "PERMISSION_DENIED"}}, "PERMISSION_DENIED"),
        ({"error": "no"}, "unknown_error"),
        ({"status": "ZERO_RESULTS"}, None),
        ({"places": []}, None),
        ([], None),
    ],
)
def test_plain_http_says_by_its_json_whether_it_went_well(
    ai_usage: UsageInMemory, reply: Any, error: str | None
) -> None:
    decorate = ai_usage.tracker.track_google_places("text_search", field_mask="places.id")
    assert decorate(lambda: reply)() is reply
    (record,) = assert_usage(ai_usage.records, count=1, error=error)
    assert (record.cost_usd is None) == (error is not None)
    assert ai_usage.tracker.get_stats().unpriced == 0
