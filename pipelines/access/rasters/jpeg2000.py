"""Checks that a JPEG 2000 file is complete (ISO/IEC 15444-1, annexes A and I).

OpenJPEG returns zeros for missing tiles of a truncated file, without an error, and GDAL passes them on as pixels.
"""

from __future__ import annotations

import struct

_BOXED = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
"""Signature box of a JP2 file (I.5.1)."""
_BARE = b"\xff\x4f\xff\x51"
"""SOC and SIZ: a codestream without boxes (A.4.1, A.5.1)."""
_SOT, _EOC = 0xFF90, b"\xff\xd9"
_COUNT_AT = 11
"""Offset of TNsot in a SOT segment, its marker included (A.4.2)."""
_LEAST_PART = 14
"""Bytes of a tile-part without data: SOT and SOD."""
_MAX_TILE_SAMPLES = 1 << 27
"""Columns x rows x components of a tile, which is decoded as a whole, in 4 bytes each: a Sentinel-2 band whole has
1.2e8."""
_MAX_SAMPLES = 1 << 32
_MAX_COMPONENTS = 4096


def is_jpeg2000(data: bytes) -> bool:
    """True if the file begins as JPEG 2000 files do."""
    return data.startswith((_BOXED, _BARE))


def incomplete(data: bytes) -> str | None:
    """The defect of a JPEG 2000 file, in a few words; None if every tile is complete.

    Numbers inside the tiles are not looked at: the format has no check sum.
    """
    try:
        first, end = _codestream(data)
        if end > len(data):
            return f"ends after {len(data)} of {end} bytes"
        parts = _walked(data, first, end)
        return parts if isinstance(parts, str) else parts.missing()
    except struct.error:
        return "ends inside its header"


def mended(data: bytes) -> bytes:
    """A complete file in which every part of a tile says how many parts the tile has.

    Some writers say one too few. OpenJPEG corrects that in files of one tile and gives up in others.
    """
    parts = _walked(data, *_codestream(data))
    wrong = [] if isinstance(parts, str) else parts.wrong()
    if not wrong:
        return data
    out = bytearray(data)
    for at, count in wrong:
        out[at] = count
    return bytes(out)


def tile_bytes(data: bytes) -> int:
    """Bytes that one tile of a complete file takes while it is decoded: 4 for each sample."""
    first, _ = _codestream(data)
    across, down, _, _, wide, high = struct.unpack_from(">6L", data, first + 8)
    (components,) = struct.unpack_from(">H", data, first + 40)
    return 4 * int(min(wide, across) * min(high, down) * components)


def _codestream(data: bytes) -> tuple[int, int]:
    """(first byte, byte after the last) of the codestream, which may lie behind the end of a shortened file."""
    if data.startswith(_BARE):
        return 0, len(data)
    at = 0
    while True:
        if at > len(data):
            raise struct.error("a box reaches beyond the end of the file")
        size, kind = struct.unpack_from(">L4s", data, at)
        head = 8
        if size == 1:
            (size,), head = struct.unpack_from(">Q", data, at + 8), 16
        elif size == 0:
            size = len(data) - at
        if kind == b"jp2c":
            return at + head, at + size
        at += max(size, head)


def _walked(data: bytes, first: int, end: int) -> _Parts | str:
    """The tile-parts, from one to the next by their stated lengths (A.4.2), or what is missing."""
    if data[first : first + 4] != _BARE:
        return "has no codestream"
    tiles = _tiles(data, first)
    if isinstance(tiles, str):
        return tiles
    at = first + 2
    while (marker := struct.unpack_from(">HH", data, at))[0] != _SOT:
        at += 2 + max(2, marker[1])
    parts = _Parts(tiles)
    while at < end and data[at : at + 2] != _EOC:
        code, _, tile, length, part, of = struct.unpack_from(">HHHLBB", data, at)
        if code != _SOT or tile >= tiles or 0 < length < _LEAST_PART:
            return f"has no tile at byte {at}, where one is expected"
        if at + length > end or (length == 0 and data[end - 2 : end] != _EOC):
            return f"ends inside tile {tile}"
        parts.came(at + _COUNT_AT, tile, part, of)
        at = at + length if length else end
    return parts


def _tiles(data: bytes, first: int) -> int | str:
    """Number of tiles in the SIZ segment (A.5.1, B.3), or its defect."""
    across, down, left, top, wide, high, tile_left, tile_top = struct.unpack_from(">8L", data, first + 8)
    (components,) = struct.unpack_from(">H", data, first + 40)
    if not (wide and high and components and across > max(left, tile_left) and down > max(top, tile_top)):
        return "is an image without pixels"
    if components > _MAX_COMPONENTS or (across - left) * (down - top) * components > _MAX_SAMPLES:
        return f"states {across} x {down} pixels of {components} components"
    if min(wide, across) * min(high, down) * components > _MAX_TILE_SAMPLES:
        return f"has tiles of {wide} x {high} pixels of {components} components"
    return int(-(-(across - tile_left) // wide) * -(-(down - tile_top) // high))


class _Parts:
    """The received parts of each tile."""

    def __init__(self, tiles: int) -> None:
        self._tiles = tiles
        self._came: dict[int, set[int]] = {}
        self._due: dict[int, int] = {}
        """Tile -> how many parts it says it has; 0 where it does not."""
        self._said: list[tuple[int, int, int]] = []
        """(offset of the byte, tile, how many parts it says)."""

    def came(self, at: int, tile: int, part: int, of: int) -> None:
        """Record a part of a tile, which states at byte `at` that the tile has `of` parts."""
        self._said.append((at, tile, of))
        self._came.setdefault(tile, set()).add(part)
        self._due[tile] = max(self._due.get(tile, 0), of)

    def wrong(self) -> list[tuple[int, int]]:
        """(offset of the byte, number of parts) where fewer are stated."""
        found = [(at, of, max(self._came[tile]) + 1) for at, tile, of in self._said]
        return [(at, count) for at, of, count in found if 0 < of < count]

    def missing(self) -> str | None:
        """Description of the missing parts; None if no part is missing."""
        if len(self._came) < self._tiles:
            return f"has {len(self._came)} of {self._tiles} tiles"
        for tile, parts in self._came.items():
            due = max(self._due[tile], max(parts) + 1)
            if parts != set(range(due)):
                return f"has {len(parts)} of {due} parts of tile {tile}"
        return None
