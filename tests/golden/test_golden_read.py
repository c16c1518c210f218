"""Every dataset that an earlier layout version wrote stays readable, pixel for pixel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import landweave
from landweave.check import check
from tests.golden.make_v1 import digests

HERE = Path(__file__).parent


@pytest.mark.parametrize("version", ["v1", "v2", "v3", "v4"])
def test_golden(version: str) -> None:
    data = landweave.open(HERE / version)
    assert list(check(data)) == []
    assert digests(data) == json.loads((HERE / f"{version}.json").read_text())


def test_v1_says_what_it_said() -> None:
    data = landweave.open(HERE / "v1")
    assert data.splits == {"test": 1, "train": 3}
    sample = data.sample("s000_001")
    assert sample.present["dynamicworld"] == (False,)
    assert sample.present["sentinel2"] == (True, True)
    assert sample.captions[0].text == "Caption of s000_001: woods beside a lake."
    assert sample.epsg == 32633
    assert sample.transform("sentinel2/bands_60m") == (60.0, 0.0, 501240.0, 0.0, -60.0, 5200020.0)
    assert [v["osm_id"] for v in sample.vectors().to_pylist()] == ["r7", "w12"]
    assert data.query("worldcover_trees > 0.0", split="train").ids == ["s000_000", "s000_001"]
    assert data.statistics["dem/elevation"]["elevation"]["all"]["count"] == 12


def test_v2_says_what_was_added() -> None:
    data = landweave.open(HERE / "v2")
    assert data.spec.revision == 1
    assert list(data.modalities) == ["sentinel2", "dem", "sentinel1"]
    assert data.query("dem_count == 1 and worldcover_trees > 0.0", split="train").ids == ["s000_000", "s000_001"]
    assert len(data.sample("s000_001").captions) == 2
    assert data.arrays["sentinel2/bands_10m"].codec.cname == "lz4hc"


def test_v3_says_where_its_layers_lie() -> None:
    data = landweave.open(HERE / "v3")
    sample = data.sample("s000_001")
    corner = (501240.0, 5200020.0)
    assert (sample.item["x_min"], sample.item["y_max"]) == corner
    assert sample.transform("sentinel1/backscatter")[2::3] == corner
    for array, margin in (("sentinel2/bands_10m", 30.0), ("dem/elevation", 60.0), ("worldcover/classes", -20.0)):
        assert sample.transform(array)[2::3] == (corner[0] - margin, corner[1] + margin)
        assert data.spec.extent_m(array.partition("/")[0]) == 60.0 + 2 * margin
    assert sample.bounds("sentinel2/bands_60m") == (501210.0, 5199930.0, 501330.0, 5200050.0)


def test_v4_says_how_many_bands_a_chunk_holds() -> None:
    data = landweave.open(HERE / "v4")
    chunks = {array.path: array.bands_per_chunk for array in data.spec.arrays if array.bands_per_chunk}
    assert chunks == {"sentinel2/bands_10m": 3, "sentinel2/bands_20m": 3, "landsat/bands_30m": 1}
    sample = data.sample("s000_001")
    found = data.samples([sample.id], arrays=["sentinel2"], bands={"sentinel2": ["B08", "B02"]})
    stored = sample["sentinel2/bands_10m"][:, [sample.bands("sentinel2/bands_10m").index(b) for b in ("B08", "B02")]]
    assert (found["sentinel2/bands_10m"][0] == stored).all()
