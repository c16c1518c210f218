"""Encodes computed pixels in the file formats that clients request."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from rasterio.io import MemoryFile

from testbed.earthengine.errors import bad
from testbed.earthengine.grids import crs_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from testbed.earthengine.grids import Grid
    from testbed.earthengine.images import Image, Plane, Values

MAX_BYTES = 50_331_648
"""48 MB: dimensions x bands x (bytes of the band's type + 1 for the mask), as google/Xee#209 found."""
MAX_SIDE_PX = 32_768
MAX_BANDS = 1_024


def check_limits(image: Image, width: int, height: int) -> None:
    """Refuse what is too large, in the service's words.

    Raises:
        EeError: 400. Limits: the reference of projects.image.computePixels. Words: google/Xee#50, google/Xee#85,
            leftfield-geospatial/geedim#10.
    """
    if width < 1 or height < 1:
        raise bad(f"Pixel grid dimensions ({width}x{height}) must be greater than zero.")
    if max(width, height) > MAX_SIDE_PX:
        raise bad(f"Pixel grid dimensions ({width}x{height}) must be less than or equal to {MAX_SIDE_PX}.")
    if len(image.bands) > MAX_BANDS:
        raise bad(f"Number of bands ({len(image.bands)}) must be less than or equal to {MAX_BANDS}.")
    if not image.bands:
        raise bad("Image.getPixels: Must have at least one band.")
    size = width * height * sum(b.dtype.itemsize + 1 for b in image.bands)
    if size > MAX_BYTES:
        raise bad(f"Total request size ({size} bytes) must be less than or equal to {MAX_BYTES} bytes.")


def encoded(image: Image, planes: Sequence[Plane], grid: Grid, file_format: str) -> tuple[bytes, str]:
    """(bytes, content type). Masked pixels are zeros."""
    clean = [np.where(mask > 0, values, 0).astype(values.dtype) for values, mask in planes]
    if file_format == "NPY":
        return _npy(image, clean), "application/octet-stream"
    if file_format == "GEO_TIFF":
        return _geotiff(image, clean, grid), "image/tiff"
    raise bad(f"The testbed's Earth Engine writes NPY and GEO_TIFF, not '{file_format}'.")


def _npy(image: Image, planes: list[Values]) -> bytes:
    """A structured array (y, x), one little-endian field per band."""
    kind = np.dtype([(b.name, p.dtype.newbyteorder("<")) for b, p in zip(image.bands, planes, strict=True)])
    table = np.zeros(planes[0].shape, kind)
    for band, plane in zip(image.bands, planes, strict=True):
        table[band.name] = plane
    buffer = io.BytesIO()
    np.save(buffer, table, allow_pickle=False)
    return buffer.getvalue()


def _geotiff(image: Image, planes: list[Values], grid: Grid) -> bytes:
    dtype = np.result_type(*[p.dtype for p in planes])
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            width=grid.width,
            height=grid.height,
            count=len(planes),
            dtype=dtype,
            crs=crs_of(grid.projection.crs).to_wkt(),
            transform=grid.projection.transform,
        ) as file:
            for i, (band, plane) in enumerate(zip(image.bands, planes, strict=True), 1):
                file.write(plane.astype(dtype), i)
                file.set_band_description(i, band.name)
        return bytes(memory.read())
