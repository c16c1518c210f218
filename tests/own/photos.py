"""Images of every kind that a stranger's folder may hold, and the chip that is cut from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
import rasterio
from affine import Affine

from schemas.place import GeoBox, Place

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

EPSG, LEFT, TOP = 32631, 448_020.0, 5_412_000.0
"""Near Paris: the upper left corner of the chip."""
LOCAL = "+proj=laea +lat_0=48.8 +lon_0=2.2 +x_0=1000 +y_0=2000 +ellps=GRS80 +units=us-ft"
"""A system without an EPSG code, in feet."""
KINDS: dict[str, dict[str, Any]] = {
    "jpeg-cog": {
        "driver": "COG", "compress": "JPEG", "blocksize": 256, "crs": "EPSG:2154", "dtype": "uint8", "count": 3,
    },
    "strips": {"driver": "GTiff", "tiled": False, "crs": "EPSG:27572", "dtype": "uint16", "count": 1, "pixel": 1.5},
    "rgba": {
        "driver": "GTiff", "tiled": True, "blockxsize": 128, "blockysize": 128, "photometric": "RGB", "alpha": "YES",
        "crs": "EPSG:25831", "dtype": "uint8", "count": 4, "interleave": "pixel", "compress": "deflate",
    },
    "float": {
        "driver": "GTiff", "tiled": True, "blockxsize": 128, "blockysize": 128, "crs": LOCAL, "dtype": "float32",
        "count": 2, "nodata": -9999.0, "interleave": "band", "compress": "lzw", "pixel": 3.0,
    },
    "degrees": {"driver": "GTiff", "crs": "EPSG:4171", "dtype": "int16", "count": 1, "nodata": 0, "pixel": 2e-5},
}  # fmt: skip
"""Kind -> how GDAL is to write it; `pixel` in the units of the CRS, 1 if absent."""


def place(size_m: float = 120.0) -> Place:
    lon, lat = pyproj.Transformer.from_crs(EPSG, 4326, always_xy=True).transform(LEFT + size_m / 2, TOP - size_m / 2)
    geobox = GeoBox(epsg=EPSG, x_min=LEFT, y_max=TOP, resolution_m=1.0, width=int(size_m), height=int(size_m))
    return Place(sample_id="s0", lon=lon, lat=lat, geobox=geobox, split="train", block="b", cell="c")


def write(path: Path, kind: str = "jpeg-cog", *, date: str | None = "2021:06:05 10:30:00", **how: Any) -> Path:
    """One image that covers the chip and what is around it."""
    made = {**KINDS[kind], **how}
    crs, pixel, count = made.pop("crs"), made.pop("pixel", 1.0), made["count"]
    x, y = pyproj.Transformer.from_crs(EPSG, crs, always_xy=True).transform(LEFT - 60.0, TOP + 60.0)
    edge = round(240.0 / (pixel * (0.3048006 if crs == LOCAL else 75_000.0 if crs == "EPSG:4171" else 1.0)) * 1.3)
    pixels = _pixels((count, edge, edge), made["dtype"])
    if made.get("nodata") is not None:
        pixels[:, : edge // 2, : edge // 3] = made["nodata"]
    if made.pop("alpha", None):
        pixels[3] = np.where(np.indices((edge, edge))[1] > edge // 3, 255, 0)
        made["alpha"] = "YES"
    path.parent.mkdir(parents=True, exist_ok=True)
    shift = pixel * edge * 0.1
    transform = Affine(pixel, 0.0, x - shift, 0.0, -pixel, y + shift)
    with rasterio.open(path, "w", crs=crs, transform=transform, width=edge, height=edge, **made) as file:
        file.write(pixels)
        if date is not None:
            file.update_tags(TIFFTAG_DATETIME=date)
    return path


def _pixels(shape: tuple[int, int, int], dtype: str) -> NDArray[Any]:
    """Smooth, so that JPEG and kernels keep it, with values over the range of a byte."""
    band, y, x = np.indices(shape)
    field = 128.0 + 60.0 * np.sin(x / 9.0 + band) + 50.0 * np.cos(y / 13.0)
    return (field * (40.0 if dtype in ("uint16", "int16") else 1.0)).astype(dtype)
