"""Finds a chip in a source raster, and warps the source's pixels to the chip's grid.

Rules:
- Same CRS, and the chip's corners fall on corners of source pixels of the same size within 1e-3 px: pixels are copied.
- Otherwise one warp by GDAL with the layer's kernel, straight from source pixels. The window handed to GDAL holds more
  than the kernel can reach, so that the result equals warping the whole file.
- Rasters of one lattice (adjacent tiles) are laid into one window before the warp: no seam.
- Full resolution is read, and GDAL's kernel does the averaging where the chip is coarser. Only where the chip's pixel
  is 16 source pixels wide or more, bilinear and cubic start from an overview: the coarsest one that still has 4 pixels
  or more to each pixel of the chip. Nearest always reads full resolution.
- A pixel is valid as GDAL decides it: the source pixel under its centre is valid; the kernel leaves invalid ones out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from affine import Affine
from rasterio.enums import Resampling
from rasterio.warp import reproject

from pipelines.access.http.client import AccessError, shown
from pipelines.access.rasters.crs import by_epsg, by_wkt, doubt, seen_from, turn_of
from pipelines.access.rasters.window import Window
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from rasterio.crs import CRS

    from pipelines.access.rasters.levels import Level
    from pipelines.access.rasters.raster import Raster
    from schemas.modality import Kernel
    from schemas.place import BBox, GeoBox

_ALIGNED_PX = 1e-3
"""Largest departure from whole pixels, in source pixels, that counts as the same lattice."""
_RADIUS = {"nearest": 1, "bilinear": 1, "cubic": 2}
"""Kernel radius, source pixels (GDAL's GWKGetFilterRadius: 0, 1, 2)."""
_SLOP_PX = 2
"""For curvature between the sampled points."""
_PAD_PX = 16
"""Border of the window handed to GDAL beyond what the kernel reaches: GDAL finds its scale from its own window, which
must not be cut where the whole file would not cut it."""
_PAD_PER_SCALE = 24
"""Added for each source pixel in a chip's pixel; measured: 12 still changes GDAL's scale at a raster's edge."""
_SAMPLES, _MORE_SAMPLES, _LARGE_M = 17, 33, 30_000.0
"""Points along a chip's edge at which it is looked at in the source, for chips up to this edge and beyond it: between
two of them an edge departs from a line by less than half of `_SLOP_PX`, at 84 degrees too."""
_FINE = 1.5
"""A chip's pixel of fewer source pixels than this is interpolated, not averaged."""
_MAX_FRAME_PIXELS = 1 << 28
_DEGREES = 360.0


@dataclass(slots=True)
class Part:
    """A window of one raster, and where it goes in its frame."""

    source: int
    """Position of the raster in the request."""
    level: Level
    window: Window
    """In pixels of the level."""
    at: tuple[int, int]
    """(row, column) of the window's first pixel in the frame."""


@dataclass(slots=True)
class Frame:
    """Source pixels of one lattice that a chip is made of."""

    transform: Affine
    """Pixel corner coordinates of the frame, in `crs`."""
    crs: CRS
    shape: tuple[int, int]
    """(height, width), pixels."""
    copied: bool
    """True: the frame is the chip's own grid."""
    box: tuple[slice, slice] = (slice(None), slice(None))
    """(rows, columns) that the kernel can reach. Outside is a border that no value is taken from."""
    around: bool = False
    """True where a pole is inside."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Chip pixels to a source pixel, at most 1, along source columns and rows: how wide the kernel is."""
    parts: list[Part] = field(default_factory=list)
    """In the order of the request's rasters: the first that has a valid pixel wins."""


@dataclass(frozen=True, slots=True)
class _View:
    """A chip's outline seen in another CRS."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    x_middle: float
    unsure: tuple[float, float]
    """Distance (x, y) from here that the warp may read."""
    turn: float | None = None
    """Once round the Earth, where x are longitudes; then they were unrolled beyond half of it."""
    around: bool = False
    """True where a pole is inside: the chip has all longitudes."""


class _Member(NamedTuple):
    """One raster among those of one lattice."""

    source: int
    """Position of the raster in the request."""
    level: Level
    placed: Affine
    """The level's transform, moved by whole turns of longitude to meet the chip."""


@dataclass(slots=True)
class _Group:
    """Rasters of one lattice, which are laid into one frame."""

    frame: Frame
    view: _View
    members: list[_Member]


class _Laid(NamedTuple):
    """The window that is read of one member."""

    member: _Member
    window: Window
    """In pixels of the level."""
    at: Window
    """The same window in pixels of the group's first raster."""
    whole: Window
    """The whole raster in pixels of the group's first raster."""


def frames(geobox: GeoBox, kernel: Kernel, rasters: Sequence[Raster]) -> list[Frame]:
    """The window of each raster for one chip; rasters that do not touch the chip are left out.

    Raises:
        AccessError: WRONG_GRID if a raster has no CRS or cannot be related to the chip.
    """
    found: list[Frame] = []
    groups: list[_Group] = []
    for i, raster in enumerate(rasters):
        if raster.crs is None or not raster.placed:
            what = "has no coordinate reference system" if raster.crs is None else "does not state where its pixels are"
            raise AccessError(Reason.WRONG_GRID, f"{shown(raster.href)} {what}")
        if raster.lies_in(geobox.epsg):
            level = raster.levels[0]
            if (corner := _aligned(geobox, level)) is not None:
                _add_copy(found, geobox, i, level, corner)
                continue
        view = _view(geobox.epsg, geobox.bounds, raster.wkt)
        level = _level(raster, geobox, kernel, view)
        for shift in _shifts(level, view):
            member = _Member(i, level, Affine.translation(shift, 0.0) * level.transform)
            if _window(member, geobox, kernel, view) is None:
                continue
            for group in groups:
                if group.frame.crs == raster.crs and _same_lattice(group.members[0], member):
                    group.members.append(member)
                    break
            else:
                frame = Frame(member.placed, raster.crs, (0, 0), copied=False)
                found.append(frame)
                groups.append(_Group(frame, view, [member]))
    for group in groups:
        _fill(group, geobox, kernel)
    return found


def moved(found: Sequence[Frame], rasters: Sequence[Raster]) -> list[Frame]:
    """The frames of a request, for the rasters of another one that lie as its own do."""

    def part(one: Part) -> Part:
        size = one.level.width, one.level.height
        return replace(one, level=next(x for x in rasters[one.source].levels if (x.width, x.height) == size))

    return [replace(frame, parts=[part(one) for one in frame.parts]) for frame in found]


def warp(
    pixels: NDArray[Any], valid: NDArray[np.bool_], frame: Frame, geobox: GeoBox, kernel: Kernel
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """A frame's pixels on the chip's grid.

    Args:
        pixels: (band, y, x) of the frame.
        valid: (band, y, x), True = measured.
        frame: Where they are.
        geobox: The chip.
        kernel: How values between pixels are made.

    Returns:
        (pixels, valid), both (band, y, x) on the chip: the source's dtype for 'nearest', float for the others.
    """
    if kernel == "nearest":
        both = np.concatenate([pixels, valid.astype(pixels.dtype)])  # one warp: its positions cost more than pixels
        out = np.zeros((len(both), *geobox.shape), pixels.dtype)
        _reproject(both, out, frame, geobox, kernel)
        return out[: len(pixels)], out[len(pixels) :] != 0
    dtype = np.float32 if pixels.dtype.itemsize <= 2 or pixels.dtype == np.float32 else np.float64
    values = np.where(valid, pixels, dtype(np.nan)).astype(dtype, copy=False)
    result = np.full((len(pixels), *geobox.shape), np.nan, dtype)
    reached = valid[:, *frame.box]
    if reached.all():
        _reproject(values, result, frame, geobox, kernel)
    elif len(valid) == 1 or (reached == reached[0]).all():
        _reproject(values, result, frame, geobox, kernel, src_nodata=np.nan)
    else:  # GDAL would take a pixel for valid that is so in any band
        for band, target in zip(values, result, strict=True):
            _reproject(band, target, frame, geobox, kernel, src_nodata=np.nan)
    return result, ~np.isnan(result)


def _reproject(
    source: NDArray[Any], target: NDArray[Any], frame: Frame, geobox: GeoBox, kernel: Kernel, **more: Any
) -> None:
    # GDAL interpolates positions along a row of the chip, at most 0.125 px off (0.0014 measured on 10 km): rasterio 1.4
    # does not pass a smaller tolerance on
    if frame.around:  # GDAL looks at a chip's edges only, without this option, and misses what lies at the pole
        more["SAMPLE_GRID"] = "YES"
    if kernel != "nearest":
        more["dst_nodata"] = np.nan
        if not frame.around:
            more["XSCALE"], more["YSCALE"] = frame.scale
    reproject(
        source,
        target,
        src_transform=frame.transform,
        src_crs=frame.crs,
        dst_transform=Affine(*geobox.transform),
        dst_crs=by_epsg(geobox.epsg),
        resampling=Resampling[kernel],
        **more,
    )


@lru_cache(maxsize=4096)
def _view(epsg: int, bounds: BBox, wkt: str) -> _View:
    """The chip's outline and inside, sampled, in another CRS; longitudes unrolled around the chip's middle."""
    x_min, y_min, x_max, y_max = bounds
    many = _SAMPLES if max(x_max - x_min, y_max - y_min) <= _LARGE_M else _MORE_SAMPLES
    grid_x, grid_y = np.meshgrid(np.linspace(x_min, x_max, many), np.linspace(y_max, y_min, many))
    crs = by_wkt(wkt)
    x, y = seen_from(epsg, crs, grid_x, grid_y)
    middle = float(x[many // 2, many // 2])
    unsure = doubt(epsg, wkt, (x_min + x_max) / 2.0, (y_min + y_max) / 2.0)
    turn = turn_of(crs)
    if turn is None:
        return _View(x, y, middle, unsure)
    unrolled = middle + (x - middle + turn / 2.0) % turn - turn / 2.0
    if np.ptp(unrolled) < turn / 2.0:
        return _View(unrolled, y, middle, unsure, turn)
    x[0, 0], x[0, -1] = -turn / 2.0, turn / 2.0  # a pole is inside: all longitudes are
    return _View(x, y, 0.0, unsure, turn, around=True)


def _shifts(level: Level, view: _View) -> tuple[float, ...]:
    """Full turns to add to a raster's longitudes so that it meets the chip; a global raster may meet it twice."""
    if view.turn is None:
        return (0.0,)
    x = level.transform.c + level.transform.a * level.width / 2
    nearest = round((view.x_middle - x) / view.turn)
    wide = abs(level.transform.a) * level.width > view.turn / 2.0
    turns = (nearest - 1, nearest, nearest + 1) if wide else (nearest,)
    return tuple(view.turn * k for k in turns)


def _aligned(geobox: GeoBox, level: Level) -> tuple[int, int] | None:
    """(row, column) of the chip's first pixel in the raster, if both have one lattice; else None."""
    a, b, c, d, e, f = level.transform[:6]
    if b or d:
        return None
    column, row = (geobox.x_min - c) / a, (geobox.y_max - f) / e
    column_1, row_1 = (geobox.x_max - c) / a, (geobox.y_min - f) / e
    exact = (round(column), round(row), round(column) + geobox.width, round(row) + geobox.height)
    found = (column, row, column_1, row_1)
    return (exact[1], exact[0]) if max(abs(a - b) for a, b in zip(exact, found, strict=True)) <= _ALIGNED_PX else None


def _add_copy(found: list[Frame], geobox: GeoBox, source: int, level: Level, corner: tuple[int, int]) -> None:
    row, column = corner
    frame = next((f for f in found if f.copied), None)
    if frame is None:
        frame = Frame(Affine(*geobox.transform), by_epsg(geobox.epsg), geobox.shape, copied=True)
        found.append(frame)
    top, left = max(row, 0), max(column, 0)
    bottom, right = min(row + geobox.height, level.height), min(column + geobox.width, level.width)
    if bottom > top and right > left:
        frame.parts.append(
            Part(source, level, Window(top, left, bottom - top, right - left), (top - row, left - column))
        )


def _level(raster: Raster, geobox: GeoBox, kernel: Kernel, view: _View) -> Level:
    full = raster.levels[0]
    if kernel == "nearest" or len(raster.levels) == 1:
        return full
    columns, rows = ~full.transform * (view.x, view.y)
    ratio = min(np.ptp(columns) / geobox.width, np.ptp(rows) / geobox.height)
    if ratio < 16.0:
        return full
    chosen = full
    for level in raster.levels[1:]:
        if full.width / level.width <= ratio / 4.0:
            chosen = level
    return chosen


def _window(member: _Member, geobox: GeoBox, kernel: Kernel, view: _View) -> Window | None:
    """What the kernel can reach, cut at the raster's edge; None = nothing."""
    level, placed = member.level, member.placed
    columns, rows = ~placed * (view.x, view.y)
    inverse = ~placed
    more = [abs(d) * view.unsure[0] + abs(e) * view.unsure[1] for d, e in (inverse[3:5], inverse[0:2])]
    spans = []
    for (values, size, pixels), unsure in zip(
        ((rows, level.height, geobox.height), (columns, level.width, geobox.width)), more, strict=True
    ):
        low, high = float(values.min()), float(values.max())
        margin = math.ceil(_RADIUS[kernel] * max(1.0, (high - low) / pixels) + unsure) + _SLOP_PX
        spans.append((max(0, math.floor(low) - margin), min(size, math.ceil(high) + margin)))
    (top, bottom), (left, right) = spans
    return Window(top, left, bottom - top, right - left) if bottom > top and right > left else None


def _same_lattice(first: _Member, other: _Member) -> bool:
    inverse = ~first.placed
    level, placed = other.level, other.placed
    column, row = inverse * (placed.c, placed.f)
    far = inverse * (placed * (level.width, level.height))
    exact = (round(column), round(row), round(column) + level.width, round(row) + level.height)
    return bool(max(abs(a - b) for a, b in zip(exact, (column, row, *far), strict=True)) <= _ALIGNED_PX)


def _laid(group: _Group, geobox: GeoBox, kernel: Kernel) -> list[_Laid]:
    """The windows of a group's members, those first that come first in the request."""
    anchor = group.members[0].placed
    found = []
    for member in group.members:
        column, row = (round(v) for v in ~anchor * (member.placed.c, member.placed.f))
        window = _window(member, geobox, kernel, group.view)
        if window is not None:
            whole = Window(row, column, member.level.height, member.level.width)
            found.append(_Laid(member, window, window.moved(row, column), whole))
    return found


def _fill(group: _Group, geobox: GeoBox, kernel: Kernel) -> None:
    """Lay the windows of all rasters of one lattice into one frame, with a border, cut where no raster is."""
    frame, view = group.frame, group.view
    anchor = group.members[0].placed
    laid = _laid(group, geobox, kernel)
    columns, rows = ~anchor * (view.x, view.y)
    scale = max(1.0, np.ptp(columns) / geobox.width, np.ptp(rows) / geobox.height)
    pad = _PAD_PX + math.ceil(_PAD_PER_SCALE * scale)
    first_row, last_row = min(one.at.row for one in laid), max(one.at.bottom for one in laid)
    first_column, last_column = min(one.at.column for one in laid), max(one.at.right for one in laid)
    top = max(first_row - pad, min(one.whole.row for one in laid))
    left = max(first_column - pad, min(one.whole.column for one in laid))
    bottom = min(last_row + pad, max(one.whole.bottom for one in laid))
    right = min(last_column + pad, max(one.whole.right for one in laid))
    if (bottom - top) * (right - left) > _MAX_FRAME_PIXELS:
        raise AccessError(Reason.WRONG_GRID, f"a chip would need {bottom - top} x {right - left} source pixels")
    frame.shape = (bottom - top, right - left)
    frame.box = (slice(first_row - top, last_row - top), slice(first_column - left, last_column - left))
    frame.transform = anchor * Affine.translation(left, top)
    frame.around = view.around
    frame.scale = (_scale(columns, geobox), _scale(rows, geobox))
    if view.turn not in (None, _DEGREES) and not view.around and _beyond(frame, view.turn):
        raise AccessError(Reason.WRONG_GRID, "a raster across the 180th meridian must be in degrees or projected")
    frame.parts = [
        Part(one.member.source, one.member.level, one.window, (one.at.row - top, one.at.column - left)) for one in laid
    ]


def _scale(positions: NDArray[np.float64], geobox: GeoBox) -> float:
    """Chip pixels to a source pixel along one source axis: 1 where the chip is as fine, or nearly so.

    GDAL would take it from the box round the chip's outline: where the chip lies askew in the source that box is larger
    than the chip, the kernel is widened for nothing, and bilinear values move by up to 0.085 px (measured).

    Args:
        positions: (n, n) positions of points of the chip along that axis, source pixels.
        geobox: The chip.
    """
    down, right = np.gradient(positions)
    steps = len(positions) - 1
    ratio = float(np.median(np.hypot(down * steps / geobox.height, right * steps / geobox.width)))
    return 1.0 if ratio < _FINE else 1.0 / ratio


def _beyond(frame: Frame, turn: float) -> bool:
    """True if a frame's longitudes pass half a turn, where they jump; GDAL handles this only in degrees."""
    left, right = frame.transform.c, frame.transform.c + frame.transform.a * frame.shape[1]
    return max(abs(left), abs(right)) > turn / 2.0
