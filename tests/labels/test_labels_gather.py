"""Label maps through the reader: equal to GDAL's nearest, mosaics, failures as outcomes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import osmium
import pyproj
import pytest
import rasterio
from osmium.osm.mutable import Node, Way
from rasterio.warp import Resampling, reproject

from pipelines.access.archives import Archives
from pipelines.access.openstreetmap.extract import prepare
from pipelines.labels import open_raster_labeller, open_vector_labeller
from pipelines.labels.read_shard import LabelRequest, gather, gather_objects
from schemas.label import LabelMap
from schemas.label_source import DynamicWorldLabel, OpenStreetMapLabel, WorldCoverLabel
from schemas.outcome import Outcome, Reason
from schemas.place import BBox, GeoBox, Place
from schemas.provider import Provider
from schemas.recipe import Recipe
from testbed.server import Fault
from testbed.services import Services, serve_catalogue
from tests.geoboxes import utm_epsg

PLANET = "planet"


def place(name: str, lon: float, lat: float, size: int = 120) -> Place:
    epsg = utm_epsg(lon, lat)
    x, y = pyproj.Transformer.from_crs(4326, epsg, always_xy=True).transform(lon, lat)
    half = size * 5
    box = GeoBox(
        epsg=epsg,
        x_min=round(x / 60) * 60 - half,
        y_max=round(y / 60) * 60 + half,
        resolution_m=10,
        width=size,
        height=size,
    )
    return Place(sample_id=name, lon=lon, lat=lat, geobox=box, split="train", block="b", cell="c")


def recipe(*labels: dict[str, Any]) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "test", "seed": 1, "sampling": {"kind": "uniform", "count": 1}, "grid": {"size_m": 1200},
            "providers": {PLANET: {"url": "http://127.0.0.1:1"}},
            "sources": [{"kind": "dem", "providers": [PLANET]}], "labels": list(labels),
        }
    )  # fmt: skip


def warped(path: Path, box: GeoBox) -> np.ndarray:
    """GDAL's nearest neighbour without its approximations."""
    out = np.zeros(box.shape, dtype=np.uint8)
    with rasterio.open(path) as source:
        reproject(
            rasterio.band(source, 1), out, dst_transform=rasterio.Affine(*box.transform),
            dst_crs=f"EPSG:{box.epsg}", resampling=Resampling.nearest, tolerance=0,
        )  # fmt: skip
    return out


@pytest.mark.real
def test_real_worldcover_is_gdals_nearest(real: Path) -> None:
    folder = real / "multimodal" / "sao_tome"
    names = ("2020_v100", "2021_v200")
    items, files = [], {}
    for name in names:
        item = json.loads((folder / f"ESA_WorldCover_10m_{name}_N00E006.json").read_text())
        item["assets"]["map"]["href"] = f"/maps/{name}.tif"
        files[f"/maps/{name}.tif"] = folder / f"ESA_WorldCover_10m_{name}_N00E006_Map.tif"
        items.append(item)
    label = WorldCoverLabel(providers=(PLANET,))
    labeller = open_raster_labeller(label)
    with serve_catalogue(items, files, name=PLANET) as services:
        provider = Provider(url=services.stac_url(PLANET))
        with Archives({PLANET: provider}) as archives:
            found = archives.search(PLANET, "esa-worldcover", [BBox(6.0, 0.0, 7.0, 1.0)], None)
            scenes = {s.item_id: s for s in (labeller.scene(i, PLANET, provider) for i in found)}
            requests = []
            for name, lon, lat in (("town", 6.73, 0.33), ("peak", 6.55, 0.26), ("coast", 6.47, 0.3)):
                here, when = place(name, lon, lat), datetime(2020, 6, 1, tzinfo=UTC)
                candidates = tuple(labeller.candidates(list(scenes.values()), here, when))
                requests.append(LabelRequest(place=here, candidates=candidates, reference_time=when))
            maps = gather(labeller, recipe(label.model_dump()), requests, scenes, archives.reader)
    path = folder / "ESA_WorldCover_10m_2020_v100_N00E006_Map.tif"
    for request, found_map in zip(requests, maps, strict=True):
        assert isinstance(found_map, LabelMap)
        assert (found_map.version, found_map.year, found_map.date_gap_days) == ("v100", 2020, 0)
        assert found_map.item_ids == ("ESA_WorldCover_10m_2020_v100_N00E006",)
        assert (found_map.classes == warped(path, request.place.geobox)).all()
        assert (found_map.valid == (found_map.classes != 0)).all()
    assert {m.classes.max() > 0 for m in maps if isinstance(m, LabelMap)} == {True}


def _dynamic_world(path: Path, epsg: int, x: float, y: float, classes: np.ndarray) -> Path:
    with rasterio.open(
        path, "w", driver="GTiff", width=classes.shape[1], height=classes.shape[0], count=1, dtype="uint8", nodata=255,
        crs=f"EPSG:{epsg}", transform=rasterio.Affine(10, 0, x, 0, -10, y), tiled=True, blockxsize=64, blockysize=64,
    ) as file:  # fmt: skip
        file.write(classes, 1)
    return path


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Services, Path]]:
    """Two days of Dynamic World round 13 E 48 N: the nearest is split into two tiles, one strange code lies apart."""
    r = np.random.default_rng(1)
    here = place("x", 13.0, 48.0, 240).geobox
    near = r.integers(0, 9, (240, 240)).astype(np.uint8)
    near[:5, :5] = 255
    files = {
        "/a.tif": _dynamic_world(tmp_path / "a.tif", here.epsg, here.x_min, here.y_max, near[:, :130]),
        "/b.tif": _dynamic_world(tmp_path / "b.tif", here.epsg, here.x_min + 1200, here.y_max, near[:, 120:]),
        "/c.tif": _dynamic_world(
            tmp_path / "c.tif", here.epsg, here.x_min, here.y_max, np.full((240, 240), 3, np.uint8)
        ),
    }
    days = {"a": "20210610T100000", "b": "20210610T100000", "c": "20210601T100000"}
    spans = {"a": (12.9, 13.0008), "b": (12.9994, 13.1), "c": (12.9, 13.1)}
    items = []
    for name, day in days.items():
        west, east = spans[name]
        ring = [[west, 47.9], [east, 47.9], [east, 48.1], [west, 48.1], [west, 47.9]]
        items.append(
            {
                "type": "Feature", "stac_version": "1.0.0", "id": f"{day}_{day}_T33U{name}", "links": [],
                "collection": "dynamic-world-v1", "bbox": [west, 47.9, east, 48.1],
                "geometry": {"type": "Polygon", "coordinates": [ring]},
                "properties": {"datetime": f"2021-06-{day[6:8]}T10:00:00Z", "proj:code": f"EPSG:{here.epsg}"},
                "assets": {"label": {"href": f"/{name}.tif"}},
            }
        )  # fmt: skip
    with serve_catalogue(items, files, name=PLANET) as services:
        yield services, tmp_path


def _label(services: Services, *, retries: int = 0) -> tuple[LabelMap | Outcome, Place]:
    label = DynamicWorldLabel(providers=(PLANET,))
    labeller = open_raster_labeller(label)
    provider = Provider(url=services.stac_url(PLANET), retries=retries, timeout_s=5)
    here, when = place("x", 13.0, 48.0), datetime(2021, 6, 12, tzinfo=UTC)
    with Archives({PLANET: provider}) as archives:
        found = archives.search(PLANET, "dynamic-world-v1", [BBox(12.9, 47.9, 13.1, 48.1)], None)
        scenes = {s.item_id: s for s in (labeller.scene(i, PLANET, provider) for i in found)}
        candidates = tuple(labeller.candidates(list(scenes.values()), here, when))
        assert [len(c.scenes) for c in candidates] == [2, 1]
        request = LabelRequest(place=here, candidates=candidates, reference_time=when)
        (made,) = gather(labeller, recipe(label.model_dump()), [request], scenes, archives.reader)
    return made, here


def test_two_tiles_of_a_datatake_are_one_map(served: tuple[Services, Path]) -> None:
    made, _ = _label(served[0])
    assert isinstance(made, LabelMap)
    with rasterio.open(served[1] / "a.tif") as a, rasterio.open(served[1] / "b.tif") as b:
        whole = np.concatenate([a.read(1)[:, :120], b.read(1)], axis=1)
    assert (made.classes == whole[60:180, 60:180]).all()
    assert made.valid.all()
    assert made.date_gap_days == 1
    assert len(made.item_ids) == 2


def test_a_failure_that_can_pass_is_absence_and_never_another_map(served: tuple[Services, Path]) -> None:
    served[0].faults.append(lambda r: Fault(status=503) if r.path.endswith("/b.tif") else None)
    made, _ = _label(served[0])
    assert isinstance(made, Outcome)
    assert made.reason is Reason.UNAVAILABLE
    assert made.layer == "dynamicworld"


@pytest.mark.parametrize("damage", ["gone", "strange code", "not a raster"])
def test_a_failure_for_good_takes_the_next_map(served: tuple[Services, Path], damage: str) -> None:
    services, folder = served
    if damage == "gone":
        services.faults.append(lambda r: Fault(status=404) if r.path.endswith("/b.tif") else None)
    elif damage == "strange code":
        with rasterio.open(folder / "b.tif", "r+") as file:
            file.write(np.full(file.shape, 77, np.uint8), 1)
    else:
        (folder / "b.tif").write_bytes(b"<html>" * 5000)
    made, _ = _label(services)
    assert isinstance(made, LabelMap)
    assert (made.classes == 3).all()
    assert made.date_gap_days == 10


def test_no_candidate_and_no_valid_pixel_are_missing_labels(served: tuple[Services, Path]) -> None:
    services, folder = served
    for name in "abc":
        with rasterio.open(folder / f"{name}.tif", "r+") as file:
            file.write(np.full(file.shape, 255, np.uint8), 1)
    made, here = _label(services)
    assert isinstance(made, Outcome)
    assert made.reason is Reason.LABEL_MISSING
    label = DynamicWorldLabel(providers=(PLANET,))
    labeller = open_raster_labeller(label)
    (none,) = gather(labeller, recipe(label.model_dump()), [LabelRequest(place=here)], {}, pytest.fail)
    assert isinstance(none, Outcome)
    assert none.reason is Reason.LABEL_MISSING


def test_objects_of_an_extract_and_places_outside_of_it(tmp_path: Path) -> None:
    path = tmp_path / "x.osm.pbf"
    with osmium.SimpleWriter(path) as writer:
        for i, xy in enumerate([(12.9, 47.9), (13.1, 47.9), (13.1, 48.1), (12.9, 48.1)], 1):
            writer.add_node(Node(id=i, location=xy, version=1, timestamp=datetime(2021, 1, 1, tzinfo=UTC)))
        writer.add_way(Way(id=1, nodes=[1, 2, 3, 4, 1], tags={"landuse": "farmland"}, version=1))
        writer.add_way(Way(id=2, nodes=[1, 99], tags={"highway": "track"}, version=1))
    extract = prepare(path, tmp_path / "cache")
    label = OpenStreetMapLabel(pbf="x.osm.pbf")
    requests = [LabelRequest(place=place("in", 13.0, 48.0)), LabelRequest(place=place("out", 20.0, 48.0))]
    (inside, objects), (outside, none) = gather_objects(
        open_vector_labeller(label), recipe(label.model_dump()), requests, extract
    )
    assert isinstance(inside, LabelMap)
    assert inside.valid.all()
    assert [f.osm_id for f in objects.features] == ["w1"]
    assert objects.features[0].area_m2 == pytest.approx(1200 * 1200)
    assert isinstance(outside, Outcome)
    assert outside.reason is Reason.LABEL_MISSING
    assert outside.detail.endswith(
        "not drawn, of x.osm.pbf near the samples: objects with missing or impossible nodes 1"
    )
    assert none.features == ()
