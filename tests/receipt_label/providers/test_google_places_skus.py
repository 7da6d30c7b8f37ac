"""As what Google bills a call to Places: the highest tier among the fields decides."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from receipt_label.providers.google_places_skus import (
    BilledAs,
    find_legacy_sku,
    find_sku,
    find_sku_of_function,
)


@pytest.mark.parametrize(
    ("operation", "field_mask", "sku"),
    [
        ("place_details", "id,photos", "places_api_place_details_essentials_ids_only"),
        ("place_details", "id, location", "places_api_place_details_essentials"),
        ("place_details", "location,displayName.text", "places_api_place_details_pro"),
        ("place_details", "displayName,rating", "places_api_place_details_enterprise"),
        ("place_details", "id,reviews,rating", "places_api_place_details_enterprise_atmosphere"),
        ("place_details", ["display_name"], "places_api_place_details_pro"),
        ("place_details", "*", "places_api_place_details_enterprise_atmosphere"),
        (
            "text_search",
            "places.id,nextPageToken",
            "places_api_text_search_essentials_ids_only",
        ),
        ("text_search", "places.id,places.location", "places_api_text_search_pro"),
        ("text_search", "places.photos", "places_api_text_search_pro"),
        ("text_search", "places.website_uri", "places_api_text_search_enterprise"),
        ("text_search", "places", "places_api_text_search_enterprise_atmosphere"),
        ("text_search", "routingSummaries", "places_api_text_search_enterprise_atmosphere"),
        ("nearby_search", "places.id", "places_api_nearby_search_pro"),
        ("nearby_search", ("places.id", "places.rating"), "places_api_nearby_search_enterprise"),
        ("nearby_search", "places.*", "places_api_nearby_search_enterprise_atmosphere"),
        ("autocomplete", None, "autocomplete_requests"),
        ("photo", None, "places_api_place_details_photos"),
    ],
)
def test_the_highest_field_decides(
    operation: str, field_mask: str | Iterable[str] | None, sku: str
) -> None:
    assert find_sku(operation, field_mask).sku == sku


@pytest.mark.parametrize(
    ("operation", "field_mask"),
    [
        ("text_search", None),
        ("text_search", " , "),
        ("place_details", "id,aFieldOfTomorrow"),
        ("geocode", "*"),
    ],
)
def test_what_cannot_be_told_is_no_sku(operation: str, field_mask: str | None) -> None:
    assert find_sku(operation, field_mask) == BilledAs()


def test_an_unknown_field_changes_nothing_beside_one_of_the_highest_tier() -> None:
    billed_as = find_sku("place_details", "reviews,aFieldOfTomorrow")
    assert billed_as.tier == "enterprise_atmosphere"


@pytest.mark.parametrize(
    ("operation", "fields", "sku"),
    [
        ("nearby_search", None, "places_nearby_search+basic_data+contact_data+atmosphere_data"),
        ("text_search", "name", "places_text_search+basic_data+contact_data+atmosphere_data"),
        ("place_details", None, "places_details+basic_data+contact_data+atmosphere_data"),
        ("place_details", ["place_id"], "places_details_id_refresh"),
        ("place_details", ["name", "geometry/location"], "places_details+basic_data"),
        ("place_details", "rating,name", "places_details+basic_data+atmosphere_data"),
        ("place_details", "website", "places_details+contact_data"),
        ("find_place", None, "find_place_id_only"),
        ("find_place", "place_id", "find_place_id_only"),
        ("find_place", "name,opening_hours", "find_place+basic_data+contact_data"),
        ("autocomplete", None, "autocomplete_per_request"),
        ("query_autocomplete", None, "query_autocomplete_per_request"),
        ("photo", None, "places_photo"),
        ("place_details", "a_field_of_tomorrow", None),
        ("geocode", None, None),
    ],
)
def test_the_legacy_api_bills_the_call_and_its_data(
    operation: str, fields: str | Iterable[str] | None, sku: str | None
) -> None:
    assert find_legacy_sku(operation, fields).sku == sku


ALL_DATA = "+basic_data+contact_data+atmosphere_data"


@pytest.mark.parametrize(
    ("operation", "field_mask", "legacy", "sku"),
    [
        ("place_details", None, False, f"places_details{ALL_DATA}"),
        ("place_search", None, False, f"places_text_search{ALL_DATA}"),
        ("place_search", (), True, f"places_text_search{ALL_DATA}"),
        ("place_autocomplete", None, False, "autocomplete_per_request"),
        ("place_photo", " ", False, "places_photo"),
        ("geocoding", None, False, "geocoding"),
        ("geocoding", None, True, "geocoding"),
        ("geocoding", "*", False, "geocoding"),
        ("place_details", "name", True, "places_details+basic_data"),
        ("place_details", "displayName", False, "places_api_place_details_pro"),
        ("place_search", "places.displayName", False, "places_api_text_search_pro"),
        ("place_autocomplete", "suggestions", False, "autocomplete_requests"),
        ("place_details", iter(["displayName"]), False, "places_api_place_details_pro"),
        ("text_search", None, False, None),
        ("text_search", None, True, f"places_text_search{ALL_DATA}"),
        ("place_matrix", None, False, None),
    ],
)
def test_earlier_names_of_operations_are_those_of_the_legacy_api(
    operation: str, field_mask: str | Iterable[str] | None, *, legacy: bool, sku: str | None
) -> None:
    assert find_sku_of_function(operation, field_mask, legacy=legacy).sku == sku
