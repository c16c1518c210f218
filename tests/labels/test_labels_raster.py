"""WorldCover and Dynamic World: items, choice of maps, label maps."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pipelines.access.errors import ItemRefused
from pipelines.labels import legend_of, open_labeller, open_raster_labeller
from pipelines.labels.footprint import covered_share
from pipelines.labels.raster import LabelChip, UnknownCodeError
from sampling.geobox import lonlat_bbox
from schemas.label import COMMON_CLASSES
from schemas.label_source import DynamicWorldLabel, OpenStreetMapLabel, WorldCoverLabel
from schemas.place import GeoBox, Place
from schemas.provider import Provider
from tests.geoboxes import utm_epsg

if TYPE_CHECKING:
    from pathlib import Path

PROVIDER = Provider(url="http://127.0.0.1:1/stac")
CHIP_M = 2640


def place(lon: float, lat: float) -> Place:
    """A sample of 264 x 264 pixels of 10 m round a point."""
    import pyproj

    epsg = utm_epsg(lon, lat)
    x, y = pyproj.Transformer.from_crs(4326, epsg, always_xy=True).transform(lon, lat)
    box = GeoBox(
        epsg=epsg, x_min=round(x / 60) * 60 - CHIP_M / 2, y_max=round(y / 60) * 60 + CHIP_M / 2,
        resolution_m=10, width=264, height=264,
    )  # fmt: skip
    return Place(sample_id="s", lon=lon, lat=lat, geobox=box, split="train", block="b", cell="c")


def square(west: float, south: float, east: float, north: float) -> dict[str, object]:
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def worldcover_item(year: int, west: int = 6, south: int = 0, **properties: Any) -> dict[str, Any]:
    version = {2020: "1.0.0", 2021: "2.0.0"}[year]
    tile = f"{'N' if south >= 0 else 'S'}{abs(south):02d}{'E' if west >= 0 else 'W'}{abs(west):03d}"
    return {
        "id": f"WC_{year}_{tile}",
        "geometry": square(west, south, west + 3, south + 3),
        "properties": {
            "esa_worldcover:product_version": version,
            "esa_worldcover:product_tile": tile,
            "start_datetime": f"{year}-01-01T00:00:00Z",
            "end_datetime": f"{year}-12-31T23:59:59Z",
            "datetime": None,
            **properties,
        },
        "assets": {"map": {"href": f"http://127.0.0.1:1/{year}_{tile}.tif"}},
    }


def dynamicworld_item(when: datetime, tile: str = "33UUP", geometry: dict[str, object] | None = None) -> dict[str, Any]:
    stamp = when.strftime("%Y%m%dT%H%M%S")
    return {
        "id": f"{stamp}_{stamp}_T{tile}",
        "geometry": geometry or square(12.0, 47.0, 13.5, 48.0),
        "properties": {"datetime": when.isoformat()},
        "assets": {"label": {"href": f"http://127.0.0.1:1/{stamp}_{tile}.tif"}},
    }


def test_legends_are_whole_and_cross_walk() -> None:
    for label in (
        WorldCoverLabel(providers=("p",)), DynamicWorldLabel(providers=("p",)), OpenStreetMapLabel(pbf="x.osm.pbf"),
    ):  # fmt: skip
        legend = legend_of(label)
        codes = [c.code for c in legend.classes]
        assert codes == sorted(set(codes))
        assert legend.nodata not in codes
        assert all(c.common in COMMON_CLASSES for c in legend.classes)
        assert open_labeller(label).name == label.kind


@pytest.mark.real
def test_real_items_of_worldcover(real: Path) -> None:
    labeller = open_raster_labeller(WorldCoverLabel(providers=("pc",)))
    answer = json.loads((real / "stac/planetary_computer/esa-worldcover.json").read_text())
    (item,) = answer["response"]["features"]
    scene = labeller.scene(item, "pc", PROVIDER)
    assert scene.start.year == 2021
    assert scene.facts["product_version"] == "v200"
    assert scene.assets["classes"].href.endswith("ESA_WorldCover_10m_2021_v200_S60W030_Map.tif")
    assert {c["value"]: c["description"] for c in item["assets"]["map"]["classification:classes"]} == (
        {c.code: c.name for c in labeller.legend.classes}
    )
    colours = {c["value"]: f"#{c['color-hint'].lower()}" for c in item["assets"]["map"]["classification:classes"]}
    assert colours == {c.code: c.colour for c in labeller.legend.classes}
    scenes = []
    for name in ("2020_v100", "2021_v200"):
        path = real / f"multimodal/sao_tome/ESA_WorldCover_10m_{name}_N00E006.json"
        scenes.append(labeller.scene(json.loads(path.read_text()), "pc", PROVIDER))
    assert [s.facts["product_version"] for s in scenes] == ["v100", "v200"]
    island = place(6.6, 0.2)
    for when, year in (
        (datetime(2019, 5, 1, tzinfo=UTC), 2020),
        (datetime(2022, 5, 1, tzinfo=UTC), 2021),
        (None, 2021),
    ):
        best = labeller.candidates(scenes, island, when)[0]
        assert best.scenes == (next(s.item_id for s in scenes if s.start.year == year),)
    assert labeller.candidates(scenes, place(20.0, 0.2), None) == []


def test_a_requested_year_is_the_only_one() -> None:
    labeller = open_raster_labeller(WorldCoverLabel(providers=("p",), year=2020))
    scenes = [labeller.scene(worldcover_item(y), "p", PROVIDER) for y in (2021, 2020)]
    found = labeller.candidates(scenes, place(7.0, 1.0), datetime(2022, 1, 1, tzinfo=UTC))
    assert [c.scenes for c in found] == [("WC_2020_N00E006",)]


def test_every_tile_that_touches_the_chip_is_named_largest_share_first() -> None:
    labeller = open_raster_labeller(WorldCoverLabel(providers=("p",)))
    corners = [(6, 0), (9, 0), (6, 3), (9, 3), (3, 0)]
    scenes = [labeller.scene(worldcover_item(2021, w, s), "p", PROVIDER) for w, s in corners]
    (found,) = labeller.candidates(scenes, place(9.003, 3.005), None)
    assert found.scenes[0] == "WC_2021_N03E009"
    assert sorted(found.scenes) == ["WC_2021_N00E006", "WC_2021_N00E009", "WC_2021_N03E006", "WC_2021_N03E009"]


def test_a_reprocessed_tile_replaces_the_older() -> None:
    labeller = open_raster_labeller(WorldCoverLabel(providers=("p",)))
    old, new = worldcover_item(2021, created="2022-01-01"), worldcover_item(2021, created="2023-01-01")
    new["id"] = "AA_newer"
    scenes = [labeller.scene(item, "p", PROVIDER) for item in (new, old)]
    assert [c.scenes for c in labeller.candidates(scenes, place(7.0, 1.0), None)] == [("AA_newer",)]


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda i: i["properties"].pop("esa_worldcover:product_version"), "product_version"),
        (lambda i: i["properties"].update({"esa_worldcover:product_version": "3.0.0"}), "3.0.0"),
        (lambda i: i["properties"].update(start_datetime="2020-01-01T00:00:00Z"), "v200 maps 2021"),
        (lambda i: i["properties"].pop("end_datetime"), "end_datetime"),
        (lambda i: i["properties"].update(start_datetime="soon"), "RFC 3339"),
        (lambda i: i["assets"].pop("map"), "no asset 'map'"),
        (lambda i: i["assets"]["map"].pop("href"), "no href"),
        (lambda i: i.pop("geometry"), "geometry"),
        (lambda i: i.pop("id"), "no id"),
        (lambda i: i.pop("properties"), "product_version"),
    ],
)
def test_items_that_cannot_be_read_right_are_refused_in_one_line(break_it: Any, said: str) -> None:
    item = copy.deepcopy(worldcover_item(2021))
    break_it(item)
    labeller = open_raster_labeller(WorldCoverLabel(providers=("p",)))
    with pytest.raises(ItemRefused, match=said) as caught:
        labeller.scene(item, "p", PROVIDER)
    assert "\n" not in str(caught.value)


def test_relative_addresses_follow_the_self_link() -> None:
    item = worldcover_item(2021)
    item["assets"]["map"]["href"] = "../maps/a.tif"
    item["links"] = [{"rel": "self", "href": "http://127.0.0.1:1/items/a.json"}]
    scene = open_raster_labeller(WorldCoverLabel(providers=("p",))).scene(item, "p", PROVIDER)
    assert scene.assets["classes"].href == "http://127.0.0.1:1/maps/a.tif"


def test_dynamic_world_nearest_in_time_within_the_gap() -> None:
    labeller = open_raster_labeller(DynamicWorldLabel(providers=("p",), max_gap_days=30))
    image = datetime(2021, 6, 15, 10, tzinfo=UTC)
    scenes = [
        labeller.scene(dynamicworld_item(image + timedelta(days=days)), "p", PROVIDER) for days in (-31, -3, 2, 29, 40)
    ]
    found = labeller.candidates(scenes, place(12.5, 47.5), image)
    assert [(c.datetime - image).days for c in found] == [2, -3, 29]
    newest = labeller.candidates(scenes, place(12.5, 47.5), None)[0]
    assert (newest.datetime - image).days == 40
    assert labeller.candidates(scenes, place(12.5, 47.5), image + timedelta(days=300)) == []


def test_dynamic_world_takes_tiles_of_one_datatake_together_and_whole_cover_first() -> None:
    labeller = open_raster_labeller(DynamicWorldLabel(providers=("p",)))
    image = datetime(2021, 6, 15, 10, tzinfo=UTC)
    west, east = square(11.0, 47.0, 12.5, 48.0), square(12.5, 47.0, 14.0, 48.0)
    items = [
        dynamicworld_item(image, "33UUP", west), dynamicworld_item(image, "33UVP", east),
        dynamicworld_item(image - timedelta(days=1), "33UUP", west),
    ]  # fmt: skip
    items[0]["properties"]["datetime"] = (image + timedelta(seconds=14)).isoformat()
    scenes = [labeller.scene(item, "p", PROVIDER) for item in items]
    best, half = labeller.candidates(scenes, place(12.5, 47.5), image)
    assert len(best.scenes) == 2
    assert len(half.scenes) == 1


def test_label_map_says_year_gap_and_fill() -> None:
    labeller = open_raster_labeller(WorldCoverLabel(providers=("p",)))
    scene = labeller.scene(worldcover_item(2021), "p", PROVIDER)
    here = place(7.0, 1.0)
    assert len(labeller.candidates([scene], here, None)) == 1
    classes = np.full(here.geobox.shape, 10, dtype=np.uint8)
    classes[0, :] = 0
    valid = np.ones(here.geobox.shape, dtype=bool)
    valid[:, 0] = False
    for when, gap in (
        (datetime(2021, 7, 1, tzinfo=UTC), 0), (datetime(2022, 1, 11, tzinfo=UTC), 10),
        (datetime(2020, 12, 22, tzinfo=UTC), 10), (None, None),
    ):  # fmt: skip
        label = labeller.label([scene], LabelChip(classes=classes, valid=valid), when)
        assert (label.year, label.version, label.date_gap_days) == (2021, "v200", gap)
    assert not label.valid[0].any()
    assert not label.valid[:, 0].any()
    assert (label.classes[~label.valid] == 0).all()
    assert label.valid.sum() == 263 * 263
    classes[5, 5] = 11
    with pytest.raises(UnknownCodeError, match="class code 11"):
        labeller.label([scene], LabelChip(classes=classes, valid=valid), None)
    valid[5, 5] = False  # what is fill already may hold anything
    labeller.label([scene], LabelChip(classes=classes, valid=valid), None)


def test_dynamic_worlds_water_is_code_0_and_valid() -> None:
    labeller = open_raster_labeller(DynamicWorldLabel(providers=("p",)))
    scene = labeller.scene(dynamicworld_item(datetime(2021, 6, 15, tzinfo=UTC)), "p", PROVIDER)
    here = place(12.5, 47.5)
    assert len(labeller.candidates([scene], here, None)) == 1
    classes = np.zeros(here.geobox.shape, dtype=np.uint8)
    classes[:10] = 255
    chip = LabelChip(classes=classes, valid=np.ones(here.geobox.shape, dtype=bool))
    label = labeller.label([scene], chip, datetime(2021, 6, 20, tzinfo=UTC))
    assert label.valid[10:].all()
    assert not label.valid[:10].any()
    assert label.date_gap_days == 5


@pytest.mark.parametrize(
    ("lon", "lat", "inside"),
    [
        (179.999, -17.0, square(179.0, -18.0, 180.0, -16.0)), (-179.999, -17.0, square(-180.0, -18.0, -179.0, -16.0)),
        (179.999, -17.0, square(179.0, -18.0, 181.0, -16.0)), (10.0, 89.999, square(-180.0, 89.0, 180.0, 90.0)),
        (0.0, -89.99, square(-180.0, -90.0, 180.0, -89.0)),
    ],
)  # fmt: skip
def test_shares_at_the_dateline_and_the_poles(lon: float, lat: float, inside: dict[str, object]) -> None:
    share = covered_share(inside, place(lon, lat).geobox)
    assert 0.3 < share <= 1.0
    assert covered_share(square(-10.0, -5.0, 10.0, 5.0), place(lon, lat).geobox) == 0.0


def test_boxes_at_the_dateline_and_the_poles() -> None:
    west, _, east, _ = lonlat_bbox(place(179.9999, -17.0).geobox)
    assert west > 179.9
    assert east < -179.9
    west, south, east, north = lonlat_bbox(place(10.0, 89.9999).geobox)
    assert (west, east, north) == (-180.0, 180.0, 90.0)
    assert south > 89.9
    west, south, east, north = lonlat_bbox(place(12.5, 47.5).geobox)
    assert 12.4 < west < 12.5 < east < 12.6
    assert 47.4 < south < 47.5 < north < 47.6
