"""Synthetic scenes for the benchmarks, made once from a seed; they compress like real ones (1.5 to 2 times).

One Sentinel-2 granule in full size (10980 px, 12 bands and SCL) at several positions; parts of a Sentinel-1, a Landsat
and an EnMAP scene; a DEM and a WorldCover tile in EPSG:4326. All are COGs: headers and overviews in front, internal
tiles of 512, deflate, predictor 2 (3 for floats, none for classes).
"""

from __future__ import annotations

import json
import shutil
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.shutil import copy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

VERSION = 3
"""Of what is written: another number makes the files anew."""
SEED = 20_240_711
TILE_PX = 512
EPSG = 32632
LEFT, TOP = 399_960.0, 5_300_040.0
"""Upper left corner of the first granule, metres: on the 60 m lattice of Sentinel-2 tiles."""
EDGE_M = 109_800.0
"""Edge of a granule (Sentinel-2 Products Specification Document, section 4.9.2)."""
STEP_M = 99_960.0
"""From one granule to the next: neighbours overlap by 9,840 m, as the tiles of the Sentinel-2 grid do."""
S2_BANDS: dict[str, int] = {
    "B02": 10, "B03": 10, "B04": 10, "B08": 10, "B05": 20, "B06": 20, "B07": 20, "B8A": 20, "B11": 20, "B12": 20,
    "B01": 60, "B09": 60,
}  # fmt: skip
"""Band -> pixel, metres."""
SKIES = 6
"""Scene classifications with clouds at different places: one per date."""
BANDS = (*S2_BANDS, *(f"SCL-{i}" for i in range(SKIES)))
"""Files of a granule."""
TILES: dict[str, tuple[int, int]] = {"32TLA": (0, 0), "32TMA": (1, 0), "32TLB": (0, 1), "32TMB": (1, 1)}
"""Granule -> (column, row) of its position, in steps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Product:
    """A raster of another sensor."""

    name: str
    bands: int
    width: int
    height: int
    crs: str
    transform: Affine
    dtype: str
    nodata: float | None
    noise: float
    """Standard deviation of the sensor's noise, in the units of the pixels."""
    relief: float
    """Amplitude of what is seen, in the same units."""
    level: float
    """Mean, in the same units."""


_METRES = Affine(10, 0, LEFT, 0, -10, TOP)
PRODUCTS = (
    Product(
        name="sentinel1", bands=1, width=5_490, height=5_490, crs=f"EPSG:{EPSG}", transform=_METRES,
        dtype="float32", nodata=float("nan"), noise=0.02, relief=0.04, level=0.12,
    ),
    Product(
        name="landsat", bands=1, width=3_660, height=3_660, crs=f"EPSG:{EPSG}",
        transform=Affine(30, 0, LEFT - 15, 0, -30, TOP + 15), dtype="uint16", nodata=0,
        noise=120.0, relief=2_500.0, level=11_000.0,
    ),
    Product(
        name="enmap", bands=224, width=1_024, height=1_024, crs=f"EPSG:{EPSG}",
        transform=Affine(30, 0, LEFT + 30_000, 0, -30, TOP - 30_000), dtype="int16", nodata=-32_768,
        noise=20.0, relief=900.0, level=2_000.0,
    ),
    Product(
        name="dem", bands=1, width=3_600, height=3_600, crs="EPSG:4326",
        transform=Affine(1 / 3600, 0, 8.0, 0, -1 / 3600, 48.0), dtype="float32", nodata=None,
        noise=0.05, relief=300.0, level=700.0,
    ),
    Product(
        name="worldcover", bands=1, width=12_000, height=12_000, crs="EPSG:4326",
        transform=Affine(1 / 12_000, 0, 8.0, 0, -1 / 12_000, 48.0), dtype="uint8", nodata=0,
        noise=0.25, relief=3.0, level=5.0,
    ),
)  # fmt: skip


def origin(tile: str) -> tuple[float, float]:
    """(x of the western edge, y of the northern edge) of a granule, metres."""
    column, row = TILES[tile]
    return LEFT + column * STEP_M, TOP - row * STEP_M


def make_scenes(folder: Path, tiles: Sequence[str]) -> Path:
    """Write what is not there yet: `folder`/s2/TILE/BAND.tif and `folder`/PRODUCT/BAND.tif.

    Returns:
        the folder of this version, about 0.95 GB and as much again for each further tile.
    """
    home = folder / f"scenes-{VERSION}"
    first = next(iter(TILES))
    with ThreadPoolExecutor(2) as pool:
        work = [pool.submit(_band, home / "s2" / first / f"{band}.tif", band) for band in BANDS]
        work += [pool.submit(_product, home / product.name / "data.tif", product) for product in PRODUCTS]
        for job in work:
            job.result()
    for tile in tiles:
        for band in BANDS if tile != first else ():
            _moved(home / "s2" / first / f"{band}.tif", home / "s2" / tile / f"{band}.tif", tile)
    return home


def _band(path: Path, band: str) -> None:
    if path.exists():
        return
    resolution = 20 if band.startswith("SCL") else S2_BANDS[band]
    size = round(EDGE_M / resolution)
    rng = np.random.default_rng([SEED, BANDS.index(band)])
    transform = Affine(resolution, 0, LEFT, 0, -resolution, TOP)
    profile = {"width": size, "height": size, "crs": f"EPSG:{EPSG}", "transform": transform, "nodata": 0}
    if band.startswith("SCL"):
        write_cog(path, _classes(rng, size), profile | {"dtype": "uint8", "count": 1}, predictor=1)
        return
    mean = 1_300.0 + 300.0 * (BANDS.index(band) % 5)
    parts = (
        np.clip(mean + 700.0 * field + noise * (12.0 + 0.02 * np.abs(mean + 700.0 * field)), 1, 20_000)
        for field, noise in strips(rng, size, size)
    )
    write_cog(path, parts, profile | {"dtype": "uint16", "count": 1}, predictor=2)


def _classes(rng: np.random.Generator, size: int) -> Iterator[NDArray[np.uint8]]:
    """SCL: plants and soil, and clouds of some kilometres over about a tenth of the ground."""
    classes = np.array([4, 5, 4, 5, 4, 4, 6, 4, 4, 9], "uint8")
    for field, _ in strips(rng, size, size):
        yield classes[np.clip((field + 2.0) * 2.5, 0, 9).astype(int)]


def _product(path: Path, product: Product) -> None:
    if path.exists():
        return
    rng = np.random.default_rng([SEED, 100 + [p.name for p in PRODUCTS].index(product.name)])
    dtype = np.dtype(product.dtype)

    def parts() -> Iterator[NDArray[Any]]:
        for _ in range(product.bands):
            scale = rng.uniform(0.7, 1.3)
            for field, noise in strips(rng, product.height, product.width):
                pixels = product.level + product.relief * scale * field + product.noise * noise
                yield 10 * np.clip(np.round(pixels), 1, 9) if product.name == "worldcover" else np.maximum(pixels, 1e-3)

    profile = {
        "width": product.width, "height": product.height, "crs": product.crs, "transform": product.transform,
        "nodata": product.nodata, "dtype": product.dtype, "count": product.bands,
    }  # fmt: skip
    predictor = 1 if product.name == "worldcover" else 3 if dtype.kind == "f" else 2
    write_cog(path, parts(), profile, predictor=predictor)


def strips(
    rng: np.random.Generator, height: int, width: int
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Strips of TILE_PX rows of (what is on the ground, a sensor's noise), both of unit variance or so.

    The ground: fields, coasts and hills as octaves of noise whose amplitude falls with their size.
    """
    octaves = [
        (step, rng.standard_normal((height // step + 2, width // step + 2), dtype=np.float32))
        for step in (1024, 256, 64, 16)
    ]
    pool = rng.standard_normal(1 << 22, dtype=np.float32)
    for top in range(0, height, TILE_PX):
        rows = min(TILE_PX, height - top)
        field = np.zeros((rows, width), np.float32)
        for step, coarse in octaves:
            y, a = _between(np.arange(top, top + rows), step)
            x, b = _between(np.arange(width), step)
            lines = coarse[y] * (1 - a)[:, None] + coarse[y + 1] * a[:, None]
            field += (lines[:, x] * (1 - b) + lines[:, x + 1] * b) * np.float32((step / 1024) ** 0.35 * 0.8)
        starts = rng.integers(0, len(pool) - width, rows)
        yield field, np.stack([pool[s : s + width] for s in starts])


def _between(at: NDArray[np.int64], step: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(grid point before, share of the way to the next)."""
    return at // step, (at % step / step).astype(np.float32)


def write_cog(
    path: Path, parts: Iterable[NDArray[Any]], profile: dict[str, Any], *, predictor: int, tile_px: int = TILE_PX
) -> None:
    """Strips of TILE_PX rows, band after band, as a COG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tile = {"tiled": True, "blockxsize": tile_px, "blockysize": tile_px, "interleave": "band"}
    longest, count = max(profile["width"], profile["height"]), profile["count"]
    aside = path.with_suffix(".part")
    with rasterio.Env(GDAL_CACHEMAX=256, GDAL_TIFF_OVR_BLOCKSIZE=str(tile_px)), MemoryFile() as memory:
        with memory.open(driver="GTiff", **profile, **tile) as file:
            at = 0
            for strip in parts:
                band, row = divmod(at, profile["height"])
                window = rasterio.windows.Window(0, row, profile["width"], len(strip))
                file.write(strip.astype(profile["dtype"]), band + 1, window=window)
                at += len(strip)
            if count == 1:
                file.build_overviews([f for f in (2, 4, 8, 16, 32) if longest / f > tile_px / 2], Resampling.nearest)
        with memory.open() as file:
            if count == 1:
                named = {1: "NO", 2: "STANDARD", 3: "FLOATING_POINT"}[predictor]
                copy(file, aside, driver="COG", compress="deflate", level=6, blocksize=tile_px, predictor=named)
            else:  # GDAL's COG driver before 3.11 cannot keep bands apart
                copy(file, aside, driver="GTiff", compress="deflate", zlevel=6, predictor=predictor, **tile)
    aside.rename(path)


def _moved(source: Path, target: Path, tile: str) -> None:
    """The same pixels at another place: a copy with another tie point."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_suffix(".part")
    shutil.copyfile(source, aside)
    old, new = struct.pack("<dd", LEFT, TOP), struct.pack("<dd", *origin(tile))
    with aside.open("r+b") as file:
        head = file.read(1 << 16)
        if head.count(old) != 1:
            raise ValueError(f"{source.name}: expected one tie point in the header, found {head.count(old)}")
        file.seek(head.index(old))
        file.write(new)
    aside.rename(target)


def compression(home: Path) -> dict[str, float]:
    """Decoded bytes to stored bytes of full resolution and overviews together (a third more pixels), by product."""
    found = {}
    for path in sorted(home.glob("s2/*/B02.tif")) + [home / p.name / "data.tif" for p in PRODUCTS]:
        with rasterio.open(path) as dataset:
            pixels = dataset.width * dataset.height * dataset.count * np.dtype(dataset.dtypes[0]).itemsize
            share = 4 / 3 if dataset.count == 1 else 1.0
        found[str(path.parent.relative_to(home))] = round(pixels * share / path.stat().st_size, 2)
    return found


def describe(home: Path) -> str:
    """For people: what compresses how."""
    return json.dumps(compression(home))
