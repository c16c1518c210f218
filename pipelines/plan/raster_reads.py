"""Layout of one raster per layer, read while planning, to predict the requests with the reader's own rule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import pyproj

from pipelines.access.rasters.ranges import gap_limit, merged
from schemas.place import BBox, GeoBox

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipelines.access.rasters.jpeg2000_tiles import Tiles
    from pipelines.access.rasters.levels import Image
    from pipelines.access.rasters.raster import Raster
    from pipelines.access.rasters.tiff import Block, Layout
    from schemas.scene import Coefficients

_REACH_PX = 3
"""Pixels that a warp reads beyond the chip: the kernel's radius plus two (`pipelines.access.rasters.warp`)."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Block positions of one raster; other rasters of its layer are assumed to have the same."""

    layout: Layout | Tiles
    grid: tuple[int, int]
    """(rows, columns) of blocks."""
    block: tuple[int, int]
    """(rows, columns) of a block, pixels."""
    transform: Coefficients
    geographic: str | None
    """Its CRS as text where that counts longitudes and latitudes; a projected one is taken to be the chip's."""
    head_bytes: int
    """Read to open it."""

    def cost(
        self, boxes: Iterable[GeoBox], resolution_m: float, planes: int, transform: Coefficients | None
    ) -> tuple[int, int]:
        """Requests and bytes for all chips together, its header aside.

        Args:
            boxes: Footprints of the chips.
            resolution_m: Pixel edge of the layer.
            planes: Bands that are read, if each has its own blocks; else 1.
            transform: Where the raster lies that is meant, if its item says it; else where this one does.
        """
        touched = {at for box in boxes for at in self._touched(box, resolution_m, transform or self.transform)}
        blocks: list[Block] = [(plane, row, column) for plane in range(planes) for row, column in touched]
        spans = sorted((*span, block) for block in blocks for span in self.layout.spans(block))
        ranges = [(g[0][0], max(s[0] + s[1] for s in g)) for g in merged(spans, gap_limit(spans))]
        ranges = [r for r in ranges if r[1] > self.head_bytes]  # the header's read brought the others along
        return len(ranges), sum(end - start for start, end in ranges)

    def _touched(self, box: GeoBox, resolution_m: float, transform: Coefficients) -> Iterator[tuple[int, int]]:
        """(row, column) of the blocks under one chip."""
        a, _, c, _, e, f = transform
        bounds = box.bounds if self.geographic is None else _degrees(self.geographic, box)
        aligned = self.geographic is None and math.isclose(a, resolution_m)
        reach = 0 if aligned else _REACH_PX
        rows = ((bounds.north - f) / e - reach, (bounds.south - f) / e + reach)
        columns = ((bounds.west - c) / a - reach, (bounds.east - c) / a + reach)
        for row in _along(rows, self.block[0], self.grid[0]):
            for column in _along(columns, self.block[1], self.grid[1]):
                yield row, column


def seen_of(raster: Raster, image: Image) -> Seen:
    """Full-resolution layout from a raster's header."""
    geographic = raster.crs.to_wkt() if raster.crs is not None and raster.crs.is_geographic else None
    a, b, c, d, e, f = raster.levels[0].transform[:6]
    return Seen(
        layout=raster.layout(image),
        grid=image.grid,
        block=(image.block_height, image.block_width),
        transform=(a, b, c, d, e, f),
        geographic=geographic,
        head_bytes=raster.head_bytes,
    )


def _along(pixels: tuple[float, float], block: int, count: int) -> Iterator[int]:
    """Blocks along one axis; where the chip lies off the raster, those of a neighbour that is cut like it."""
    first, last = math.floor(pixels[0] / block + 1e-6), math.ceil(pixels[1] / block - 1e-6)
    inside = range(max(first, 0), min(last, count))
    yield from inside or sorted({i % count for i in range(first, max(last, first + 1))})


@lru_cache(maxsize=4096)
def _degrees(wkt: str, box: GeoBox) -> BBox:
    return BBox(*_transformer(box.epsg, wkt).transform_bounds(*box.bounds))


@lru_cache(maxsize=64)
def _transformer(epsg: int, wkt: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(epsg, pyproj.CRS.from_wkt(wkt), always_xy=True)
