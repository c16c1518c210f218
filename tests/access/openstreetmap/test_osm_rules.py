"""Which closed ways are areas: the published table, an independent program on real maps, lines along edges."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import osmium
import pytest

from pipelines.access.openstreetmap.rules import area_tags, edge_keys, edge_tags, is_area

if TYPE_CHECKING:
    from pathlib import Path

LINES = (
    "barrier=hedge", "barrier=fence", "barrier=wall", "railway=rail", "railway=abandoned", "highway=track",
    "highway=footway", "route=hiking", "aerialway=chair_lift",
)  # fmt: skip
GROUNDS = ("landuse=farmland", "leisure=park", "natural=wood", "building=yes", "amenity=school")


@pytest.mark.parametrize(
    ("tags", "area"),
    [
        ({"building": "yes"}, True), ({"highway": "residential"}, False), ({"highway": "service", "area": "yes"}, True),
        ({"natural": "coastline"}, False), ({"natural": "water"}, True), ({"waterway": "river"}, False),
        ({"waterway": "riverbank"}, True), ({"name": "x"}, False), ({"power": "plant"}, True),
        ({"power": "line"}, False),
        ({"landuse": "forest", "area": "no"}, False), ({"natural": "cliff"}, False), ({"man_made": "pier"}, True),
        ({"man_made": "embankment"}, False), ({"leisure": "track"}, True), ({"aeroway": "taxiway"}, False),
        ({"aeroway": "apron"}, True), ({"indoor": "room"}, True), ({"building": "no"}, False), ({"ruins": "no"}, False),
        ({"highway": "pedestrian"}, False), ({"highway": "pedestrian", "area": "yes"}, True), ({"area": "1"}, True),
        ({"highway": "secondary", "junction": "roundabout"}, False), ({"attraction": "roller_coaster"}, False),
        ({"tourism": "attraction", "attraction": "roller_coaster"}, True), ({"barrier": "hedge"}, True),
        ({"barrier": "fence"}, False), ({"railway": "platform"}, True), ({"railway": "rail"}, False),
        ({"highway": "rest_area"}, True), ({"area:highway": "primary"}, True), ({"water": "pond"}, True),
        ({"landcover": "trees"}, True), ({"route": "ferry"}, False), ({"disused:landuse": "quarry"}, False),
        ({"aerialway": "gondola"}, False), ({"place": "islet", "natural": "coastline"}, True), ({}, False),
    ],
)  # fmt: skip
def test_closed_ways(tags: dict[str, str], area: bool) -> None:
    assert is_area(tags) is area


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("ground", GROUNDS)
def test_an_area_with_a_line_along_its_edge_is_both(ground: str, line: str) -> None:
    (ground_key, ground_value), (line_key, line_value) = ground.split("="), line.split("=")
    tags = {ground_key: ground_value, line_key: line_value, "name": "x"}
    assert is_area(tags)
    assert edge_keys(tags) == {line_key}
    assert area_tags(tags) == {ground_key: ground_value, "name": "x"}
    assert edge_tags(tags) == {line_key: line_value, "name": "x"}
    assert not is_area({**tags, "area": "no"})
    assert edge_keys({**tags, "area": "yes"}) == frozenset()  # all of it is the area


@pytest.mark.parametrize(
    "tags",
    [
        {"building": "yes", "highway": "services"}, {"barrier": "hedge"}, {"building": "yes"},
        {"building": "station", "railway": "station"}, {"highway": "residential"},
        {"landuse": "meadow", "barrier": "no"}, {"building": "no", "highway": "track"},
    ],
)  # fmt: skip
def test_what_is_an_area_or_a_line_alone_has_no_line_beside_it(tags: dict[str, str]) -> None:
    assert edge_keys(tags) == frozenset()
    assert area_tags(tags) == tags


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "ways", "areas", "sha256"),
    [
        ("osm/helsinki-core-2019-04-21.osm.pbf", 1193, 1139, "4114945fcb4df493"),
        ("osm/liechtenstein-2022-07-21.osm.pbf", 23250, 23167, "b4579d2d6b2521bb"),
        ("multimodal/osm_srtm_andorra/andorra.osm.pbf", 697, 626, "750c4ed1728870c0"),
    ],
)
def test_the_table_decides_as_osmtogeojson_does(real: Path, name: str, ways: int, areas: int, sha256: str) -> None:
    """Recorded from osmtogeojson 2.2.12 (`npm install osmtogeojson`): `_isPolygonFeature`, which reads
    osm-polygon-features 0.9.2, for the tags of every closed way with tags and more than three nodes; the digest is the
    beginning of the SHA-256 of the ids that it calls areas, sorted and put together with blanks."""
    of_ours = {"landcover", "water", "wetland"}  # keys that the published table lacks
    closed, found = 0, []
    for way in osmium.FileProcessor(real / name, osmium.osm.WAY):
        tags = {tag.k: tag.v for tag in way.tags}
        if tags and len(way.nodes) > 3 and way.is_closed():
            closed += 1
            found += [way.id] if is_area({k: v for k, v in tags.items() if k not in of_ours}) else []
    text = " ".join(map(str, sorted(found)))
    assert (closed, len(found), hashlib.sha256(text.encode()).hexdigest()[:16]) == (ways, areas, sha256)
