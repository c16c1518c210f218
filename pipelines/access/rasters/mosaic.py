"""Makes a chip of the parts that were read: which pixels are measured, and which raster each is taken from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.access.chips import Chip
from pipelines.access.http.client import AccessError
from pipelines.access.rasters.warp import Frame, warp

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipelines.access.rasters.raster import Raster
    from pipelines.access.rasters.reads import Job, Target


def judge(raster: Raster, target: Target) -> None:
    """Decide which pixels are measured, and add the part to its job."""
    pixels = target.pixels
    assert pixels is not None  # noqa: S101 - filled before
    request = target.job.request
    valid = np.empty(pixels.shape, np.bool_)
    for i, band in enumerate(request.bands):
        nodata = raster.nodata[band - 1] if target.mask is None else None
        values = {*request.fill, *(() if nodata is None else (nodata,))}
        fills = [number for value in values if (number := _as_number(value, pixels.dtype)) is not None]
        if fills:
            np.not_equal(pixels[i], fills[0], out=valid[i])
        else:
            valid[i] = True
        for number in fills[1:]:
            valid[i] &= pixels[i] != number
        if target.alpha is not None and band != raster.alpha:
            valid[i] &= target.alpha
    if target.mask is not None:
        valid &= target.mask
    if pixels.dtype.kind == "f":
        valid &= ~np.isnan(pixels)
    target.job.filled[target.key] = (pixels, valid)


def _as_number(value: float, dtype: np.dtype[Any]) -> np.generic | None:
    """A fill value in the pixels' own dtype, so that comparing costs no cast; None if no pixel can be it."""
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        whole = math.isfinite(value) and value == int(value) and limits.min <= value <= limits.max
        return dtype.type(int(value)) if whole else None
    with np.errstate(over="ignore"):
        number: np.generic = dtype.type(value)  # texts of the largest float32 often are a little above it
    return None if math.isnan(value) or (math.isfinite(value) and np.isinf(number)) else number


def finish(job: Job) -> Chip | AccessError:
    """Lay the parts of each frame together, warp the frames that need it, and let the first valid pixel win."""
    try:
        pieces = []
        for f, frame in enumerate(job.frames):
            if not frame.parts:
                continue
            parts = [job.filled[f, p] for p in range(len(frame.parts))]
            pixels, valid = _laid(frame, parts)
            if not frame.copied:
                pixels, valid = warp(pixels, valid, frame, job.request.geobox, job.request.kernel)
            pieces.append((pixels, valid))
        pixels, valid = pieces[0]
        for more, more_valid in pieces[1:]:
            pixels = np.where(valid, pixels, more)
            valid = valid | more_valid
    except AccessError as error:
        return error
    copied = all(f.copied for f in job.frames if f.parts)
    return Chip(pixels, valid, "none" if copied else job.request.kernel)


def _laid(frame: Frame, parts: list[tuple[NDArray[Any], NDArray[np.bool_]]]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    if len(parts) == 1 and parts[0][0].shape[1:] == frame.shape:
        return parts[0]
    dtype = np.result_type(*(p[0].dtype for p in parts))
    pixels = np.zeros((len(parts[0][0]), *frame.shape), dtype)
    valid = np.zeros(pixels.shape, np.bool_)
    for part, (more, more_valid) in zip(frame.parts, parts, strict=True):
        place = (
            slice(None),
            slice(part.at[0], part.at[0] + more.shape[1]),
            slice(part.at[1], part.at[1] + more.shape[2]),
        )
        take = more_valid & ~valid[place]
        pixels[place] = np.where(take, more, pixels[place])
        valid[place] |= take
    return pixels, valid


def empty(job: Job) -> Chip:
    """No raster touches the chip."""
    shape = (len(job.request.bands), *job.request.geobox.shape)
    return Chip(np.zeros(shape, job.rasters[0].dtype), np.zeros(shape, np.bool_), "none")
