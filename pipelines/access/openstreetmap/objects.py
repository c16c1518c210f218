"""Objects of a .osm.pbf as rows: points, lines and areas; counts objects that cannot be drawn, by reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import osmium
import osmium.filter
import osmium.geom
import osmium.osm

from pipelines.access.openstreetmap.multipolygons import Multipolygons, multipolygons
from pipelines.access.openstreetmap.rules import LINE_KEYS, edge_keys, is_area, is_paper

if TYPE_CHECKING:
    from pathlib import Path

Row = tuple[str, str, dict[str, str], bytes]
"""(osm_id, 'point', 'line' or 'area', tags, well-known binary in longitude and latitude)."""
LOST = {
    "incomplete": "objects with missing or impossible nodes",
    "incomplete_multipolygons": "multipolygons with missing members",
    "broken_areas": "areas whose rings cross or do not close",
    "broken_lines": "lines of fewer than two places",
}
"""Count -> what it counts: objects of the file that cannot be drawn, in words."""
UNREADABLE = "unreadable"
"""Count of the objects of a map in GeoParquet whose geometry is no use."""
WORDS = LOST | {UNREADABLE: "objects without a geometry that can be read"}
COUNTS = (
    "tagged_nodes", "tagged_ways", "relations", "areas", "points", "lines", "edge_lines", "way_areas", "relation_areas",
    "old_style_areas", "old_style_ways", "boundaries", *LOST,
)  # fmt: skip
FOREVER = 2**31 - 1
"""Day after the last one of what is there at the end of a full history."""
_TAGGED = osmium.osm.NODE | osmium.osm.WAY | osmium.osm.RELATION


@dataclass
class _Reading:
    """The objects read so far."""

    expected: Multipolygons
    rows: list[Row] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    lent: dict[str, list[tuple[str, Row]]] = field(default_factory=dict)
    """Way that lends its tags to a relation -> (count, row) of what it is if that relation gives no area."""
    rings: set[int] = field(default_factory=set)
    """Closed ways that are areas and have not come as one yet, or came without a ring."""
    wkb: osmium.geom.WKBFactory = field(default_factory=osmium.geom.WKBFactory)

    def node(self, node: osmium.osm.Node) -> None:
        """A point."""
        self.counts["tagged_nodes"] += 1
        self._keep("points", f"n{node.id}", "point", _tags(node), node)

    def way(self, way: osmium.osm.Way) -> None:
        """A line; or an area, which comes again by itself, and perhaps a line along its edge beside it."""
        self.counts["tagged_ways"] += 1
        tags = _tags(way)
        if is_paper(tags) or not (_is_ring(way) and is_area(tags)):
            self._keep("lines", f"w{way.id}", "line", tags, way)
            return
        self.rings.add(way.id)
        if edge_keys(tags):
            self._keep("edge_lines", f"w{way.id}", "line", tags, way)

    def area(self, area: osmium.osm.Area) -> None:
        """An area that osmium assembled from a closed way or a relation."""
        tags, number, has_rings = _tags(area), area.orig_id(), area.num_rings()[0] > 0
        self.counts["areas"] += bool(tags)
        if area.from_way():
            if has_rings and number in self.rings:
                self.rings.discard(number)
                self._keep("way_areas", f"w{number}", "area", tags, area)
            return
        old_style = number in self.expected.tags
        if old_style:
            tags = self.expected.tags[number]
        if has_rings:
            self.expected.awaited.pop(number, None)
        if (has_rings and tags) or is_paper(tags):
            self._keep("old_style_areas" if old_style else "relation_areas", f"r{number}", "area", tags, area)

    def settle(self, pbf: Path, located: osmium.index.LocationTable) -> None:
        """Count what never became an area under its reason, and what lent its tags in vain as what it is."""
        members = {way for ways in self.expected.awaited.values() for way in ways}
        whole = _whole({*members, *self.rings}, pbf, located)
        for way in self.rings:
            self.counts["broken_areas" if whole.get(way) else "incomplete"] += 1
        for ways in self.expected.awaited.values():
            missing = not all(whole.get(way) for way in ways)
            self.counts["incomplete_multipolygons" if missing else "broken_areas"] += 1
        for osm_id, held in self.lent.items():
            taken = any(number not in self.expected.awaited for number in self.expected.lent[int(osm_id[1:])])
            for target, row in held:
                if taken and (row[1] == "area" or LINE_KEYS.isdisjoint(row[2])):
                    self.counts["old_style_ways"] += 1
                else:
                    self.rows.append(row)
                    self.counts[target] += 1

    def _shape(self, thing: osmium.osm.Node | osmium.osm.Way | osmium.osm.Area) -> str:
        """Well-known binary, hexadecimal."""
        if isinstance(thing, osmium.osm.Node):
            return self.wkb.create_point(thing)
        if isinstance(thing, osmium.osm.Way):
            return self.wkb.create_linestring(thing)
        return self.wkb.create_multipolygon(thing)

    def _keep(
        self,
        target: str,
        osm_id: str,
        kind: str,
        tags: dict[str, str],
        thing: osmium.osm.Node | osmium.osm.Way | osmium.osm.Area,
    ) -> None:
        """Add a row and count it under `target`, or under the reason why it is left out."""
        if is_paper(tags):
            self.counts["boundaries"] += 1
            return
        try:
            row = (osm_id, kind, tags, bytes.fromhex(self._shape(thing)))
        except osmium.InvalidLocationError:
            self.counts["incomplete"] += 1
            return
        except RuntimeError:  # osmium's geometry_error: all nodes in one place
            self.counts["broken_lines"] += 1
            return
        if osm_id[0] == "w" and int(osm_id[1:]) in self.expected.lent:
            self.lent.setdefault(osm_id, []).append((target, row))
        else:
            self.rows.append(row)
            self.counts[target] += 1


def read_objects(pbf: Path) -> tuple[list[Row], dict[str, int]]:
    """Rows (osm_id, kind, tags, WKB) and counts of a checked file; untagged objects never reach Python.

    Raises:
        RuntimeError: osmium cannot read it.
    """
    reading = _Reading(multipolygons(pbf))
    with_tags = osmium.filter.EmptyTagFilter()
    with_tags.enable_for(_TAGGED)  # and not for areas: those of old-style relations have none
    processor = osmium.FileProcessor(pbf).with_areas().with_filter(with_tags)
    for thing in processor:
        if isinstance(thing, osmium.osm.Node):
            reading.node(thing)
        elif isinstance(thing, osmium.osm.Way):
            reading.way(thing)
        elif isinstance(thing, osmium.osm.Area):
            reading.area(thing)
        elif isinstance(thing, osmium.osm.Relation):
            reading.counts["relations"] += 1
    if processor.node_location_storage is not None:
        reading.settle(pbf, processor.node_location_storage)
    return reading.rows, reading.counts


def _is_ring(way: osmium.osm.Way) -> bool:
    """Whether a way ends where it began: at the same node, or at another one in the same place."""
    return len(way.nodes) > 3 and (way.is_closed() or way.ends_have_same_location())


def _whole(ways: set[int], pbf: Path, located: osmium.index.LocationTable) -> dict[int, bool]:
    """Way -> whether all of its nodes have a place; ways that are not in the file are left out."""
    found = {}
    for way in osmium.FileProcessor(pbf, osmium.osm.WAY) if ways else ():
        if isinstance(way, osmium.osm.Way) and way.id in ways:
            found[way.id] = all(_has_place(node.ref, located) for node in way.nodes)
    return found


def _has_place(node: int, located: osmium.index.LocationTable) -> bool:
    try:
        return node >= 0 and bool(located.get(node).valid())
    except KeyError:
        return False


def _tags(thing: osmium.osm.Node | osmium.osm.Way | osmium.osm.Area) -> dict[str, str]:
    return dict(sorted(thing.tags))


def id_order(osm_id: str, kind: str) -> tuple[str, int, bool]:
    """Sort key of 'n123': letter, then number; a line along an area's edge comes before the area."""
    return (osm_id[0], int(osm_id[1:]), kind == "area")
