"""Cuts chips from remote rasters, scene by scene: reads each header and each needed block only once.

Budget of one call, apart from the results themselves: `workers` rasters at work x (16 MiB of stored blocks on their
way + one range of 8 MiB being decoded, or 16 MiB handed to GDAL), plus the source windows of those rasters' chips: at
most 256 MiB per raster and 512 MiB in all at once, and blocks at work of 320 MiB in all
(`pipelines.access.rasters.raster`).
"""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pipelines.access.chips import Chip, ChipRequest
from pipelines.access.http.client import AccessError, shown
from pipelines.access.rasters.crs import name
from pipelines.access.rasters.grid import contradicted
from pipelines.access.rasters.memory_budget import Room
from pipelines.access.rasters.raster import Raster, open_raster
from pipelines.access.rasters.warp import Frame, Part, frames, warp
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from pipelines.access.http.client import Client
    from pipelines.access.rasters.tiff import Block, Directory

_MAX_FRAME_BYTES = 1 << 27
"""Source pixels of one chip: 0.3 m pixels for a chip of 2.5 km; the warp takes three to six times as much."""
_WINDOWS = Room(512 << 20)
"""Source pixels at work in this process."""
_WINDOWS_BYTES = 256 << 20
"""Source pixels that one raster is read into at once."""
_KEPT_HEADERS = 4096
"""Headers kept between calls of one reader; each is some tens of kilobytes."""


@dataclass(slots=True)
class _Job:
    """One request under way."""

    position: int
    request: ChipRequest
    rasters: list[Raster]
    frames: list[Frame]
    filled: dict[tuple[int, int], tuple[NDArray[Any], NDArray[np.bool_]]] = field(default_factory=dict)
    """(frame, part) -> pixels and validity of the part."""
    left: int = 0
    error: AccessError | None = None


@dataclass(slots=True)
class _Target:
    """One part of one job, as a raster's worker fills it."""

    job: _Job
    key: tuple[int, int]
    part: Part
    pixels: NDArray[Any] | None = None
    mask: NDArray[np.bool_] | None = None
    """(y, x) of the file's own mask, if it has one."""
    alpha: NDArray[np.bool_] | None = None
    """(y, x), True where the file's alpha band is above 0, if it has one and no mask."""
    error: AccessError | None = None


class Reader:
    """Reads chips from the rasters of one provider. Share one among the threads of a worker; close it at the end."""

    def __init__(self, client: Client, *, workers: int = 4) -> None:
        """`workers` rasters are decoded at once; requests under way are bounded by the client."""
        self.client = client
        self._rasters = ThreadPoolExecutor(workers, thread_name_prefix="raster")
        self._ranges = ThreadPoolExecutor(client.concurrency, thread_name_prefix="range")
        self._headers: dict[str, Raster] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the threads; what is under way is finished."""
        self._rasters.shutdown()
        self._ranges.shutdown()

    def read_chips(self, requests: Sequence[ChipRequest]) -> list[Chip | AccessError]:
        """All requests together, scene by scene.

        Returns:
            In the order of the requests: the chip, or why it could not be had. A chip that no raster touches is all
            invalid. A block that cannot be fetched or decoded costs the chips that need it and no other.
        """
        results: list[Chip | AccessError | None] = [None] * len(requests)
        opened = self._open(requests)
        self._seek_masks(requests, opened)
        by_raster: dict[str, list[_Target]] = defaultdict(list)
        for position, job in enumerate(self._planned(requests, opened)):
            if isinstance(job, AccessError):
                results[position] = job
                continue
            for f, frame in enumerate(job.frames):
                for p, part in enumerate(frame.parts):
                    by_raster[job.request.hrefs[part.source]].append(_Target(job, (f, p), part))
                    job.left += 1
            if job.left == 0:
                results[position] = _empty(job)
        lock = threading.Lock()

        def done(target: _Target) -> None:
            job = target.job
            with lock:
                job.error = job.error or target.error
                job.left -= 1
                last = job.left == 0
            if last:
                results[job.position] = job.error or _finish(job)
                job.filled.clear()

        work = [
            self._rasters.submit(self._read_raster, opened[href], targets, done) for href, targets in by_raster.items()
        ]
        for item in work:
            item.result()
        return [r for r in results if r is not None]

    def _planned(
        self, requests: Sequence[ChipRequest], opened: dict[str, Raster | AccessError]
    ) -> list[_Job | AccessError]:
        """The reads of each request, or why it is refused. Rasters whose headers changed are opened again.

        A refusal for what headers say stands once they have come twice the same.
        """
        for left in reversed(range(max(2, self.client.tries))):
            jobs: list[_Job | AccessError] = []
            for position, request in enumerate(requests):
                job = _plan(position, request, opened)
                jobs.append(_final(job, request, opened) if isinstance(job, AccessError) else job)
            doubtful = [h for h, raster in opened.items() if isinstance(raster, Raster) and raster.doubtful]
            if not doubtful or left == 0:
                break
            opened.update(self._open_all(doubtful))
        return jobs

    def _open(self, requests: Sequence[ChipRequest]) -> dict[str, Raster | AccessError]:
        return self._open_all(list(dict.fromkeys(h for r in requests for h in r.hrefs)))

    def _open_all(self, hrefs: Sequence[str]) -> dict[str, Raster | AccessError]:
        if len(self._headers) + len(hrefs) > _KEPT_HEADERS:
            self._headers.clear()

        def one(href: str) -> Raster | AccessError:
            try:
                known = self._headers.get(href)
                return known if known is not None and not known.doubtful else open_raster(self.client, href)
            except AccessError as error:
                return error

        opened = dict(zip(hrefs, self._ranges.map(one, hrefs), strict=True))
        self._headers.update({h: r for h, r in opened.items() if isinstance(r, Raster)})
        return opened

    def _seek_masks(self, requests: Sequence[ChipRequest], opened: dict[str, Raster | AccessError]) -> None:
        """Mask files of rasters that state measured pixels in no other way, and are unusable without the mask."""

        def one(href: str) -> AccessError | None:
            raster = opened[href]
            try:
                if isinstance(raster, Raster):
                    raster.seek_mask()
            except AccessError as error:
                return error
            return None

        hrefs = list(dict.fromkeys(h for r in requests if r.beside or not r.fill for h in r.hrefs))
        opened |= {h: error for h, error in zip(hrefs, self._ranges.map(one, hrefs), strict=True) if error is not None}

    def _read_raster(
        self, raster: Raster | AccessError, targets: list[_Target], done: Callable[[_Target], None]
    ) -> None:
        """Fill all windows of one raster, then report them."""
        assert isinstance(raster, Raster)  # noqa: S101 - `_plan` has refused the others
        for group, size in _groups(raster, targets):
            with _WINDOWS.taken(size):
                self._read_group(raster, group, done)

    def _read_group(self, raster: Raster, group: list[_Target], done: Callable[[_Target], None]) -> None:
        """Fill windows of one level of a raster, then report them."""
        try:
            if raster.memory is not None:
                _from_memory(raster, group)
            else:
                self._from_blocks(raster, group)
            self._mask(raster, group)
        except AccessError as error:
            for target in group:
                target.error = target.error or error
        for target in group:
            if target.error is None:
                _judge(raster, target)
            target.pixels = target.mask = target.alpha = None
            done(target)

    def _from_blocks(self, raster: Raster, targets: list[_Target]) -> None:
        level = targets[0].part.level
        assert level.image is not None  # noqa: S101 - only files read whole have none
        sparse = raster.layout(level.image).sparse
        for target in targets:
            _, _, height, width = target.part.window
            bands = _bands(raster, target)
            target.pixels = np.full((len(bands), height, width), 0, raster.dtype)  # zeros() gives pages never touched
            for i, band in enumerate(bands if sparse else ()):  # never decoded: GDAL's value is nodata or 0
                nodata = raster.nodata[band - 1]
                target.pixels[i] = 0 if nodata is None else nodata
        self._pour(raster, level.image, targets, lambda t: t.pixels)

    def _mask(self, raster: Raster, targets: list[_Target]) -> None:
        """Validity of the read pixels from the file's mask or alpha band."""
        level = targets[0].part.level
        if level.mask is None:
            for target in targets:
                if len(_bands(raster, target)) > len(target.job.request.bands) and target.pixels is not None:
                    target.alpha, target.pixels = target.pixels[-1] > 0, target.pixels[:-1]
            return
        for target in targets:
            window = target.part.window
            target.mask = np.zeros((window.height, window.width), np.bool_)
        self._pour(raster.mask_file or raster, level.mask, targets, lambda t: t.mask)

    def _pour(
        self, raster: Raster, image: Directory, targets: list[_Target], into: Callable[[_Target], NDArray[Any] | None]
    ) -> None:
        """Decode the blocks that the targets touch and copy each into all windows it belongs to."""
        users = _users(raster, image, targets)
        needed = {block: _needed(image, block, found) for block, found in users.items()}

        def submit(function: Callable[..., bytes], *arguments: Any) -> Callable[[], bytes]:
            future: Future[bytes] = self._ranges.submit(function, *arguments)
            return future.result

        with closing(raster.blocks(image, needed, submit)) as found:
            for decoded in found:
                for target in users[decoded.block]:
                    if decoded.pixels is None:
                        target.error = target.error or decoded.error
                    elif (out := into(target)) is not None:
                        _copy(image, decoded.block, decoded.pixels, target, _bands(raster, target), out)


def _groups(raster: Raster, targets: Sequence[_Target]) -> Iterator[tuple[list[_Target], int]]:
    """Targets of one level that are filled together, with the bytes of their windows."""
    levels: dict[int, list[_Target]] = defaultdict(list)
    for target in targets:
        levels[id(target.part.level)].append(target)
    for level in levels.values():
        group: list[_Target] = []
        held = 0
        for target in level:
            window = target.part.window
            size = window.height * window.width * len(_bands(raster, target)) * raster.dtype.itemsize
            if group and held + size > _WINDOWS_BYTES:
                yield group, held
                group, held = [], 0
            group.append(target)
            held += size
        yield group, held


def _plan(position: int, request: ChipRequest, opened: dict[str, Raster | AccessError]) -> _Job | AccessError:
    try:
        rasters = _fitting(request, opened)
        found = frames(request.geobox, request.kernel, rasters)
        _check_size(request, rasters, found)
        return _Job(position, request, rasters, found)
    except AccessError as error:
        return error


def _check_size(request: ChipRequest, rasters: Sequence[Raster], found: Sequence[Frame]) -> None:
    """Refuse a chip whose source pixels would not fit into memory: a raster of pixels that are far finer than it."""
    for frame in found:
        height, width = frame.shape
        size = max((rasters[part.source].dtype.itemsize for part in frame.parts), default=1)
        if not frame.copied and height * width * len(request.bands) * size > _MAX_FRAME_BYTES:
            where = f"{len(request.bands)} x {height} x {width}"
            raise AccessError(Reason.WRONG_GRID, f"a chip would need {where} pixels of {shown(request.hrefs[0])}")


def _fitting(request: ChipRequest, opened: dict[str, Raster | AccessError]) -> list[Raster]:
    """The request's rasters, each as its item says it is."""
    rasters = []
    for i, href in enumerate(request.hrefs):
        raster = opened[href]
        if isinstance(raster, AccessError):
            raise raster
        if max(request.bands) > raster.count:
            raise AccessError(
                Reason.BAD_ITEM, f"{shown(href)} has {raster.count} bands, but band {max(request.bands)} was requested"
            )
        stated = request.epsgs[i] if request.epsgs else None
        if stated is not None and raster.crs is not None and not raster.lies_in(stated):
            raise AccessError(
                Reason.WRONG_GRID, f"{shown(href)} is in {name(raster.crs)}, but its item states EPSG:{stated}"
            )
        if request.grids and (problem := contradicted(raster.levels[0], *request.grids[i])) is not None:
            raise AccessError(Reason.WRONG_GRID, f"{shown(href)} {problem}")
        rasters.append(raster)
    return rasters


def _final(error: AccessError, request: ChipRequest, opened: dict[str, Raster | AccessError]) -> AccessError:
    """A refusal for what headers say, once they have come twice the same; else that they did not."""
    if error.reason not in (Reason.WRONG_GRID, Reason.BAD_ITEM):
        return error
    try:
        for raster in (opened[href] for href in request.hrefs):
            if isinstance(raster, Raster):
                raster.confirm()
    except AccessError as changed:
        return changed
    return error


def _bands(raster: Raster, target: _Target) -> tuple[int, ...]:
    """Bands to read: those that are asked for, then the alpha band where it says which of their pixels are there."""
    bands, alpha = target.job.request.bands, raster.alpha
    return bands if alpha is None or target.part.level.mask is not None or bands == (alpha,) else (*bands, alpha)


def _users(raster: Raster, image: Directory, targets: Sequence[_Target]) -> dict[Block, list[_Target]]:
    """Block -> the targets whose windows it touches."""
    users: dict[Block, list[_Target]] = defaultdict(list)
    for target in targets:
        row, column, height, width = target.part.window
        rows = range(row // image.block_height, (row + height - 1) // image.block_height + 1)
        columns = range(column // image.block_width, (column + width - 1) // image.block_width + 1)
        planes = sorted({b - 1 for b in _bands(raster, target)}) if image.separate else (0,)
        for plane in planes:
            for y in rows:
                for x in columns:
                    users[plane, y, x].append(target)
    return users


def _needed(image: Directory, block: Block, targets: Sequence[_Target]) -> tuple[int, int, int]:
    """(first row, row after the last, column after the last) in a block of all that the targets take from it."""
    y, x = block[1] * image.block_height, block[2] * image.block_width
    windows = [target.part.window for target in targets]
    return (
        max(0, min(window.row for window in windows) - y),
        min(image.block_height, image.height - y, max(window.bottom for window in windows) - y),
        min(image.block_width, image.width - x, max(window.right for window in windows) - x),
    )


def _copy(
    image: Directory, block: Block, pixels: NDArray[Any], target: _Target, bands: tuple[int, ...], out: NDArray[Any]
) -> None:
    row, column, height, width = target.part.window
    y, x = block[1] * image.block_height, block[2] * image.block_width
    top, left = max(row, y), max(column, x)
    bottom, right = min(row + height, y + pixels.shape[1]), min(column + width, x + pixels.shape[2])
    piece = pixels[:, top - y : bottom - y, left - x : right - x]
    place = (slice(top - row, bottom - row), slice(left - column, right - column))
    if out.ndim == 2:
        out[place] = piece[0] != 0
        return
    for i, band in enumerate(bands):
        if not image.separate:
            out[(i, *place)] = piece[band - 1]
        elif band - 1 == block[0]:
            out[(i, *place)] = piece[0]


def _from_memory(raster: Raster, targets: Sequence[_Target]) -> None:
    for target in targets:
        target.pixels = raster.read_memory(_bands(raster, target), target.part.window)


def _judge(raster: Raster, target: _Target) -> None:
    """Decide which pixels are measured, and hand the part to its job."""
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


def _finish(job: _Job) -> Chip | AccessError:
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


def _empty(job: _Job) -> Chip:
    """No raster touches the chip."""
    shape = (len(job.request.bands), *job.request.geobox.shape)
    return Chip(np.zeros(shape, job.rasters[0].dtype), np.zeros(shape, np.bool_), "none")
