"""Which OpenStreetMap objects are areas, and which are lines on paper only: closed tables of tags."""

from __future__ import annotations

LEFT_OUT_BOUNDARIES = frozenset(
    {
        "administrative",
        "political",
        "postal_code",
        "census",
        "statistical",
        "timezone",
        "maritime",
        "religious_administration",
    }
)
"""Values of `boundary` that mark lines on paper and not things on the ground: left out, and counted."""

_LINE_KEYS = ("highway", "barrier", "railway", "aerialway", "route")
"""A closed way with one of these is a ring road or a fence and no area, unless `area=yes`
(https://wiki.openstreetmap.org/wiki/Key:area)."""
_AREA_KEYS = frozenset(
    {
        "amenity", "boundary", "building", "building:part", "craft", "emergency", "geological", "historic", "indoor",
        "landcover", "landuse", "leisure", "military", "office", "place", "playground", "ruins", "shop", "sport",
        "tourism", "water", "wetland", "golf",
    }
)  # fmt: skip
"""A closed way with one of these is an area (https://wiki.openstreetmap.org/wiki/Overpass_turbo/Polygon_Features)."""
_AREA_VALUES = {
    "natural": (
        False,
        frozenset({"coastline", "cliff", "ridge", "arete", "tree_row", "gully", "valley", "earth_bank"}),
    ),
    "waterway": (True, frozenset({"riverbank", "dock", "boatyard", "dam", "fuel"})),
    "man_made": (False, frozenset({"cutline", "embankment", "pipeline", "breakwater", "groyne", "dyke"})),
    "power": (True, frozenset({"plant", "substation", "generator", "transformer"})),
    "aeroway": (False, frozenset({"taxiway", "jet_bridge", "parking_position"})),
    "public_transport": (True, frozenset({"platform", "station"})),
}
"""Key -> (True: these values are areas, False: all but these are); the same source."""


def is_area(tags: dict[str, str]) -> bool:
    """Whether a closed way with these tags is an area (True) or a line that ends where it began."""
    if tags.get("area") in ("yes", "no"):
        return tags["area"] == "yes"
    if any(key in tags for key in _LINE_KEYS):
        return False
    if not _AREA_KEYS.isdisjoint(tags):
        return True
    return any((tags[key] in values) is listed for key, (listed, values) in _AREA_VALUES.items() if key in tags)


def is_paper(tags: dict[str, str]) -> bool:
    """Whether the object is a boundary of administration and nothing that can be seen on the ground."""
    return tags.get("boundary") in LEFT_OUT_BOUNDARIES and not any(
        key in tags for key in ("highway", "waterway", "natural", "landuse", "building", "railway", "barrier")
    )
