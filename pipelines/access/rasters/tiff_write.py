"""Small TIFFs of chosen blocks, for GDAL to decode from memory."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from pipelines.access.rasters.tiff import Block, Directory, raw_value
from pipelines.access.rasters.tiff_tags import (
    BITS,
    DECODING,
    EXTRA,
    FORMAT,
    GEO,
    LENGTH,
    PHOTOMETRIC,
    PIXEL_SCALE,
    ROWS_PER_STRIP,
    SAMPLES,
    SIZES,
    STRIP_COUNTS,
    STRIP_OFFSETS,
    SUBFILE,
    TIE_POINTS,
    TILE_COUNTS,
    TILE_LENGTH,
    TILE_OFFSETS,
    TILE_WIDTH,
    WIDTH,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


_LEAST_PX = 16
"""Edge of the smallest tile."""
_PER_SAMPLE = (BITS, 280, 281, FORMAT, 340, 341)


def header_tiff(directory: Directory, read: Callable[[int, int], bytes]) -> bytes:
    """A TIFF of one empty block with the same tags, from which GDAL reads CRS, transform, nodata and dtype.

    It is small whatever size the image says it has, and the same for files that differ in their size alone.
    """
    values = _kept(directory, DECODING | GEO, read)
    planes = directory.samples if directory.separate else 1
    values |= {SUBFILE: _longs(directory.order, [0])}
    values |= {code: _longs(directory.order, [_LEAST_PX]) for code in (WIDTH, LENGTH)}
    for code in (TILE_WIDTH, TILE_LENGTH) if directory.tiled else (ROWS_PER_STRIP,):
        values[code] = _longs(directory.order, [_LEAST_PX])
    for code in _layout_tags(directory):
        values[code] = _longs(directory.order, [0] * planes)
    return _write(directory.order, values, [])


def block_tiff(
    directory: Directory, read: Callable[[int, int], bytes], planes: Sequence[int], blocks: Mapping[Block, bytes]
) -> tuple[bytes, tuple[int, int]]:
    """A TIFF of some blocks of an image: the smallest rectangle of blocks that holds them.

    Args:
        directory: The image.
        read: Bytes of its file (for tags that lie outside the directory).
        planes: Planes to put in, ascending; they become bands 1, 2, ... (all bands where they share blocks).
        blocks: Block -> its bytes. Blocks of the rectangle that are not in here are left out (sparse).

    Returns:
        (file, (row, column)): the second is the pixel of the image that is the file's pixel (0, 0).
    """
    order = directory.order
    row_0, row_1 = min(b[1] for b in blocks), max(b[1] for b in blocks)
    column_0, column_1 = min(b[2] for b in blocks), max(b[2] for b in blocks)
    top, left = row_0 * directory.block_height, column_0 * directory.block_width
    height = min(directory.height, (row_1 + 1) * directory.block_height) - top
    width = min(directory.width, (column_1 + 1) * directory.block_width) - left
    values = _kept(directory, DECODING, read)
    values[SUBFILE] = _longs(order, [0])
    values[WIDTH], values[LENGTH] = _longs(order, [width]), _longs(order, [height])
    values[PIXEL_SCALE] = (12, 3, struct.pack(f"{order}3d", 1.0, 1.0, 0.0))
    values[TIE_POINTS] = (12, 6, struct.pack(f"{order}6d", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0))
    if directory.separate:
        _select_samples(order, values, len(planes))
    elif directory.subfile & 4:
        values[PHOTOMETRIC] = (3, 1, struct.pack(f"{order}H", 1))
    sizes, offsets, at = [], [], 16
    parts: list[bytes] = []
    for plane in planes if directory.separate else (0,):
        for row in range(row_0, row_1 + 1):
            for column in range(column_0, column_1 + 1):
                data = blocks.get((plane, row, column), b"")
                offsets.append(at if data else 0)
                sizes.append(len(data))
                parts.append(data)
                at += len(data)
    code_offsets, code_sizes = _layout_tags(directory)
    values[code_offsets], values[code_sizes] = _longs(order, offsets), _longs(order, sizes)
    return _write(order, values, parts), (top, left)


def _select_samples(order: str, values: dict[int, tuple[int, int, bytes]], count: int) -> None:
    """Keep the first `count` samples' worth of the per-sample tags: an image's bands share format and size."""
    for code in _PER_SAMPLE:
        if code in values:
            kind, n, raw = values[code]
            values[code] = (kind, min(n, count), raw[: min(n, count) * SIZES[kind]])
    values[SAMPLES] = (3, 1, struct.pack(f"{order}H", count))
    values[PHOTOMETRIC] = (3, 1, struct.pack(f"{order}H", 1))
    values.pop(EXTRA, None)
    if count > 1:
        values[EXTRA] = (3, count - 1, struct.pack(f"{order}{count - 1}H", *[0] * (count - 1)))


def _kept(
    directory: Directory, codes: frozenset[int], read: Callable[[int, int], bytes]
) -> dict[int, tuple[int, int, bytes]]:
    """(type, count, value) of those of these tags that the image has."""
    return {
        code: (tag.kind, tag.count, raw_value(directory, code, read))
        for code, tag in directory.tags.items()
        if code in codes
    }


def _layout_tags(directory: Directory) -> tuple[int, int]:
    return (TILE_OFFSETS, TILE_COUNTS) if directory.tiled else (STRIP_OFFSETS, STRIP_COUNTS)


def _longs(order: str, numbers: Sequence[int]) -> tuple[int, int, bytes]:
    return (4, len(numbers), np.asarray(numbers, dtype=f"{order}u4").tobytes())


def _write(order: str, values: Mapping[int, tuple[int, int, bytes]], parts: Sequence[bytes]) -> bytes:
    """A BigTIFF: header, parts from byte 16 on, tag values, one directory."""
    at = 16 + sum(len(p) for p in parts)
    out: list[bytes] = [b"", *parts]
    entries: list[bytes] = []
    for code in sorted(values):
        kind, count, raw = values[code]
        if len(raw) <= 8:
            field = raw.ljust(8, b"\0")
        else:
            pad = -at % 8
            out.append(b"\0" * pad + raw)
            field = struct.pack(f"{order}Q", at + pad)
            at += pad + len(raw)
        entries.append(struct.pack(f"{order}HHQ", code, kind, count) + field)
    pad = -at % 8
    out[0] = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HHHQ", 43, 8, 0, at + pad)
    out.append(b"\0" * pad + struct.pack(f"{order}Q", len(entries)) + b"".join(entries) + struct.pack(f"{order}Q", 0))
    return b"".join(out)
