"""Cuts chips from remote rasters, scene by scene: reads each header and each needed block only once.

Budget of one call, apart from the results themselves: `workers` rasters at work x (16 MiB of stored blocks on their
way + one range of 8 MiB being decoded, or 16 MiB handed to GDAL), plus the source windows of those rasters' chips: at
most 256 MiB per raster and 512 MiB in all at once, 128 MiB of windows that wait for other rasters to be warped with
theirs (`pipelines.access.rasters.reads`), and blocks at work of 320 MiB in all (`pipelines.access.rasters.raster`).
"""

from __future__ import annotations

import threading
from collections import defaultdict
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pipelines.access.http.client import AccessError, shown
from pipelines.access.rasters.crs import name
from pipelines.access.rasters.grid import contradicted
from pipelines.access.rasters.memory_budget import Room
from pipelines.access.rasters.mosaic import empty, finish, judge
from pipelines.access.rasters.raster import Raster, Unread, look_at, open_raster
from pipelines.access.rasters.reads import Job, Target, bands_of, copy_block, groups_of, needed_of, together, users_of
from pipelines.access.rasters.warp import Frame, frames, moved
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from numpy.typing import NDArray

    from pipelines.access.chips import Chip, ChipRequest
    from pipelines.access.http.client import Client
    from pipelines.access.rasters.levels import Image

    _Known = dict[Hashable, list[Frame]]

_MAX_FRAME_BYTES = 1 << 27
"""Source pixels of one chip: 0.3 m pixels for a chip of 2.5 km; the warp takes three to six times as much."""
_WINDOWS = Room(512 << 20)
"""Source pixels at work in this process."""
_KEPT_HEADERS = 4096
"""Headers kept between calls of one reader; each is some tens of kilobytes."""
_KEPT_BYTES = 1 << 28
"""Bytes of files read whole that are kept between calls of one reader."""
_WHOLE_BYTES = 384 << 20
"""Bytes of files read whole that are in memory at once in one call; a larger file is there alone."""


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
        looked = self._look(list(dict.fromkeys(h for r in requests for h in r.hrefs)))
        for number, positions in enumerate(_rounds(requests, looked)):
            if number:
                self._forget(0)  # the files of the round before
            found = self._read([requests[i] for i in positions], looked)
            for i, result in zip(positions, found, strict=True):
                results[i] = result
        return [r for r in results if r is not None]

    def _read(
        self, requests: Sequence[ChipRequest], looked: dict[str, Raster | Unread | AccessError]
    ) -> list[Chip | AccessError]:
        """Requests whose files that are read whole have room in memory together."""
        results: list[Chip | AccessError | None] = [None] * len(requests)
        opened = self._open({href: looked[href] for request in requests for href in request.hrefs})
        self._seek_masks(requests, opened)
        by_raster: dict[str, list[Target]] = defaultdict(list)
        reading = []
        for position, job in enumerate(self._planned(requests, opened)):
            if isinstance(job, AccessError):
                results[position] = job
                continue
            for f, frame in enumerate(job.frames):
                for p, part in enumerate(frame.parts):
                    by_raster[job.request.hrefs[part.source]].append(Target(job, (f, p), part))
                    job.left += 1
            if job.left == 0:
                results[position] = empty(job)
            else:
                reading.append(job)
        sets = {job.position: one for one in together(reading) for job in one.jobs}
        lock = threading.Lock()

        def done(target: Target) -> None:
            job, alike = target.job, sets[target.job.position]
            with lock:
                job.error = job.error or target.error
                job.left -= 1
                alike.left -= job.left == 0
                last = job.left == 0 and alike.left == 0
            if last:
                for whole, result in zip(alike.jobs, finish(alike.jobs), strict=True):
                    results[whole.position] = result
                    whole.filled.clear()

        work = [
            self._rasters.submit(self._read_raster, opened[href], targets, done) for href, targets in by_raster.items()
        ]
        for item in work:
            item.result()
        return [r for r in results if r is not None]

    def _planned(
        self, requests: Sequence[ChipRequest], opened: dict[str, Raster | AccessError]
    ) -> list[Job | AccessError]:
        """The reads of each request, or why it is refused. Rasters whose headers changed are opened again.

        A refusal for what headers say stands once they have come twice the same.
        """
        for left in reversed(range(max(2, self.client.tries))):
            jobs: list[Job | AccessError] = []
            known: _Known = {}
            for position, request in enumerate(requests):
                job = _plan(position, request, opened, known)
                jobs.append(_final(job, request, opened) if isinstance(job, AccessError) else job)
            doubtful = [h for h, raster in opened.items() if isinstance(raster, Raster) and raster.doubtful]
            if not doubtful or left == 0:
                break
            opened.update(self._open(self._look(doubtful)))
        return jobs

    def _look(self, hrefs: Sequence[str]) -> dict[str, Raster | Unread | AccessError]:
        """Headers; files that must be read whole are not read yet."""
        if len(self._headers) + len(hrefs) > _KEPT_HEADERS:
            self._headers.clear()

        def one(href: str) -> Raster | Unread | AccessError:
            try:
                known = self._headers.get(href)
                return known if known is not None and not known.doubtful else look_at(self.client, href)
            except AccessError as error:
                return error

        looked = dict(zip(hrefs, self._ranges.map(one, hrefs), strict=True))
        self._headers.update({h: r for h, r in looked.items() if isinstance(r, Raster)})
        return looked

    def _open(self, looked: dict[str, Raster | Unread | AccessError]) -> dict[str, Raster | AccessError]:
        """The same files, those that must be read whole too."""
        coming = sum(file.size for file in looked.values() if isinstance(file, Unread))
        if coming:
            self._forget(_WHOLE_BYTES - coming)

        def one(file: Raster | Unread | AccessError) -> Raster | AccessError:
            try:
                return open_raster(self.client, file) if isinstance(file, Unread) else file
            except AccessError as error:
                return error

        opened = dict(zip(looked, self._ranges.map(one, looked.values()), strict=True))
        self._headers.update({h: r for h, r in opened.items() if isinstance(r, Raster)})
        if any(isinstance(raster, Raster) and raster.whole_bytes for raster in opened.values()):
            self._forget(_KEPT_BYTES)
        return opened

    def _forget(self, most: int) -> None:
        """Keep no file that was read whole for the next call, once together they are larger than this."""
        whole = [(href, size) for href, raster in list(self._headers.items()) if (size := raster.whole_bytes)]
        if sum(size for _, size in whole) > most:
            for href, _ in whole:  # other threads may use the same reader
                self._headers.pop(href, None)

    def _seek_masks(self, requests: Sequence[ChipRequest], opened: dict[str, Raster | AccessError]) -> None:
        """Find the mask files of rasters that do not state measured pixels in another way."""

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

    def _read_raster(self, raster: Raster | AccessError, targets: list[Target], done: Callable[[Target], None]) -> None:
        """Fill all windows of one raster, then report them."""
        assert isinstance(raster, Raster)  # noqa: S101 - `_plan` has refused the others
        for group, size in groups_of(raster, targets):
            with _WINDOWS.taken(size):
                self._read_group(raster, group, done)

    def _read_group(self, raster: Raster, group: list[Target], done: Callable[[Target], None]) -> None:
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
                judge(raster, target)
            target.pixels = target.mask = target.alpha = None
            done(target)

    def _from_blocks(self, raster: Raster, targets: list[Target]) -> None:
        level = targets[0].part.level
        assert level.image is not None  # noqa: S101 - only files read whole have none
        sparse = raster.layout(level.image).sparse
        for target in targets:
            _, _, height, width = target.part.window
            bands = bands_of(raster, target)
            target.pixels = np.full((len(bands), height, width), 0, raster.dtype)  # zeros() gives pages never touched
            for i, band in enumerate(bands if sparse else ()):  # never decoded: GDAL's value is nodata or 0
                nodata = raster.nodata[band - 1]
                target.pixels[i] = 0 if nodata is None else nodata
        self._pour(raster, level.image, targets, lambda t: t.pixels)

    def _mask(self, raster: Raster, targets: list[Target]) -> None:
        """Validity of the read pixels from the file's mask or alpha band."""
        level = targets[0].part.level
        if level.mask is None:
            for target in targets:
                if len(bands_of(raster, target)) > len(target.job.request.bands) and target.pixels is not None:
                    target.alpha, target.pixels = target.pixels[-1] > 0, target.pixels[:-1]
            return
        for target in targets:
            window = target.part.window
            target.mask = np.zeros((window.height, window.width), np.bool_)
        self._pour(raster.mask_file or raster, level.mask, targets, lambda t: t.mask)

    def _pour(
        self, raster: Raster, image: Image, targets: list[Target], into: Callable[[Target], NDArray[Any] | None]
    ) -> None:
        """Decode the blocks that the targets touch and copy each into all windows it belongs to."""
        users = users_of(raster, image, targets)
        needed = {block: needed_of(image, block, found) for block, found in users.items()}

        def submit(function: Callable[..., bytes], *arguments: Any) -> Callable[[], bytes]:
            future: Future[bytes] = self._ranges.submit(function, *arguments)
            return future.result

        with closing(raster.blocks(image, needed, submit)) as found:
            for decoded in found:
                for target in users[decoded.block]:
                    if decoded.pixels is None:
                        target.error = target.error or decoded.error
                    elif (out := into(target)) is not None:
                        copy_block(image, decoded.block, decoded.pixels, target, bands_of(raster, target), out)


def _rounds(requests: Sequence[ChipRequest], looked: dict[str, Raster | Unread | AccessError]) -> list[list[int]]:
    """Positions of requests that are read together: each file that is read whole is there for one round.

    Files that an earlier call has left here are there all the time, and leave less room.
    """
    sizes = {href: file.size for href, file in looked.items() if isinstance(file, Unread)}
    room = _WHOLE_BYTES - sum(file.whole_bytes for file in looked.values() if isinstance(file, Raster))
    if sum(sizes.values()) <= room:
        return [list(range(len(requests)))]
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for position, request in enumerate(requests):
        groups[tuple(sorted({href for href in request.hrefs if href in sizes}))].append(position)
    rounds: list[list[int]] = [[]]
    there: set[str] = set()
    for hrefs, positions in sorted(groups.items()):
        if there and sum(sizes[href] for href in there.union(hrefs)) > room:
            rounds.append([])
            there = set()
        there.update(hrefs)
        rounds[-1] += positions
    return rounds


def _plan(
    position: int, request: ChipRequest, opened: dict[str, Raster | AccessError], known: _Known
) -> Job | AccessError:
    """`known`: frames by grid, kernel and where the rasters lie."""
    try:
        rasters = _fitting(request, opened)
        alike = (request.geobox, request.kernel, tuple(raster.lattice for raster in rasters))
        if alike in known:
            found = moved(known[alike], rasters)
        else:
            found = known[alike] = frames(request.geobox, request.kernel, rasters)
        _check_size(request, rasters, found)
        return Job(position, request, rasters, found)
    except AccessError as error:
        return error


def _check_size(request: ChipRequest, rasters: Sequence[Raster], found: Sequence[Frame]) -> None:
    """Refuse a chip whose source pixels would not fit into memory, because the raster's pixels are far finer."""
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
    """The refusal, if the headers were the same when read again; otherwise an error that they changed."""
    if error.reason not in (Reason.WRONG_GRID, Reason.BAD_ITEM):
        return error
    try:
        for raster in (opened[href] for href in request.hrefs):
            if isinstance(raster, Raster):
                raster.confirm()
    except AccessError as changed:
        return changed
    return error


def _from_memory(raster: Raster, targets: Sequence[Target]) -> None:
    for target in targets:
        target.pixels = raster.read_memory(bands_of(raster, target), target.part.window)
