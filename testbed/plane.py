"""The plane of the miniature Earth, and the grid of every product on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from scipy.ndimage import map_coordinates

from schemas.place import BBox

LON_DEG, LAT_DEG = 12.0, 48.5
"""Origin of the plane: on the meridian that parts UTM zones 32 and 33, inland in Europe."""
PLANE_CRS = CRS.from_proj4(f"+proj=tmerc +lat_0={LAT_DEG} +lon_0={LON_DEG} +k=1 +x_0=0 +y_0=0 +datum=WGS84 +units=m")
"""Transverse Mercator around the origin: metres east (x) and north (y)."""
FINE_M = 5.0
"""Edge of the truth's own pixels, metres."""
DOMAIN_M = (20_000.0, 12_000.0)
"""The world is made within +-x, +-y metres of the origin, whatever part of it is written."""
_STRIDE = 32
"""Coordinates are transformed exactly at every 32nd pixel and interpolated between: off by less than 1 cm here."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A north-up raster grid in any CRS."""

    crs: str
    """'EPSG:32632', 'EPSG:32633' or 'EPSG:4326'."""
    x_min: float
    """Western edge (pixel corner), CRS units."""
    y_max: float
    """Northern edge (pixel corner), CRS units."""
    step: float
    """Pixel edge, CRS units."""
    width: int
    """Columns."""
    height: int
    """Rows."""

    @property
    def epsg(self) -> int:
        """EPSG code."""
        return int(self.crs.removeprefix("EPSG:"))

    @property
    def transform(self) -> Affine:
        """Pixel corner to CRS."""
        return Affine(self.step, 0.0, self.x_min, 0.0, -self.step, self.y_max)

    @property
    def bounds(self) -> BBox:
        """Outer edges (x_min, y_min, x_max, y_max), CRS units."""
        return BBox(self.x_min, self.y_max - self.height * self.step, self.x_min + self.width * self.step, self.y_max)

    def coarser(self, factor: int) -> Grid:
        """The same ground with pixels `factor` times as long."""
        if self.width % factor or self.height % factor:
            raise ValueError(f"{self.width} x {self.height} pixels are no multiple of {factor}")
        return Grid(
            crs=self.crs,
            x_min=self.x_min,
            y_max=self.y_max,
            step=self.step * factor,
            width=self.width // factor,
            height=self.height // factor,
        )

    def footprint(self) -> list[list[float]]:
        """Closed counter-clockwise ring of the corners, longitude and latitude rounded to 1e-6 degrees."""
        x0, y0, x1, y1 = self.bounds
        lon, lat = Transformer.from_crs(self.crs, "EPSG:4326", always_xy=True).transform(
            [x0, x1, x1, x0], [y0, y0, y1, y1]
        )
        ring = [[round(a, 6), round(b, 6)] for a, b in zip(lon, lat, strict=True)]
        return [*ring, ring[0]]

    @cached_property
    def plane_xy(self) -> tuple[Floats, Floats]:
        """Plane coordinates (x, y) of every pixel centre, metres, each (y, x)."""
        cols = np.arange(0, self.width + _STRIDE, _STRIDE)
        rows = np.arange(0, self.height + _STRIDE, _STRIDE)
        col, row = np.meshgrid(cols + 0.5, rows + 0.5)
        to_plane = Transformer.from_crs(self.crs, PLANE_CRS, always_xy=True)
        exact = to_plane.transform(self.x_min + col * self.step, self.y_max - row * self.step)
        at = np.arange(self.width) / _STRIDE, np.arange(self.height) / _STRIDE
        return stretch(exact[0], *at), stretch(exact[1], *at)


def stretch(coarse: NDArray[np.float64], cols: NDArray[np.float64], rows: NDArray[np.float64]) -> Floats:
    """Bilinear interpolation of (y, x) values at fractional columns and rows, as an outer product."""
    j, i = cols.astype(int), rows.astype(int)
    fj, fi = cols - j, (rows - i)[:, None]
    across = coarse[:, j] * (1 - fj) + coarse[:, j + 1] * fj
    return np.asarray(across[i] * (1 - fi) + across[i + 1] * fi, dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class Patch:
    """A part of the plane with square pixels, row 0 in the north."""

    x_min: float
    """Western edge, metres."""
    y_max: float
    """Northern edge, metres."""
    step_m: float
    """Pixel edge, metres."""
    width: int
    height: int

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return (self.height, self.width)

    @property
    def transform(self) -> Affine:
        """Pixel corner to plane."""
        return Affine(self.step_m, 0.0, self.x_min, 0.0, -self.step_m, self.y_max)

    @property
    def bounds(self) -> BBox:
        """Outer edges (x_min, y_min, x_max, y_max), metres."""
        return BBox(
            self.x_min,
            self.y_max - self.height * self.step_m,
            self.x_min + self.width * self.step_m,
            self.y_max,
        )

    def coarser(self, factor: int) -> Patch:
        """The same ground with pixels `factor` times as long; the far edges grow to whole pixels."""
        width, height = -(-self.width // factor), -(-self.height // factor)
        return Patch(x_min=self.x_min, y_max=self.y_max, step_m=self.step_m * factor, width=width, height=height)

    def centres(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """x of the columns and y of the rows, pixel centres, metres."""
        half = self.step_m / 2
        return (
            self.x_min + half + self.step_m * np.arange(self.width, dtype=np.float64),
            self.y_max - half - self.step_m * np.arange(self.height, dtype=np.float64),
        )

    def contains(self, x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.bool_]:
        """True where a point lies in the patch."""
        x0, y0, x1, y1 = self.bounds
        return np.asarray((x >= x0) & (x < x1) & (y > y0) & (y <= y1))

    def nearest(self, values: NDArray[Any], x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
        """The pixel that holds each point; the edge pixel for points outside."""
        col = np.clip(((x - self.x_min) / self.step_m).astype(np.int32), 0, self.width - 1)
        row = np.clip(((self.y_max - y) / self.step_m).astype(np.int32), 0, self.height - 1)
        return values[row, col]

    def bilinear(self, values: NDArray[Any], x: NDArray[Any], y: NDArray[Any]) -> Floats:
        """Bilinear between pixel centres; the edge goes on outside."""
        at = (self.y_max - y) / self.step_m - 0.5, (x - self.x_min) / self.step_m - 0.5
        return np.asarray(map_coordinates(values, at, order=1, mode="nearest", output=np.float32))


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the products lie for a tile of `size_px` 10 m pixels."""

    size_px: int = 1368
    """Edge of a Sentinel-2-like tile in 10 m pixels; a multiple of 12, so that 10, 20, 30 and 60 m pixels nest."""

    def __post_init__(self) -> None:
        """Refuse sizes that do not nest or leave the world."""
        if self.size_px % 12 or not 96 <= self.size_px <= 1368:
            raise ValueError(f"size_px must be a multiple of 12 from 96 to 1368, got {self.size_px}")

    @property
    def edge_m(self) -> float:
        """Edge of a tile, metres."""
        return self.size_px * 10.0

    @cache  # noqa: B019 - a handful of layouts live as long as the process
    def tile(self, zone: int) -> Grid:
        """The 10 m grid of zone 32's or 33's tile: corners on multiples of 60 m, 0.6 km and more beyond 12 E."""
        crs = f"EPSG:326{zone}"
        x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(LON_DEG, LAT_DEG)
        over_m = 600.0 + 0.02 * self.edge_m
        west = x + over_m - self.edge_m if zone == 32 else x - over_m
        snap = 60.0
        x_min, y_max = round(west / snap) * snap, round((y + self.edge_m / 2) / snap) * snap
        return Grid(crs=crs, x_min=x_min, y_max=y_max, step=10.0, width=self.size_px, height=self.size_px)

    @cache  # noqa: B019 - as above
    def _corners(self, crs: Any) -> tuple[float, float, float, float]:
        boxes = []
        for zone in (32, 33):
            tile = self.tile(zone)
            boxes.append(
                Transformer.from_crs(tile.crs, crs, always_xy=True).transform_bounds(*tile.bounds, densify_pts=41)
            )
        west, south, east, north = (np.array(boxes)[:, i] for i in range(4))
        return float(west.min()), float(south.min()), float(east.max()), float(north.max())

    @cache  # noqa: B019 - as above
    def patch(self) -> Patch:
        """The part of the plane that is written: all tiles and a margin, 5 m pixels."""
        west, south, east, north = self._corners(PLANE_CRS)
        margin_m = 0.05 * self.edge_m + 300.0
        snap = 120.0
        x0, y1 = np.floor((west - margin_m) / snap) * snap, np.ceil((north + margin_m) / snap) * snap
        width, height = np.ceil((east + margin_m - x0) / snap) * snap, np.ceil((y1 - south + margin_m) / snap) * snap
        return Patch(
            x_min=float(x0), y_max=float(y1), step_m=FINE_M, width=int(width / FINE_M), height=int(height / FINE_M)
        )

    def around(self, crs: str, step: float, snap: float, shift: float, margin: float) -> Grid:
        """A grid that holds both tiles.

        Args:
            crs: its CRS.
            step: pixel edge, CRS units.
            snap: corners are whole multiples of this, plus `shift`, CRS units.
            shift: see snap.
            margin: least distance from the tiles to the edge, CRS units.
        """
        west, south, east, north = self._corners(crs)
        x0 = float(np.floor((west - margin - shift) / snap)) * snap + shift
        y1 = float(np.ceil((north + margin - shift) / snap)) * snap + shift
        width, height = (int(np.ceil(d / step)) for d in (east + margin - x0, y1 - south + margin))
        return Grid(crs=crs, x_min=x0, y_max=y1, step=step, width=width, height=height)
