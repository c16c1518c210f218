"""Copernicus DEM in EPSG:4326: columns get wider towards the poles, rows do not, and heights stay where they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine

from pipelines.access.archives import Archives
from pipelines.sources import open_source
from pipelines.sources.read_shard import ObservationRequest, gather
from schemas.place import BBox, GeoBox, Place
from schemas.recipe import Recipe
from schemas.stack import Observation
from testbed.services import serve_catalogue

SECOND = 1.0 / 3600.0


@pytest.mark.parametrize(
    ("lat", "seconds"), [(46, 1.0), (55, 1.5), (65, 2.0), (77, 3.0), (82, 5.0), (86, 10.0), (-89, 10.0)]
)
def test_columns_are_as_wide_as_the_latitude_asks(lat: int, seconds: float, tmp_path: Path) -> None:
    """Widths by latitude: Copernicus DEM product handbook; 10 seconds at 89 S is what the real items say."""
    west, north, size = 20.0, lat + 0.2, 0.2 * seconds
    wide = seconds * SECOND
    columns, rows = round(size / wide) + 1, round(0.2 / SECOND) + 1
    transform = Affine(wide, 0.0, west - wide / 2, 0.0, -SECOND, north + SECOND / 2)
    lons = west + wide * np.arange(columns)
    heights = np.broadcast_to(((lons - west) * 10_000.0).astype(np.float32), (rows, columns))
    path = tmp_path / "dem.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=columns, height=rows, count=1, dtype="float32", crs="EPSG:4326",
        transform=transform, tiled=True, blockxsize=256, blockysize=256, compress="deflate",
    ) as file:  # fmt: skip
        file.write(heights, 1)
    ring = [[west, lat], [west + size, lat], [west + size, north], [west, north], [west, lat]]
    item = {
        "type": "Feature", "stac_version": "1.0.0", "id": f"Copernicus_DSM_{lat}", "collection": "cop-dem-glo-30",
        "geometry": {"type": "Polygon", "coordinates": [ring]}, "bbox": [west, lat, west + size, north], "links": [],
        "properties": {
            "datetime": "2021-04-22T00:00:00Z", "proj:epsg": 4326, "proj:shape": [rows, columns],
            "proj:transform": list(transform)[:6],
        },
        "assets": {"data": {"href": "dem.tif", "type": "image/tiff"}},
    }  # fmt: skip
    epsg = 32634 if lat > 0 else 32761
    epsg = 32661 if lat > 84 else epsg
    there = pyproj.Transformer.from_crs(4326, epsg, always_xy=True)
    x, y = there.transform(west + size / 2, lat + 0.1)
    box = GeoBox(epsg=epsg, x_min=round(x / 60) * 60, y_max=round(y / 60) * 60, resolution_m=30, width=16, height=16)
    place = Place(sample_id="s", lon=west + size / 2, lat=lat + 0.1, geobox=box, split="train", block="b", cell="c")
    with serve_catalogue([item], {"dem.tif": path}) as services:
        made = Recipe.model_validate(
            {
                "name": "dem", "seed": 1, "sampling": {"kind": "points", "file": "p.csv"},
                "grid": {"size_m": 480, "resolution_m": 30},
                "providers": {"p": {"url": services.stac_url("catalogue")}},
                "sources": [{"kind": "dem", "providers": ["p"]}],
            }
        )  # fmt: skip
        source = open_source(made.sources[0])
        with Archives(made.providers) as archives:
            found = archives.search("p", "cop-dem-glo-30", [BBox(west, lat, west + size, north)], None)
            scenes = [source.scene(i, "p", made.providers["p"]) for i in found]
            request = ObservationRequest(place, 0, tuple(source.candidates(scenes, place, None)))
            (got,) = gather(source, made, [request], {s.item_id: s for s in scenes}, archives.reader)
    assert isinstance(got, Observation), got
    xs = box.x_min + 30 * (np.arange(16) + 0.5)
    ys = box.y_max - 30 * (np.arange(16) + 0.5)
    lon, _ = there.transform(*np.meshgrid(xs, ys), direction="INVERSE")
    np.testing.assert_allclose(got.arrays["elevation"].reshape(16, 16), (lon - west) * 10_000.0, atol=500.0 * wide)
