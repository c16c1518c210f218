"""Windows of each place's own and derived layers, by the commands: points with dates, a pair of sensors, a series."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from ruamel.yaml import YAML
from shapely.geometry import shape

import landweave
import testbed
from tests.flow.job import run

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("flow")]

DATES = ["2021-07-01", "2022-07-20T12:00:00Z", "", "2021-08-10"]


def recipe(folder: Path, earth: Path) -> Path:
    (area,) = YAML(typ="safe").load((earth / "aoi.geojson").read_text())["features"][:1]
    west, south, east, north = shapely.bounds(shape(area["geometry"]))
    lines = [
        f"{west + (east - west) * (0.3 + 0.12 * i):.5f},{south + (north - south) * (0.3 + 0.12 * i):.5f},{date}"
        for i, date in enumerate(DATES)
    ]
    (folder / "shots.csv").write_text("\n".join(["lon,lat,date", *lines]) + "\n")
    tree: dict[str, Any] = {
        "name": "times", "seed": 3, "grid": {"size_m": 480}, "shards": {"samples": 4},
        "sampling": {"kind": "points", "file": "shots.csv", "attributes": ["date"], "allow_overlap": True},
        "splits": {"allow_overlap": True},
        "windows": [
            {"name": "shot", "around": "attr_date", "within": "400d", "pick": "nearest"},
            {"name": "pair", "around": {"layer": "sentinel2"}, "within": "30d"},
            {"name": "series", "start": "2021-01-01", "end": "2022-12-31", "every": "scene", "count": 12},
        ],
        "providers": {
            "es": {"url": "$LANDWEAVE_TESTBED/earth-search/v1", "dialect": "earth-search"},
            "pc": {"url": "$LANDWEAVE_TESTBED/pc/stac", "dialect": "planetary-computer"},
        },
        "sources": [
            {"kind": "sentinel1", "providers": ["pc"], "windows": ["pair"]},  # before the layer that it follows
            {"kind": "sentinel2", "providers": ["es"], "max_cloud": 0.6, "windows": ["shot"]},
            {"kind": "landsat", "providers": ["pc"], "max_cloud": 1, "max_scene_cloud": 1, "windows": ["series"]},
            {"kind": "dem", "providers": ["es"]},
        ],
        "derived": {
            "ndvi": "(sentinel2.B08 - sentinel2.B04) / (sentinel2.B08 + sentinel2.B04)",
            "slope": "slope(dem.elevation)",
        },
    }  # fmt: skip
    with (folder / "recipe.yaml").open("w") as file:
        YAML(typ="safe").dump(tree, file)
    return folder / "recipe.yaml"


def test_dates_of_each_place_pairs_series_and_indices(earth: Path, tmp_path: Path) -> None:
    with testbed.serve(earth) as services:
        done = run(services, "build", recipe(tmp_path, earth), tmp_path / "out")
    assert done.returncode == 0, done.stderr
    dataset = landweave.open(tmp_path / "out")
    rows = pq.read_table(tmp_path / "out" / "catalogue" / "ledger.parquet").to_pylist()
    reasons = {(r["sample_id"], r["layer"], r["slot"]): r["reason"] for r in rows}
    assert len(dataset) == len(DATES)
    pairs = 0
    for sample in dataset:
        date = sample.attributes["date"]
        for slot in range(12):
            when = sample.datetimes("landsat")[slot]
            assert (when is None) == (reasons[sample.id, "landsat", slot] != "ok")
        seen = [when for when in sample.datetimes("landsat") if when is not None]
        assert seen == sorted(seen)
        assert seen
        (image,), (radar,) = sample.datetimes("sentinel2"), sample.datetimes("sentinel1")
        if not date:
            assert reasons[sample.id, "sentinel2", 0] == reasons[sample.id, "sentinel1", 0] == "no_scene"
            assert reasons[sample.id, "ndvi", 0] == "input_missing"
            continue
        assert abs(image - dt.datetime.fromisoformat(date).replace(tzinfo=dt.UTC)) <= dt.timedelta(days=401)
        if radar is not None:
            pairs += 1
            assert abs(radar - image) <= dt.timedelta(days=30)
        assert_index(sample)
    assert pairs


def assert_index(sample: landweave.Sample) -> None:
    """The stored index is numpy's over the stored bands, and unknown where they are."""
    bands, stored = sample.bands("sentinel2/bands_10m"), sample["sentinel2/bands_10m"][0]
    red, nir = (stored[bands.index(name)].astype(np.float64) * 1e-4 for name in ("B04", "B08"))
    known = np.all(stored[[bands.index("B04"), bands.index("B08")]] != 0, axis=0)
    with np.errstate(all="ignore"):
        expected = np.where(known, (nir - red) / (nir + red), np.nan).astype(np.float32)
    assert np.array_equal(sample["ndvi/values"][0, 0], expected, equal_nan=True)
    assert np.array_equal(sample.valid("ndvi")[0], np.isfinite(expected))
    assert 0 <= np.nanmin(sample["slope/values"]) <= np.nanmax(sample["slope/values"]) < 90
