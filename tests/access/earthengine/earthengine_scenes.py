"""Small rasters and a catalogue of them for Earth Engine tests: every collection that we read, each with its traps."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

from schemas.place import GeoBox
from testbed.earthengine import EeBand, EeCatalogue, EeImage

UTM33 = "EPSG:32633"
X0, Y0 = 500_040.0, 5_300_040.0
"""Corner of the Sentinel-2 and Landsat rasters."""
S2 = "COPERNICUS/S2_SR_HARMONIZED"
S2_A = f"{S2}/20230601T100031_20230601T100546_T33UWP"
S2_B = f"{S2}/20230606T100029_20230606T100545_T33UWP"
S2_C = f"{S2}/20230611T100031_20230611T100546_T33UWP"
DW = "GOOGLE/DYNAMICWORLD/V1"


def write(path: Path, array: NDArray[Any], transform: Affine, crs: str = UTM33, nodata: float | None = None) -> Path:
    """(band, y, x) as a tiled GeoTIFF."""
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=array.shape[2],
        height=array.shape[1],
        count=array.shape[0],
        dtype=array.dtype,
        crs=crs,
        transform=transform,
        nodata=nodata,
    ) as file:
        file.write(array)
    return path


def lattice(resolution_m: float) -> Affine:
    """Transform of a Sentinel-2-like raster."""
    return Affine(resolution_m, 0, X0, 0, -resolution_m, Y0)


def box(width: int = 64, height: int = 48, resolution_m: float = 10.0, column: int = 30, row: int = 24) -> GeoBox:
    """A grid on the Sentinel-2 lattice."""
    return GeoBox(
        epsg=32633,
        x_min=X0 + column * 10,
        y_max=Y0 - row * 10,
        resolution_m=resolution_m,
        width=width,
        height=height,
    )


def _sentinel2(folder: Path, name: str, seed: int, *, offset: bool, cloud: float) -> EeImage:
    rng = np.random.default_rng(seed)
    extra = 1000 if offset else 0
    ten = rng.integers(500, 6000, (4, 240, 240)).astype(np.uint16)
    twenty = rng.integers(500, 6000, (6, 120, 120)).astype(np.uint16)
    sixty = rng.integers(500, 6000, (2, 40, 40)).astype(np.uint16)
    scl = rng.choice([4, 5, 6, 3, 8, 9, 10], (1, 120, 120), p=[0.4, 0.2, 0.2, 0.05, 0.05, 0.05, 0.05]).astype(np.uint8)
    for array, step in ((ten, 1), (twenty, 2), (sixty, 6)):
        array[:, -60 // step :, -60 // step :] = 0  # fill at the edge of the swath
    files = {
        10: write(folder / f"{seed}-10.tif", ten, lattice(10), nodata=0),
        20: write(folder / f"{seed}-20.tif", twenty, lattice(20), nodata=0),
        60: write(folder / f"{seed}-60.tif", sixty, lattice(60), nodata=0),
        0: write(folder / f"{seed}-scl.tif", scl, lattice(20), nodata=0),
    }
    places = {
        "B1": (60, 1),
        "B2": (10, 1),
        "B3": (10, 2),
        "B4": (10, 3),
        "B5": (20, 1),
        "B6": (20, 2),
        "B7": (20, 3),
        "B8": (10, 4),
        "B8A": (20, 4),
        "B9": (60, 2),
        "B11": (20, 5),
        "B12": (20, 6),
        "SCL": (0, 1),
    }
    bands = {
        band: EeBand(
            paths=(files[which],),
            index=index,
            offset=-extra if which else 0,
            pyramid="mean" if which else "mode",
        )
        for band, (which, index) in places.items()
    }
    start = dt.datetime.strptime(name[len(S2) + 1 :][:15], "%Y%m%dT%H%M%S").replace(tzinfo=dt.UTC)
    return EeImage(
        id=name,
        bands=bands,
        start=start,
        properties={
            "CLOUDY_PIXEL_PERCENTAGE": cloud,
            "PROCESSING_BASELINE": "05.09" if offset else "03.01",
            "DATATAKE_IDENTIFIER": f"GS2A_{name[len(S2) + 1 :][:15]}_041478_N05.09",
            "MGRS_TILE": "33UWP",
            "SPACECRAFT_NAME": "Sentinel-2A",
            "PRODUCT_ID": "S2A_MSIL2A_20230601T100031_N0509_R122_T33UWP_20230601T164000",
        },
    )


def catalogue(folder: Path) -> EeCatalogue:
    """One catalogue with every collection."""
    rng = np.random.default_rng(7)
    found = EeCatalogue(
        [
            _sentinel2(folder, S2_A, 1, offset=False, cloud=5.0),
            _sentinel2(folder, S2_B, 2, offset=True, cloud=20.0),
            _sentinel2(folder, S2_C, 3, offset=True, cloud=80.0),
        ]
    )
    decibels = rng.normal(-12, 4, (2, 240, 240))
    decibels[:, :10] = np.nan
    radar = write(folder / "s1.tif", decibels, lattice(10))
    found.add(
        EeImage(
            id="COPERNICUS/S1_GRD/S1A_IW_GRDH_1SDV_20230603T050000_20230603T050025_048800_05DE00_ABCD",
            bands={"VV": EeBand(paths=(radar,), index=1), "VH": EeBand(paths=(radar,), index=2)},
            start=dt.datetime(2023, 6, 3, 5, tzinfo=dt.UTC),
            properties={"orbitProperties_pass": "DESCENDING", "instrumentMode": "IW", "platform_number": "A"},
        )
    )
    numbers = rng.integers(7000, 20000, (8, 80, 80)).astype(np.uint16)
    numbers[7] = rng.choice([21824, 22280, 21952], (80, 80))
    numbers[:7, 70:], numbers[7, 70:] = 0, 1
    landsat = write(folder / "landsat.tif", numbers, lattice(30))
    bands = {f"SR_B{i}": EeBand(paths=(landsat,), index=i, nodata=0) for i in range(1, 8)}
    for collection, number in (("LANDSAT/LC08/C02/T1_L2", 8), ("LANDSAT/LC09/C02/T1_L2", 9)):
        found.add(
            EeImage(
                id=f"{collection}/LC0{number}_193026_2023060{number}",
                bands={**bands, "QA_PIXEL": EeBand(paths=(landsat,), index=8, nodata=1, pyramid="sample")},
                start=dt.datetime(2023, 6, number, 10, tzinfo=dt.UTC),
                properties={
                    "CLOUD_COVER": 12.5,
                    "SPACECRAFT_ID": f"LANDSAT_{number}",
                    "WRS_PATH": 193,
                    "WRS_ROW": 26,
                    "PROCESSING_LEVEL": "L2SP",
                    "COLLECTION_CATEGORY": "T1",
                },
            )
        )
    _geographic(folder, found, rng)
    return found


def _geographic(folder: Path, found: EeCatalogue, rng: np.random.Generator) -> None:
    """DEM and WorldCover on lattices of degrees; Dynamic World on Sentinel-2's."""
    step = 1 / 3600
    heights = (200 + 50 * np.sin(np.arange(400) / 15)[:, None] + np.arange(400)[None] / 4).astype(np.float32)[None]
    # two tiles that meet inside the area
    west = write(folder / "dem-w.tif", heights[:, :, :180], Affine(step, 0, 15.0, 0, -step, 47.86), "EPSG:4326")
    east = write(
        folder / "dem-e.tif", heights[:, :, 180:], Affine(step, 0, 15.0 + 180 * step, 0, -step, 47.86), "EPSG:4326"
    )
    write(folder / "dem.tif", heights, Affine(step, 0, 15.0, 0, -step, 47.86), "EPSG:4326")
    for name, path in (("N47_E015_w", west), ("N47_E015_e", east)):
        found.add(EeImage(id=f"COPERNICUS/DEM/GLO30/{name}", bands={"DEM": EeBand(paths=(path,))}))
    cover = rng.choice([10, 30, 40, 50, 80], (1, 1200, 1200)).astype(np.uint8)
    cover[:, :20] = 0
    tile = write(folder / "wc.tif", cover, Affine(1 / 12000, 0, 15.0, 0, -1 / 12000, 47.86), "EPSG:4326", nodata=0)
    for version, year in (("v100", 2020), ("v200", 2021)):
        found.add(
            EeImage(
                id=f"ESA/WorldCover/{version}/{year}",
                bands={"Map": EeBand(paths=(tile,), pyramid="mode")},
                start=dt.datetime(year, 1, 1, tzinfo=dt.UTC),
                end=dt.datetime(year + 1, 1, 1, tzinfo=dt.UTC),
            )
        )
    for i, source in enumerate((S2_A, S2_B, S2_C)):
        label = rng.integers(0, 9, (1, 240, 240)).astype(np.uint8)
        label[:, i * 20 : i * 20 + 10] = 255
        share = rng.random((9, 240, 240)).astype(np.float32)
        maps = write(folder / f"dw-{i}.tif", label, lattice(10), nodata=255)
        shares = write(folder / f"dw-{i}-p.tif", share, lattice(10))
        names = [
            "water",
            "trees",
            "grass",
            "flooded_vegetation",
            "crops",
            "shrub_and_scrub",
            "built",
            "bare",
            "snow_and_ice",
        ]
        found.add(
            EeImage(
                id=f"{DW}/{source.rpartition('/')[2]}",
                bands={
                    **{n: EeBand(paths=(shares,), index=k) for k, n in enumerate(names, 1)},
                    "label": EeBand(paths=(maps,), pyramid="mode"),
                },
                start=dt.datetime(2023, 6, 1 + 5 * i, 10, tzinfo=dt.UTC),
            )
        )
