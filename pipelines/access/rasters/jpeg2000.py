"""Checks that a JPEG 2000 file is complete (ISO/IEC 15444-1, annexes A and I).

OpenJPEG returns zeros for missing tiles of a truncated file, without an error, and GDAL passes them on as pixels.
"""

from __future__ import annotations

import struct

import numpy as np

from pipelines.access.rasters.jpeg2000_head import (
    BARE,
    BOXED,
    COMMENT,
    EOC,
    LEAST_PART,
    SOT,
    Head,
    Parts,
    head_of,
    header_too_fine,
)
from pipelines.access.rasters.jpeg2000_tiles import Tiles, usual

_COUNT_AT = 11
"""Offset of TNsot in a SOT segment, its marker included (A.4.2)."""


def is_jpeg2000(data: bytes) -> bool:
    """True if the file begins as JPEG 2000 files do."""
    return data.startswith((BOXED, BARE))


def incomplete(data: bytes) -> str | None:
    """The defect of a JPEG 2000 file, in a few words; None if every tile is complete.

    Numbers inside the tiles are not looked at: the format has no check sum.
    """
    try:
        head = _head(data)
        if isinstance(head, str):
            return head
        if head.end is not None and head.end > len(data):
            return f"ends after {len(data)} of {head.end} bytes"
        if (problem := head.problem()) is not None:
            return problem
        parts = _walked(data, head)
        return parts if isinstance(parts, str) else parts.missing()
    except struct.error:
        return "ends inside its header"


def mended(data: bytes) -> bytes:
    """A complete file that OpenJPEG reads right, though what it says of its tile-parts is wrong.

    Some writers count one part of a tile too few. OpenJPEG corrects that in files of one tile and gives up in others.
    It trusts a list of the tile-parts (TLM), and where that is wrong its pixels are memory: the list becomes a comment.
    """
    head = _head(data)
    parts = head if isinstance(head, str) else _walked(data, head)
    if isinstance(head, str) or isinstance(parts, str) or not (head.lengths or parts.wrong()):
        return data
    out = bytearray(data)
    for at, _ in head.lengths:
        out[at : at + 2] = COMMENT
    for at, count in parts.wrong():
        out[at] = count
    return bytes(out)


def tiles_in(data: bytes) -> Tiles | None:
    """The tiles of a complete file that was read whole, found from part to part; None if GDAL must decode it."""
    head = _head(data)
    parts = head if isinstance(head, str) else _walked(data, head)
    if isinstance(head, str) or isinstance(parts, str) or not usual(head):
        return None
    return Tiles(head, parts.table(), len(data) if head.end is None else head.end)


def tile_bytes(data: bytes) -> int:
    """Bytes that one tile of a complete file takes while it is decoded: 4 for each sample."""
    head = _head(data)
    return 0 if isinstance(head, str) else 4 * head.size.tile_samples


def _head(data: bytes) -> Head | str:
    return head_of(lambda at, length: data[at : at + length], most=len(data))


def _walked(data: bytes, head: Head) -> _Parts | str:
    """The tile-parts, from one to the next by their stated lengths (A.4.2), or what is missing."""
    at, end, tiles = head.first, len(data) if head.end is None else head.end, head.size.tiles
    parts = _Parts(tiles)
    while at < end and data[at : at + 2] != EOC:
        code, _, tile, length, part, of = struct.unpack_from(">HHHLBB", data, at)
        if code != SOT or tile >= tiles or 0 < length < LEAST_PART:
            return f"has no tile at byte {at}, where one is expected"
        if at + length > end or (length == 0 and data[end - 2 : end] != EOC):
            return f"ends inside tile {tile}"
        if (problem := header_too_fine(data, at, head.size)) is not None:
            return problem
        length = length or end - len(EOC) - at
        parts.came((at, length), tile, part, of)
        at += length
    return parts


class _Parts:
    """The received parts of each tile."""

    def __init__(self, tiles: int) -> None:
        self._tiles = tiles
        self._came: dict[int, set[int]] = {}
        self._due: dict[int, int] = {}
        """Tile -> how many parts it says it has; 0 where it does not."""
        self._said: list[tuple[int, int, int, int]] = []
        """(tile, offset of a part, its bytes, how many parts it says)."""

    def came(self, span: tuple[int, int], tile: int, part: int, of: int) -> None:
        """Record a part of a tile, (offset, bytes), which states that the tile has `of` parts."""
        self._said.append((tile, *span, of))
        self._came.setdefault(tile, set()).add(part)
        self._due[tile] = max(self._due.get(tile, 0), of)

    def wrong(self) -> list[tuple[int, int]]:
        """(offset of the byte, number of parts) where fewer are stated."""
        found = [(at + _COUNT_AT, of, max(self._came[tile]) + 1) for tile, at, _, of in self._said]
        return [(at, count) for at, of, count in found if 0 < of < count]

    def table(self) -> Parts:
        """Where each part of each tile lies."""
        found = np.array([said[:3] for said in sorted(self._said)], np.int64)
        first = np.searchsorted(found[:, 0], np.arange(self._tiles + 1))
        return Parts(found[:, 1], found[:, 2], first)

    def missing(self) -> str | None:
        """Description of the missing parts; None if no part is missing."""
        if len(self._came) < self._tiles:
            return f"has {len(self._came)} of {self._tiles} tiles"
        for tile, parts in self._came.items():
            due = max(self._due[tile], max(parts) + 1)
            if parts != set(range(due)):
                return f"has {len(parts)} of {due} parts of tile {tile}"
        return None
