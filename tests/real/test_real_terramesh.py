"""The three TerraMesh sites, pixel for pixel, through search, build, shards and reader."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

import landweave
from tests.real.served import asset, built, item, ledger_reasons

pytestmark = pytest.mark.real

BANDS = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"]
"""Band order of TerraMesh's S2L2A files."""
SITES: dict[str, dict[str, Any]] = {
    # Collection-1 reprocessings of early scenes carry the offset; the site of 2023 came from a harmonised source.
    "282D_485L_3_3": {"s2": "2021-07-23T13:22:41Z", "s1": "2021-07-21T08:40:10Z", "carries": True, "year": 2021},
    "38D_378R_2_3": {"s2": "2023-06-10T07:46:21Z", "s1": "2023-06-10T16:04:18Z", "carries": False, "year": 2023},
    "433D_629L_3_1": {"s2": "2020-04-08T14:37:29Z", "s1": "2020-04-11T23:43:09Z", "carries": True, "year": 2020},
}


def recipe() -> dict[str, Any]:
    return {
        "name": "terramesh",
        "seed": 1,
        "sampling": {"kind": "points", "file": "points.csv"},
        "grid": {"size_m": 2240, "snap_m": None, "resolutions": {"sentinel2": 10, "dem": 10}},
        "windows": [{"name": "ever", "start": "2020-01-01", "end": "2023-12-31"}],
        "providers": {"real": {"url": "$LANDWEAVE_REAL_ARCHIVE"}},
        "sources": [
            {"kind": "sentinel2", "providers": ["real"]},
            {"kind": "sentinel1", "providers": ["real"], "delivered": "db", "scale": "db"},
            {"kind": "dem", "providers": ["real"]},
        ],
        "labels": [
            {
                "kind": "raster",
                "name": "lulc",
                "product": "Esri land cover as TerraMesh recodes it",
                "providers": ["real"],
                "collection": "lulc",
                "nodata": 255,
                "classes": [
                    {"code": code, "name": name, "common": common}
                    for code, name, common in (
                        (0, "no data", "unknown"),
                        (1, "water", "water"),
                        (2, "trees", "trees"),
                        (3, "flooded vegetation", "wetland"),
                        (4, "crops", "crops"),
                        (5, "built", "built"),
                        (6, "bare", "bare"),
                        (7, "snow", "snow and ice"),
                        (8, "clouds", "unknown"),
                        (9, "rangeland", "grass"),
                    )
                ],
            }
        ],
        "splits": {"train": 1.0, "val": 0.0, "test": 0.0},
    }


def archive(folder: Path, real: Path) -> tuple[list[dict[str, Any]], dict[str, Path]]:
    items, files = [], {}
    points = [["sample_id", "lon", "lat", "epsg", "x_min", "y_max"]]
    for site, facts in SITES.items():
        where = real / "multimodal" / "terramesh" / site
        files |= {f"/files/real/{site}/{p.name}": p for p in where.iterdir()}
        with rasterio.open(where / "S2L2A.tif") as source:
            lon, lat = rasterio.warp.transform(
                source.crs, "EPSG:4326", [source.bounds.left + 1120], [source.bounds.top - 1120]
            )
            points.append(
                [site, lon[0], lat[0], source.crs.to_epsg(), repr(source.transform.c), repr(source.transform.f)]
            )
            profile = {**source.profile, "count": 1, "dtype": "uint8", "nodata": None}
        clear = folder / f"{site}-scl.tif"
        with rasterio.open(clear, "w", **profile) as scl:  # TerraMesh has no scene classification: vegetation all over
            scl.write(np.full((1, 224, 224), 4, np.uint8))
        files[f"/files/real/{site}/SCL.tif"] = clear
        said = {"platform": "sentinel-2a", "s2:processing_baseline": "05.00"}
        if not facts["carries"]:
            said |= {"s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": True}
        path = f"/files/real/{site}"
        items += [
            item(
                f"S2-{site}",
                "sentinel-2-l2a",
                where / "S2L2A.tif",
                facts["s2"],
                said,
                {"data": asset(f"{path}/S2L2A.tif", BANDS), "scl": asset(f"{path}/SCL.tif")},
            ),
            item(
                f"S1-{site}",
                "sentinel-1-rtc",
                where / "S1RTC.tif",
                facts["s1"],
                {"platform": "sentinel-1a", "sar:product_type": "RTC", "sat:orbit_state": "descending"},
                {"data": asset(f"{path}/S1RTC.tif", ["VV", "VH"])},
            ),
            item(
                f"DEM-{site}",
                "cop-dem-glo-30",
                where / "DEM.tif",
                "2021-04-22T00:00:00Z",
                {},
                {"data": asset(f"{path}/DEM.tif")},
            ),
            item(
                f"LULC-{site}",
                "lulc",
                where / "LULC.tif",
                None,
                {
                    "start_datetime": f"{facts['year']}-01-01T00:00:00Z",
                    "end_datetime": f"{facts['year']}-12-31T23:59:59Z",
                },
                {"data": asset(f"{path}/LULC.tif")},
            ),
        ]
    with (folder / "points.csv").open("w", newline="") as file:
        csv.writer(file).writerows(points)
    return items, files


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, real: Path) -> landweave.Dataset:
    folder = tmp_path_factory.mktemp("terramesh")
    items, files = archive(folder, real)
    with built(folder, recipe(), items, files) as found:
        return found


def delivered(real: Path, site: str, name: str) -> Any:
    with rasterio.open(real / "multimodal" / "terramesh" / site / name) as source:
        return source.read()


@pytest.mark.parametrize("site", SITES)
def test_sentinel2_arrives_pixel_for_pixel_on_one_scale(dataset: landweave.Dataset, real: Path, site: str) -> None:
    sample = dataset.sample(site)
    numbers = delivered(real, site, "S2L2A.tif").astype(np.int64)
    expected = np.maximum(numbers - 1000, 1) if SITES[site]["carries"] else np.maximum(numbers, 1)
    expected[numbers == 0] = 0
    seen = 0
    for layer in ("bands_10m", "bands_20m", "bands_60m"):
        stored = sample[f"sentinel2/{layer}"]
        for position, band in enumerate(sample.bands(f"sentinel2/{layer}")):
            np.testing.assert_array_equal(stored[0, position], expected[BANDS.index(band)])
            seen += 1
    assert seen == 12
    rules = json.loads(sample.item["sentinel2_radiometry"][0])
    assert rules["B02"].startswith("dn - 1000" if SITES[site]["carries"] else "as delivered")


@pytest.mark.parametrize("site", SITES)
def test_sentinel1_elevation_and_land_cover_arrive_pixel_for_pixel(
    dataset: landweave.Dataset, real: Path, site: str
) -> None:
    sample = dataset.sample(site)
    np.testing.assert_array_equal(
        sample["sentinel1/backscatter"][0], delivered(real, site, "S1RTC.tif").astype(np.float32)
    )
    np.testing.assert_array_equal(sample["dem/elevation"], delivered(real, site, "DEM.tif").astype(np.float32))
    np.testing.assert_array_equal(sample["lulc"], delivered(real, site, "LULC.tif")[0])
    assert sample.valid("sentinel2").all()
    assert not sample.cloud("sentinel2").any()


def test_footprints_are_the_files_own_to_the_bit(dataset: landweave.Dataset, real: Path) -> None:
    for site in SITES:
        with rasterio.open(real / "multimodal" / "terramesh" / site / "S2L2A.tif") as source:
            sample = dataset.sample(site)
            assert sample.epsg == source.crs.to_epsg()
            assert tuple(sample.transform("sentinel2/bands_10m"))[:6] == tuple(source.transform)[:6]


def test_the_ledger_says_that_all_was_obtained(dataset: landweave.Dataset) -> None:
    reasons = ledger_reasons(dataset)
    assert set(sum(reasons.values(), [])) == {"ok"}
    assert {layer for _, layer in reasons} == {"sentinel2", "sentinel1", "dem", "lulc"}
