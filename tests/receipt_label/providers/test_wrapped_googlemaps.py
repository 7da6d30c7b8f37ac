"""The real googlemaps client, wrapped, against a loopback server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import googlemaps
import pytest

from receipt_label.testing import UsageInMemory, assert_usage
from support.places_stub import PlacesStub, run_places_stub

ALL_DATA = "+basic_data+contact_data+atmosphere_data"


@pytest.fixture
def places() -> Iterator[PlacesStub]:
    with run_places_stub() as stub:
        yield stub


@pytest.fixture
def plain(places: PlacesStub) -> Iterator[googlemaps.Client]:
    client = googlemaps.Client(key="AIza-not-a-key", base_url=f"http://{places.host}")
    yield client
    client.session.close()


@pytest.fixture
def client(plain: googlemaps.Client, ai_usage: UsageInMemory) -> googlemaps.Client:
    return ai_usage.tracker.wrap_google_places(plain)


@pytest.mark.parametrize(
    ("call", "operation", "sku"),
    [
        (lambda c: c.places("bakery"), "text_search", "places_text_search" + ALL_DATA),
        (
            lambda c: c.places_nearby((52.5, 13.4), 50),
            "nearby_search",
            "places_nearby_search" + ALL_DATA,
        ),
        (lambda c: c.place("ChIJ"), "place_details", "places_details" + ALL_DATA),
        (
            lambda c: c.place("ChIJ", fields=["name", "website"]),
            "place_details",
            "places_details+basic_data+contact_data",
        ),
        (
            lambda c: c.find_place("bakery", "textquery", fields=["place_id"]),
            "find_place",
            "find_place_id_only",
        ),
        (
            lambda c: c.places_autocomplete("bak"),
            "autocomplete",
            "autocomplete_per_request",
        ),
        (
            lambda c: c.places_autocomplete_query("bak"),
            "query_autocomplete",
            "query_autocomplete_per_request",
        ),
        (lambda c: list(c.places_photo("ref", max_width=9)), "photo", "places_photo"),
    ],
)
def test_each_method_is_recorded_by_its_sku(
    client: googlemaps.Client,
    ai_usage: UsageInMemory,
    places: PlacesStub,
    call: Callable[[Any], object],
    operation: str,
    sku: str,
) -> None:
    places.answers.append((200, {"status": "OK", "predictions": []}))
    call(client)
    (record,) = assert_usage(
        ai_usage.records,
        count=1,
        service="google_places",
        model="places_api",
        operation=operation,
        api_calls=1,
        error=None,
        metadata={"sku": sku},
    )
    assert record.latency_ms is not None
    assert record.cost_usd is not None
    assert "bak" not in repr(record)


def test_a_call_costs_the_sum_of_its_skus(
    client: googlemaps.Client, ai_usage: UsageInMemory
) -> None:
    client.place("ChIJ", fields=["name", "website", "rating"])
    assert ai_usage.total_cost == Decimal("0.025")  # 0.017 + 0 + 0.003 + 0.005


def test_each_page_is_a_call(
    client: googlemaps.Client, ai_usage: UsageInMemory, places: PlacesStub
) -> None:
    places.answers.append((200, {"status": "OK", "next_page_token": "more"}))
    token = client.places("bakery")["next_page_token"]
    client.places("bakery", page_token=token)
    assert_usage(ai_usage.records, count=2, operation="text_search")


def test_results_and_the_client_are_as_without_it(
    plain: googlemaps.Client,
    client: googlemaps.Client,
    ai_usage: UsageInMemory,
    places: PlacesStub,
) -> None:
    before = dict(vars(plain))
    found = {"status": "ZERO_RESULTS", "results": []}
    places.answers.append((200, found))

    assert type(client) is googlemaps.Client
    assert client.session is plain.session
    assert client.places("bakery") == found
    plain.places("bakery")

    assert len(ai_usage.records) == 1
    assert vars(plain) == before
    assert ai_usage.tracker.wrap_google_places(client) is client
    with pytest.raises(ValueError, match="fields"):
        client.place("ChIJ", fields=["no_such_field"])
    assert len(ai_usage.records) == 1


def test_the_last_tracker_that_wraps_records(
    client: googlemaps.Client, ai_usage: UsageInMemory
) -> None:
    other = UsageInMemory()
    other.tracker.wrap_google_places(client).places("bakery")
    assert (len(ai_usage.records), len(other.records)) == (0, 1)


def test_other_services_of_google_maps_pass_and_are_counted(
    client: googlemaps.Client, ai_usage: UsageInMemory
) -> None:
    client.geocode("Berlin")
    assert ai_usage.records == []
    assert ai_usage.tracker.get_stats().untracked == 1


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (
            (200, {"status": "REQUEST_DENIED", "error_message": "key AIza..."}),
            googlemaps.exceptions.ApiError,
            "ApiError: REQUEST_DENIED",
        ),
        ((403, {}), googlemaps.exceptions.HTTPError, "HTTPError: HTTP 403"),
    ],
)
def test_errors_are_recorded_and_raised_unchanged(
    client: googlemaps.Client,
    ai_usage: UsageInMemory,
    places: PlacesStub,
    answer: Any,
    error: type[Exception],
    said: str,
) -> None:
    places.answers.append(answer)
    with pytest.raises(error):
        client.places("bakery")
    (record,) = assert_usage(ai_usage.records, count=1, error=said, cost_usd=None)
    assert "AIza" not in repr(record)
    assert ai_usage.tracker.get_stats().unpriced == 0


def test_retries_of_the_client_are_one_call(
    client: googlemaps.Client, ai_usage: UsageInMemory, places: PlacesStub
) -> None:
    places.answers.append((503, {}))
    client.places("bakery")
    assert len(places.paths) == 2
    assert_usage(ai_usage.records, count=1, error=None)


def test_what_a_session_costs_is_not_known_before_its_end(
    client: googlemaps.Client, ai_usage: UsageInMemory, places: PlacesStub
) -> None:
    """Requests of an abandoned session are billed one by one, those of another are not."""
    places.answers.append((200, {"status": "OK", "predictions": []}))
    client.places_autocomplete("bak", session_token="a-session")
    (record,) = assert_usage(ai_usage.records, count=1, cost_usd=None, metadata={"session": True})
    assert "sku" not in record.metadata
    assert ai_usage.tracker.get_stats().unpriced == 1


def test_a_decorated_function_that_uses_it_gives_one_record(
    client: googlemaps.Client, ai_usage: UsageInMemory, places: PlacesStub
) -> None:
    find = ai_usage.tracker.track_google_places("text_search", legacy=True)(client.places)
    find("bakery")
    places.answers.append((403, {}))
    with pytest.raises(googlemaps.exceptions.HTTPError):
        find("bakery")
    assert [record.error for record in ai_usage.records] == [None, "HTTPError: HTTP 403"]


@pytest.mark.parametrize("thing", [None, object(), "client"])
def test_what_is_no_client_is_refused(ai_usage: UsageInMemory, thing: Any) -> None:
    with pytest.raises(TypeError, match=r"accepted are googlemaps\.Client, google\.maps"):
        ai_usage.tracker.wrap_google_places(thing)
