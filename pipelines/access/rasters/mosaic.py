"""Makes a chip of the parts that were read: which pixels are measured, and which raster each is taken from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.access.chips import Chip
from pipelines.access.http.client import AccessError
from pipelines.access.rasters.warp import warp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pipelines.access.rasters.raster import Raster
    from pipelines.access.rasters.reads import Job, Target
    from pipelines.access.rasters.warp import Frame
    from schemas.modality import Kernel

    _Pixels = tuple[NDArray[Any], NDArray[np.bool_]]
    """(band, y, x), and which of them are valid."""


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


def finish(jobs: Sequence[Job]) -> list[Chip | AccessError]:
    """The chips of jobs that are read whole, and the errors of the others.

    The parts of each frame are laid together, frames that need it are warped, and the first valid pixel wins.
    """
    whole = [job for job in jobs if job.error is None]
    try:
        pieces = [_pieces(whole, f) for f, frame in enumerate(whole[0].frames) if frame.parts] if whole else []
    except AccessError as error:
        return [job.error or error for job in jobs]
    chips = iter([_chip(job, [piece[i] for piece in pieces]) for i, job in enumerate(whole)])
    return [job.error or next(chips) for job in jobs]


def _pieces(jobs: Sequence[Job], f: int) -> list[_Pixels]:
    """What each job has of one of its frames, on the chip's grid."""
    frame, request = jobs[0].frames[f], jobs[0].request
    laid = [_laid(job.frames[f], [job.filled[f, p] for p in range(len(frame.parts))]) for job in jobs]
    if frame.copied:
        return laid
    found: list[_Pixels | None] = [None] * len(jobs)
    while None in found:
        first = found.index(None)
        like = [i for i in range(first, len(jobs)) if found[i] is None and _alike(laid[first], laid[i], request.kernel)]
        pixels, valid = (np.concatenate(each) for each in zip(*(laid[i] for i in like), strict=True))
        warped = warp(pixels, valid, frame, request.geobox, request.kernel)
        ends = np.cumsum([len(laid[i][0]) for i in like])[:-1]
        for i, *piece in zip(like, *(np.split(each, ends) for each in warped), strict=True):
            found[i] = (piece[0], piece[1])
    return [piece for piece in found if piece is not None]


def _alike(one: _Pixels, other: _Pixels, kernel: Kernel) -> bool:
    """Whether two jobs may be warped at once: a kernel that mixes pixels mixes those that are valid in all bands."""
    return kernel == "nearest" or one is other or np.array_equal(one[1], other[1])


def _chip(job: Job, pieces: Sequence[_Pixels]) -> Chip:
    pixels, valid = pieces[0]
    for more, more_valid in pieces[1:]:
        pixels = np.where(valid, pixels, more)
        valid = valid | more_valid
    copied = all(f.copied for f in job.frames if f.parts)
    return Chip(pixels, valid, "none" if copied else job.request.kernel)


def _laid(frame: Frame, parts: list[_Pixels]) -> _Pixels:
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
