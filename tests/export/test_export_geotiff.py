"""The GeoTIFF export, read back by rasterio, pystac and geopandas."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import geopandas
import numpy as np
import pystac
import pytest
import rasterio
import shapely.geometry

import landweave
from landweave.export import export
from tests.shards.synthetic import planned
from tests.shards.test_shards_stac import validator

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> landweave.Dataset:
    plan = planned((4, 3), sources=("sentinel2", "sentinel1", "dem"), size_m=120.0)
    return landweave.open(plan.build(tmp_path_factory.mktemp("geotiff") / "data"))


@pytest.fixture(scope="module")
def out(data: landweave.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(data, "geotiff", tmp_path_factory.mktemp("exported") / "out")


def items_of(out: Path) -> list[pystac.Item]:
    return list(pystac.Collection.from_file(str(out / "collection.json")).get_items())


def test_every_item_is_reached_by_links_and_is_valid(data: landweave.Dataset, out: Path) -> None:
    items = items_of(out)
    assert {item.id for item in items} == set(data.query().ids)
    validator("collection").validate(json.loads((out / "collection.json").read_text()))
    for path in out.glob("*/*/*.json"):
        validator("item").validate(json.loads(path.read_text()))
    for item in items:
        assert item.get_parent() is not None
        assert item.geometry is not None
        assert item.bbox == pytest.approx(list(shapely.geometry.shape(item.geometry).bounds))


def test_rasters_hold_the_stored_values_where_they_lie(data: landweave.Dataset, out: Path) -> None:
    rasters = 0
    for item in items_of(out):
        sample = data[item.id]
        for group in data.spec.groups:
            for array in group.arrays:
                for slot, there in enumerate(sample.present[group.name]):
                    name = f"{group.name}.{array.name}" + (f".{slot}" if array.dated else "")
                    assert (name in item.assets) == there
                    if not there:
                        continue
                    wanted = sample[array.path][slot] if array.dated else sample[array.path]
                    asset = item.assets[name]
                    with rasterio.open(str(asset.get_absolute_href())) as file:
                        np.testing.assert_array_equal(file.read().reshape(wanted.shape), wanted)
                        assert tuple(file.transform)[:6] == pytest.approx(sample.transform(array.path))
                        assert file.crs.to_epsg() == sample.item["epsg"]
                        assert list(file.shape) == asset.extra_fields["proj:shape"]
                        if array.kind == "continuous":
                            assert set(file.scales) == {array.scale}
                            assert list(file.descriptions) == [b.name for b in array.bands]
                        if group.classes:
                            assert file.colormap(1)
                    rasters += 1
    assert rasters > 20


def test_footprints_open_as_a_layer(data: landweave.Dataset, out: Path) -> None:
    table = geopandas.read_file(out / "samples.gpkg")
    assert sorted(table["sample"]) == sorted(data.query().ids)
    by_id = table.set_index("sample")
    for sample in data:
        assert by_id.loc[sample.id, "split"] == sample.split
        assert by_id.loc[sample.id].geometry.contains(shapely.geometry.Point(sample.lonlat))


@pytest.mark.slow
def test_the_command_writes_a_selection(data: landweave.Dataset, tmp_path: Path) -> None:
    line = [sys.executable, "-m", "landweave", "export", "geotiff", data.store.url, str(tmp_path / "out")]
    line += ["--split", "train", "--arrays", "dem"]
    done = subprocess.run(line, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    chosen = data.query(split="train")
    assert {item.id for item in items_of(tmp_path / "out")} == set(chosen.ids)
    assert str(tmp_path) not in "".join(p.read_text() for p in (tmp_path / "out").rglob("*.json"))
