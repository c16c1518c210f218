"""Objects of a .osm.pbf as rows: points, lines and areas, with a closed table of which tags make an area."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import osmium
import osmium.filter
import osmium.geom
import osmium.osm

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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


Row = tuple[str, str, dict[str, str], bytes]
"""(osm_id, 'point', 'line' or 'area', tags, well-known binary in longitude and latitude)."""
_COUNTS = (
    "tagged_nodes", "tagged_ways", "relations", "areas", "points", "lines", "way_areas", "relation_areas",
    "boundaries", "incomplete", "broken_areas",
)  # fmt: skip


def read_objects(pbf: Path) -> tuple[list[Row], dict[str, int], datetime]:
    """Rows (osm_id, kind, tags, WKB), counts and the time of the extract; untagged objects never reach Python."""
    counts = dict.fromkeys(_COUNTS, 0)
    rows: list[Row] = []
    wkb, expected_areas = osmium.geom.WKBFactory(), 0
    processor = osmium.FileProcessor(pbf).with_areas().with_filter(osmium.filter.EmptyTagFilter())
    for thing in processor:
        if isinstance(thing, osmium.osm.Relation):
            counts["relations"] += 1
        elif isinstance(thing, osmium.osm.Node):
            counts["tagged_nodes"] += 1
            _keep(rows, counts, "points", (f"n{thing.id}", "point", _tags(thing)), partial(wkb.create_point, thing))
        elif isinstance(thing, osmium.osm.Way):
            counts["tagged_ways"] += 1
            tags = _tags(thing)
            if len(thing.nodes) > 3 and thing.is_closed() and is_area(tags):
                expected_areas += 1  # comes again as an area, if its ring is sound
                continue
            _keep(rows, counts, "lines", (f"w{thing.id}", "line", tags), partial(wkb.create_linestring, thing))
        elif isinstance(thing, osmium.osm.Area):
            counts["areas"] += 1
            tags, from_way = _tags(thing), thing.from_way()
            if from_way and not is_area(tags):
                continue  # it came as a line
            expected_areas -= from_way
            target, osm_id = (
                ("way_areas", f"w{thing.orig_id()}") if from_way else ("relation_areas", f"r{thing.orig_id()}")
            )
            _keep(rows, counts, target, (osm_id, "area", tags), partial(wkb.create_multipolygon, thing))
    counts["broken_areas"] = expected_areas
    stamp = processor.header.get("osmosis_replication_timestamp")
    return rows, counts, datetime.fromisoformat(stamp).astimezone(UTC) if stamp else _newest(pbf)


def _tags(thing: osmium.osm.Node | osmium.osm.Way | osmium.osm.Area) -> dict[str, str]:
    return dict(sorted((tag.k, tag.v) for tag in thing.tags))


def _keep(
    rows: list[Row],
    counts: dict[str, int],
    target: str,
    what: tuple[str, str, dict[str, str]],
    make: Callable[[], str],
) -> None:
    """Add a row and count it under `target`, or under the reason why it is left out."""
    if is_paper(what[2]):
        target = "boundaries"
    else:
        try:
            rows.append((*what, bytes.fromhex(make())))
        except (RuntimeError, osmium.InvalidLocationError):
            target = "incomplete"
    counts[target] += 1


def _newest(pbf: Path) -> datetime:
    """Time of the newest object, for extracts whose header says nothing."""
    times = (t.timestamp for t in osmium.FileProcessor(pbf) if not isinstance(t, osmium.osm.Changeset))
    return max(times, default=datetime(1970, 1, 1, tzinfo=UTC))


def id_order(osm_id: str) -> tuple[str, int]:
    """Sort key of 'n123': letter, then number."""
    return (osm_id[0], int(osm_id[1:]))
