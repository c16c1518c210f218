"""Layers with an extent of their own: pixels as GDAL warps them, places in every form that the reader gives."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pyproj
import pytest
import rasterio
import rasterio.features
import shapely
from affine import Affine

import landweave
from landweave.errors import QueryError
from pipelines.recipes import RecipeError, read_recipe
from schemas.place import GeoBox
from tests.access.rasters.test_cog_warp import oracle
from tests.own.test_own_images import catalogue, run

EPSG, LEFT, TOP, SIZE = 32631, 448_020.0, 5_412_000.0, 640.0
CENTRE = (LEFT + SIZE / 2, TOP - SIZE / 2)
EXTENTS = {"ortho": 640.0, "near": 320.0, "context": 2_560.0, "era": 60_000.0, "parcels": 160.0, "ndvi": 2_560.0}
RECIPE = """
name: extents
seed: 1
sampling: { kind: points, file: points.csv }
grid:
  size_m: 640
  resolution_m: 10
  snap_m: null
  extents: { near: 320, context: 2560, era: 60000, parcels: 160 }
windows: [{ name: june, start: 2021-06-01, end: 2021-06-30 }]
providers: { mine: { url: images/items.parquet }, coarse: { url: coarse/items.parquet } }
sources:
  - { layer: ortho, providers: [mine], collection: photos, arrays: &bands { px: { resolution_m: 10, dtype: int16,
      bands: { a: image#1, b: image#2 } } } }
  - { layer: near, providers: [mine], collection: photos, arrays: *bands }
  - { layer: context, providers: [mine], collection: photos, arrays: { fine: { resolution_m: 10, dtype: int16,
      bands: { a: image#1 } }, rough: { resolution_m: 60, dtype: int16, bands: { b: image#2 } } } }
  - { layer: era, providers: [coarse], collection: photos, dated: false, arrays: { t: { resolution_m: 10000,
      dtype: float32, bands: { t2m: image } } } }
labels:
  - { kind: vector, layer: parcels, file: parcels.parquet, date: 2021-06-05, column: crop,
      classes: [{ code: 1, name: wheat, common: crops }, { code: 2, name: meadow, common: grass }] }
derived: { ndvi: (context.a - context.b) / (context.a + context.b + 1) }
numbers: { warmth: mean(era.t2m), middle: "era.t2m[centre]" }
quality: { keep: ["share(near.a > 0) >= 0.5"] }
splits: { by: random, train: 1.0, val: 0.0, test: 0.0 }
"""


def image(path: Path, crs: str, pixel: float, reach: tuple[float, float], bands: int, dtype: str) -> Path:
    """A raster around the centre, `reach` units wide and high."""
    x, y = pyproj.Transformer.from_crs(EPSG, crs, always_xy=True).transform(*CENTRE)
    width, height = (math.ceil(r / pixel) for r in reach)
    rows, columns = np.indices((height, width))
    pixels = np.stack([1000 + 400 * np.sin(columns / (17.0 + n)) + 300 * np.cos(rows / 23.0) for n in range(bands)])
    left, top = (round((v + s * n * pixel / 2) / pixel) * pixel for v, s, n in ((x, -1, width), (y, 1, height)))
    path.parent.mkdir(parents=True, exist_ok=True)
    how: dict[str, Any] = {"driver": "GTiff", "tiled": True, "blockxsize": 128, "blockysize": 128, "dtype": dtype}
    where = {"crs": crs, "transform": Affine(pixel, 0, left, 0, -pixel, top), "width": width, "height": height}
    with rasterio.open(path, "w", count=bands, **how, **where) as file:
        file.write(pixels.astype(dtype))
        file.update_tags(TIFFTAG_DATETIME="2021:06:05 10:30:00")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("extents")
    image(made / "images" / "a.tif", f"EPSG:{EPSG}", 10.0, (3_200.0, 3_200.0), 2, "int16")
    image(made / "coarse" / "era.tif", "EPSG:4326", 0.1, (2.0, 2.0), 1, "float32")
    for name in ("images", "coarse"):
        catalogue(made / name)
    rng = np.random.default_rng(3)
    discs = [shapely.Point(CENTRE[0] + rng.uniform(-400, 400), CENTRE[1] + rng.uniform(-400, 400)).buffer(40)
             for _ in range(120)]  # fmt: skip
    crops = [("wheat", "meadow")[n % 2] for n in range(len(discs))]
    frame = geopandas.GeoDataFrame({"crop": crops}, geometry=discs, crs=f"EPSG:{EPSG}")
    frame.to_parquet(made / "parcels.parquet", write_covering_bbox=True, schema_version="1.1.0")
    lon, lat = pyproj.Transformer.from_crs(EPSG, 4326, always_xy=True).transform(*CENTRE)
    (made / "points.csv").write_text(f"sample_id,lon,lat,epsg,x_min,y_max\na,{lon:.9f},{lat:.9f},{EPSG},{LEFT},{TOP}\n")
    (made / "own.yaml").write_text(RECIPE)
    done = run("build", made / "own.yaml", made / "out", "--workers", "1")
    assert done.exit_code == 0, done.output
    return made


def ground(layer: str, resolution_m: float) -> GeoBox:
    """Where a layer must lie, from its extent alone."""
    half, count = EXTENTS[layer] / 2, math.ceil(EXTENTS[layer] / resolution_m)
    return GeoBox(epsg=EPSG, x_min=CENTRE[0] - half, y_max=CENTRE[1] + half, resolution_m=resolution_m,
                  width=count, height=count)  # fmt: skip


@pytest.mark.parametrize(
    ("path", "file", "band"),
    [
        ("ortho/px", "images/a.tif", 1),
        ("near/px", "images/a.tif", 1),
        ("context/fine", "images/a.tif", 1),
        ("context/rough", "images/a.tif", 2),
        ("era/t", "coarse/era.tif", 1),
    ],
)
def test_each_layer_has_the_pixels_of_gdal_over_its_own_ground(path: str, file: str, band: int, folder: Path) -> None:
    data = landweave.open(folder / "out")
    array, sample = data.select_arrays([path])[0], data.sample("a")
    box = ground(array.group, array.resolution_m)
    assert sample.transform(path) == box.transform
    assert sample.bounds(path) == tuple(box.bounds)
    pixels = sample[path].reshape(-1, *array.chip_shape[-2:])[0]
    assert pixels.shape == box.shape
    with rasterio.open(folder / file) as whole, rasterio.open(
        folder / "one.tif", "w", **{**whole.profile, "count": 1}
    ) as one:  # fmt: skip
        one.write(whole.read(band), 1)
    expected, valid = oracle(folder / "one.tif", box, "bilinear")
    assert valid.all(), "the raster covers the extent"
    np.testing.assert_allclose(pixels, expected, atol=1.0 if pixels.dtype.kind == "i" else 0.02)


def test_labels_objects_derived_layers_and_numbers_are_of_the_layers_ground(folder: Path) -> None:
    data = landweave.open(folder / "out")
    sample = data.sample("a")
    box = ground("parcels", 10.0)
    frame = geopandas.read_parquet(folder / "parcels.parquet")
    codes = [1 if crop == "wheat" else 2 for crop in frame.crop]
    pairs = sorted(zip(frame.geometry, codes, strict=True), key=lambda p: -p[0].area)
    burnt = rasterio.features.rasterize(pairs, box.shape, transform=Affine(*box.transform), fill=0)
    labels = sample["parcels"]
    assert labels.shape == (16, 16)
    assert (labels[burnt == 0] == 0).all()
    assert ((labels > 0) == (burnt > 0)).all()
    square = shapely.box(*box.bounds)
    cut = sorted(frame.geometry[frame.intersects(square)].intersection(square).area)
    stored = sorted(shapely.from_wkb(w).area for w in sample.vectors("parcels")["wkb"].to_pylist())
    np.testing.assert_allclose([a for a in stored if a > 0.1], [a for a in cut if a > 0.1], rtol=1e-4, atol=0.05)
    a, b = (sample[f"context/{n}"].reshape(-1, *shape)[0].astype(float)
            for n, shape in (("fine", (256, 256)), ("rough", (43, 43))))  # fmt: skip
    over = np.minimum((np.arange(256) + 0.5) / 6, 42).astype(int)
    b = b[np.ix_(over, over)]
    np.testing.assert_allclose(sample["ndvi/values"].reshape(256, 256), (a - b) / (a + b + 1), rtol=1e-5)
    assert sample.bounds("ndvi/values") == tuple(ground("ndvi", 10.0).bounds)
    warm = sample["era/t"].reshape(6, 6)
    assert sample.attributes["warmth"] == pytest.approx(float(warm.astype(float).mean()), rel=1e-6)
    assert sample.attributes["middle"] == pytest.approx(float(warm[3, 3]), rel=1e-6)


def test_the_form_says_where_layers_lie_to_plain_readers_and_old_ones_refuse_it(folder: Path) -> None:
    import xarray as xr

    whole = json.loads((folder / "out" / "landweave.json").read_text())
    assert whole["layout"] == 3
    margins = {g["name"]: {a.get("margin_m") for a in g["arrays"]} for g in whole["dataset"]["groups"]}
    assert margins["context"] == {960.0}
    assert margins["near"] == {-160.0}
    assert margins["ortho"] == {None}
    sample = landweave.open(folder / "out").sample("a")
    for layer, path, edge in (("context", "context/fine", "x_10m"), ("near", "near/px", "x"), ("era", "era/t", "x")):
        plain = xr.open_zarr(folder / "out" / "data.zarr", group=layer, consolidated=False)
        root = xr.open_zarr(folder / "out" / "data.zarr", consolidated=False)
        left = float(root["x_min"][0]) + float(plain[edge][0])
        step, _, corner, *_ = sample.transform(path)
        assert left == pytest.approx(corner + step / 2)
    assets = sample.item["assets"]
    assert assets["context"]["proj:bbox"] == list(ground("context", 10.0).bounds)
    assert assets["context"]["proj:shape"] == [256, 256]
    assert "proj:bbox" not in assets["ortho"]
    assert sample.item["proj:bbox"] == [LEFT, TOP - SIZE, LEFT + SIZE, TOP]


def test_trees_cubes_and_exports_show_the_right_places(folder: Path) -> None:
    data = landweave.open(folder / "out")
    sample = data.sample("a")
    tree = sample.to_datatree()
    assert float(tree["era"]["x"][0]) == ground("era", 10_000.0).x_min + 5_000
    cube = data.to_xarray()
    assert float(cube["near"]["x"][0]) == 160.0 + 5.0
    done = run_reader("export", "geotiff", folder / "out", folder / "tiffs")
    assert done == 0
    for path in (folder / "tiffs").rglob("*.tif"):
        layer, name = path.name.split(".")[:2]
        array = f"{layer}/{name}"
        with rasterio.open(path) as file:
            assert tuple(file.bounds) == pytest.approx(sample.bounds(array)), path.name
    assert run_reader("export", "parquet", folder / "out", folder / "rows") == 0
    (rows,) = (folder / "rows").rglob("*.parquet")
    told = json.loads(pq.read_table(rows).to_pylist()[0]["metadata"])
    assert told["transforms"]["context.fine"] == list(sample.transform("context/fine"))


def test_pictures_are_drawn_with_a_scale_of_their_own(folder: Path) -> None:
    figure = landweave.open(folder / "out").sample("a").plot()
    words = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert any(w.endswith(" km") for w in words)
    assert any(w.endswith(" m") for w in words)


def test_windows_are_cut_from_the_ground_that_all_layers_share(folder: Path) -> None:
    data = landweave.open(folder / "out")
    sample = data.sample("a")
    for seed in range(4):
        (batch,) = data.stream(batch_size=1, arrays=["ortho/px", "near/px", "context/fine"], crop_m=160, seed=seed)
        right, down = batch["crop_m"][0]
        assert min(right, down) >= 160
        assert max(right, down) + 160 <= 480
        for path, margin in (("ortho/px", 0), ("near/px", -160), ("context/fine", 960)):
            x, y = round((right + margin) / 10), round((down + margin) / 10)
            np.testing.assert_array_equal(batch[path][0], sample[path][..., y : y + 16, x : x + 16])
    with pytest.raises(QueryError, match="at most 320 m"):
        next(iter(data.stream(batch_size=1, arrays=["ortho/px", "near/px"], crop_m=640)))
    with pytest.raises(QueryError, match="era/t lies on ground of another size"):
        next(iter(data.stream(batch_size=1, arrays=["near/px", "era/t"], crop_m=160)))


def test_a_mask_lies_over_its_image_on_the_ground_and_must_cover_it(folder: Path) -> None:
    torchgeo = pytest.importorskip("landweave.torchgeo", reason="torch is not installed")
    data = landweave.open(folder / "out")
    sample = data.sample("a")
    with pytest.raises(QueryError, match=r"parcels covers 160 m and near/px 320 m .*: a mask must cover its image"):
        torchgeo.TorchGeoSamples(data, image="near/px", mask="parcels")
    found = torchgeo.TorchGeoSamples(data, image="near/px", mask="context/valid")[0]
    assert found["bounds"][:2].tolist() == [CENTRE[0] - 160, CENTRE[0] + 160]
    cut = sample["context/valid"][0, 112:144, 112:144]
    np.testing.assert_array_equal(found["mask"].numpy(), cut.astype(np.int64))


def test_the_plan_asks_over_the_layers_ground_and_says_where_it_is_not_covered(folder: Path) -> None:
    wide = RECIPE.replace("context: 2560", "context: 5120")
    (folder / "wide.yaml").write_text(wide)
    done = run("plan", folder / "wide.yaml", folder / "wide")
    assert "context" in done.output
    assert "nothing was found" in done.output, "3,200 m of image cover less than 95 % of 5,120 m"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "context: 2560",
            "context: 2565",
            "context: 2565 is not a whole number of its pixels of 10 m; write 2560 or 2570",
        ),
        ("context: 2560", "contxt: 2560", "'contxt' is no source or label of this recipe"),
        ("context: 2560", "context.fine: 2560", "an extent is of a whole layer, all its arrays; write context: 2560"),
        ("context: 2560", "context: 0", "must be 0.01 to 1,000,000 metres"),
        ("era: 60000", "context: 2560, era: 4", "write 10000"),
        ("context: 2560", "context: 200000", "the limit is 16,384"),
        ("(context.a - context.b)", "(ortho.a - context.b)", "which lie on ground of another size"),
    ],
)
def test_an_extent_that_cannot_be_honoured_is_one_line(old: str, new: str, words: str, tmp_path: Path) -> None:
    text = RECIPE.replace("context: 2560, era: 60000", "era: 60000") if new.startswith("context: 2560, era") else RECIPE
    (tmp_path / "own.yaml").write_text(text.replace(old, new))
    with pytest.raises(RecipeError) as caught:
        read_recipe(tmp_path / "own.yaml")
    lines = str(caught.value).splitlines()
    assert len(lines) == 1, lines
    assert words in lines[0]


def run_reader(*words: str | Path) -> int:
    from landweave.__main__ import main

    return main([str(w) for w in words])
