"""Images as the service sees them: bands with types, masks and projections, computed on any requested grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from testbed.earthengine.grids import WORLD, Grid, Projection, covering
from testbed.earthengine.pyramids import coarser, level_of

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    from testbed.earthengine.catalogue import EeBand, EeImage

Values = NDArray[Any]
Mask = NDArray[np.float32]
"""0 = masked, 1 = wholly valid, between where interpolation met masked neighbours."""
Plane = tuple[Values, Mask]
"""One band on a grid: values (y, x) and mask (y, x)."""
Compute = Callable[[Grid], list[Plane]]


@dataclass(frozen=True, slots=True)
class Band:
    """What is known of a band before it is computed."""

    name: str
    dtype: np.dtype[Any]
    projection: Projection = WORLD
    policy: str = "mean"


@dataclass(frozen=True)
class Image:
    """An image that is computed when its grid is known."""

    bands: tuple[Band, ...]
    compute: Compute
    """Planes in the order of `bands`, each of its band's dtype."""
    properties: dict[str, Any] = field(default_factory=dict)
    footprint: BaseGeometry | None = None
    """Longitude and latitude; None = everywhere."""
    asset_id: str | None = None

    by_band: tuple[Compute, Callable[[list[int]], Compute]] | None = None
    """An asset's `compute`, and what computes some of its bands alone. Void once `compute` is another one."""

    @property
    def names(self) -> list[str]:
        """Band names."""
        return [b.name for b in self.bands]

    def pick(self, indices: list[int]) -> Image:
        """Some bands, in that order."""
        bands = tuple(self.bands[i] for i in indices)
        if self.by_band is not None and self.by_band[0] is self.compute:
            return replace(self, bands=bands, compute=self.by_band[1](indices), by_band=None)

        def compute(grid: Grid) -> list[Plane]:
            planes = self.compute(grid)
            return [planes[i] for i in indices]

        return replace(self, bands=bands, compute=compute)


def masked(grid: Grid, dtype: np.dtype[Any]) -> Plane:
    """Nothing anywhere."""
    size = (grid.height, grid.width)
    return np.zeros(size, dtype), np.zeros(size, np.float32)


def constant(values: list[float], names: list[str] | None = None) -> Image:
    """The same numbers everywhere."""
    dtypes = [np.dtype("int32" if float(v).is_integer() and abs(v) < 2**31 else "float64") for v in values]
    names = names or (["constant"] if len(values) == 1 else [f"constant_{i}" for i in range(len(values))])

    def compute(grid: Grid) -> list[Plane]:
        size = (grid.height, grid.width)
        return [(np.full(size, v, d), np.ones(size, np.float32)) for v, d in zip(values, dtypes, strict=True)]

    return Image(tuple(Band(n, d) for n, d in zip(names, dtypes, strict=True)), compute)


def of_asset(asset: EeImage, meter: Callable[[int], None]) -> Image:
    """An image asset; `meter` is told how many pixels each reading took from its rasters."""
    bands = tuple(_describe(name, band) for name, band in asset.bands.items())
    sources = list(asset.bands.values())

    def some(indices: list[int]) -> Compute:
        return lambda grid: [_read(sources[i], bands[i], grid, meter) for i in indices]

    whole = some(list(range(len(bands))))
    return Image(bands, whole, asset.all_properties(), asset.footprint, asset.id, by_band=(whole, some))


def _describe(name: str, band: EeBand) -> Band:
    with rasterio.open(band.paths[0]) as raster:
        dtype = np.dtype(band.dtype or raster.dtypes[band.index - 1])
        return Band(name, dtype, Projection(raster.crs.to_string(), raster.transform), band.pyramid)


def _read(source: EeBand, band: Band, grid: Grid, meter: Callable[[int], None]) -> Plane:
    """Nearest neighbour from the level of the pyramid that the grid's scale asks for."""
    values, mask = masked(grid, band.dtype)
    for path in source.paths:
        with rasterio.open(path) as raster:
            projection = Projection(raster.crs.to_string(), raster.transform)
            columns, rows = grid.positions(projection)
            inside = (columns >= 0) & (columns < raster.width) & (rows >= 0) & (rows < raster.height)
            inside &= mask == 0
            if not inside.any():
                continue
            level = level_of(columns, rows)
            step = 1 << level
            left, top = (int(v[inside].min() // step) * step for v in (columns, rows))
            right, bottom = (int(v[inside].max() // step + 1) * step for v in (columns, rows))
            right, bottom = min(right, raster.width), min(bottom, raster.height)
            raw = raster.read(source.index, window=Window(left, top, right - left, bottom - top))
            meter(raw.size)
            nodata = source.nodata if source.nodata is not None else raster.nodatavals[source.index - 1]
            good = np.ones(raw.shape, bool) if nodata is None else raw != nodata
            if raw.dtype.kind == "f":
                good &= ~np.isnan(raw)
            raw, good = coarser(raw, good, level, band.policy)
            at = ((rows[inside] - top) // step).astype(int), ((columns[inside] - left) // step).astype(int)
            values[inside] = _stored(raw[at], source, band.dtype)
            mask[inside] = good[at]
    values[mask == 0] = 0
    return values, mask


def _stored(raw: Values, source: EeBand, dtype: np.dtype[Any]) -> Values:
    if source.derive is None and source.scale == 1.0 and source.offset == 0.0 and raw.dtype == dtype:
        return raw
    number = raw.astype(np.float64)
    number = number if source.derive is None else source.derive(number)
    value = np.nan_to_num(number * source.scale + source.offset)
    return cast(np.round(value) if dtype.kind in "iu" else value, dtype)


def cast(values: Values, dtype: np.dtype[Any]) -> Values:
    """To another type as the service does it: clamped to the range, fractions cut off towards zero for integers."""
    if values.dtype == dtype:
        return values
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return np.clip(np.trunc(values), info.min, info.max).astype(dtype)
    return values.astype(dtype)


def retyped(image: Image, dtype: np.dtype[Any]) -> Image:
    """All bands cast."""
    return replace(
        image,
        bands=tuple(replace(b, dtype=dtype) for b in image.bands),
        compute=lambda grid: [(cast(v, dtype), m) for v, m in image.compute(grid)],
    )


def by_projection(image: Image, draw: Callable[[Image, Projection, Grid], list[Plane]], grid: Grid) -> list[Plane]:
    """Compute groups of bands that share a projection together, in the image's order of bands."""
    planes: dict[int, Plane] = {}
    for projection in dict.fromkeys(b.projection for b in image.bands):
        indices = [i for i, b in enumerate(image.bands) if b.projection == projection]
        planes.update(zip(indices, draw(image.pick(indices), projection, grid), strict=True))
    return [planes[i] for i in range(len(image.bands))]


def drawn_nearest(image: Image, projection: Projection, grid: Grid) -> list[Plane]:
    """Compute on a projection's own lattice, then take the nearest pixel (what `reproject` forces)."""
    columns, rows = grid.positions(projection)
    found = covering((columns, rows), projection, 0)
    if found is None:
        return [masked(grid, b.dtype) for b in image.bands]
    lattice, left, top = found
    finite = np.isfinite(columns) & np.isfinite(rows)
    at = (
        np.where(finite, np.floor(rows) - top, 0).astype(int),
        np.where(finite, np.floor(columns) - left, 0).astype(int),
    )
    return [(v[at], np.where(finite, m[at], 0).astype(np.float32)) for v, m in image.compute(lattice)]


def drawn_bilinear(image: Image, projection: Projection, grid: Grid) -> list[Plane]:
    """Compute on the bands' own lattice, then interpolate between the four nearest pixel centres.

    Masked neighbours have no weight in the value; the mask is the interpolated mask.
    """
    columns, rows = grid.positions(projection)
    found = covering((columns, rows), projection, 1)
    if found is None:
        return [masked(grid, b.dtype) for b in image.bands]
    lattice, left, top = found
    finite = np.isfinite(columns) & np.isfinite(rows)
    x, y = (np.where(finite, v, 0.5 + first) - first - 0.5 for v, first in ((columns, left), (rows, top)))
    x, y = np.round(x, 9), np.round(y, 9)
    column, row = np.clip(np.floor(x), 0, lattice.width - 2), np.clip(np.floor(y), 0, lattice.height - 2)
    fx, fy = x - column, y - row
    corners = [(0, 0, (1 - fx) * (1 - fy)), (0, 1, fx * (1 - fy)), (1, 0, (1 - fx) * fy), (1, 1, fx * fy)]
    row, column = row.astype(int), column.astype(int)
    planes = []
    for band, (values, mask) in zip(image.bands, image.compute(lattice), strict=True):
        total, weight = np.zeros(x.shape), np.zeros(x.shape)
        for down, right, share in corners:
            here = share * mask[row + down, column + right]
            total += here * values[row + down, column + right].astype(np.float64)
            weight += here
        value = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
        if band.dtype.kind in "iu":
            value = np.round(value)
        planes.append((cast(value, band.dtype), np.where(finite, weight, 0).astype(np.float32)))
    return planes
