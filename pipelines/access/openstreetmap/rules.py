"""Decides which tags make a closed OpenStreetMap way an area, and which are a line along its edge.

The table is the published one of https://wiki.openstreetmap.org/wiki/Overpass_turbo/Polygon_Features, as
osm-polygon-features 0.9.2 gives it (https://github.com/tyrasd/osm-polygon-features, CC0). It lacks three keys of what
covers the ground, which are areas here too: `water` and `wetland`, as in osm2pgsql's default.style
(https://github.com/osm2pgsql-dev/osm2pgsql), and `landcover` (https://wiki.openstreetmap.org/wiki/Key:landcover).
"""

from __future__ import annotations

RULES = 2
"""Version of the rules that make areas and lines of an extract: part of its name, so that a dataset says which it has.
2: areas after the published table, lines beside areas, ways that are closed by place, multipolygons whose tags are on
their outer ways. 1: a closed way with barrier, highway, railway, aerialway or route was never an area."""

_BEYOND_THE_TABLE = frozenset({"landcover", "water", "wetland"})
_ANY_VALUE = _BEYOND_THE_TABLE | {
    "amenity", "area", "area:highway", "boundary", "building", "building:part", "craft", "golf", "historic", "indoor",
    "landuse", "leisure", "military", "office", "place", "public_transport", "ruins", "shop", "tourism",
}  # fmt: skip
_THESE_VALUES = {
    "barrier": frozenset({"city_wall", "ditch", "hedge", "retaining_wall", "spikes", "wall"}),
    "highway": frozenset({"elevator", "escape", "rest_area", "services"}),
    "power": frozenset({"generator", "plant", "substation", "transformer"}),
    "railway": frozenset({"platform", "roundhouse", "station", "turntable"}),
    "waterway": frozenset({"boatyard", "dam", "dock", "riverbank"}),
}
_OTHER_VALUES = {
    "aeroway": frozenset({"taxiway"}),
    "man_made": frozenset({"cutline", "embankment", "pipeline"}),
    "natural": frozenset({"arete", "cliff", "coastline", "ridge", "tree_row"}),
}
LINE_KEYS = frozenset({"aerialway", "barrier", "highway", "railway", "route"})
"""Keys of things that run along the edge of the area that another key of the same way names: a fence round a park, a
road round an island of grass."""

_LEFT_OUT_BOUNDARIES = frozenset(
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


def is_area(tags: dict[str, str]) -> bool:
    """Whether a closed way with these tags is an area. False: it is only a line that ends where it began."""
    return tags.get("area") != "no" and any(_makes_area(key, value) for key, value in tags.items())


def edge_keys(tags: dict[str, str]) -> frozenset[str]:
    """Keys of a closed way that describe a line along its edge; its other keys describe the area.

    Empty where the way is no area, or says by `area=yes` that all of it is one.
    """
    if "area" in tags or LINE_KEYS.isdisjoint(tags):
        return frozenset()
    keys = {key for key in LINE_KEYS if tags.get(key, "no") != "no"}
    named = {key for key in keys if key != "barrier" and _makes_area(key, tags[key])}
    if any(_makes_area(key, value) for key, value in tags.items() if key not in keys or key in named):
        return frozenset(keys - named)
    return frozenset()


def area_tags(tags: dict[str, str]) -> dict[str, str]:
    """Tags of a closed way's area: all except those of the line along its edge."""
    edge = edge_keys(tags)
    return {key: value for key, value in tags.items() if key not in edge}


def edge_tags(tags: dict[str, str]) -> dict[str, str]:
    """Tags of the line along a closed way's edge: all except those that describe an area."""
    edge = edge_keys(tags)
    of_area = _ANY_VALUE | _THESE_VALUES.keys() | _OTHER_VALUES.keys()
    return {key: value for key, value in tags.items() if key in edge or key not in of_area}


def is_paper(tags: dict[str, str]) -> bool:
    """True if the object is an administrative boundary, which nobody can see on the ground."""
    return tags.get("boundary") in _LEFT_OUT_BOUNDARIES and not any(
        key in tags for key in ("highway", "waterway", "natural", "landuse", "building", "railway", "barrier")
    )


def _makes_area(key: str, value: str) -> bool:
    if value == "no":
        return False
    if key in _ANY_VALUE:
        return True
    if key in _THESE_VALUES:
        return value in _THESE_VALUES[key]
    return key in _OTHER_VALUES and value not in _OTHER_VALUES[key]
