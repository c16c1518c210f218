"""Areas with very many corners are cut into pieces for the labels, and the labels stay what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyproj
import pytest
import shapely

from pipelines.access.openstreetmap.extract import prepare
from pipelines.access.openstreetmap.features import FeatureStore, OsmFeature
from pipelines.access.openstreetmap.pieces import large_area
from pipelines.labels.clip import project
from pipelines.labels.openstreetmap import draw
from sampling.geobox import lonlat_bbox
from schemas.place import GeoBox

if TYPE_CHECKING:
    from pathlib import Path

    from shapely.geometry.base import BaseGeometry


def _lake(corners: int, reach: float, seed: int) -> BaseGeometry:
    """A rough lake with islands at 9.2 E, 45.1 N."""
    rng = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    far = reach * (1 + 0.2 * np.sin(5 * angle) + 0.01 * rng.random(corners))
    shell = np.column_stack([9.2 + far * np.cos(angle), 45.1 + 0.7 * far * np.sin(angle)])
    islands = []
    for _ in range(30):
        x, y = 9.2 + rng.uniform(-0.3, 0.3) * reach, 45.1 + rng.uniform(-0.2, 0.2) * reach
        islands.append(shapely.Point(x, y).buffer(reach * 0.01).exterior.coords)
    return shapely.difference(shapely.Polygon(shell), shapely.union_all([shapely.Polygon(i) for i in islands]))


def _geobox(rng: np.random.Generator, reach: float) -> GeoBox:
    x, y = rng.uniform(-reach, reach, 2)
    return GeoBox(
        epsg=32632, x_min=round(515_000 + x * 78_000), y_max=round(4_994_000 + y * 78_000), resolution_m=10.0,
        width=96, height=96,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("reach", [0.005, 0.05, 1.0])
def test_labels_of_pieces_are_labels_of_the_whole(reach: float) -> None:
    rng = np.random.default_rng(3)
    whole = shapely.MultiPolygon([_lake(20_000, reach, 1)])
    wkb, tags = shapely.to_wkb(whole), {"natural": "water"}
    area = large_area(wkb)
    differing = pixels = 0
    for _ in range(40):
        geobox = _geobox(rng, reach)
        piece = area.near(lonlat_bbox(geobox))
        one = project([OsmFeature("r1", "area", tags, whole)], geobox)
        two = project([OsmFeature("r1", "area", tags, piece, area.area_deg2)], geobox)
        assert [d.whole_deg2 for d in one] == [d.whole_deg2 for d in two]
        for a, b in zip(one, two, strict=True):
            assert shapely.area(shapely.symmetric_difference(a.inside, b.inside)) < 0.05  # square metres: rounding
        differing += int((draw(one, geobox)[0] != draw(two, geobox)[0]).sum())
        pixels += 96 * 96
    assert differing <= pixels * 1e-5


def test_pieces_are_small_and_cut_once() -> None:
    whole = shapely.MultiPolygon([_lake(100_000, 1.0, 2)])
    area = large_area(shapely.to_wkb(whole))
    assert large_area(shapely.to_wkb(whole)) is area
    boxes = [(9.2 + x, 44.4, 9.212 + x, 44.412) for x in np.linspace(-0.02, 0.02, 9)]
    pieces = [area.near(box) for box in boxes]
    assert max(shapely.get_num_coordinates(pieces)) < 10_000
    assert len({id(piece) for piece in pieces}) < 5


def test_an_area_that_is_broken_is_repaired_once() -> None:
    bow = [(9.0, 45.0), (10.0, 46.0), (10.0, 45.0), (9.0, 46.0)]
    shape = shapely.segmentize(shapely.Polygon(bow), 0.003)
    area = large_area(shapely.to_wkb(shape))
    assert shapely.is_valid(area.near((9.1, 45.4, 9.11, 45.41)))
    assert area.near((-20.0, 20.0, 40.0, 70.0)) is area.shape, "where nothing is cut, it is what the extract holds"


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.parametrize("name", ["osm/liechtenstein-2022-07-21.osm.pbf", "osm/helsinki-core-2019-04-21.osm.pbf"])
def test_real_labels_are_the_same(real: Path, tmp_path: Path, name: str) -> None:
    extract, rng = prepare(real / name, tmp_path), np.random.default_rng(5)
    epsg = 32632 if "liechtenstein" in name else 32635
    to_utm = pyproj.Transformer.from_crs(4326, epsg, always_xy=True)
    large = differing = 0
    with FeatureStore(extract.parquet) as store:
        west, south, east, north = store.bounds
        for _ in range(60):
            x, y = to_utm.transform(rng.uniform(west, east), rng.uniform(south, north))
            geobox = GeoBox(
                epsg=epsg, x_min=round(x), y_max=round(y), resolution_m=10.0, width=128, height=128
            )  # fmt: skip
            bbox = lonlat_bbox(geobox)
            one, two = store.within(bbox), store.within(bbox, whole=False)
            assert [(f.osm_id, f.kind, f.tags) for f in one] == [(f.osm_id, f.kind, f.tags) for f in two]
            large += sum(f.whole_deg2 is not None for f in two)
            differing += int((draw(project(one, geobox), geobox)[0] != draw(project(two, geobox), geobox)[0]).sum())
    assert differing == 0
    assert large > 0 or "helsinki" in name
