"""Continuous labels: a declared layer with `role: label` is stored as GDAL warps it, and is no input to a model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyproj
import pytest

import landweave
from landweave.errors import QueryError
from tests.access.rasters.test_cog_warp import oracle
from tests.own.photos import EPSG, LEFT, TOP, place, write
from tests.own.test_own_images import catalogue, run

RECIPE = """
name: heights
seed: 1
sampling: {{ kind: points, file: points.csv }}
grid: {{ size_m: 120, resolution_m: 1, snap_m: null }}
windows: [{{ name: june, start: 2021-06-01, end: 2021-06-30 }}]
providers:
  photos: {{ url: photos/items.parquet }}
  heights: {{ url: heights/items.parquet }}
sources:
  - layer: canopy
    role: label
    providers: [heights]
    collection: photos
    {static}
    arrays: {{ height: {{ resolution_m: 1, dtype: float32, unit: m, bands: {{ h: image }} }} }}
  - layer: ortho
    providers: [photos]
    collection: photos
    min_valid: 0.1
    arrays: {{ rgb: {{ resolution_m: 1, dtype: uint8, bands: {{ r: image#1, g: image#2, b: image#3 }} }} }}
splits: {{ by: random, train: 1.0, val: 0.0, test: 0.0 }}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("heights")
    write(made / "photos" / "a.tif")
    write(made / "heights" / "h.tif", "float", date="2021:06:20 00:00:00")
    catalogue(made / "photos")
    catalogue(made / "heights")
    lon, lat = pyproj.Transformer.from_crs(EPSG, 4326, always_xy=True).transform(LEFT + 60, TOP - 60)
    (made / "points.csv").write_text(f"id,lon,lat\na,{lon:.12f},{lat:.12f}\n")
    for name, static in (("static", "dated: false"), ("dated", "min_valid: 0.1")):
        (made / f"{name}.yaml").write_text(RECIPE.format(static=static))
        done = run("build", made / f"{name}.yaml", made / name, "--workers", "1")
        assert done.exit_code == 0, done.output
    return made


@pytest.mark.parametrize("name", ["static", "dated"])
def test_a_continuous_label_has_the_pixels_of_gdal_and_is_no_input(name: str, folder: Path) -> None:
    data = landweave.open(folder / name)
    assert list(data.targets) == ["canopy"]
    sample = data.sample(0)
    expected, valid = oracle(folder / "heights" / "h.tif", place().geobox, "bilinear")
    heights = sample["canopy/height"].reshape(expected.shape)
    np.testing.assert_allclose(heights[valid], expected[valid], atol=2e-2)
    assert np.isnan(heights[~valid]).all()
    assert sample.item["datetime"].isoformat().startswith("2021-06-05"), "the image decides the date, not the label"
    (batch,) = data.stream(batch_size=1, normalise="all")
    np.testing.assert_array_equal(batch["canopy/height"].reshape(heights.shape), heights)
    assert abs(float(batch["ortho/rgb"].mean())) < 5.0, "inputs are normalised"
    with pytest.raises(QueryError, match="is a label"):
        next(iter(data.stream(batch_size=1, missing={"canopy": 0.5})))


def test_the_role_is_in_the_files_for_readers_that_are_not_ours(folder: Path) -> None:
    whole = json.loads((folder / "static" / "landweave.json").read_text())
    groups = json.dumps(whole)
    assert groups.count('"target": true') + groups.count('"target":true') == 1
    zarr = json.loads((folder / "static" / "data.zarr" / "canopy" / "zarr.json").read_text())
    assert zarr["attributes"]["target"] is True


def test_a_sample_of_labels_alone_does_not_count_as_one_with_an_image(folder: Path) -> None:
    (folder / "none.yaml").write_text(RECIPE.format(static="dated: false").replace("2021-06-", "2019-06-"))
    done = run("build", folder / "none.yaml", folder / "none", "--workers", "1")
    assert done.exit_code != 0
    assert "no sample was kept" in done.output
