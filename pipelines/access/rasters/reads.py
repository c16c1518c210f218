"""One request under way, the parts of rasters that it needs, and the blocks that those parts need."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pipelines.access.chips import ChipRequest
    from pipelines.access.http.client import AccessError
    from pipelines.access.rasters.levels import Image
    from pipelines.access.rasters.raster import Raster
    from pipelines.access.rasters.tiff import Block
    from pipelines.access.rasters.warp import Frame, Part


_WINDOWS_BYTES = 256 << 20
"""Source pixels that one raster is read into at once."""
_WAITING_BYTES = 128 << 20
"""Source pixels of one call that wait for other rasters, to be warped with theirs."""
_AT_ONCE_BYTES = 16 << 20
"""Source pixels and pixels of chips that are warped at once, where they come from several requests. GDAL would divide
more than 64 MiB (it may need four times this), and place the pixels of each part a little differently."""


@dataclass(slots=True)
class Job:
    """One request under way."""

    position: int
    request: ChipRequest
    rasters: list[Raster]
    frames: list[Frame]
    filled: dict[tuple[int, int], tuple[NDArray[Any], NDArray[np.bool_]]] = field(default_factory=dict)
    """(frame, part) -> pixels and validity of the part."""
    left: int = 0
    error: AccessError | None = None

    @property
    def window_bytes(self) -> int:
        """Source pixels of the frames that are warped, with their validity."""
        return self._pixel_bytes * sum(math.prod(frame.shape) for frame in self.frames if not frame.copied)

    @property
    def chip_bytes(self) -> int:
        """Pixels of the chip in the numbers of its rasters, with their validity."""
        return self._pixel_bytes * math.prod(self.request.geobox.shape)

    @property
    def _pixel_bytes(self) -> int:
        return len(self.request.bands) * (1 + max(raster.dtype.itemsize for raster in self.rasters))


@dataclass(slots=True)
class Together:
    """Jobs on one grid whose rasters lie alike, such as the bands of a scene: they are warped at once."""

    jobs: list[Job]
    left: int
    """Jobs that still wait for parts."""


def together(jobs: Sequence[Job]) -> list[Together]:
    """Each job in one of these; parts of jobs that wait for others come to `_WAITING_BYTES` at most."""
    found: list[Together] = []
    open_ones: dict[Hashable, tuple[Together, int]] = {}
    waiting = 0
    for job in jobs:
        size = job.window_bytes
        waiting += size
        if not size or waiting > _WAITING_BYTES:
            found.append(Together([job], 1))
            continue
        request = job.request
        alike = (request.geobox, request.kernel, tuple((r.lattice, r.dtype.str) for r in job.rasters))
        one, held = open_ones.get(alike, (None, 0))
        size += job.chip_bytes
        if one is None or held + size > _AT_ONCE_BYTES:
            one, held = Together([], 0), 0
            found.append(one)
        one.jobs.append(job)
        one.left += 1
        open_ones[alike] = (one, held + size)
    return found


@dataclass(slots=True)
class Target:
    """One part of one job, as a raster's worker fills it."""

    job: Job
    key: tuple[int, int]
    part: Part
    pixels: NDArray[Any] | None = None
    mask: NDArray[np.bool_] | None = None
    """(y, x) of the file's own mask, if it has one."""
    alpha: NDArray[np.bool_] | None = None
    """(y, x), True where the file's alpha band is above 0, if it has one and no mask."""
    error: AccessError | None = None


def groups_of(raster: Raster, targets: Sequence[Target]) -> Iterator[tuple[list[Target], int]]:
    """Targets of one level that are filled together, with the bytes of their windows."""
    levels: dict[int, list[Target]] = defaultdict(list)
    for target in targets:
        levels[id(target.part.level)].append(target)
    for level in levels.values():
        group: list[Target] = []
        held = 0
        for target in level:
            window = target.part.window
            size = window.height * window.width * len(bands_of(raster, target)) * raster.dtype.itemsize
            if group and held + size > _WINDOWS_BYTES:
                yield group, held
                group, held = [], 0
            group.append(target)
            held += size
        yield group, held


def bands_of(raster: Raster, target: Target) -> tuple[int, ...]:
    """Bands to read: those that are asked for, then the alpha band where it says which of their pixels are there."""
    bands, alpha = target.job.request.bands, raster.alpha
    return bands if alpha is None or target.part.level.mask is not None or bands == (alpha,) else (*bands, alpha)


def users_of(raster: Raster, image: Image, targets: Sequence[Target]) -> dict[Block, list[Target]]:
    """Block -> the targets whose windows it touches."""
    users: dict[Block, list[Target]] = defaultdict(list)
    for target in targets:
        row, column, height, width = target.part.window
        rows = range(row // image.block_height, (row + height - 1) // image.block_height + 1)
        columns = range(column // image.block_width, (column + width - 1) // image.block_width + 1)
        planes = sorted({b - 1 for b in bands_of(raster, target)}) if image.separate else (0,)
        for plane in planes:
            for y in rows:
                for x in columns:
                    users[plane, y, x].append(target)
    return users


def needed_of(image: Image, block: Block, targets: Sequence[Target]) -> tuple[int, int, int]:
    """(first row, row after the last, column after the last) in a block of all that the targets take from it."""
    y, x = block[1] * image.block_height, block[2] * image.block_width
    windows = [target.part.window for target in targets]
    return (
        max(0, min(window.row for window in windows) - y),
        min(image.block_height, image.height - y, max(window.bottom for window in windows) - y),
        min(image.block_width, image.width - x, max(window.right for window in windows) - x),
    )


def copy_block(
    image: Image, block: Block, pixels: NDArray[Any], target: Target, bands: tuple[int, ...], out: NDArray[Any]
) -> None:
    """Copy what a target takes of a block: `pixels` (band, y, x) to `out`, ([band,] y, x) of the target."""
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
