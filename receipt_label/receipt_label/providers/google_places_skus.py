"""The SKU under which Google bills a call to Places, by the operation and its fields.

A SKU is Google's published name in lower snake case. The new API bills a call under one: that
of the highest tier among its fields. The legacy API bills some under several, which are
joined by :data:`JOINED_BY`; the call costs their sum.

Sources, read in November 2026:

* SKUs: https://developers.google.com/maps/billing-and-pricing/sku-details/places and
  https://developers.google.com/maps/billing-and-pricing/sku-details/legacy
  (the first has Geocoding too)
* fields: https://developers.google.com/maps/documentation/places/web-service/place-details,
  .../text-search, .../nearby-search, and .../legacy/details
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

JOINED_BY: Final = "+"
"""Joins the SKUs of a call that is billed under several."""

IDS_ONLY: Final = "essentials_ids_only"
ESSENTIALS: Final = "essentials"
PRO: Final = "pro"
ENTERPRISE: Final = "enterprise"
ATMOSPHERE: Final = "enterprise_atmosphere"

_TIERS: Final = (IDS_ONLY, ESSENTIALS, PRO, ENTERPRISE, ATMOSPHERE)
"""From the lowest price to the highest."""

# Operations of the new API that are billed by their fields, with the SKU of each tier. One
# that has no SKU for a tier bills its fields under the next one.
_NEW_BY_FIELDS: Final[Mapping[str, Mapping[str, str]]] = {
    "place_details": {
        IDS_ONLY: "places_api_place_details_essentials_ids_only",
        ESSENTIALS: "places_api_place_details_essentials",
        PRO: "places_api_place_details_pro",
        ENTERPRISE: "places_api_place_details_enterprise",
        ATMOSPHERE: "places_api_place_details_enterprise_atmosphere",
    },
    "text_search": {
        IDS_ONLY: "places_api_text_search_essentials_ids_only",
        PRO: "places_api_text_search_pro",
        ENTERPRISE: "places_api_text_search_enterprise",
        ATMOSPHERE: "places_api_text_search_enterprise_atmosphere",
    },
    "nearby_search": {
        PRO: "places_api_nearby_search_pro",
        ENTERPRISE: "places_api_nearby_search_enterprise",
        ATMOSPHERE: "places_api_nearby_search_enterprise_atmosphere",
    },
}

_NEW_BY_CALL: Final[Mapping[str, str]] = {
    "autocomplete": "autocomplete_requests",
    "photo": "places_api_place_details_photos",
    "geocoding": "geocoding",
}

_LEGACY_BY_CALL: Final[Mapping[str, str]] = {
    "autocomplete": "autocomplete_per_request",
    "query_autocomplete": "query_autocomplete_per_request",
    "photo": "places_photo",
    "geocoding": "geocoding",
}

_LEGACY_WITH_DATA: Final[Mapping[str, str]] = {
    "find_place": "find_place",
    "nearby_search": "places_nearby_search",
    "place_details": "places_details",
    "text_search": "places_text_search",
}

# Operations as functions named them that an earlier version of this package tracked. They asked
# the legacy API, and Geocoding, which has no fields.
_EARLIER_NAMES: Final[Mapping[str, str]] = {
    "place_details": "place_details",
    "place_search": "text_search",
    "place_autocomplete": "autocomplete",
    "place_photo": "photo",
    "geocoding": "geocoding",
}

_IDS_REFRESH: Final[Mapping[str, str]] = {
    "find_place": "find_place_id_only",
    "place_details": "places_details_id_refresh",
}
"""Legacy operations that bill a call for the place's id alone under a separate SKU."""

_FIELDS: Final[Mapping[str, str]] = {
    IDS_ONLY: "attributions id name photos movedPlace movedPlaceId nextPageToken",
    ESSENTIALS: (
        "addressComponents addressDescriptor adrFormatAddress formattedAddress location "
        "plusCode postalAddress shortFormattedAddress types viewport"
    ),
    PRO: (
        "accessibilityOptions businessStatus containingPlaces displayName googleMapsLinks "
        "googleMapsUri iconBackgroundColor iconMaskBaseUri openingDate primaryType "
        "primaryTypeDisplayName pureServiceAreaBusiness searchUri subDestinations timeZone "
        "utcOffsetMinutes"
    ),
    ENTERPRISE: (
        "currentOpeningHours currentSecondaryOpeningHours internationalPhoneNumber "
        "nationalPhoneNumber priceLevel priceRange rating regularOpeningHours "
        "regularSecondaryOpeningHours transitStation userRatingCount websiteUri"
    ),
    ATMOSPHERE: (
        "allowsDogs curbsidePickup delivery dineIn editorialSummary evChargeAmenitySummary "
        "evChargeOptions fuelOptions generativeSummary goodForChildren goodForGroups "
        "goodForWatchingSports liveMusic menuForChildren neighborhoodSummary outdoorSeating "
        "parkingOptions paymentOptions reservable restroom reviews reviewSummary "
        "routingSummaries servesBeer servesBreakfast servesBrunch servesCocktails servesCoffee "
        "servesDessert servesDinner servesLunch servesVegetarianFood servesWine takeout"
    ),
}

# A field mask names a field as JSON does or as the protocol buffer does.
_TIER_OF_FIELD: Final = {
    name.lower(): tier for tier, names in _FIELDS.items() for name in names.split()
}

# For a search, photos are no part of the ids.
_SEARCH_TIER_OF_FIELD: Final = {**_TIER_OF_FIELD, "photos": PRO}

_LEGACY_FIELDS: Final[Mapping[str, str]] = {
    "basic_data": (
        "address_component address_components adr_address business_status formatted_address "
        "geometry icon icon_background_color icon_mask_base_uri name permanently_closed photo "
        "photos place_id plus_code type types url utc_offset vicinity "
        "wheelchair_accessible_entrance"
    ),
    "contact_data": (
        "current_opening_hours formatted_phone_number international_phone_number "
        "opening_hours secondary_opening_hours website"
    ),
    "atmosphere_data": (
        "curbside_pickup delivery dine_in editorial_summary price_level rating reservable "
        "review reviews serves_beer serves_breakfast serves_brunch serves_dinner serves_lunch "
        "serves_vegetarian_food serves_wine takeout user_ratings_total"
    ),
}

_LEGACY_DATA_OF_FIELD: Final = {
    name: data for data, names in _LEGACY_FIELDS.items() for name in names.split()
}


@dataclass(frozen=True, slots=True)
class BilledAs:
    """The SKUs under which a call is billed.

    Attributes:
        sku: Google's name; several are joined by ``+``. None when it is not known.
        tier: Highest tier of the fields, in the new API; None where fields do not count.
    """

    sku: str | None = None
    tier: str | None = None


def find_sku_of_function(
    operation: str, field_mask: str | Iterable[str] | None = None, *, legacy: bool = False
) -> BilledAs:
    """Return the SKUs of the call that a decorated function makes.

    Args:
        operation: As of :func:`find_sku` or :func:`find_legacy_sku`; or by its earlier name:
            "place_search" (billed as a text search, a nearby search costs the same),
            "place_autocomplete", "place_photo" or "geocoding". With an earlier name, among
            them "place_details", and no field mask, the function asks the legacy API: the new
            one refuses to answer without a mask.
        field_mask: The fields asked for.
        legacy: Whether the function asks the legacy API.
    """
    name = _EARLIER_NAMES.get(operation, operation)
    fields = _split(field_mask)
    if legacy or (operation in _EARLIER_NAMES and not fields):
        return find_legacy_sku(name, fields)
    return find_sku(name, fields)


def find_sku(operation: str, field_mask: str | Iterable[str] | None = None) -> BilledAs:
    """Return as what a call to the new API is billed.

    Args:
        operation: "text_search", "nearby_search", "place_details", "autocomplete", "photo" or
            "geocoding".
        field_mask: The fields asked for, as in the header ``X-Goog-FieldMask``: text with
            commas, or one by one. A field that is not known here makes the SKU unknown,
            unless another one already asks for the highest tier.
    """
    if operation in _NEW_BY_CALL:
        return BilledAs(_NEW_BY_CALL[operation])
    skus = _NEW_BY_FIELDS.get(operation)
    fields = _split(field_mask)
    if skus is None or not fields:
        return BilledAs()
    tiers = {_find_tier(operation, field) for field in fields}
    if ATMOSPHERE in tiers:
        highest = ATMOSPHERE
    elif None in tiers:
        return BilledAs()
    else:
        highest = max((tier for tier in tiers if tier), key=_TIERS.index)
    tier = next(tier for tier in _TIERS[_TIERS.index(highest) :] if tier in skus)
    return BilledAs(skus[tier], tier)


def find_legacy_sku(operation: str, fields: str | Iterable[str] | None = None) -> BilledAs:
    """Return as what a call to the legacy API is billed.

    Args:
        operation: "text_search", "nearby_search", "place_details", "find_place",
            "autocomplete", "query_autocomplete", "photo" or "geocoding".
        fields: The request's ``fields``. Without it, details and searches are billed with
            all of their data, and "find_place" gives ids alone.
    """
    if operation in _LEGACY_BY_CALL:
        return BilledAs(_LEGACY_BY_CALL[operation])
    base = _LEGACY_WITH_DATA.get(operation)
    if base is None:
        return BilledAs()
    names = {field.partition("/")[0] for field in _split(fields)}
    takes_fields = operation in _IDS_REFRESH
    if takes_fields and (names == {"place_id"} or (not names and operation == "find_place")):
        return BilledAs(_IDS_REFRESH[operation])
    if not takes_fields or not names:
        return BilledAs(JOINED_BY.join((base, *_LEGACY_FIELDS)))
    if names - _LEGACY_DATA_OF_FIELD.keys():
        return BilledAs()
    data = {_LEGACY_DATA_OF_FIELD[name] for name in names}
    return BilledAs(JOINED_BY.join((base, *(sku for sku in _LEGACY_FIELDS if sku in data))))


def _find_tier(operation: str, field: str) -> str | None:
    """Return the tier of one path of a field mask; None when the field is not known."""
    is_search = operation != "place_details"
    path = field.split(".")
    if is_search and path[0] == "places":
        path = path[1:]
    name = path[0].replace("_", "").lower() if path else "*"
    if name == "*":
        return ATMOSPHERE
    return (_SEARCH_TIER_OF_FIELD if is_search else _TIER_OF_FIELD).get(name)


def _split(fields: str | Iterable[str] | None) -> list[str]:
    if fields is None:
        return []
    parts = fields.split(",") if isinstance(fields, str) else list(fields)
    return [stripped for part in parts if (stripped := part.strip())]
