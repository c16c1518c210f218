"""Scenes whose numbers say where they are: value = base + slope x column (or row), in source pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.warp import reproject

import landweave

Json = dict[str, Any]
TIF = "image/tiff; application=geotiff"


@dataclass(frozen=True, kw_only=True)
class Plane:
    """One raster of a scene."""

    path: Path
    epsg: int
    transform: Affine
    shape: tuple[int, int]
    base: float = 100.0
    slope: float = 1.0
    across: bool = True
    """True: along columns; False: along rows."""
    origin: int = 0
    """Column (row) of the gradient's lattice that the raster's first column (row) is: parts of one scene."""

    def values(self, at: NDArray[np.float64]) -> NDArray[np.float64]:
        """Numbers at positions in pixels (0.5 = centre of the first)."""
        return self.base + self.slope * (at + self.origin - 0.5)

    def pixels(self) -> NDArray[np.float64]:
        """(y, x)."""
        rows, columns = np.indices(self.shape) + 0.5
        return self.values(columns if self.across else rows)

    def write(self, dtype: str, nodata: float | None = None, hole: Any = None, bands: int = 1) -> Plane:
        """Write it, tiled and deflated; `hole` is set to nodata."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        pixels = self.pixels() if dtype.startswith("f") else np.round(self.pixels())
        if hole is not None:
            pixels[hole] = nodata
        with rasterio.open(
            self.path, "w", driver="GTiff", width=self.shape[1], height=self.shape[0], count=bands, dtype=dtype,
            crs=f"EPSG:{self.epsg}", transform=self.transform, nodata=nodata, tiled=True, blockxsize=64, blockysize=64,
            compress="deflate",
        ) as dataset:  # fmt: skip
            for band in range(1, bands + 1):
                dataset.write(pixels.astype(dtype), band)
        return self

    def asset(self, href: str) -> Json:
        """What a truthful item says of it."""
        return {
            "href": href, "type": TIF, "roles": ["data"], "proj:code": f"EPSG:{self.epsg}",
            "proj:shape": list(self.shape), "proj:transform": list(self.transform)[:6],
        }  # fmt: skip

    def ring(self) -> list[list[float]]:
        """Outline in degrees."""
        height, width = self.shape
        steps = np.linspace(0.0, 1.0, 9)[:-1]
        edge = [(t, 0.0) for t in steps] + [(1.0, t) for t in steps] + [(1 - t, 1.0) for t in steps]
        edge += [(0.0, 1 - t) for t in steps]
        there = pyproj.Transformer.from_crs(self.epsg, 4326, always_xy=True).transform
        points = [list(there(*(self.transform @ (x * width, y * height)))) for x, y in edge]
        return [*points, points[0]]

    def expected(self, sample: landweave.Sample, array: str) -> NDArray[np.float64]:
        """What is exactly right at the centres of the sample's pixels: (y, x), computed without any warp."""
        grid = Affine(*tuple(sample.transform(array))[:6])
        return self.at(sample.epsg, grid, sample[array].shape[-2:])

    def at(self, epsg: int, grid: Affine, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """The same on any grid."""
        rows, columns = np.indices(shape) + 0.5
        x, y = grid.c + columns * grid.a, grid.f + rows * grid.e
        x, y = pyproj.Transformer.from_crs(epsg, self.epsg, always_xy=True).transform(x, y)
        if self.epsg == 4326:  # as the raster counts its degrees
            middle = self.transform.c + self.transform.a * self.shape[1] / 2
            x = middle + (x - middle + 180.0) % 360.0 - 180.0
        inverse = ~self.transform
        found_columns, found_rows = inverse.a * x + inverse.c, inverse.e * y + inverse.f
        return self.values(found_columns if self.across else found_rows)

    def scales(self, sample: landweave.Sample, grid: Affine) -> dict[str, float]:
        """The resampling factor for GDAL, which would take it from boxes that are too large where grids lie askew."""
        to_source = pyproj.Transformer.from_crs(sample.epsg, self.epsg, always_xy=True).transform
        points = [~self.transform @ to_source(*(grid @ at)) for at in ((8, 8), (9, 8), (8, 9))]
        ratios = [math.hypot(points[1][i] - points[0][i], points[2][i] - points[0][i]) for i in (0, 1)]
        return {name: 1.0 if r < 1.5 else 1.0 / r for name, r in zip(("XSCALE", "YSCALE"), ratios, strict=True)}

    def gdal(self, sample: landweave.Sample, array: str) -> NDArray[np.float64]:
        """GDAL's exact warp of the whole file; NaN where it has nothing."""
        grid, shape = Affine(*tuple(sample.transform(array))[:6]), sample[array].shape[-2:]
        out = np.full(shape, np.nan)
        with rasterio.open(self.path) as dataset:
            source = dataset.read(1).astype(np.float64)
            if dataset.nodata is not None:
                source[source == dataset.nodata] = np.nan
            reproject(
                source, out, src_transform=dataset.transform, src_crs=dataset.crs, dst_transform=grid,
                dst_crs=CRS.from_epsg(sample.epsg), resampling=Resampling.bilinear, tolerance=0.0,
                src_nodata=np.nan, dst_nodata=np.nan, **self.scales(sample, grid),
            )  # fmt: skip
        return out


def around(path: Path, epsg: int, lon: float, lat: float, *, pixel_m: float, size: int, **more: Any) -> Plane:
    """A raster of size x size pixels round a point, off everybody's lattice by some metres."""
    x, y = pyproj.Transformer.from_crs(4326, epsg, always_xy=True).transform(lon, lat)
    left, top = round(x - size * pixel_m / 2) + 3.7, round(y + size * pixel_m / 2) - 2.3
    return Plane(path=path, epsg=epsg, transform=Affine(pixel_m, 0, left, 0, -pixel_m, top), shape=(size, size), **more)


def item(name: str, collection: str, planes: dict[str, Plane], hrefs: dict[str, str], **properties: Any) -> Json:
    """A STAC item of rasters that share an outline."""
    ring = next(iter(planes.values())).ring()
    lons, lats = [p[0] for p in ring], [p[1] for p in ring]
    geometry: Json = {"type": "Polygon", "coordinates": [ring]}
    if max(lons) - min(lons) > 180.0 and max(abs(v) for v in lats) < 85.0:
        geometry = {"type": "MultiPolygon", "coordinates": [[_side(ring, 1)], [_side(ring, -1)]]}
        box = [min(v for v in lons if v > 0), min(lats), max(v for v in lons if v < 0), max(lats)]
    elif max(lons) - min(lons) > 180.0:  # the pole is inside
        low = min(abs(v) for v in lats) - 0.02
        box = [-180.0, low, 180.0, 90.0] if lats[0] > 0 else [-180.0, -90.0, 180.0, -low]
        geometry = {"type": "Polygon", "coordinates": [_box(*box)]}
    else:
        box = [min(lons), min(lats), max(lons), max(lats)]
    return {
        "type": "Feature", "stac_version": "1.1.0", "id": name, "collection": collection, "links": [],
        "geometry": geometry, "bbox": box, "properties": {"datetime": "2022-06-15T10:00:00Z", **properties},
        "assets": {key: plane.asset(hrefs[key]) for key, plane in planes.items()},
    }  # fmt: skip


def _box(west: float, south: float, east: float, north: float) -> list[list[float]]:
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


def _side(ring: list[list[float]], sign: int) -> list[list[float]]:
    """The part of an outline on one side of the 180th meridian, as its box."""
    lons = [p[0] for p in ring if math.copysign(1, p[0]) == sign]
    lats = [p[1] for p in ring]
    west, east = (min(lons), 180.0) if sign > 0 else (-180.0, max(lons))
    return _box(west, min(lats), east, max(lats))
