"""Reducers combine many values into one: per pixel over a stack of images, or over the pixels of a region."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from shapely import contains_xy

from testbed.earthengine.errors import bad
from testbed.earthengine.grids import Grid, Projection, metres_per_unit, reprojected
from testbed.earthengine.images import Band, Image, Mask, Plane, Values, cast, masked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

_DOUBLE = np.dtype("float64")
_ROUNDING_PX = 1e-3
"""Outlines pass through longitude and latitude, where straight edges are chords."""


@dataclass(frozen=True, slots=True)
class Reducer:
    """A reducer of one input."""

    name: str
    """'mean', 'median', 'mode', 'frequencyHistogram', ..."""

    @property
    def output(self) -> str:
        """Name of its output."""
        return "histogram" if self.name == "frequencyHistogram" else self.name


STACKING = frozenset({"median", "mode", "mean", "min", "max", "sum", "count", "first", "last", "product", "or", "and"})
"""Reducers that work per pixel."""


def reduced_stack(name: str, values: Values, valid: NDArray[np.bool_]) -> tuple[Values, Mask]:
    """(n, y, x) into (y, x); masked pixels do not count. Ties of `mode` go to the smallest value."""
    if name == "count":
        return valid.sum(axis=0), np.ones(valid.shape[1:], np.float32)
    some = valid.any(axis=0)
    if name in ("first", "last"):
        at = valid.argmax(axis=0) if name == "first" else len(valid) - 1 - valid[::-1].argmax(axis=0)
        out = np.take_along_axis(values, at[None], axis=0)[0]
    elif name == "mode":
        out = _mode(values, valid)
    else:
        numbers = np.where(valid, values.astype(np.float64), np.nan)
        numbers[:, ~some] = 0.0
        calls: dict[str, Callable[..., Any]] = {
            "median": np.nanmedian,
            "mean": np.nanmean,
            "min": np.nanmin,
            "max": np.nanmax,
            "sum": np.nansum,
            "product": np.nanprod,
            "or": lambda a, axis: (np.nan_to_num(a) != 0).any(axis=axis),
            "and": lambda a, axis: (np.nan_to_num(a, nan=1.0) != 0).all(axis=axis),
        }
        out = np.asarray(calls[name](numbers, axis=0))
    mask: Mask = np.asarray(some, np.float32)
    return np.where(some, out, 0), mask


def _mode(values: Values, valid: NDArray[np.bool_]) -> Values:
    best = np.zeros(values.shape[1:], values.dtype)
    most = np.zeros(values.shape[1:], int)
    for candidate in np.unique(values[valid]):  # ascending: the smallest of equals stays
        votes = ((values == candidate) & valid).sum(axis=0)
        better = votes > most
        best[better], most[better] = candidate, votes[better]
    return best


def composite(name: str, images: Sequence[Image], suffix: str = "") -> Image:
    """A collection reduced per pixel; bands are matched by name, those of the first image lead."""
    if not images:
        return Image((), lambda grid: [])  # noqa: ARG005 - an image without bands
    names = images[0].names
    for image in images:
        if missing := sorted(set(names) - set(image.names)):
            raise bad(
                f"ImageCollection.reduce: expected a homogeneous image collection, but an image has no bands {missing}."
            )
    dtypes = [b.dtype if name in ("first", "last", "mode") else _DOUBLE for b in images[0].bands]
    bands = tuple(Band(b.name + suffix, d) for b, d in zip(images[0].bands, dtypes, strict=True))
    picked = [image.pick([image.names.index(n) for n in names]) for image in images]

    def compute(grid: Grid) -> list[Plane]:
        stacks = [image.compute(grid) for image in picked]
        found = []
        for k, dtype in enumerate(dtypes):
            values = np.stack([s[k][0] for s in stacks])
            valid = np.stack([s[k][1] > 0 for s in stacks])
            out, mask = reduced_stack(name, values, valid)
            found.append((cast(out, dtype), mask))
        return found

    return Image(bands, compute)


def mosaic(images: Sequence[Image]) -> Image:
    """The last image on top, band by band."""
    if not images:
        return Image((), lambda grid: [])  # noqa: ARG005 - an image without bands
    names = list(dict.fromkeys(n for image in images for n in image.names))
    first = {b.name: b for image in reversed(images) for b in image.bands}
    bands = tuple(Band(n, first[n].dtype) for n in names)

    def compute(grid: Grid) -> list[Plane]:
        found = {b.name: masked(grid, b.dtype) for b in bands}
        for image in images:
            for name, (values, mask) in zip(image.names, image.compute(grid), strict=True):
                under, under_mask = found[name]
                found[name] = (
                    np.where(mask > 0, cast(values, under.dtype), under),
                    np.where(mask > 0, mask, under_mask),
                )
        return [found[n] for n in names]

    return Image(bands, compute)


def across_bands(reducer: Reducer, image: Image) -> Image:
    """All bands of an image into one."""
    dtype = image.bands[0].dtype if reducer.name in ("first", "last", "mode") else _DOUBLE

    def compute(grid: Grid) -> list[Plane]:
        planes = image.compute(grid)
        values = np.stack([p[0].astype(_DOUBLE) for p in planes])
        out, mask = reduced_stack(reducer.name, values, np.stack([p[1] > 0 for p in planes]))
        return [(cast(out, dtype), mask)]

    band = replace(image.bands[0], name=reducer.output, dtype=dtype)
    return replace(image, bands=(band,), compute=compute)


@dataclass(frozen=True, kw_only=True, slots=True)
class Region:
    """What a region's pixels are."""

    geometry: BaseGeometry | None
    """Longitude and latitude; None = the image's footprint."""
    crs: str | None
    transform: Affine | None
    scale_m: float | None
    max_pixels: float = 1e7
    best_effort: bool = False


def reduce_region(image: Image, reducer: Reducer, region: Region) -> dict[str, Any]:
    """Pixels whose centre is in the region, weighted by their mask."""
    outline = region.geometry if region.geometry is not None else image.footprint
    if outline is None:
        raise bad("Image.reduceRegion: Unable to reduce an unbounded region.")
    grid, local = lattice(image, region, outline)
    pixels = grid.width * grid.height
    if pixels > region.max_pixels:
        if not region.best_effort:
            raise bad(
                f"Image.reduceRegion: Too many pixels in the region. Found {pixels}, but maxPixels allows only "
                f"{region.max_pixels:.0f}. Ensure that you are not aggregating at a higher resolution than you "
                "intended; that is the most frequent cause of this error. If not, then you may set the 'maxPixels' "
                "argument to a limit suitable for your computation; set 'bestEffort' to true to aggregate at whatever "
                "scale results in 'maxPixels' total pixels; or both."
            )
        factor = math.sqrt(pixels / region.max_pixels) * 1.01
        base = region.scale_m or grid.projection.metres
        return reduce_region(image, reducer, replace(region, scale_m=base * factor, transform=None))
    x, y = grid.centres()
    inside = contains_xy(local, x, y)
    found: dict[str, Any] = {}
    for band, (values, mask) in zip(image.bands, image.compute(grid), strict=True):
        weights = np.where(inside, mask, 0)
        found[band.name] = _over_pixels(reducer.name, values[weights > 0], weights[weights > 0])
    return found


def lattice(image: Image, region: Region, outline: BaseGeometry) -> tuple[Grid, BaseGeometry]:
    """The pixels that cover an outline, and the outline in their CRS."""
    native = image.bands[0].projection
    crs = region.crs or native.crs
    affine = region.transform or native.transform
    if region.scale_m is not None:
        step = region.scale_m / metres_per_unit(crs)
        affine = Affine(step, 0, 0, 0, -step, 0)
    elif region.crs is not None and region.transform is None and region.crs != native.crs:
        raise bad("Image.reduceRegion: Must specify a crsTransform or a scale with a crs.")
    local = reprojected(outline, "EPSG:4326", crs)
    west, south, east, north = local.bounds
    columns, rows = zip(*(~affine * corner for corner in ((west, north), (east, south))), strict=True)
    left, top = math.floor(min(columns) + _ROUNDING_PX), math.floor(min(rows) + _ROUNDING_PX)
    right, bottom = math.ceil(max(columns) - _ROUNDING_PX), math.ceil(max(rows) - _ROUNDING_PX)
    moved = affine * Affine.translation(left, top)
    return Grid(Projection(crs, moved), max(1, right - left), max(1, bottom - top)), local


def _over_pixels(name: str, values: Values, weights: NDArray[Any]) -> Any:
    if name == "frequencyHistogram":
        codes, places = np.unique(values, return_inverse=True)
        sums = np.bincount(places.ravel(), weights=weights, minlength=len(codes))
        return {f"{c:g}": float(s) for c, s in zip(codes.tolist(), sums[: len(codes)], strict=True)}
    if name == "count":
        return len(values)
    if not len(values):
        return None
    if name == "mean":
        return float((values * weights).sum() / weights.sum())
    if name == "sum":
        return float((values * weights).sum())
    stacked, _ = reduced_stack(name, values.reshape(-1, 1, 1), np.ones((len(values), 1, 1), bool))
    return stacked[0, 0].item()
