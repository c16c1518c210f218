"""Reads the head of a JPEG 2000 file: its boxes, its main header, and the lengths of its tile-parts.

ISO/IEC 15444-1: boxes in annex I, markers in annex A. Files are untrusted: sizes and counts are checked against limits
before anything is allocated for them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Read = Callable[[int, int], bytes]
    """Bytes of the file from an offset on, as many as are asked for."""

BOXED = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
"""Signature box of a JP2 file (I.5.1)."""
BARE = b"\xff\x4f\xff\x51"
"""SOC and SIZ: a codestream without boxes (A.4.1, A.5.1)."""
SOT, EOC = 0xFF90, b"\xff\xd9"
SOD = 0xFF93
LEAST_PART = 14
"""Bytes of a tile-part without data: SOT and SOD."""
COD, COC = 0xFF52, 0xFF53
COMMENT = b"\xff\x64"
"""Marker COM (A.9.2): what follows is skipped."""
_TLM, _PLM, _PPM = 0xFF55, 0xFF57, 0xFF60
"""Markers (table A.2) that speak of other tiles: lengths of tile-parts, lengths of packets, packed packet headers."""
_SIZ_BYTES = 40
"""A SIZ segment with its marker, up to its components (A.5.1)."""
_MAX_HEAD_BYTES = 1 << 20
"""Boxes before the codestream, and main header: Sentinel-2 has 4 kB; lengths of 65,535 tiles take 0.4 MB."""
_MAX_SEGMENTS = 4096
"""Boxes, or segments of the main header."""
_MAX_TILE_SAMPLES = 1 << 27
"""Columns x rows x components of a tile, which is decoded as a whole, in 4 bytes each: a Sentinel-2 band whole has
1.2e8."""
_MAX_SAMPLES = 1 << 32
_MAX_COMPONENTS = 4096
_MAX_TILES = 65_535
"""Isot, the number of a tile, has 16 bits (A.4.2)."""
_MAX_CODE_BLOCKS = 1 << 19
"""Code-blocks of a tile: OpenJPEG allocates 400 bytes for each (measured). 1.2e8 samples in blocks of 32 x 32 are
1.2e5."""
_MAX_PRECINCTS = 1 << 16
"""Precincts of a tile, 1,600 bytes each (measured). A tile of Sentinel-2 has 27."""
_MAX_PACKETS = 1 << 25
"""Packets of a tile, each of which a decoder keeps a mark of 2 bytes for."""


@dataclass(frozen=True, slots=True)
class Size:
    """The SIZ segment (A.5.1): the image and its tiles on the reference grid."""

    across: int
    down: int
    left: int
    top: int
    wide: int
    """Columns of a tile."""
    high: int
    """Rows of a tile."""
    tile_left: int
    tile_top: int
    components: int
    rest: bytes
    """For each component: precision less 1 with the sign in bit 7, and its steps in x and y."""

    @property
    def width(self) -> int:
        """Columns of the image."""
        return self.across - self.left

    @property
    def height(self) -> int:
        """Rows of the image."""
        return self.down - self.top

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of tiles (B.3)."""
        return -(-(self.down - self.tile_top) // self.high), -(-(self.across - self.tile_left) // self.wide)

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        rows, columns = self.grid
        return rows * columns

    @property
    def tile_samples(self) -> int:
        """Samples of a tile, all components together."""
        return min(self.wide, self.across) * min(self.high, self.down) * self.components

    @property
    def even(self) -> bool:
        """True if all components have the same precision, and a sample for each pixel."""
        return self.rest == self.rest[:3] * self.components and self.rest[1:3] == b"\x01\x01"

    def problem(self) -> str | None:
        """The reason why no image can have this size, or none is read; None if there is none."""
        if not (self.wide and self.high and self.components and self._ordered):
            return "is an image without pixels"
        if self.components > _MAX_COMPONENTS or self.width * self.height * self.components > _MAX_SAMPLES:
            return f"states {self.across} x {self.down} pixels of {self.components} components"
        if self.tile_samples > _MAX_TILE_SAMPLES:
            return f"has tiles of {self.wide} x {self.high} pixels of {self.components} components"
        if self.tiles > _MAX_TILES:
            return f"states {self.tiles} tiles, more than the {_MAX_TILES} that a file can have"
        return None

    @property
    def _ordered(self) -> bool:
        """True if the first tile lies in the image, and the image begins before it ends (B.3)."""
        across = self.tile_left <= self.left < min(self.across, self.tile_left + self.wide)
        return across and self.tile_top <= self.top < min(self.down, self.tile_top + self.high)

    def of_tile(self, row: int, column: int) -> Size:
        """The same grid with one of its tiles as the image: coordinates stay, so wavelets have the same parity."""
        x, y = self.tile_left + column * self.wide, self.tile_top + row * self.high
        return replace(
            self,
            across=min(self.across, x + self.wide),
            down=min(self.down, y + self.high),
            left=max(self.left, x),
            top=max(self.top, y),
            tile_left=x,
            tile_top=y,
        )

    def segment(self, capabilities: bytes) -> bytes:
        """The segment with its marker; `capabilities` is the file's Rsiz."""
        fields = (self.across, self.down, self.left, self.top, self.wide, self.high, self.tile_left, self.tile_top)
        numbers = struct.pack(">8LH", *fields, self.components)
        return struct.pack(">HH", 0xFF51, 4 + len(numbers) + len(self.rest)) + capabilities + numbers + self.rest


def size_of(segment: bytes) -> Size:
    """The SIZ segment, its marker included; struct.error if it is too short."""
    numbers: tuple[int, ...] = struct.unpack_from(">8LH", segment, 6)
    rest = segment[_SIZ_BYTES : _SIZ_BYTES + 3 * numbers[-1]]
    if len(rest) < 3 * numbers[-1]:
        raise struct.error("the SIZ segment ends before its components do")
    across, down, left, top, wide, high, tile_left, tile_top, components = numbers
    return Size(across, down, left, top, wide, high, tile_left, tile_top, components, rest)


def too_fine(segment: bytes, size: Size) -> str | None:
    """The reason why tiles are cut too finely to be decoded in bounded memory; None if they are not.

    Args:
        segment: COD or COC (A.6.1, A.6.2), with its marker.
        size: Of the image.

    Raises:
        struct.error: the segment is too short.
    """
    (code,) = struct.unpack_from(">H", segment)
    at = 9 if code == COD else 7 if size.components > 256 else 6  # Scod and SGcod, or Ccoc and Scoc, stand before
    layers = struct.unpack_from(">H", segment, 6)[0] if code == COD else 1
    (style,) = struct.unpack_from(">B", segment, 4 if code == COD else at - 1)
    levels, wide, high = struct.unpack_from(">3B", segment, at)
    if levels > 32 or wide > 8 or high > 8 or wide + high > 8 or not layers:
        return f"states {levels} levels, {layers} layers and code-blocks of 2^{wide + 2} x 2^{high + 2} pixels"
    exponents = struct.unpack_from(f">{levels + 1}B", segment, at + 5) if style & 1 else (0xFF,) * (levels + 1)
    across, down = min(size.wide, size.across), min(size.high, size.down)
    blocks = precincts = 0
    for level, exponent in enumerate(exponents):
        less = levels - level
        columns, rows = (across >> less) + 2, (down >> less) + 2
        x, y = exponent & 15, exponent >> 4
        if level and not (x and y):
            return "states precincts without pixels"
        precincts += size.components * ((columns >> x) + 1) * ((rows >> y) + 1)
        blocks += size.components * (columns >> min(x, wide + 2)) * (rows >> min(y, high + 2))
    if blocks > _MAX_CODE_BLOCKS or precincts > _MAX_PRECINCTS or precincts * (layers + 1) > _MAX_PACKETS:
        return f"cuts a tile of {across} x {down} pixels into too many code-blocks, precincts or layers"
    return None


@dataclass(frozen=True, slots=True)
class Head:
    """A file up to its first tile-part."""

    boxes: bytes
    """Before the codestream; none where it stands alone."""
    size: Size
    capabilities: bytes
    """Rsiz: what a decoder must be capable of."""
    segments: tuple[bytes, ...]
    """Of the main header, markers included, without SIZ and without those that speak of tile-parts."""
    lengths: tuple[tuple[int, bytes], ...]
    """(offset, TLM segment) (A.7.1)."""
    packed: bool
    """True where headers of packets are in the main header (PPM)."""
    first: int
    """Offset of the first tile-part."""
    end: int | None
    """Byte after the codestream; None = it reaches to the end of the file."""

    def codestream(self, size: Size, parts: bytes) -> bytes:
        """A codestream with this header, another size, and these tile-parts."""
        return b"".join((BARE[:2], size.segment(self.capabilities), *self.segments, parts, EOC))

    def file(self) -> bytes:
        """A file with the same head and no pixels, from which GDAL reads what the file is and where it lies."""
        empty = struct.pack(">HHHLBBH", SOT, 10, 0, LEAST_PART, 0, 1, SOD)
        stream = self.codestream(self.size, empty)
        return self.boxes + struct.pack(">L4s", 8 + len(stream), b"jp2c") + stream if self.boxes else stream

    def problem(self) -> str | None:
        """The reason why the image is not decoded; None if there is none."""
        fine = (too_fine(s, self.size) for s in self.segments if s[:2] in (b"\xff\x52", b"\xff\x53"))
        return self.size.problem() or next((found for found in fine if found), None)


def head_of(read: Read, most: int = _MAX_HEAD_BYTES) -> Head | str:
    """The head of a JPEG 2000 file, or what is wrong with it.

    Args:
        read: Bytes of the file.
        most: Bytes that boxes and main header may have.

    Raises:
        struct.error: it ends too early.
    """
    boxes, start, end = _boxes(read, most)
    if boxes is None:
        return f"has no codestream within its first {most} bytes"
    if read(start, 4) != BARE:
        return "has no codestream"
    at, kept, lengths, packed = start + 2, [], [], False
    for _ in range(_MAX_SEGMENTS):
        code, length = struct.unpack(">HH", read(at, 4))
        if code == SOT:
            break
        if code < 0xFF00 or length < 2:
            return f"has no marker at byte {at}, where one is expected"
        segment = read(at, 2 + length)
        packed |= code == _PPM
        if code == _TLM:
            lengths.append((at, segment))
        elif code not in (_PLM, _PPM):
            kept.append(segment)
        at += 2 + length
    if code != SOT or at - start > most:
        return f"has a main header of more than {_MAX_SEGMENTS} segments or {most} bytes"
    siz, *others = kept
    return Head(boxes, size_of(siz), siz[4:6], tuple(others), tuple(lengths), packed, at, end)


def _boxes(read: Read, most: int) -> tuple[bytes | None, int, int | None]:
    """(boxes before the codestream, first byte of it, byte after its box or None); no boxes if it is not found."""
    if read(0, 4) == BARE:
        return b"", 0, None
    found: list[bytes] = []
    at = 0
    for _ in range(_MAX_SEGMENTS):
        size, kind = struct.unpack(">L4s", read(at, 8))
        head = 8
        if size == 1:
            (size,), head = struct.unpack(">Q", read(at + 8, 8)), 16
        if kind == b"jp2c":
            return b"".join(found), at + head, at + size if size else None
        if size < head or at + size > most:
            break
        found.append(read(at, size))
        at += size
    return None, 0, None


@dataclass(frozen=True, slots=True)
class Parts:
    """Where each part of each tile lies, as the TLM segments state it."""

    offsets: NDArray[np.int64]
    """Of each tile-part, tile by tile, in the order of the file within a tile."""
    sizes: NDArray[np.int64]
    first: NDArray[np.int64]
    """Position of the first part of each tile among them; one more entry for the end."""

    def of(self, tile: int) -> tuple[tuple[int, int], ...]:
        """(offset, size) of each part of a tile."""
        parts = slice(int(self.first[tile]), int(self.first[tile + 1]))
        return tuple(zip(self.offsets[parts].tolist(), self.sizes[parts].tolist(), strict=True))


def parts_of(head: Head, end: int) -> Parts | None:
    """The tile-parts that TLM segments state, if they are complete and fill the codestream; else None.

    Args:
        head: Of the file.
        end: Byte after the codestream.
    """
    listed = _listed([segment for _, segment in head.lengths])
    if listed is None:
        return None
    tiles, sizes = listed
    due = end - head.first
    if not len(sizes) or sizes.min() < LEAST_PART or int(sizes.sum()) not in (due, due - len(EOC)):
        return None
    count = head.size.tiles
    if tiles.max() >= count:
        return None
    each = np.bincount(tiles, minlength=count)
    if each.min() == 0 or each.max() > 0xFF:
        return None
    order = np.argsort(tiles, kind="stable")
    offsets = head.first + np.cumsum(sizes) - sizes
    return Parts(offsets[order], sizes[order], np.concatenate([[0], np.cumsum(each)]))


def _listed(segments: Sequence[bytes]) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """(tile, size) of each tile-part in the order of the file; None if the segments contradict themselves."""
    ordered = sorted(segments, key=lambda s: s[4:5])  # Ztlm: their order
    if not segments or len({s[4:5] for s in segments}) < len(segments) or any(len(s) < 6 for s in segments):
        return None
    tiles, sizes, before = [], [], 0
    for segment in ordered:
        index_bytes, wide = segment[5] >> 4 & 3, segment[5] >> 6 & 1
        if index_bytes == 3 or segment[5] & 0x8F:
            return None
        fields = [("tile", f">u{index_bytes}")] if index_bytes else []
        record = np.dtype([*fields, ("size", ">u4" if wide else ">u2")])
        if (len(segment) - 6) % record.itemsize:
            return None
        found = np.frombuffer(segment, record, offset=6)
        own = np.arange(before, before + len(found))  # without numbers: one part of each tile, in their order
        tiles.append(found["tile"].astype(np.int64) if index_bytes else own)
        sizes.append(found["size"].astype(np.int64))
        before += len(found)
    return np.concatenate(tiles), np.concatenate(sizes)


def header_too_fine(data: bytes, at: int, size: Size) -> str | None:
    """The reason why a tile is cut too finely by the header of its tile-part, which begins at byte `at`; else None."""
    at += 12  # SOT
    for _ in range(_MAX_SEGMENTS):
        code, length = struct.unpack(">HH", data[at : at + 4].ljust(4, b"\0"))
        if code == SOD or code < 0xFF00 or length < 2:
            return None
        if code in (COD, COC) and (problem := too_fine(data[at : at + 2 + length].ljust(64, b"\0"), size)) is not None:
            return problem
        at += 2 + length
    return f"has a tile-part with more than {_MAX_SEGMENTS} segments before its pixels"
