"""Writes arrays as Cloud-Optimised GeoTIFFs: planar bands, with overviews and headers first.

GDAL before 3.11 cannot keep bands apart in its COG driver, and 224 interleaved bands are slow to write and to read; so
the GTiff driver copies a tiled file with its overviews, the layout that validate_cloud_optimized_geotiff asks for.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.shutil import copy

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from testbed.plane import Grid


def write_cog(
    path: Path,
    pixels: NDArray[Any],
    grid: Grid,
    *,
    nodata: float | None = None,
    classes: bool = False,
    point: bool = False,
    tags: dict[str, str] | None = None,
    predictor: int | None = None,
) -> None:
    """Write (y, x) or (band, y, x) pixels: internal tiles of 256, overviews, deflate with a predictor.

    Args:
        path: file to write; folders are made.
        pixels: the array; its dtype is the file's.
        grid: where it lies.
        nodata: fill value declared, or None.
        classes: True = overviews by nearest, no predictor; else by average, predictor 2 (whole numbers) or 3 (floats).
        point: True = AREA_OR_POINT=Point, as Landsat and Copernicus DEM files have it.
        tags: metadata of the file.
        predictor: TIFF predictor if not the one above.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    stack = pixels if pixels.ndim == 3 else pixels[None]
    if stack.shape[1:] != (grid.height, grid.width):
        raise ValueError(f"{path.name}: pixels are {stack.shape[1:]}, the grid is {(grid.height, grid.width)}")
    chosen = 1 if classes else 3 if np.issubdtype(stack.dtype, np.floating) else 2
    shape = {"width": grid.width, "height": grid.height, "count": stack.shape[0], "dtype": stack.dtype.name}
    place = {"crs": grid.crs, "transform": grid.transform, "nodata": nodata}
    tile = {"tiled": True, "blockxsize": 256, "blockysize": 256, "interleave": "band"}
    # noise does not shrink with effort: level 2 is four times as fast and 2 % larger, where 6 saves 15 % of flat pixels
    packed = {
        "compress": "deflate",
        "zlevel": 6 if classes or stack.shape[0] > 8 else 2,
        "predictor": predictor or chosen,
        "copy_src_overviews": True,
        "bigtiff": "NO",
    }
    factors = overview_factors(max(grid.width, grid.height)) if stack.shape[0] < 8 else [8]
    with rasterio.Env(GDAL_NUM_THREADS="1", GDAL_CACHEMAX=512, GDAL_TIFF_OVR_BLOCKSIZE="256"), MemoryFile() as memory:
        with memory.open(driver="GTiff", **shape, **place, **tile) as file:
            file.write(stack)
            file.update_tags(**(tags or {}), **({"AREA_OR_POINT": "Point"} if point else {}))
            if max(grid.width, grid.height) > 256:
                file.build_overviews(factors, Resampling.nearest if classes else Resampling.average)
        with memory.open() as file:
            copy(file, path, driver="GTiff", **tile, **packed)
    side = path.with_name(path.name + ".aux.xml")
    if side.exists():
        os.unlink(side)  # noqa: PTH108 - statistics that GDAL leaves beside the file are no part of it


def overview_factors(longest_px: int) -> list[int]:
    """4, 8, ... until an overview is at most 512 pixels long; 2 is left out, it would be a fifth of the file."""
    factors = [4]
    while longest_px / factors[-1] > 512:
        factors.append(factors[-1] * 2)
    return factors


def write_jpeg2000(source: Path, folder: Path, *, listed: bool) -> None:
    """Write every .tif of a folder as lossless JPEG 2000 with tiles of 256: Sentinel-2 has 1,024 in larger granules.

    Args:
        source: folder of the granule.
        folder: the granule's folder is made here.
        listed: True = with TLM and PLT markers, as newer products have them; False = without.
    """
    for path in sorted(source.glob("*.tif")):
        target = folder / source.name / f"{path.stem}.jp2"
        target.parent.mkdir(parents=True, exist_ok=True)
        with rasterio.open(path) as file, rasterio.Env(GDAL_NUM_THREADS="1"):
            options = {"quality": 100, "reversible": "yes", "blockxsize": 256, "blockysize": 256}
            options |= {"TLM": "YES", "PLT": "YES"} if listed else {}
            shape = {"width": file.width, "height": file.height, "count": 1, "dtype": file.dtypes[0]}
            place = {"crs": file.crs, "transform": file.transform}
            with MemoryFile() as memory:
                with memory.open(driver="GTiff", **shape, **place) as plain:
                    plain.write(file.read())
                with memory.open() as plain:
                    copy(plain, target, driver="JP2OpenJPEG", **options)
        side = target.with_name(target.name + ".aux.xml")
        side.unlink(missing_ok=True)
