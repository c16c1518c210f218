"""Real Sentinel-2 and Landsat scenes through their real STAC items, and Sao Tome's land cover and elevation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.warp import reproject, transform_bounds
from rasterio.windows import Window

import landweave
from tests.real.served import asset, built, item, ledger_reasons, load

pytestmark = pytest.mark.real

SIZE_M = 24_000
POINTS = {"sahara-1": (-11.5, 24.9), "sahara-2": (-11.2, 24.6), "amazon-1": (-65.3, -2.8), "amazon-2": (-65.0, -3.2)}
LANDSAT_BANDS = ["SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B6", "SR_B7"]


def points_csv(folder: Path, points: dict[str, tuple[float, float]]) -> None:
    rows = ["sample_id,lon,lat", *(f"{name},{lon},{lat}" for name, (lon, lat) in points.items())]
    (folder / "points.csv").write_text("\n".join(rows) + "\n")


def oracle(raster: Path, sample: landweave.Sample, array: str, kernel: Resampling) -> tuple[Any, Any]:
    """GDAL's exact warp of the file onto the sample's grid: (pixels, True = the source has a value here)."""
    grid = rasterio.Affine(*tuple(sample.transform(array))[:6])
    shape, crs = sample[array].shape[-2:], rasterio.CRS.from_epsg(sample.epsg)
    with rasterio.open(raster) as source:
        bounds = transform_bounds(crs, source.crs, *rasterio.transform.array_bounds(*shape, grid), densify_pts=21)
        window = source.window(*bounds).round_offsets().round_lengths()
        window = Window(window.col_off - 16, window.row_off - 16, window.width + 32, window.height + 32)
        window = window.intersection(Window(0, 0, source.width, source.height))
        data, nodata = source.read(1, window=window), source.nodata
        where = {"src_transform": source.window_transform(window), "src_crs": source.crs}
        where |= {"dst_transform": grid, "dst_crs": crs, "tolerance": 0.0}
    into = np.zeros(shape, np.float32 if kernel is Resampling.bilinear else data.dtype)
    inside = np.zeros(shape, np.uint8)
    has_value = np.ones(data.shape, np.uint8) if nodata is None else (data != nodata).astype(np.uint8)
    reproject(data, into, src_nodata=nodata, dst_nodata=nodata, resampling=kernel, **where)
    reproject(has_value, inside, dst_nodata=0, resampling=Resampling.nearest, **where)
    return into, inside == 1


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory, real: Path) -> landweave.Dataset:
    folder = tmp_path_factory.mktemp("scenes")
    points_csv(folder, POINTS)
    sentinel = real / "sentinel2" / "S2A_29RKH_20200219_0_L2A"
    landsat = real / "landsat" / "LC08_L2SP_001062_20201031"
    items = [
        load(sentinel / f"{sentinel.name}.json"),
        load(landsat / "LC08_L2SP_001062_20201031_20201106_02_T2_SR_stac.json"),
    ]
    for stated in items[0]["assets"].values():  # true of the whole files: these are reduced
        stated.pop("proj:shape", None)
        stated.pop("proj:transform", None)
    files: dict[str, Path] = {}
    for scene, where in zip(items, (sentinel, landsat), strict=True):
        on_disk = {p.name: p for p in where.iterdir()}
        files |= {
            a["href"]: on_disk[n] for a in scene["assets"].values() if (n := a["href"].rsplit("/", 1)[-1]) in on_disk
        }
    # band 1 of the Landsat scene was not kept: band 2 stands in for it and is not compared
    files[items[1]["assets"]["SR_B1.TIF"]["href"]] = on_disk["LC08_L2SP_001062_20201031_20201106_02_T2_SR_B2.TIF"]
    recipe = {
        "name": "scenes",
        "seed": 1,
        "sampling": {"kind": "points", "file": "points.csv"},
        "grid": {
            "size_m": SIZE_M,
            "resolution_m": 100,
            "resolutions": {
                "sentinel2.bands_10m": 100,
                "sentinel2.bands_20m": 200,
                "sentinel2.scl": 200,
                "sentinel2.bands_60m": 600,
                "landsat": 600,
            },
        },
        "windows": [{"name": "y2020", "start": "2020-01-01", "end": "2020-12-31"}],
        "providers": {"real": {"url": "$LANDWEAVE_REAL_ARCHIVE", "dialect": "earth-search"}},
        "sources": [
            {"kind": "sentinel2", "providers": ["real"], "max_cloud": 1.0},
            {
                "kind": "landsat",
                "providers": ["real"],
                "max_cloud": 1.0,
                "max_scene_cloud": 1.0,
                "collection": "landsat-c2l2-sr",
            },
        ],
        "splits": {"train": 1.0, "val": 0.0, "test": 0.0, "buffer_m": 0},
    }
    with built(folder, recipe, items, files) as found:
        return found


def test_each_place_has_the_scene_that_covers_it_and_the_ledger_says_the_rest(scenes: landweave.Dataset) -> None:
    reasons = ledger_reasons(scenes)
    for name in POINTS:
        wanted = ("ok", "no_scene") if name.startswith("sahara") else ("no_scene", "ok")
        assert (reasons[(name, "sentinel2")], reasons[(name, "landsat")]) == ([wanted[0]], [wanted[1]])
        absent = "landsat" if name.startswith("sahara") else "sentinel2"
        with pytest.raises(landweave.AbsentError, match=absent):
            scenes.sample(name)[f"{absent}/valid"]


@pytest.mark.parametrize("name", ["sahara-1", "sahara-2"])
def test_sentinel2_equals_gdals_warp(scenes: landweave.Dataset, real: Path, name: str) -> None:
    sample = scenes.sample(name)
    folder = real / "sentinel2" / "S2A_29RKH_20200219_0_L2A"
    for layer in ("bands_10m", "bands_20m", "bands_60m"):
        array = f"sentinel2/{layer}"
        for position, band in enumerate(sample.bands(array)):
            expected, inside = oracle(folder / f"{band}.tif", sample, array, Resampling.bilinear)
            stored = sample[array][0, position].astype(np.float64)
            both = inside & (stored > 0)
            assert both.mean() > 0.95
            assert np.abs(stored - expected)[both].max() <= 1.0
    expected, _ = oracle(folder / "SCL.tif", sample, "sentinel2/scl", Resampling.nearest)
    np.testing.assert_array_equal(sample["sentinel2/scl"][0], expected)


def test_sentinel2_is_physical_and_its_bands_lie_on_one_another(scenes: landweave.Dataset) -> None:
    sample = scenes.sample("sahara-1")
    reflectance = sample.physical("sentinel2/bands_10m")[0]
    assert np.nanmin(reflectance) >= 0.0
    assert np.nanmax(reflectance) < 1.5
    assert 0.1 < np.nanmedian(reflectance[2]) < 0.7, "desert sand in red"
    blue, green, red, _ = reflectance
    assert np.corrcoef(green.ravel(), red.ravel())[0, 1] > 0.95
    assert np.corrcoef(blue.ravel(), green.ravel())[0, 1] > 0.95
    fine = reflectance[3].reshape(120, 2, 120, 2).mean(axis=(1, 3))
    coarse = sample.physical("sentinel2/bands_20m")[0][3]
    here = np.corrcoef(fine[1:-1, 1:-1].ravel(), coarse[1:-1, 1:-1].ravel())[0, 1]
    for row, column in ((0, 1), (2, 1), (1, 0), (1, 2)):
        moved = coarse[row : row + 118, column : column + 118]
        assert here > np.corrcoef(fine[1:-1, 1:-1].ravel(), moved.ravel())[0, 1], "20 m bands are shifted"


@pytest.mark.parametrize("name", ["amazon-1", "amazon-2"])
def test_landsat_equals_gdals_warp(scenes: landweave.Dataset, real: Path, name: str) -> None:
    sample = scenes.sample(name)
    folder = real / "landsat" / "LC08_L2SP_001062_20201031"
    for band in LANDSAT_BANDS:
        file = folder / f"LC08_L2SP_001062_20201031_20201106_02_T2_{band}.TIF"
        expected, inside = oracle(file, sample, "landsat/bands_30m", Resampling.bilinear)
        stored = sample["landsat/bands_30m"][0, sample.bands("landsat/bands_30m").index(band)].astype(np.float64)
        both = inside & (stored > 0)
        assert both.mean() > 0.95
        assert np.abs(stored - expected)[both].max() <= 1.0
    file = folder / "LC08_L2SP_001062_20201031_20201106_02_T2_QA_PIXEL.TIF"
    expected, _ = oracle(file, sample, "landsat/qa_pixel", Resampling.nearest)
    np.testing.assert_array_equal(sample["landsat/qa_pixel"][0], expected)
    assert sample.cloud("landsat").mean() > 0.9, "the scene is 99.94 % cloud"
    reflectance = sample.physical("landsat/bands_30m")
    assert np.nanmin(reflectance) >= -0.2
    assert np.nanmax(reflectance) < 1.61


@pytest.fixture(scope="module", params=[2020, 2021])
def island(tmp_path_factory: pytest.TempPathFactory, real: Path, request: pytest.FixtureRequest) -> Any:
    folder = tmp_path_factory.mktemp(f"island{request.param}")
    points_csv(folder, {"town": (6.7273, 0.3365), "peak": (6.545, 0.27), "coast": (6.62, 0.12)})
    where = real / "multimodal" / "sao_tome"
    covers = [load(p) for p in sorted(where.glob("ESA_WorldCover*.json"))]
    files = {}
    for cover in covers:
        name = cover["assets"]["map"]["href"].rsplit("/", 1)[-1]
        cover["assets"]["map"]["href"] = f"/files/real/{name}"
        files[f"/files/real/{name}"] = where / name
    dem = where / "Copernicus_DSM_COG_10_N00_00_E006_00_DEM.tif"
    files["/files/real/dem.tif"] = dem
    tile = item(
        "glo30-n00e006", "cop-dem-glo-30", dem, "2021-04-22T00:00:00Z", {}, {"data": asset("/files/real/dem.tif")}
    )
    recipe = {
        "name": "island",
        "seed": 1,
        "sampling": {"kind": "points", "file": "points.csv"},
        "grid": {"size_m": 2640},
        "providers": {"real": {"url": "$LANDWEAVE_REAL_ARCHIVE"}},
        "sources": [{"kind": "dem", "providers": ["real"]}],
        "labels": [{"kind": "worldcover", "providers": ["real"], "year": request.param}],
        "splits": {"train": 1.0, "val": 0.0, "test": 0.0, "buffer_m": 0},
    }
    with built(folder, recipe, [*covers, tile], files) as found:
        return found, where, request.param


def test_sao_tome_equals_gdals_warp_from_degrees_onto_utm(island: Any) -> None:
    dataset, where, year = island
    version = {2020: "2020_v100", 2021: "2021_v200"}[year]
    for name in ("town", "peak", "coast"):
        sample = dataset.sample(name)
        expected, _ = oracle(
            where / f"ESA_WorldCover_10m_{version}_N00E006_Map.tif", sample, "worldcover/classes", Resampling.nearest
        )
        np.testing.assert_array_equal(sample["worldcover"], expected)
        assert sample.item["worldcover_version"] == version[-4:]
        assert sample.item["worldcover_year"] == year
        elevation, _ = oracle(
            where / "Copernicus_DSM_COG_10_N00_00_E006_00_DEM.tif", sample, "dem/elevation", Resampling.bilinear
        )
        np.testing.assert_allclose(sample["dem/elevation"][0], elevation, atol=1e-3)
    assert sample["dem/elevation"].max() < dataset.sample("peak")["dem/elevation"].max()
