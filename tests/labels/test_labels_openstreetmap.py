"""OpenStreetMap on a sample's grid: classes against shapely, sizes inside the footprint, unmapped ground."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.access.openstreetmap.extract import Extract, prepare
from pipelines.access.openstreetmap.features import FeatureStore, OsmFeature
from pipelines.labels.openstreetmap import OpenStreetMap
from pipelines.labels.osm_classes import AREA_RULES, CODE, LEGEND, LINE_RULES, class_of_area, class_of_line
from sampling.geobox import lonlat_bbox
from schemas.label import LabelMap
from schemas.label_source import OpenStreetMapLabel
from schemas.place import GeoBox, Place

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

BOX = GeoBox(epsg=32632, x_min=540_000, y_max=5_221_280, resolution_m=10, width=128, height=128)
PLACE = Place(sample_id="s", lon=9.53, lat=47.14, geobox=BOX, split="train", block="b", cell="c")
EXTRACT = Extract(
    parquet=Path("x.parquet"),
    name="x.osm.pbf sha256:0",
    sha256="0",
    snapshot=datetime(2022, 7, 24, tzinfo=UTC),
    counts={},
)
LABELLER = OpenStreetMap(OpenStreetMapLabel(pbf="x.osm.pbf"))
TO_LONLAT = pyproj.Transformer.from_crs(32632, 4326, always_xy=True)


def feature(osm_id: str, kind: str, shape: BaseGeometry, **tags: str) -> OsmFeature:
    """An object given in metres from the footprint's south-western corner."""

    def move(xy: np.ndarray) -> np.ndarray:
        return np.column_stack(TO_LONLAT.transform(xy[:, 0] + BOX.x_min, xy[:, 1] + BOX.y_min))

    return OsmFeature(osm_id, kind, tags, shapely.transform(shape, move))


def layers(*features: OsmFeature) -> tuple[LabelMap, dict[str, object]]:
    label, vectors = LABELLER.layers(PLACE, 10.0, features, EXTRACT, datetime(2022, 7, 20, tzinfo=UTC))
    return label, {f.osm_id: f for f in vectors.features}


def test_a_wood_with_a_clearing_a_road_and_a_house() -> None:
    label, vectors = layers(
        feature("w1", "area", shapely.box(-500, -500, 640, 1280), natural="wood", name="Ignore previous instructions"),
        feature("w2", "area", shapely.box(100, 100, 200, 200), landuse="meadow"),
        feature("w3", "line", shapely.LineString([(0, 645), (640, 645)]), highway="primary"),
        feature("w4", "area", shapely.box(300, 640, 320, 660), building="yes"),
        feature("n5", "point", shapely.Point(10, 10), natural="tree"),
        feature("w6", "area", shapely.box(2000, 2000, 2100, 2100), natural="wood"),
        feature("w7", "area", shapely.box(1280, 0, 1300, 100), natural="water"),
    )
    names = {code: int(n) for code, n in zip(*np.unique(label.classes, return_counts=True), strict=True)}
    assert names[LEGEND.nodata] == 64 * 128
    assert names[CODE["Grass"]] == 100
    assert names[CODE["Building"]] == 4
    assert names[CODE["Major road"]] == 64 - 2
    assert (label.classes[:, 64:] == LEGEND.nodata).all()
    assert not label.valid[:, 64:].any()
    assert label.valid[:, :64].all()
    assert label.classes[128 - 15, 15] == CODE["Grass"]
    assert (label.version, label.year, label.date_gap_days) == ("2022-07-24", 2022, 4)
    assert sorted(vectors) == ["n5", "w1", "w2", "w3", "w4"]
    assert vectors["w1"].area_m2 == pytest.approx(640 * 1280, rel=1e-3)
    assert vectors["w3"].length_m == pytest.approx(640, rel=1e-3)
    assert vectors["w1"].tags["name"] == "Ignore previous instructions"
    assert BOX.bounds[0] <= shapely.from_wkb(vectors["w1"].wkb).bounds[0]


def test_unmapped_ground_is_nodata() -> None:
    label, vectors = layers(feature("w1", "area", shapely.box(0, 0, 100, 100), name="nothing we know"))
    assert not label.valid.any()
    assert list(vectors) == ["w1"]
    label, vectors = layers()
    assert not label.valid.any()
    assert vectors == {}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-300, 1500), st.integers(-300, 1500), st.integers(5, 900)), min_size=1, max_size=6)
)
def test_pixels_are_the_centres_that_the_largest_to_smallest_areas_cover(squares: list[tuple[int, int, int]]) -> None:
    tags = [{"natural": "wood"}, {"landuse": "meadow"}, {"natural": "water"}]
    shapes = [shapely.box(x + 0.3, y + 0.3, x + size + 0.3, y + size + 0.3) for x, y, size in squares]
    label, _ = layers(*(feature(f"w{i}", "area", s, **tags[i % 3]) for i, s in enumerate(shapes)))
    x, y = np.meshgrid(np.arange(128) * 10 + 5.0, 1275.0 - np.arange(128) * 10)
    wanted = np.zeros((128, 128), dtype=np.uint8)
    sizes = {size for _, _, size in squares}
    if len(sizes) < len(squares):
        return  # equal sizes are ordered by id
    for i in sorted(range(len(shapes)), key=lambda i: -squares[i][2]):
        wanted[shapely.contains_xy(shapes[i], x, y)] = CODE[("Trees", "Grass", "Water")[i % 3]]
    assert (label.classes == wanted).all()


RING = shapely.LinearRing([(104, 104), (904, 104), (904, 904), (104, 904)])


def _closed_way(number: int, **tags: str) -> tuple[OsmFeature, OsmFeature]:
    """A closed way as it is read: a line along the edge of an area."""
    line, area = shapely.LineString(RING), shapely.Polygon(RING)
    return feature(f"w{number}", "line", line, **tags), feature(f"w{number}", "area", area, **tags)


def test_the_line_along_an_edge_and_the_area_have_a_class_each() -> None:
    inside, road = (slice(45, 110), slice(20, 80)), (127 - 10, 50)
    for tags, ground, edge in (
        ({"landuse": "forest", "barrier": "fence"}, "Trees", "Trees"),
        ({"landuse": "residential", "highway": "residential"}, "Residential area", "Minor road"),
        ({"landuse": "grass", "highway": "service"}, "Grass", "Minor road"),
        ({"landuse": "industrial", "railway": "rail"}, "Industrial or commercial area", "Railway"),
        ({"natural": "water", "waterway": "river", "route": "ferry"}, "Water", "Water"),
    ):
        label, vectors = LABELLER.layers(PLACE, 10.0, _closed_way(1, **tags), EXTRACT, None)
        assert (label.classes[inside] == CODE[ground]).all(), tags
        assert label.classes[road] == CODE[edge], tags
        assert [f.kind for f in vectors.features] == ["line", "area"]
        assert [f.tags for f in vectors.features] == [tags, tags]
    shore, _ = LABELLER.layers(
        PLACE, 10.0, _closed_way(1, natural="water", waterway="river", route="ferry"), EXTRACT, None
    )
    lake, _ = LABELLER.layers(PLACE, 10.0, _closed_way(1, natural="water")[1:], EXTRACT, None)
    assert (shore.classes == lake.classes).all(), "a lake does not grow by a river that is its shore"


def test_a_multipolygon_is_an_area_by_all_of_its_tags() -> None:
    square = feature("r1", "area", shapely.Polygon(RING), place="square", highway="pedestrian")
    assert layers(square)[0].classes[60, 50] == CODE["Paved area"]


def test_an_open_way_is_a_line_by_all_of_its_tags() -> None:
    river = feature("w1", "line", shapely.LineString([(0, 645), (1280, 645)]), natural="water", waterway="river")
    assert layers(river)[0].classes[63, 50] == CODE["Water"]


def test_tables_are_closed_and_underground_is_not_drawn() -> None:
    assert {name for _, _, name, _ in LINE_RULES} <= set(CODE)
    assert class_of_area({"building": "no", "landuse": "forest"}) == "Trees"
    assert class_of_area({"building": "garage"}) == "Building"
    assert class_of_area({"name": "x"}) is None
    assert class_of_line({"highway": "footway"}) is None
    assert class_of_line({"highway": "primary", "tunnel": "yes"}) is None
    assert class_of_line({"railway": "abandoned"}) is None
    assert class_of_line({"waterway": "river"}) == ("Water", 15.0)


@pytest.mark.slow
@pytest.mark.real
def test_real_helsinki_is_the_same_twice_and_adds_up(real: Path, tmp_path: Path) -> None:
    extract = prepare(real / "osm/helsinki-core-2019-04-21.osm.pbf", tmp_path)
    box = GeoBox(epsg=32635, x_min=385_500, y_max=6_672_780, resolution_m=10, width=96, height=96)
    here = Place(sample_id="s", lon=24.944, lat=60.17, geobox=box, split="train", block="b", cell="c")
    with FeatureStore(extract.parquet) as store:
        features = store.within(lonlat_bbox(box))
    one = LABELLER.layers(here, 10.0, features, extract, None)
    two = LABELLER.layers(here, 10.0, list(reversed(features)), extract, None)
    assert one[1] == two[1]
    assert (one[0].classes == two[0].classes).all()
    buildings = [f for f in one[1].features if f.kind == "area" and "building" in f.tags]
    assert len(buildings) > 80
    drawn = (one[0].classes == CODE["Building"]).sum() * 100
    assert drawn == pytest.approx(sum(f.area_m2 for f in buildings), rel=0.15)
    for found in one[1].features:
        shape = shapely.from_wkb(found.wkb)
        assert shapely.box(*box.bounds).buffer(0.001).covers(shape)
        assert found.area_m2 == pytest.approx(shape.area, abs=1e-3)
        assert found.length_m == pytest.approx(shape.length if found.kind == "line" else 0.0, abs=1e-3)


LINES = {
    "highway": {
        ("Major road", 12.0): "motorway", ("Major road", 11.0): "trunk", ("Major road", 9.0): "primary",
        ("Major road", 8.0): "secondary",
        ("Major road", 6.0): "motorway_link trunk_link primary_link secondary_link",
        ("Minor road", 7.0): "tertiary tertiary_link",
        ("Minor road", 6.0): "unclassified residential road living_street pedestrian",
        ("Minor road", 4.0): "service", ("Minor road", 3.0): "track",
    },
    "railway": {("Railway", 6.0): "rail", ("Railway", 4.0): "light_rail narrow_gauge tram funicular monorail"},
    "waterway": {
        ("Water", 15.0): "river", ("Water", 10.0): "canal", ("Water", 3.0): "stream", ("Water", 2.0): "ditch drain",
    },
}  # fmt: skip
"""Key -> class and width in metres -> values: docs/openstreetmap.md promises them to users."""
AREAS = {
    "Building": ("building=yes", "building=house"),
    "Water": ("natural=water", "natural=bay", "natural=strait", "water=pond", "waterway=riverbank", "waterway=dock",
              "landuse=reservoir", "landuse=basin", "landuse=salt_pond", "landuse=aquaculture"),
    "Wetland": ("natural=wetland",),
    "Snow and ice": ("natural=glacier",),
    "Trees": ("natural=wood", "natural=tree_group", "landuse=forest", "landcover=trees"),
    "Shrub": ("natural=scrub", "natural=heath", "natural=shrubbery", "landcover=scrub", "landcover=bushes"),
    "Grass": ("natural=grassland", "natural=fell", "landuse=grass", "landuse=meadow", "landuse=flowerbed",
              "landcover=grass"),
    "Crops": ("landuse=farmland", "landuse=farm", "landuse=orchard", "landuse=vineyard", "landuse=allotments",
              "landuse=greenhouse_horticulture", "landuse=plant_nursery"),
    "Bare ground": ("natural=bare_rock", "natural=rock", "natural=sand", "natural=scree", "natural=shingle",
                    "natural=beach", "natural=dune", "natural=mud", "natural=blockfield", "landuse=quarry",
                    "landuse=landfill"),
    "Urban green": ("leisure=park", "leisure=garden", "leisure=pitch", "leisure=golf_course", "leisure=playground",
                    "leisure=common", "leisure=dog_park", "landuse=recreation_ground", "landuse=village_green",
                    "landuse=cemetery"),
    "Paved area": ("highway=pedestrian", "highway=footway", "highway=service", "highway=rest_area",
                   "highway=services", "amenity=parking", "amenity=marketplace", "amenity=fuel", "aeroway=apron",
                   "aeroway=runway", "aeroway=helipad", "aeroway=taxiway"),
    "Industrial or commercial area": ("landuse=industrial", "landuse=commercial", "landuse=retail", "landuse=garages",
                                      "landuse=railway", "landuse=port", "landuse=depot", "landuse=farmyard",
                                      "power=plant", "power=substation"),
    "Residential area": ("landuse=residential",),
}  # fmt: skip


def test_every_line_has_its_class_and_width() -> None:
    named = {
        (key, value): drawn
        for key, rules in LINES.items()
        for drawn, values in rules.items()
        for value in values.split()
    }
    assert {pair: class_of_line(dict([pair])) for pair in named} == named
    assert {(key, v) for key, values, _, _ in LINE_RULES for v in values} == set(named)
    assert class_of_line({"highway": "footway"}) is None


def test_every_area_has_its_class() -> None:
    for name, pairs in AREAS.items():
        for pair in pairs:
            tags = dict([pair.split("=")])
            assert class_of_area(tags) == name, pair
            for hidden in ({"tunnel": "yes"}, {"location": "underground"}, {"covered": "yes"}):
                assert class_of_area({**tags, **hidden}) is None
            for open_air in ({"tunnel": "no"}, {"location": "roof"}, {"covered": "no"}):
                assert class_of_area({**tags, **open_air}) == name
    assert class_of_area({"building": "no"}) is None
    assert class_of_area({"building": "no", "landuse": "forest"}) == "Trees"
    assert class_of_area({"landuse": "construction"}) is None
    assert class_of_area({"landuse": "residential", "natural": "wood"}) == "Trees", "the first rule that fits"
    known = {f"{key}={v}" for key, values, _ in AREA_RULES for v in values if v != "*"}
    assert known <= {pair for pairs in AREAS.values() for pair in pairs}


def test_channels_are_burnt_by_their_tags_each_by_itself() -> None:
    channels = {
        "building": {"building": "*"},
        "fast": [{"highway": ["motorway", "primary"]}, {"railway": "rail"}],
        "solar": [{"power": "generator", "generator:source": "solar"}],
        "nothing": {"shop": "yes"},
    }
    label = OpenStreetMapLabel.model_validate({"pbf": "x.osm.pbf", "channels": channels})
    things = (
        feature("w1", "area", shapely.box(100, 100, 200, 300), building="house"),
        feature("w2", "area", shapely.box(400, 100, 500, 200), building="no", natural="wood"),
        feature("w3", "line", shapely.LineString([(0, 645), (640, 645)]), highway="primary"),
        feature("w4", "line", shapely.LineString([(5, 0), (5, 1280)]), railway="rail"),
        feature("w5", "line", shapely.LineString([(900, 0), (900, 1280)]), highway="service"),
        feature("n6", "point", shapely.Point(1005, 1005), power="generator", **{"generator:source": "solar"}),
        feature("n7", "point", shapely.Point(1105, 1005), power="generator"),
    )
    _, vectors = OpenStreetMap(label).layers(PLACE, 10.0, things, EXTRACT, None)
    burnt = vectors.channels
    assert burnt is not None
    assert burnt.shape == (4, 128, 128)
    assert burnt.dtype == np.uint8
    house = np.zeros((128, 128), np.uint8)
    house[98:118, 10:20] = 1
    np.testing.assert_array_equal(burnt[0], house)
    assert burnt[1, :, 0].all()
    assert burnt[1, 63:65, :64].any(axis=0).all()
    assert not burnt[1, :, 90].any()
    assert burnt[2].sum() == 1
    assert burnt[2, 27, 100] == 1
    assert not burnt[3].any()
    assert (
        OpenStreetMap(OpenStreetMapLabel(pbf="x.osm.pbf")).layers(PLACE, 10.0, things, EXTRACT, None)[1].channels
        is None
    )
