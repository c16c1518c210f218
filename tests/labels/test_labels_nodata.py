"""Maps of classes whose number for 'no label here' is signed, stated by the recipe, the item or the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio

from pipelines.access.http.client import Client
from pipelines.access.rasters.cog import Reader
from pipelines.labels import open_raster_labeller
from pipelines.labels.read_shard import LabelRequest, gather
from schemas.label import LabelMap
from schemas.label_source import RasterLabel
from schemas.outcome import Outcome, Reason
from schemas.place import GeoBox, Place
from schemas.provider import Provider
from schemas.recipe import Recipe
from testbed.services import serve_catalogue

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 64
BOX = GeoBox(epsg=32632, x_min=500_000, y_max=5_000_000, resolution_m=10, width=SIZE, height=SIZE)
PLACE = Place(sample_id="s", lon=9.0, lat=45.15, geobox=BOX, split="train", block="b", cell="c")
CODES = np.random.default_rng(1).integers(1, 4, (SIZE, SIZE))
HOLES = np.indices((SIZE, SIZE)).sum(axis=0) % 5 == 0


def label(**more: Any) -> RasterLabel:
    classes = [{"code": c, "name": n, "common": "water"} for c, n in enumerate(("none", "one", "two", "three"))]
    return RasterLabel.model_validate(
        {"name": "crops", "product": "Crops", "collection": "c", "providers": ["p"], "classes": classes[1:], **more}
    )


def built(folder: Path, dtype: str, config: RasterLabel, said: Any, in_file: float | None, **more: Any) -> Any:
    """What becomes of one sample; `said` is the item's nodata."""
    pixels = np.where(HOLES, more.get("hole", -1), CODES).astype(dtype)
    with rasterio.open(
        folder / "a.tif", "w", driver="GTiff", count=1, height=SIZE, width=SIZE, dtype=dtype, crs="EPSG:32632",
        transform=rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000), nodata=in_file,
    ) as dataset:  # fmt: skip
        dataset.write(pixels, 1)
    if "mask" in more:
        (folder / "a.tif.msk").write_bytes(more["mask"])
    labeller = open_raster_labeller(config)
    with serve_catalogue([], {"/f/": folder}) as services:
        ring = [[8, 44], [10, 44], [10, 46], [8, 46], [8, 44]]
        item = {
            "id": "i", "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {"datetime": "2021-06-01T00:00:00Z"},
            "assets": {"data": {"href": f"{services.base_url}/f/a.tif", **({} if said is None else said)}},
        }  # fmt: skip
        scene = labeller.scene(item, "p", Provider(url=services.base_url))
        recipe = Recipe.model_validate(
            {
                "name": "m", "seed": 1, "sampling": {"kind": "points", "file": "p.csv"}, "grid": {"size_m": 640},
                "windows": [{"name": "june", "start": "2021-06-01", "end": "2021-06-30"}],
                "providers": {"p": {"url": services.base_url}},
                "sources": [{"kind": "sentinel2", "providers": ["p"]}], "labels": [config.model_dump()],
            }
        )  # fmt: skip
        candidates = tuple(labeller.candidates([scene], PLACE, None))
        request = LabelRequest(place=PLACE, candidates=candidates)
        with Reader(Client(retries=0)) as reader:
            (got,) = gather(labeller, recipe, [request], {"i": scene}, lambda _: reader)
    return got


STATED = {
    "recipe": ({"nodata": -1}, None, None),
    "item": ({}, {"raster:bands": [{"nodata": -1}]}, None),
    "item, new": ({}, {"bands": [{"nodata": -1}]}, None),
    "item, asset": ({}, {"nodata": -1}, None),
    "item, text": ({}, {"raster:bands": [{"nodata": "-1"}]}, None),
    "file": ({}, None, -1),
    "all": ({"nodata": -1}, {"raster:bands": [{"nodata": -1}]}, -1),
}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "float32"])
@pytest.mark.parametrize("where", STATED)
def test_a_signed_nodata_works_wherever_it_is_stated(where: str, dtype: str, tmp_path: Path) -> None:
    more, said, in_file = STATED[where]
    got = built(tmp_path, dtype, label(**more), said, in_file)
    assert isinstance(got, LabelMap), got
    assert got.classes.dtype == np.uint8
    np.testing.assert_array_equal(got.valid, ~HOLES)
    np.testing.assert_array_equal(got.classes, np.where(HOLES, got.legend.nodata, CODES))
    assert got.legend.nodata not in {c.code for c in got.legend.classes}


@pytest.mark.parametrize("nodata", [255, 200])
def test_a_map_of_signed_bytes_may_have_a_nodata_that_they_cannot_hold(nodata: int, tmp_path: Path) -> None:
    got = built(tmp_path, "int8", label(nodata=nodata), None, -1)
    assert isinstance(got, LabelMap), got
    assert set(np.unique(got.classes[HOLES])) == {nodata}


def test_a_large_nodata_of_the_recipe(tmp_path: Path) -> None:
    got = built(tmp_path, "uint16", label(nodata=65_535), None, None, hole=65_535)
    assert isinstance(got, LabelMap), got
    np.testing.assert_array_equal(got.valid, ~HOLES)


def test_class_0_is_a_class_where_the_nodata_is_another(tmp_path: Path) -> None:
    classes = [{"code": c, "name": str(c), "common": "water"} for c in range(4)]
    got = built(tmp_path, "int8", label(nodata=-1, classes=classes), None, None)
    assert isinstance(got, LabelMap), got
    assert got.legend.nodata == 4


def test_a_number_that_nobody_states_is_told(tmp_path: Path) -> None:
    got = built(tmp_path, "int8", label(), None, None)
    assert isinstance(got, Outcome)
    assert got.reason is Reason.BAD_ITEM
    assert "class code -1 is not in the legend" in got.detail


def test_a_mask_beside_a_map_of_classes_decides(tmp_path: Path) -> None:
    how = {"driver": "GTiff", "count": 1, "height": SIZE, "width": SIZE, "dtype": "uint8"}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(tmp_path / "m.tif", "w", **how) as dataset:
        dataset.write_mask(~HOLES)
    mask = (tmp_path / "m.tif.msk").read_bytes()
    got = built(tmp_path, "uint8", label(), None, None, hole=2, mask=mask)
    assert isinstance(got, LabelMap), got
    np.testing.assert_array_equal(got.valid, ~HOLES)
