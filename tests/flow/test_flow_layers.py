"""Declared layers through the commands: two layers of one product, presets on STAC and on Earth Engine, a trial."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import shapely

import landweave
import testbed
from tests.flow.job import run

pytestmark = pytest.mark.slow
RECIPE = """name: layers
seed: 7
sampling: { kind: grid, spacing_m: 1100, area: { file: aoi.geojson } }
grid: { size_m: 480, crs: EPSG:3035 }
windows:
  - { name: summer-2021, start: 2021-06-01, end: 2021-09-15 }
  - { name: summer-2022, start: 2022-06-01, end: 2022-09-15 }
providers:
  pc: { url: $LANDWEAVE_TESTBED/pc/stac, dialect: planetary-computer }
  gee: { kind: earthengine, project: testbed-project }
sources:
  - { layer: s1_asc, kind: sentinel1, providers: [pc], where: { sat:orbit_state: ascending } }
  - { layer: s1_desc, kind: sentinel1, providers: [pc], where: { sat:orbit_state: descending } }
  - { layer: landsat_8_9, kind: landsat-8-9-l2, providers: [pc], max_cloud: 1.0 }
  - { layer: terrain, kind: cop-dem-30, providers: [pc] }
  - { layer: s2, kind: sentinel2-l1c, providers: [gee], earthengine: COPERNICUS/S2_SR_HARMONIZED,
      arrays: { bands_60m: null, bands_20m: null } }
derived: { ndvi: (s2.B08 - s2.B04) / (s2.B08 + s2.B04) }
numbers:
  height: mean(terrain.elevation)
  red_90: { of: "percentile(s2.B04[summer-2021], 90)", unit: "1", description: the brightest red }
  green: share(ndvi[summer-2022] > 0.3)
  qa: majority(landsat_8_9.QA_PIXEL[summer-2021])
  half: { polygons: halves.geojson, column: name }
  code: { table: halves.csv, column: code, id: half, match: attr_half }
captions: { kind: template }
quality: { keep: ["attr_height > 0 and attr_half in ['east', 'west']"] }
splits: { block_m: 2000, buffer_m: 100 }
"""


def test_declared_layers_build_and_read(earth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(earth / "aoi.geojson", tmp_path)
    _halves(tmp_path)
    (tmp_path / "layers.yaml").write_text(RECIPE)
    with testbed.serve(earth) as services:
        monkeypatch.setitem(os.environ, "LANDWEAVE_EARTHENGINE_URL", services.base_url)
        done = run(services, "build", tmp_path / "layers.yaml", tmp_path / "out", "--limit", "4", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "a trial of 4 of" in done.stdout
    data = landweave.open(tmp_path / "out")
    assert list(data.modalities) == ["s1_asc", "s1_desc", "landsat_8_9", "terrain", "s2", "ndvi"]
    assert len(data.query("s1_asc_count == 1 and s1_desc_count == 1 and terrain_count == 1 and s2_count == 2")) == 4
    _numbers(data)
    assert {s.epsg for s in data} == {3035}
    for sample in data:
        corner = sample.transform("s2/bands_10m")
        assert (corner[2] % 10, corner[5] % 10) == (0, 0)


def _halves(folder: Path) -> None:
    """The area as two polygons, and a table of their codes."""
    west, south, east, north = shapely.from_geojson((folder / "aoi.geojson").read_text()).bounds
    middle = (west + east) / 2
    boxes = {"west": shapely.box(west, south, middle, north), "east": shapely.box(middle, south, east, north)}
    features = [
        {"type": "Feature", "properties": {"name": name}, "geometry": shapely.geometry.mapping(box)}
        for name, box in boxes.items()
    ]
    (folder / "halves.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    (folder / "halves.csv").write_text("half,code\nwest,01\neast,02\nnorth,03\n")


def _numbers(data: landweave.Dataset) -> None:
    """Every number is what numpy makes of the stored pixels, and a column with a unit."""
    for sample in data:
        said = sample.attributes
        elevation = sample["terrain/elevation"].astype(np.float64)
        assert said["height"] == pytest.approx(elevation[np.isfinite(elevation)].mean(), rel=1e-12)
        array = data.spec.group("s2").array("bands_10m")
        red = sample["s2/bands_10m"][0, [b.name for b in array.bands].index("B04")]
        reflectance = red[red != array.nodata] * array.scale + array.offset
        assert said["red_90"] == pytest.approx(np.percentile(reflectance, 90), rel=1e-9)
        ndvi = sample["ndvi/values"][1].astype(np.float64)
        assert said["green"] == pytest.approx((ndvi[np.isfinite(ndvi)] > 0.3).mean())
        codes, counts = np.unique(sample["landsat_8_9/qa_pixel"][0], return_counts=True)
        assert said["qa"] == codes[counts.argmax()]
        assert said["code"] == {"west": "01", "east": "02"}[str(said["half"])]
    high = data.query("attr_height > 0 and attr_code == '01'")
    assert {data.sample(s).attributes["half"] for s in high} <= {"west"}
    units = {a.name: (a.dtype, a.unit) for a in data.spec.attributes}
    assert units["height"] == ("float64", "m")
    assert units["red_90"] == ("float64", "1")
    columns = json.loads(data.objects.read("catalogue/collection.json"))["assets"]["items"]["table:columns"]
    assert {"name": "attr_red_90", "type": "double", "description": "the brightest red (1)"} in columns
